package raftjournal

import (
	"errors"
	"io"
	"slices"
	"syscall"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft-wal/types"

	"github.com/forebay/forebay/system/dfs"
)

// diskError gives an error of the log or of the file system its kind. It returns nil for nil.
// NoSpace and Unavailable pass by themselves once the disk has room or works again: callers retry.
func diskError(err error, op, path string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return &dfs.Error{Kind: dfs.NoSpace, Op: op, Path: path, Err: err,
			Detail: "the journal's disk is full: free space on it, and writes go on by themselves; " + err.Error()}
	// An error of ours knows its kind and its path better than this caller does.
	case dfs.KindOf(err) != dfs.Unknown:
		return err
	}
	return &dfs.Error{Kind: dfs.Unavailable, Op: op, Path: path, Detail: err.Error(), Err: err}
}

// corruptedError says what a person can do about a directory that cannot be read.
func corruptedError(op, dir, format string, args ...any) error {
	e := dfs.Errorf(dfs.Corrupted, op, dir, format, args...)
	e.Detail += "; with other members in the quorum: remove this one from it, move its directory and its state away, and " +
		"add it again; alone: restore both from a backup"
	return e
}

// fileSystem adds a few steps to the host's disk.
type fileSystem struct{ vfs.FS }

// syncDir makes the names in a directory durable: a file that was made or renamed there is found after a crash.
func (f fileSystem) syncDir(dir string) error {
	d, err := f.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// exists takes an error for absence: its callers make the file then, which fails with the reason.
func (f fileSystem) exists(name string) bool {
	_, err := f.Stat(name)
	return err == nil
}

// readFile reads a small file whole; the journal's own are at most a few kilobytes.
func (f fileSystem) readFile(name string) ([]byte, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(file)
	return data, errors.Join(err, file.Close())
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

// walk calls each for every file below dir, in order of names, with its path relative to dir.
func (f fileSystem) walk(dir, prefix string, each func(rel string, size int64) error) error {
	names, err := f.List(f.PathJoin(dir, prefix))
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		rel := name
		if prefix != "" {
			rel = prefix + "/" + name
		}
		info, err := f.Stat(f.PathJoin(dir, rel))
		if err != nil {
			return err
		}
		if info.IsDir() {
			err = f.walk(dir, rel, each)
		} else {
			err = each(rel, info.Size())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// linkTree makes the new directory to with the files of from, hard links where the file system has them.
// An error leaves what was made: to has a temporary name, and the next start removes it.
func (f fileSystem) linkTree(from, to string) error {
	if err := f.MkdirAll(to, 0o755); err != nil {
		return err
	}
	return f.walk(from, "", func(rel string, _ int64) error {
		name := f.PathJoin(to, rel)
		if err := f.MkdirAll(f.PathDir(name), 0o755); err != nil {
			return err
		}
		return vfs.LinkOrCopy(f.FS, f.PathJoin(from, rel), name)
	})
}

// segmentFS is the host's disk as raft-wal wants it.
type segmentFS struct{ fs fileSystem }

var _ types.VFS = segmentFS{}

// ListDir implements types.VFS.
func (s segmentFS) ListDir(dir string) ([]string, error) {
	names, err := s.fs.List(dir)
	slices.Sort(names)
	return names, err
}

// Create implements types.VFS. The file gets its space here, so that a full disk is met when a segment begins and not in
// the middle of it.
func (s segmentFS) Create(dir, name string, size uint64) (types.WritableFile, error) {
	path := s.fs.PathJoin(dir, name)
	if s.fs.exists(path) {
		return nil, oserror.ErrExist
	}
	f, err := s.fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	// The batch that fills a segment may still reach beyond its size (raft-wal seals behind it, with an index of 4 bytes an
	// entry), so a full disk can be met there, too; tail.go settles what that leaves.
	if err := preallocate(f, int64(size)); err != nil {
		return nil, errors.Join(err, f.Close(), s.fs.Remove(path))
	}
	made, err := newSegmentFile(f, s.fs, dir)
	if err != nil { // else the name would stay taken
		return nil, errors.Join(err, s.fs.Remove(path))
	}
	return made, nil
}

// Delete implements types.VFS.
// It is durable when it returns, since raft-wal has taken the segment off its list by then and would not look for
// it again.
func (s segmentFS) Delete(dir, name string) error {
	if err := s.fs.Remove(s.fs.PathJoin(dir, name)); err != nil {
		return err
	}
	return s.fs.syncDir(dir)
}

// OpenReader implements types.VFS.
func (s segmentFS) OpenReader(dir, name string) (types.ReadableFile, error) {
	return s.fs.Open(s.fs.PathJoin(dir, name))
}

// OpenWriter implements types.VFS.
func (s segmentFS) OpenWriter(dir, name string) (types.WritableFile, error) {
	path := s.fs.PathJoin(dir, name)
	if _, err := s.fs.Stat(path); err != nil { // OpenReadWrite would make it
		return nil, err
	}
	f, err := s.fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	return newSegmentFile(f, s.fs, dir)
}
