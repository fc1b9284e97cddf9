package mounttable

import (
	"math/rand/v2"
	"strings"
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

// TestTableAgainstPrefixes: Resolve and Below, for random mounts and paths, against a search through all of them.
func TestTableAgainstPrefixes(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 4))
		path := func() dfs.Path {
			p := dfs.Root
			for range rng.IntN(4) {
				p = p.Join([]string{"a", "ab", "b"}[rng.IntN(3)])
			}
			return p
		}
		seen := map[dfs.Path]bool{}
		var paths []dfs.Path
		for range rng.IntN(6) {
			if p := path(); !seen[p] {
				seen[p] = true
				paths = append(paths, p)
			}
		}
		tab := table(paths...)
		for range 100 {
			p := path()
			var innermost dfs.Path
			below := 0
			for _, m := range paths {
				if p == m || m.IsRoot() || strings.HasPrefix(string(p), string(m)+"/") {
					if len(m) > len(innermost) {
						innermost = m
					}
				}
				if m != p && (p.IsRoot() || strings.HasPrefix(string(m), string(p)+"/")) {
					below++
				}
			}
			m, rel := tab.Resolve(p)
			if (m == nil) != (innermost == "") || m != nil && m.Path != innermost {
				t.Fatalf("seed %d: %s in %v is in %v, want %q", seed, p, paths, m, innermost)
			}
			if m != nil && m.Path.Join(rel) != p && rel != "" {
				t.Fatalf("seed %d: %s is %q below %s", seed, p, rel, m.Path)
			}
			if got := len(tab.Below(p)); got != below {
				t.Fatalf("seed %d: %d mounts below %s, want %d", seed, got, p, below)
			}
			if at := tab.At(p); (at != nil) != seen[p] {
				t.Fatalf("seed %d: at %s: %v", seed, p, at)
			}
		}
	}
}

// TestSecretsAreKnownByName: options of every driver that carry a secret, in any case, and none that people need to see.
func TestSecretsAreKnownByName(t *testing.T) {
	for _, key := range []string{"secret_key", "SecretAccessKey", "AWS_SECRET", "password", "db.Password", "session_token", "access_key_id", "accessKeyID", "credentials"} {
		if !IsSecret(key) {
			t.Errorf("%s would be shown", key)
		}
	}
	for _, key := range []string{"endpoint", "region", "bucket", "path_style", "key_prefix", ""} {
		if IsSecret(key) {
			t.Errorf("%s would be hidden", key)
		}
	}
	m := &Mount{Options: map[string]string{"password": "p", "region": "r"}}
	if got := m.Redacted(); got["password"] != "***" || got["region"] != "r" || m.Options["password"] != "p" {
		t.Errorf("redacted %v, and the mount has %v", got, m.Options)
	}
	if got := (&Mount{}).Redacted(); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

// FuzzDecode: any bytes are safe, and what they give is written as it was read.
func FuzzDecode(f *testing.F) {
	f.Add((&Mount{ID: 3, Path: "/m", URI: "s3://b", ReadOnly: true, Options: map[string]string{"region": "x"}, SyncInterval: -1}).Encode())
	f.Add([]byte(`{"ID":-1}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			if !dfs.IsKind(err, dfs.Corrupted) {
				t.Errorf("kind of %v", err)
			}
			return
		}
		again, err := Decode(m.Encode())
		if err != nil || again.Path != m.Path || again.URI != m.URI || again.ID != m.ID || len(again.Options) != len(m.Options) {
			t.Errorf("%+v became %+v, %v", m, again, err)
		}
	})
}
