// Package local is the under store on a directory of this machine: a disk, or NFS that is mounted. It owns nothing but
// the temporary files of its writers. The directory is its root, and no path or symbolic link leads out of it (os.Root).
//
// A write goes to a temporary file beside its target, is synced, renamed over it, and its directory is synced: after
// Commit the object survives a power cut, before it nothing is visible. Temporary files that a crash left are removed
// by a listing that meets them a day later. Of special files (pipes, devices, sockets) and names that are not UTF-8
// listings say nothing but a count.
//
// # What is durable when
//
//	Create   nothing
//	Commit   the content, its name, and every parent directory that Create made
//	Mkdir    the directory and its parents
//	Rename   both directories' entries
//	Remove   nothing: a crash may bring an object back, which a metadata sync would find again
//
// # Paths and links
//
// Paths are checked by their text before the disk is asked (ufs.CheckPath: no "..", no empty names), and by os.Root
// when it is: each component is opened from the one before, so that a link which is put there in between leads nowhere
// else. Links that stay inside the root are followed, for reading too; those that lead out are shown as empty files
// that nobody may read.
//
// # What a crash leaves
//
// Temporary files, which no listing shows. A rename in the file system is one step, so there is no half of one to
// settle. On NFS the server may have done a step of which the client did not hear; Commit looks whether its rename took
// place before it gives up, and Retry settles Remove and Rename.
package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/ufs"
)

// Store is one directory tree.
// It keeps one descriptor, of its root, and one more for each stream that is open. Nothing of the tree is remembered
// between calls except the names of users and groups: others may change it at any time, and NFS has caches of its own.
type Store struct {
	h       host.Host
	root    *os.Root
	dir     string
	names   idNames
	skipped atomic.Int64
	temps   atomic.Uint64 // makes temporary names of this store differ
}

// Open opens the store whose root is dir, an absolute path of an existing directory.
func Open(h host.Host, dir string) (*Store, error) {
	const op = "open under store"
	if !filepath.IsAbs(dir) {
		return nil, dfs.Errorf(dfs.InvalidArgument, op, dir, "give an absolute path, or file:///path")
	}
	info, err := os.Stat(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, dfs.Errorf(dfs.NotFound, op, dir, "no such directory on this machine: make it (on every master and "+
			"worker: a local under store must be one shared directory), or correct the mount's URI")
	}
	if err != nil {
		return nil, convert(err, op, dir)
	}
	if !info.IsDir() {
		return nil, dfs.Errorf(dfs.NotDirectory, op, dir, "an under store is a directory: mount the one that holds this file")
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, convert(err, op, dir)
	}
	return &Store{h: h, root: root, dir: dir}, nil
}

// Close implements ufs.Store.
// Streams that are open go on: they have descriptors of their own.
func (s *Store) Close() error { return convert(s.root.Close(), "close", s.dir) }

// Skipped implements ufs.SkipCounter.
func (s *Store) Skipped() int64 { return s.skipped.Load() }

// native is the path as os.Root takes it.
// "" would be refused by it; everything else is taken as it stands.
func native(path string) string {
	if path == "" {
		return "."
	}
	return path
}

// begin checks what every operation checks first.
// It does not touch the disk, so what is wrong with a path is said even while a file server hangs.
func begin(ctx context.Context, op, path string) error {
	if err := ufs.CheckPath(op, path); err != nil {
		return err
	}
	return dfs.Wrap(ctx.Err(), op, path)
}

// Stat implements ufs.Store. It follows symbolic links inside the root.
func (s *Store) Stat(ctx context.Context, path string) (ufs.Entry, error) {
	if err := begin(ctx, "stat", path); err != nil {
		return ufs.Entry{}, err
	}
	info, err := s.root.Stat(native(path))
	if err != nil {
		return ufs.Entry{}, convert(err, "stat", path)
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return ufs.Entry{}, special("stat", path)
	}
	_, name := ufs.Split(path)
	return s.entry(name, info), nil
}

// special is for what must not be opened: a pipe would wait for its other end, and a device may act when it is
// read.
func special(op, path string) error {
	return dfs.Errorf(dfs.UnsupportedFeature, op, path, "it is a pipe, device or socket: only files and directories are served")
}

// entry describes info, a regular file or a directory.
func (s *Store) entry(name string, info os.FileInfo) ufs.Entry {
	e := ufs.Entry{Name: name, Dir: info.IsDir(), ModTime: info.ModTime(), Mode: unixMode(info.Mode())}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		e.Owner, e.Group = s.names.user(st.Uid), s.names.group(st.Gid)
	}
	if !e.Dir {
		e.Size = info.Size()
		e.Fingerprint = fingerprint(info)
	}
	return e
}

// fingerprint is size, modification time and inode: what tells one content from the next without reading it.
// Two changes within one tick of the file system's clock that keep the size are not told apart; a file that replaces another usually has another inode.
func fingerprint(info os.FileInfo) string {
	inode := uint64(0)
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		inode = st.Ino
	}
	return fmt.Sprintf("%x-%x-%x", info.Size(), info.ModTime().UnixNano(), inode)
}

// Remove implements ufs.Store.
// Remove takes a file, a link (itself, not what it leads to) or a directory that looks empty.
func (s *Store) Remove(ctx context.Context, path string) error {
	if err := begin(ctx, "remove", path); err != nil {
		return err
	}
	if path == "" {
		return dfs.Errorf(dfs.InvalidArgument, "remove", path, "the root stays: unmount the store instead")
	}
	err := convert(s.root.Remove(path), "remove", path)
	if !dfs.IsKind(err, dfs.NotEmpty) || !s.removeTemps(path) {
		return err
	}
	return convert(s.root.Remove(path), "remove", path)
}

// removeTemps clears a directory that looks empty, since temporary files are not listed, of what writers have begun in it.
// Who removes a directory removes these too: a writer that still runs fails at its commit, as if it had come later. It
// returns false when there is anything else.
func (s *Store) removeTemps(dir string) bool {
	f, err := s.root.Open(native(dir))
	if err != nil {
		return false
	}
	names, err := f.Readdirnames(-1)
	_ = f.Close() // it was only read
	if err != nil {
		return false
	}
	for _, name := range names {
		if !strings.HasPrefix(name, ufs.TempPrefix) {
			return false
		}
	}
	for _, name := range names {
		_ = s.root.Remove(ufs.Join(dir, name)) // the directory's own removal tells
	}
	return true
}
