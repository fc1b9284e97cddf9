package local_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/local"
	"github.com/forebay/forebay/system/ufs/mem"
	"github.com/forebay/forebay/system/ufs/ufstest"
)

func open(t *testing.T, dir string) *local.Store {
	t.Helper()
	s, err := local.Open(host.NewReal(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestConformance holds the driver to ufs.Store's contract on a real directory.
func TestConformance(t *testing.T) {
	ufstest.Run(t, func(t *testing.T) ufs.Store { return open(t, t.TempDir()) }, ufstest.Options{BigObjectBytes: 9 << 20,
		Model: func() ufs.Store { return mem.New(host.NewReal()) }})
}

// TestOpenErrors checks that a wrong root is explained when the store is opened.
func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o644))
	for _, test := range []struct {
		dir  string
		kind dfs.Kind
		word string
	}{
		{filepath.Join(dir, "missing"), dfs.NotFound, "make it"},
		{file, dfs.NotDirectory, "mount the one"},
		{"relative/path", dfs.InvalidArgument, "absolute"},
	} {
		_, err := local.Open(host.NewReal(), test.dir)
		if !dfs.IsKind(err, test.kind) || !strings.Contains(err.Error(), test.word) {
			t.Errorf("open %q: %v, want %v with %q", test.dir, err, test.kind, test.word)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func list(t *testing.T, s ufs.Store, dir string) map[string]ufs.Entry {
	t.Helper()
	entries := map[string]ufs.Entry{}
	for e, err := range s.List(t.Context(), dir, "") {
		must(t, err)
		entries[e.Name] = e
	}
	return entries
}

// TestSymlinks checks that no link leads out of the root, in any operation, and that a walk of links ends.
func TestSymlinks(t *testing.T) {
	top := t.TempDir()
	root := filepath.Join(top, "root")
	must(t, os.MkdirAll(filepath.Join(root, "dir/deep"), 0o755))
	must(t, os.WriteFile(filepath.Join(top, "secret"), []byte("secret"), 0o644))
	must(t, os.MkdirAll(filepath.Join(top, "outside"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "dir/file"), []byte("inside"), 0o644))
	for name, target := range map[string]string{
		"good": "dir/file", "gooddir": "dir", "out": "../secret", "abs": filepath.Join(top, "secret"),
		"outdir": "../outside", "dangling": "nowhere", "self": "self", "dir/deep/up": "../..", "dir/deep/back": "../../dir/file",
	} {
		must(t, os.Symlink(target, filepath.Join(root, name)))
	}
	s := open(t, root)
	ctx := t.Context()
	if got := string(ufstest.Get(ctx, t, s, "good", 0, 100)); got != "inside" {
		t.Errorf("a link inside reads %q", got)
	}
	for _, path := range []string{"out", "abs", "outdir/x", "outdir"} {
		if _, err := s.Open(ctx, path, 0, 10); !dfs.IsKind(err, dfs.PermissionDenied) {
			t.Errorf("open %q: %v", path, err)
		}
	}
	if w, err := s.Create(ctx, "outdir/new", 0o644); err == nil {
		w.Abort()
		t.Error("a file was made through a link out of the root")
	}
	if err := s.Mkdir(ctx, "outdir/new", 0o755); !dfs.IsKind(err, dfs.PermissionDenied) {
		t.Errorf("mkdir through a link out of the root: %v", err)
	}
	if err := s.Rename(ctx, "dir/file", "outdir/new"); err == nil {
		t.Error("a file was moved through a link out of the root")
	}
	got := list(t, s, "")
	if len(got) != 6 || got["good"].Size != 6 || !got["gooddir"].Dir || got["out"].Size != 0 || got["outdir"].Dir {
		t.Errorf("listed %+v", got)
	}
	if deep := list(t, s, "dir/deep"); len(deep) != 1 || deep["back"].Size != 6 {
		t.Errorf("dir/deep lists %+v", deep)
	}
	if s.Skipped() != 3 { // dangling, self, up
		t.Errorf("skipped %d, want 3", s.Skipped())
	}
}

// TestSpecialFiles checks that pipes and odd names are left out and counted, and that opening a pipe does not hang.
func TestSpecialFiles(t *testing.T) {
	root := t.TempDir()
	must(t, syscall.Mkfifo(filepath.Join(root, "pipe"), 0o644))
	must(t, os.WriteFile(filepath.Join(root, "bad\xff"), nil, 0o644))
	must(t, os.WriteFile(filepath.Join(root, "good"), nil, 0o644))
	s := open(t, root)
	if got := list(t, s, ""); len(got) != 1 || s.Skipped() != 2 {
		t.Errorf("listed %v, skipped %d", got, s.Skipped())
	}
	if _, err := s.Open(t.Context(), "pipe", 0, 1); !dfs.IsKind(err, dfs.UnsupportedFeature) {
		t.Errorf("open of a pipe: %v", err)
	}
	if _, err := s.Stat(t.Context(), "pipe"); !dfs.IsKind(err, dfs.UnsupportedFeature) {
		t.Errorf("stat of a pipe: %v", err)
	}
}

// TestTemporaryFiles checks that they are hidden, that a fresh one stays, and that a day-old one goes.
func TestTemporaryFiles(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	w, err := s.Create(t.Context(), "dir/o", 0o644)
	must(t, err)
	defer w.Abort()
	stale := filepath.Join(root, "dir", ufs.TempPrefix+"1-1-0")
	must(t, os.WriteFile(stale, []byte("left by a crash"), 0o600))
	old := time.Now().Add(-25 * time.Hour)
	must(t, os.Chtimes(stale, old, old))
	if got := list(t, s, "dir"); len(got) != 0 {
		t.Errorf("listed %v", got)
	}
	names, err := os.ReadDir(filepath.Join(root, "dir"))
	must(t, err)
	if len(names) != 1 || names[0].Name() == filepath.Base(stale) {
		t.Errorf("left: %v", names)
	}
}

// TestModes checks that modes pass the umask and come back.
func TestModes(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	w, err := s.Create(t.Context(), "o", 0o666)
	must(t, err)
	e, err := w.Commit(t.Context())
	must(t, err)
	must(t, s.Mkdir(t.Context(), "d", 0o1777))
	d, err := s.Stat(t.Context(), "d")
	must(t, err)
	if again, _ := s.Stat(t.Context(), "o"); again.Mode != 0o666 || d.Mode != 0o1777 || again.Fingerprint != e.Fingerprint {
		t.Errorf("file %+v, directory %+v", again, d)
	}
}

// TestDiskFull checks the kind that a full disk answers, on a small tmpfs (which takes root to mount).
func TestDiskFull(t *testing.T) {
	root := t.TempDir()
	if err := syscall.Mount("tmpfs", root, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("cannot mount a small tmpfs: %v", err)
	}
	defer func() { _ = syscall.Unmount(root, syscall.MNT_DETACH) }()
	s := open(t, root)
	w, err := s.Create(t.Context(), "o", 0o644)
	must(t, err)
	_, err = w.Write(make([]byte, 1<<20))
	if !dfs.IsKind(err, dfs.NoSpace) {
		t.Errorf("write to a full disk: %v", err)
	}
	w.Abort()
	if got := list(t, s, ""); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
	if err := syscall.Mount("", root, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(context.Background(), "o", 0o644); !dfs.IsKind(err, dfs.ReadOnly) {
		t.Errorf("create on a read-only disk: %v", err)
	}
	if err := s.Mkdir(context.Background(), "d", 0o755); !dfs.IsKind(err, dfs.ReadOnly) {
		t.Errorf("mkdir on a read-only disk: %v", err)
	}
}

// TestRemoveDirectoryWithWriters: a directory that looks empty goes, also while writers have temporary files in it; their
// commits fail. One with a real entry stays, and its writers go on.
func TestRemoveDirectoryWithWriters(t *testing.T) {
	dir := t.TempDir()
	s, err := local.Open(host.NewReal(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for _, entry := range []bool{false, true} {
		w, err := s.Create(ctx, "d/f", 0o644)
		if err != nil {
			t.Fatal(err)
		}
		if entry {
			ufstest.Put(ctx, t, s, "d/real", []byte("x"))
		}
		removed := s.Remove(ctx, "d")
		_, committed := w.Commit(ctx)
		w.Abort()
		if entry && (!dfs.IsKind(removed, dfs.NotEmpty) || committed != nil) {
			t.Errorf("with an entry: removed %v, committed %v", removed, committed)
		}
		if !entry && (removed != nil || committed == nil) {
			t.Errorf("with a temporary file alone: removed %v, committed %v", removed, committed)
		}
	}
}
