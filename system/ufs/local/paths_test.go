package local_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/ufstest"
)

// everyOperation calls each operation on path and gives their errors by name.
func everyOperation(ctx context.Context, s ufs.Store, path string) map[string]error {
	errs := map[string]error{}
	_, errs["stat"] = s.Stat(ctx, path)
	for _, err := range s.List(ctx, path, "") {
		errs["list"] = err
	}
	r, err := s.Open(ctx, path, 0, 10)
	if errs["open"] = err; err == nil {
		_, errs["read"] = io.ReadAll(r)
		_ = r.Close()
	}
	w, err := s.Create(ctx, path, 0o644)
	if errs["create"] = err; err == nil {
		_, errs["write"] = w.Write([]byte("x"))
		_, errs["commit"] = w.Commit(ctx)
		w.Abort()
	}
	errs["mkdir"] = s.Mkdir(ctx, path, 0o755)
	errs["remove"] = s.Remove(ctx, path)
	errs["rename from"] = s.Rename(ctx, path, "x")
	errs["rename to"] = s.Rename(ctx, "x", path)
	setter, _ := ufs.As[ufs.AttrSetter](s)
	mode := uint32(0o600)
	errs["set"] = setter.SetAttr(ctx, path, &mode, nil, nil, nil)
	return errs
}

// FuzzPaths: whatever a path is, no operation touches anything outside of the root, or a name that is Forebay's own.
func FuzzPaths(f *testing.F) {
	for _, path := range []string{"", "a", "a/b", "../secret", "a/../../secret", "/etc/passwd", ".", "..", "a//b", "a/", "/", "a\x00b", "\xff",
		"...", "a/./b", "link/secret", "linkdir/x", strings.Repeat("x", 300), strings.Repeat("d/", 600) + "x", ufs.TempPrefix + "1", "a\\..\\..", " ", "é"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		top := t.TempDir()
		root := filepath.Join(top, "root")
		must(t, os.MkdirAll(root, 0o755))
		must(t, os.WriteFile(filepath.Join(top, "secret"), []byte("secret"), 0o600))
		must(t, os.MkdirAll(filepath.Join(top, "outside"), 0o700))
		must(t, os.Symlink("../secret", filepath.Join(root, "link")))
		must(t, os.Symlink(filepath.Join(top, "outside"), filepath.Join(root, "linkdir")))
		s := open(t, root)
		ufstest.Put(t.Context(), t, s, "x", []byte("x"))
		everyOperation(t.Context(), s, path)
		names, err := os.ReadDir(top)
		must(t, err)
		secret, err := os.ReadFile(filepath.Join(top, "secret"))
		must(t, err)
		outside, err := os.ReadDir(filepath.Join(top, "outside"))
		must(t, err)
		info, err := os.Stat(filepath.Join(top, "secret"))
		must(t, err)
		if len(names) != 3 || string(secret) != "secret" || len(outside) != 0 || info.Mode().Perm() != 0o600 {
			t.Errorf("path %q: beside the root are %v, the secret is %q with mode %v, outside %v", path, names, secret, info.Mode(), outside)
		}
	})
}

// TestSwappedLinks: while a directory is replaced by a link that leads out, over and over, writes below it go into the root
// or fail; none goes out.
func TestSwappedLinks(t *testing.T) {
	top := t.TempDir()
	root, outside := filepath.Join(top, "root"), filepath.Join(top, "outside")
	must(t, os.MkdirAll(filepath.Join(root, "d"), 0o755))
	must(t, os.MkdirAll(outside, 0o755))
	must(t, os.Symlink(outside, filepath.Join(root, "evil")))
	s := open(t, root)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			_ = os.Rename(filepath.Join(root, "d"), filepath.Join(root, "kept"))
			_ = os.Rename(filepath.Join(root, "evil"), filepath.Join(root, "d"))
			_ = os.Rename(filepath.Join(root, "d"), filepath.Join(root, "evil"))
			_ = os.Rename(filepath.Join(root, "kept"), filepath.Join(root, "d"))
		}
	})
	for i := range 300 {
		if w, err := s.Create(t.Context(), fmt.Sprintf("d/sub%d/o", i%7), 0o644); err == nil {
			_, _ = w.Write([]byte("x"))
			_, _ = w.Commit(t.Context())
			w.Abort()
		}
	}
	close(stop)
	wg.Wait()
	if names, err := os.ReadDir(outside); err != nil || len(names) != 0 {
		t.Errorf("written outside of the root: %v, %v", names, err)
	}
}

// TestCanceledCallers: every operation of a caller that has given up says so, and changes nothing.
func TestCanceledCallers(t *testing.T) {
	s := open(t, t.TempDir())
	ufstest.Put(t.Context(), t, s, "x", []byte("content"))
	ctx, cancel := context.WithCancel(t.Context())
	r, err := s.Open(ctx, "x", 0, 7)
	must(t, err)
	defer func() { _ = r.Close() }()
	w, err := s.Create(ctx, "y", 0o644)
	must(t, err)
	defer w.Abort()
	cancel()
	errs := everyOperation(ctx, s, "x")
	_, errs["read"] = r.Read(make([]byte, 5))
	_, errs["write"] = w.Write([]byte("y"))
	_, errs["commit"] = w.Commit(ctx)
	for name, err := range errs {
		if !dfs.IsKind(err, dfs.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := list(t, s, ""); len(got) != 1 || got["x"].Size != 7 {
		t.Errorf("afterwards %v", got)
	}
}

// TestAttributes sets each attribute alone and all at once, by name and by number, and reads them back.
func TestAttributes(t *testing.T) {
	s := open(t, t.TempDir())
	ufstest.Put(t.Context(), t, s, "o", []byte("content"))
	me, err := user.Current()
	must(t, err)
	group, err := user.LookupGroupId(me.Gid)
	must(t, err)
	mode, when := uint32(0o6751), time.Unix(1_600_000_000, 123_000_000)
	unknown := "no such user on any machine"
	for _, test := range []struct {
		name         string
		mode         *uint32
		owner, group *string
		modTime      *time.Time
		kind         dfs.Kind
	}{
		{name: "nothing"},
		{name: "owner by name", owner: &me.Username},
		{name: "owner by number", owner: &me.Uid},
		{name: "group by name", group: &group.Name},
		{name: "group by number", group: &me.Gid},
		{name: "mode", mode: &mode},
		{name: "time", modTime: &when},
		{name: "unknown owner", owner: &unknown, kind: dfs.InvalidArgument},
		{name: "unknown group", group: &unknown, kind: dfs.InvalidArgument},
	} {
		before, err := s.Stat(t.Context(), "o")
		must(t, err)
		err = s.SetAttr(t.Context(), "o", test.mode, test.owner, test.group, test.modTime)
		if test.kind != 0 && !dfs.IsKind(err, test.kind) || test.kind == 0 && err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		want := before
		if test.mode != nil {
			want.Mode = *test.mode
		}
		if test.modTime != nil {
			want.ModTime = *test.modTime
		}
		got, err := s.Stat(t.Context(), "o")
		must(t, err)
		if got.Owner != me.Username || got.Group != group.Name || got.Mode&0o777 != want.Mode&0o777 || !got.ModTime.Equal(want.ModTime) {
			t.Errorf("%s: %+v, want %+v", test.name, got, want)
		}
		if test.mode != nil && got.Mode != mode {
			t.Errorf("mode %o, want %o", got.Mode, mode)
		}
	}
	if err := s.SetAttr(t.Context(), "missing", &mode, nil, nil, nil); !dfs.IsKind(err, dfs.NotFound) {
		t.Errorf("of a missing file: %v", err)
	}
}

// TestRepeatedCommit: a commit whose directory could not be synced may be repeated, and finds its rename done; it never
// replaces what another writer has put there since.
func TestRepeatedCommit(t *testing.T) {
	s := open(t, t.TempDir())
	w, err := s.Create(t.Context(), "d/o", 0o640)
	must(t, err)
	_, err = w.Write([]byte("content"))
	must(t, err)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Commit(ended); !dfs.IsKind(err, dfs.Canceled) {
		t.Errorf("a caller that gave up: %v", err)
	}
	e, err := w.Commit(t.Context())
	if err != nil || e.Size != 7 || e.Name != "o" {
		t.Fatalf("%+v, %v", e, err)
	}
	if _, err := w.Commit(t.Context()); !dfs.IsKind(err, dfs.InvalidArgument) {
		t.Errorf("a second commit: %v", err)
	}
	ufstest.Put(t.Context(), t, s, "d/o", []byte("another"))
	w.Abort()
	if got := ufstest.Get(t.Context(), t, s, "d/o", 0, 100); string(got) != "another" {
		t.Errorf("an abort behind the commit left %q", got)
	}
}
