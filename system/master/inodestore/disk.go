package inodestore

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/forebay/forebay/system/dfs"
)

// fileSystem adds to the host's disk the steps that both drivers share.
type fileSystem struct{ vfs.FS }

// makeDir makes dir so that it survives a crash; its parents are there or are the caller's to sync.
func (f fileSystem) makeDir(dir string) error {
	if err := f.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return f.syncDir(f.PathDir(dir))
}

// syncDir makes the names in dir durable: a file that was synced and whose name was not is lost in a crash all the
// same.
func (f fileSystem) syncDir(dir string) error {
	d, err := f.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// writeFile writes a file and syncs it; its directory is the caller's to sync.
func (f fileSystem) writeFile(name string, data []byte) error {
	file, err := f.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// readFile reads a whole file.
// An error leaves the bytes that were read, which callers do not use.
func (f fileSystem) readFile(name string) ([]byte, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(file)
	return data, errors.Join(err, file.Close())
}

// cloneName makes a name that outlives the request it came in.
// A name from a request is a piece of the message's memory; kept in the cache it would keep all of the message.
func cloneName(name string) string { return strings.Clone(name) }

// diskError gives an error of Pebble or of the file system its kind. It returns nil for nil.
// A path is named even where Pebble's error names a file of its own: it is the directory that a person has to look at.
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

// openError is diskError for opening, where an unreadable file means a damaged store.
// Refusals of the system (no space, no permission, read-only) are not damage: the state is whole, and moving it away
// would be the wrong advice.
func openError(err error, dir string) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EROFS) {
		return diskError(err, "open inode store", dir)
	}
	return corruptedError("open inode store", dir, err)
}
