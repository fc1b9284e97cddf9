package client

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"time"

	"github.com/forebay/forebay/system/dfs"
)

// FS is the namespace as an io/fs.FS, read only. It implements fs.ReadDirFS, fs.StatFS and fs.ReadFileFS. ctx serves all
// its operations, since io/fs has none to give: when it ends, they fail.
func (c *Client) FS(ctx context.Context) fs.FS { return &treeFS{c: c, ctx: ctx} }

// treeFS is the tree below the root for one identity.
type treeFS struct {
	c   *Client
	ctx context.Context
}

var (
	_ fs.ReadDirFS  = (*treeFS)(nil)
	_ fs.StatFS     = (*treeFS)(nil)
	_ fs.ReadFileFS = (*treeFS)(nil)
)

// path is name in the namespace.
func (t *treeFS) path(op, name string) (dfs.Path, error) {
	if !fs.ValidPath(name) {
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	if name == "." {
		return dfs.Root, nil
	}
	path, err := dfs.ParsePath("/" + name)
	return path, fsError(op, name, err)
}

// fsError is err as io/fs wants it: a *fs.PathError that errors.Is compares with fs.ErrNotExist and its like.
// NotDirectory counts as what does not exist, since io/fs has no error for it. The dfs.Error stays in the chain, so that
// callers who know this package can match its kind.
func fsError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	match := map[dfs.Kind]error{
		dfs.NotFound: fs.ErrNotExist, dfs.NotDirectory: fs.ErrNotExist, dfs.AlreadyExists: fs.ErrExist,
		dfs.PermissionDenied: fs.ErrPermission, dfs.InvalidArgument: fs.ErrInvalid, dfs.NameTooLong: fs.ErrInvalid,
	}[dfs.KindOf(err)]
	if match != nil {
		err = errors.Join(err, match)
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// Open implements fs.FS.
// A file is opened from the status that told that it is one: that spares a question, and reads get the version of that
// moment (contract C4).
func (t *treeFS) Open(name string) (fs.File, error) {
	path, err := t.path("open", name)
	if err != nil {
		return nil, err
	}
	status, err := t.c.Stat(t.ctx, path)
	if err != nil {
		return nil, fsError("open", name, err)
	}
	if status.IsDir() {
		return &fsDirectory{t: t, name: name, status: status}, nil
	}
	f, err := t.c.OpenStatus(t.ctx, status)
	if err != nil {
		return nil, fsError("open", name, err)
	}
	return &fsFile{File: f}, nil
}

// Stat implements fs.StatFS.
func (t *treeFS) Stat(name string) (fs.FileInfo, error) {
	path, err := t.path("stat", name)
	if err != nil {
		return nil, err
	}
	status, err := t.c.Stat(t.ctx, path)
	if err != nil {
		return nil, fsError("stat", name, err)
	}
	return NewFileInfo(status), nil
}

// ReadFile implements fs.ReadFileFS.
// All bytes are of one version, as with Client.ReadFile.
func (t *treeFS) ReadFile(name string) ([]byte, error) {
	path, err := t.path("read", name)
	if err != nil {
		return nil, err
	}
	data, err := t.c.ReadFile(t.ctx, path)
	return data, fsError("read", name, err)
}

// ReadDir implements fs.ReadDirFS.
// It gathers the whole directory in memory, in the order of names.
func (t *treeFS) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := t.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	d, ok := f.(fs.ReadDirFile)
	if !ok {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("it is not a directory")}
	}
	return d.ReadDir(-1)
}

// fsFile adds what fs.File wants to a File.
type fsFile struct{ *File }

// Stat implements fs.File.
func (f *fsFile) Stat() (fs.FileInfo, error) { return NewFileInfo(f.Status()), nil }

// fsDirectory is an open directory.
// It is for one task at a time. It holds one page of entries and nothing at the master: the last name is the place to go on
// from, so that a failover in the middle of a listing does not show.
type fsDirectory struct {
	t      *treeFS
	name   string
	status *dfs.FileStatus
	page   []*dfs.FileStatus // listed, not yet given out
	token  string
	listed bool // page was the last one
}

// Stat implements fs.File.
func (d *fsDirectory) Stat() (fs.FileInfo, error) { return NewFileInfo(d.status), nil }

// Read implements fs.File: a directory has no bytes.
func (d *fsDirectory) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: errors.New("it is a directory")}
}

// Close implements fs.File.
func (d *fsDirectory) Close() error { return nil }

// ReadDir implements fs.ReadDirFile. Entries that were read before an error come with it, as io/fs asks.
// With n <= 0 everything that is left is gathered in memory.
func (d *fsDirectory) ReadDir(n int) (entries []fs.DirEntry, err error) {
	for n <= 0 || len(entries) < n {
		status, err := d.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return entries, fsError("readdir", d.name, err)
		}
		entries = append(entries, fs.FileInfoToDirEntry(NewFileInfo(status)))
	}
	if n > 0 && len(entries) == 0 {
		return nil, io.EOF
	}
	return entries, nil
}

// next returns the next entry, or io.EOF. It pages by itself: an iterator pulled by coroutines could not wait in the
// simulator.
// An error leaves the place as it is: the next call asks for the same page again.
func (d *fsDirectory) next() (*dfs.FileStatus, error) {
	for len(d.page) == 0 {
		if d.listed {
			return nil, io.EOF
		}
		o := d.t.c.options(nil)
		page, token, err := d.t.c.listPage(d.t.ctx, d.status.Path, d.token, &o)
		if err != nil {
			return nil, err
		}
		d.page, d.token, d.listed = page, token, token == ""
	}
	entry := d.page[0]
	d.page = d.page[1:]
	return entry, nil
}

// NewFileInfo is a status as fs.FileInfo; Sys gives the *dfs.FileStatus back.
func NewFileInfo(s *dfs.FileStatus) fs.FileInfo { return fileInfo{s} }

// fileInfo reads a status that nobody changes.
type fileInfo struct{ s *dfs.FileStatus }

func (i fileInfo) Name() string {
	if i.s.Path.IsRoot() {
		return "."
	}
	return i.s.Name
}
func (i fileInfo) Size() int64        { return i.s.Length }
func (i fileInfo) ModTime() time.Time { return i.s.ModTime }
func (i fileInfo) IsDir() bool        { return i.s.IsDir() }
func (i fileInfo) Sys() any           { return i.s }

// Mode gives the permission bits and the sticky, setuid and setgid bits their places in fs.FileMode.
func (i fileInfo) Mode() fs.FileMode {
	mode := fs.FileMode(i.s.Mode & 0o777)
	for bit, is := range map[uint32]fs.FileMode{0o1000: fs.ModeSticky, 0o2000: fs.ModeSetgid, 0o4000: fs.ModeSetuid} {
		if i.s.Mode&bit != 0 {
			mode |= is
		}
	}
	if i.s.IsDir() {
		mode |= fs.ModeDir
	}
	return mode
}
