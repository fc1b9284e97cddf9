package local

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/ufs"
)

// Create implements ufs.Store.
// Parents are made now and not at Commit, since the temporary file lies beside its target: a rename across directories
// could meet another file system. A write that is aborted leaves them, empty.
// The temporary file can be read by the process's user alone until Commit gives it its mode, so that a secret is
// never more open while it is written than it will be.
func (s *Store) Create(ctx context.Context, path string, mode uint32) (ufs.Writer, error) {
	const op = "create"
	if err := begin(ctx, op, path); err != nil {
		return nil, err
	}
	if info, err := s.root.Stat(native(path)); err == nil && info.IsDir() {
		return nil, dfs.Errorf(dfs.IsDirectory, op, path, "a directory has that name")
	}
	dir, _ := ufs.Split(path)
	if err := s.makeParents(op, dir, 0o755); err != nil {
		return nil, err
	}
	temp := ufs.Join(dir, fmt.Sprintf("%s%d-%d-%08x", ufs.TempPrefix, os.Getpid(), s.temps.Add(1), s.h.Rand().Uint32()))
	f, err := s.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, convert(err, op, path)
	}
	return &writer{s: s, ctx: ctx, f: f, temp: temp, path: path, mode: mode}, nil
}

// writer fills a temporary file. INV-1: f is open until Commit or Abort; temp exists until then.
// INV-2: after the rename in publish has succeeded once, a repeated Commit finds it done (published) and goes on with
// the sync of the directory; it never renames another writer's file.
type writer struct {
	s          *Store
	ctx        context.Context
	f          *os.File
	temp, path string
	mode       uint32
	done       bool
}

// Write may have taken a part when it fails; n says how much. A full disk is NoSpace, and what was written until then
// is given back by Abort.
func (w *writer) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, dfs.Wrap(err, "write", w.path)
	}
	n, err := w.f.Write(p)
	return n, convert(err, "write", w.path)
}

// Commit syncs the content before the name shows it, and the name before it answers.
// After an error it may be called again, with another context; publish continues. After success or Abort it is
// InvalidArgument.
func (w *writer) Commit(ctx context.Context) (ufs.Entry, error) {
	if w.done {
		return ufs.Entry{}, dfs.Errorf(dfs.InvalidArgument, "commit", w.path, "the writer was committed or aborted before")
	}
	if err := ctx.Err(); err != nil {
		return ufs.Entry{}, dfs.Wrap(err, "commit", w.path)
	}
	e, err := w.publish()
	if err != nil {
		return ufs.Entry{}, convert(err, "commit", w.path)
	}
	w.done = true
	_ = w.f.Close() // it is synced: nothing is left to fail
	return e, nil
}

// publish does what Commit promises in the order that a crash needs: mode, content synced, name, directory synced. Each
// step may be done twice.
func (w *writer) publish() (ufs.Entry, error) {
	if w.mode != 0 {
		if err := w.f.Chmod(osMode(w.mode)); err != nil { // past the process's umask
			return ufs.Entry{}, err
		}
	}
	if err := w.f.Sync(); err != nil {
		return ufs.Entry{}, err
	}
	info, err := w.f.Stat()
	if err != nil {
		return ufs.Entry{}, err
	}
	if err := w.s.root.Rename(w.temp, w.path); err != nil {
		if !errors.Is(err, os.ErrNotExist) || !w.published(info) {
			return ufs.Entry{}, err
		}
	}
	dir, name := ufs.Split(w.path)
	return w.s.entry(name, info), w.s.syncDir(dir)
}

// published tells whether an earlier attempt to commit got past the rename.
func (w *writer) published(info os.FileInfo) bool {
	there, err := w.s.root.Stat(w.path)
	return err == nil && os.SameFile(info, there)
}

// Abort removes the temporary file. It needs no context: it is called when that has ended.
func (w *writer) Abort() {
	if w.done {
		return
	}
	w.done = true
	_ = w.f.Close()
	_ = w.s.root.Remove(w.temp) // what stays is removed a day later
}

// syncDir makes the names in a directory durable.
//
// An error is the operating system's own, for the caller to convert.
func (s *Store) syncDir(dir string) error {
	f, err := s.root.Open(native(dir))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return f.Sync()
}

// Mkdir implements ufs.Store.
// Parents are made with 0755, whatever mode is. What this made is durable when it returns; a
// directory that is there already keeps its mode.
func (s *Store) Mkdir(ctx context.Context, path string, mode uint32) error {
	if err := begin(ctx, "mkdir", path); err != nil {
		return err
	}
	return s.makeParents("mkdir", path, mode)
}

// makeParents makes dir and what is above it, each durable before it answers. mode is the last one's.
func (s *Store) makeParents(op, dir string, mode uint32) error {
	if dir == "" {
		return nil
	}
	info, err := s.root.Stat(dir)
	if err == nil {
		if !info.IsDir() {
			return dfs.Errorf(dfs.NotDirectory, op, dir, "a file of that name exists")
		}
		return nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return convert(err, op, dir)
	}
	parent, _ := ufs.Split(dir)
	if err := s.makeParents(op, parent, 0o755); err != nil {
		return err
	}
	if err := s.root.Mkdir(dir, 0o755); err != nil {
		if errors.Is(err, os.ErrExist) { // another task was faster
			return nil
		}
		return convert(err, op, dir)
	}
	if mode != 0 {
		if err := s.root.Chmod(dir, osMode(mode)); err != nil {
			return convert(err, op, dir)
		}
	}
	return convert(s.syncDir(parent), op, dir)
}

// Rename implements ufs.Store.
// Rename replaces an empty directory in two steps, since os.Root has no rename over one: a crash in between leaves the
// target absent and the source where it was, and the rename can be called again.
func (s *Store) Rename(ctx context.Context, from, to string) error {
	const op = "rename"
	if err := begin(ctx, op, from); err != nil {
		return err
	}
	if err := ufs.CheckRename(from, to); err != nil {
		return err
	}
	info, err := s.root.Lstat(from)
	if err != nil {
		return convert(err, op, from)
	}
	if target, err := s.root.Lstat(to); err == nil && from != to {
		if err := ufs.CheckReplace(info.IsDir(), target.IsDir(), false, to); err != nil {
			return err
		}
		if target.IsDir() { // os.Root refuses to rename over a directory; Remove refuses one that is not empty
			if err := s.root.Remove(to); err != nil {
				return convert(err, op, to)
			}
		}
	}
	dir, _ := ufs.Split(to)
	if err := s.makeParents(op, dir, 0o755); err != nil {
		return err
	}
	if err := s.root.Rename(from, to); err != nil {
		return convert(err, op, from)
	}
	if err := s.syncDir(dir); err != nil {
		return convert(err, op, to)
	}
	source, _ := ufs.Split(from)
	if source == dir {
		return nil
	}
	return convert(s.syncDir(source), op, from)
}
