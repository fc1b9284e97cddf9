package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/forebay/forebay/system/dfs"
)

// TestErrnoKinds: each errno has its kind through whatever wraps it, says its remedy and where it happened, and stays in the
// chain; what is in no row is UnderStore, which nobody repeats.
func TestErrnoKinds(t *testing.T) {
	for errno, want := range map[syscall.Errno]dfs.Kind{
		syscall.ENOENT: dfs.NotFound, syscall.EEXIST: dfs.AlreadyExists, syscall.ENOTDIR: dfs.NotDirectory, syscall.EISDIR: dfs.IsDirectory,
		syscall.ENOTEMPTY: dfs.NotEmpty, syscall.EACCES: dfs.PermissionDenied, syscall.EPERM: dfs.PermissionDenied, syscall.EROFS: dfs.ReadOnly,
		syscall.ENOSPC: dfs.NoSpace, syscall.EDQUOT: dfs.NoSpace, syscall.EFBIG: dfs.NoSpace, syscall.ENAMETOOLONG: dfs.NameTooLong,
		syscall.ELOOP: dfs.PermissionDenied, syscall.EXDEV: dfs.CrossMount, syscall.ESTALE: dfs.Unavailable, syscall.ETIMEDOUT: dfs.Unavailable,
		syscall.EBUSY: dfs.Unavailable, syscall.EINTR: dfs.Unavailable, syscall.EMFILE: dfs.ResourceExhausted, syscall.ENFILE: dfs.ResourceExhausted,
		syscall.EIO: dfs.UnderStore, syscall.EINVAL: dfs.UnderStore, syscall.ENXIO: dfs.UnderStore,
	} {
		for form, err := range map[string]error{
			"bare": errno, "of a path": &fs.PathError{Op: "openat", Path: "/secret/place", Err: errno},
			"wrapped": fmt.Errorf("copying: %w", &os.SyscallError{Syscall: "write", Err: errno}),
		} {
			got := convert(err, "write", "dir/o")
			var e *dfs.Error
			if !errors.As(got, &e) || e.Kind != want || e.Op != "write" || e.Path != "dir/o" || !errors.Is(got, errno) || !strings.Contains(e.Detail, errno.Error()) {
				t.Errorf("%v %s: %#v, want %v", errno, form, got, want)
			}
			if form == "of a path" && strings.Contains(e.Detail, "/secret/place") {
				t.Errorf("%v: %q names the path twice", errno, e.Detail)
			}
			if again := convert(got, "read", "another"); again != got {
				t.Errorf("%v: converted twice it is %v", errno, again)
			}
		}
	}
	if err := convert(nil, "write", "o"); err != nil {
		t.Errorf("nil became %v", err)
	}
}

// TestEscapeIsDenied: what os.Root says of a link that leads out is recognized, though it exports no error for it.
func TestEscapeIsDenied(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	if err := root.Symlink("../..", "out"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"out/x", "../x"} {
		_, err := root.Open(path)
		if err == nil {
			t.Fatalf("%s opened", path)
		}
		if got := convert(err, "open", path); !dfs.IsKind(got, dfs.PermissionDenied) || !strings.Contains(got.Error(), "symbolic link") {
			t.Errorf("%s: %v", path, got)
		}
	}
}
