package local

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"github.com/forebay/forebay/system/dfs"
)

// kinds maps what the kernel says to what a caller can do about it.
// The order matters only where one errno equals another on some system. ESTALE and EBUSY are worth a retry: the path is
// looked up anew, and what is in use will not be for ever. EIO is not in the table: a disk that cannot be read is
// UnderStore at once.
var kinds = []struct {
	errno  syscall.Errno
	kind   dfs.Kind
	remedy string
}{
	{syscall.ENOENT, dfs.NotFound, ""},
	{syscall.EEXIST, dfs.AlreadyExists, ""},
	{syscall.ENOTDIR, dfs.NotDirectory, "a component on the way is a file"},
	{syscall.EISDIR, dfs.IsDirectory, "it is a directory"},
	{syscall.ENOTEMPTY, dfs.NotEmpty, "remove its entries first"},
	{syscall.EACCES, dfs.PermissionDenied, "let the user that runs this process read and write it"},
	{syscall.EPERM, dfs.PermissionDenied, "let the user that runs this process read and write it"},
	{syscall.EROFS, dfs.ReadOnly, "the disk is mounted read-only"},
	{syscall.ENOSPC, dfs.NoSpace, "free space or inodes on the disk"},
	{syscall.EDQUOT, dfs.NoSpace, "the user's disk quota is used up"},
	{syscall.EFBIG, dfs.NoSpace, "the file system cannot hold a file of this size"},
	{syscall.ENAMETOOLONG, dfs.NameTooLong, "the file system has a lower limit on names"},
	{syscall.ELOOP, dfs.PermissionDenied, "symbolic links lead in a circle"},
	{syscall.EXDEV, dfs.CrossMount, "another file system is mounted there: copy instead"},
	{syscall.ESTALE, dfs.Unavailable, "the NFS server has another file there now"},
	{syscall.ETIMEDOUT, dfs.Unavailable, "the file server does not answer"},
	{syscall.EHOSTDOWN, dfs.Unavailable, "the file server does not answer"},
	{syscall.EBUSY, dfs.Unavailable, "it is in use"},
	{syscall.EINTR, dfs.Unavailable, ""},
	{syscall.EMFILE, dfs.ResourceExhausted, "raise the limit on open files (ulimit -n)"},
	{syscall.ENFILE, dfs.ResourceExhausted, "raise the machine's limit on open files (fs.file-max)"},
}

// convert makes a dfs.Error of what the operating system answered. It returns nil for nil.
// An error that is ours already keeps its kind, whatever op and path this caller would add.
func convert(err error, op, path string) error {
	if err == nil {
		return nil
	}
	var already *dfs.Error
	if errors.As(err, &already) {
		return err
	}
	kind, remedy := classify(err)
	detail := cause(err)
	if remedy != "" {
		detail += ": " + remedy
	}
	return &dfs.Error{Kind: kind, Op: op, Path: path, Detail: detail, Err: err}
}

// classify looks the errno up, through whatever wraps it; what is in no row is UnderStore, which nothing repeats.
func classify(err error) (dfs.Kind, string) {
	for _, k := range kinds {
		if errors.Is(err, k.errno) {
			return k.kind, k.remedy
		}
	}
	// os.Root has no exported error for this one.
	if strings.Contains(err.Error(), "path escapes from parent") {
		return dfs.PermissionDenied, "a symbolic link leads out of the mount's root; links out of it are not followed"
	}
	return dfs.UnderStore, ""
}

// cause is the error without the path that os puts in front, since ours has it.
func cause(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}
