package inodestore

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/forebay/forebay/system/dfs"
)

// fileSystem adds to the host's disk the steps that both drivers share.
type fileSystem struct{ vfs.FS }

// asideSuffix names the state that a replacement has moved away but not removed yet.
const asideSuffix = ".replaced"

// replace puts the directory (or file) source in the place of current. A crash in the middle leaves one of the two for
// finishReplace to find.
func (f fileSystem) replace(current, source string) error {
	aside := current + asideSuffix
	if err := f.RemoveAll(aside); err != nil && !oserror.IsNotExist(err) {
		return err
	}
	if err := f.Rename(current, aside); err != nil {
		return err
	}
	if err := f.Rename(source, current); err != nil {
		return errors.Join(err, f.Rename(aside, current))
	}
	if err := f.syncDir(f.PathDir(current)); err != nil {
		return err
	}
	return f.RemoveAll(aside)
}

// finishReplace repairs what a crash within replace left.
func (f fileSystem) finishReplace(current string) error {
	aside := current + asideSuffix
	if _, err := f.Stat(aside); err != nil {
		return nil
	}
	if _, err := f.Stat(current); oserror.IsNotExist(err) {
		return f.Rename(aside, current)
	}
	return f.RemoveAll(aside)
}

// makeDir makes dir so that it survives a crash; its parents are there or are the caller's to sync.
func (f fileSystem) makeDir(dir string) error {
	if err := f.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return f.syncDir(f.PathDir(dir))
}

func (f fileSystem) syncDir(dir string) error {
	d, err := f.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readFile reads a whole file.
func (f fileSystem) readFile(name string) ([]byte, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(file)
	return data, errors.Join(err, file.Close())
}

// cloneName makes a name that outlives the request it came in.
func cloneName(name string) string { return strings.Clone(name) }

// diskError gives an error of Pebble or of the file system its kind. It returns nil for nil.
func diskError(err error, op, path string) error {
	switch {
	case err == nil:
		return nil
	case pebble.IsCorruptionError(err):
		return corruptedError(op, path, err)
	case errors.Is(err, syscall.ENOSPC):
		return &dfs.Error{Kind: dfs.NoSpace, Op: op, Path: path, Detail: "free space on this disk; " + err.Error(), Err: err}
	}
	return dfs.Wrap(err, op, path)
}

// corruptedError says what a person can do about a state that cannot be read.
func corruptedError(op, path string, cause any) error {
	return dfs.Errorf(dfs.Corrupted, op, path, "%s; the journal and its snapshots have this state too: move the directory "+
		"away and start again, and this member rebuilds it", fmt.Sprint(cause))
}

// openError is diskError for opening, where an unreadable file means a damaged store and a held lock another process.
func openError(err error, dir string) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "lock held") || errors.Is(err, syscall.EAGAIN):
		return dfs.Errorf(dfs.Unavailable, "open inode store", dir,
			"another process uses this directory: stop it, or give this master a directory of its own")
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EROFS):
		return diskError(err, "open inode store", dir)
	}
	return corruptedError("open inode store", dir, err)
}
