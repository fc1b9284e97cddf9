package mounttable

import (
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
)

func table(paths ...dfs.Path) *Table {
	var mounts []*Mount
	for i, p := range paths {
		mounts = append(mounts, &Mount{ID: dfs.MountID(i + 1), Path: p})
	}
	return New(mounts)
}

func TestResolveFindsTheInnermost(t *testing.T) {
	tab := table("/a", "/a/b/c", "/z")
	for _, c := range []struct {
		p, mount dfs.Path
		rel      string
	}{
		{"/a", "/a", ""}, {"/a/x", "/a", "x"}, {"/a/b", "/a", "b"}, {"/a/b/c", "/a/b/c", ""}, {"/a/b/c/d/e", "/a/b/c", "d/e"},
		{"/ab", "", ""}, {"/", "", ""}, {"/z/y", "/z", "y"},
	} {
		m, rel := tab.Resolve(c.p)
		switch {
		case c.mount == "" && m != nil:
			t.Errorf("%s resolves to %s", c.p, m.Path)
		case c.mount != "" && (m == nil || m.Path != c.mount || rel != c.rel):
			t.Errorf("%s resolves to %v %q, want %s %q", c.p, m, rel, c.mount, c.rel)
		}
	}
	root := table("/")
	if m, rel := root.Resolve("/x/y"); m == nil || rel != "x/y" {
		t.Errorf("root mount: %v %q", m, rel)
	}
	if m, _ := New(nil).Resolve("/x"); m != nil {
		t.Error("an empty table resolved a path")
	}
}

func TestBelowAtByID(t *testing.T) {
	tab := table("/a", "/a/b", "/a/b/c", "/ab")
	if got := tab.Below("/a"); len(got) != 2 || got[0].Path != "/a/b" {
		t.Errorf("below /a: %v", got)
	}
	if tab.At("/a") == nil || tab.At("/x") != nil || tab.ByID(4).Path != "/ab" || tab.ByID(9) != nil || len(tab.All()) != 4 {
		t.Error("lookup")
	}
}

func TestEncodeAndRedact(t *testing.T) {
	m := &Mount{ID: 7, Path: "/m", URI: "s3://b", ReadOnly: true, SyncInterval: time.Minute,
		Options: map[string]string{"endpoint": "e", "secret_key": "hush", "access_key": "who", "session_token": "t"}}
	got, err := Decode(m.Encode())
	if err != nil || got.Options["secret_key"] != "hush" || got.SyncInterval != time.Minute || !got.ReadOnly || got.ID != 7 {
		t.Errorf("decoded %+v, %v", got, err)
	}
	red := m.Redacted()
	for _, k := range []string{"secret_key", "access_key", "session_token"} {
		if red[k] != "***" {
			t.Errorf("%s is shown: %q", k, red[k])
		}
	}
	if red["endpoint"] != "e" || m.Options["secret_key"] != "hush" {
		t.Error("redacting changed what is not secret, or the mount itself")
	}
	if _, err := Decode([]byte("{")); !dfs.IsKind(err, dfs.Corrupted) {
		t.Errorf("garbage: %v", err)
	}
}
