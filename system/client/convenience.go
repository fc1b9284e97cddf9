package client

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"github.com/forebay/forebay/system/dfs"
)

// ReadFile returns a file's whole content, all of one version. Stale: it changed while its last part was being read.
// When the version was gone before its first byte came, the current one is read instead, unless it is longer: that is Stale
// as well, and the next try reads it.
func (c *Client) ReadFile(ctx context.Context, path dfs.Path, opts ...Option) ([]byte, error) {
	f, err := c.Open(ctx, path, opts...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // nothing is lost by a failure to close for reading
	for {
		data := make([]byte, f.Size())
		n, err := f.ReadAt(data, 0)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if int64(n) == f.Size() { // it was not exchanged by a longer version meanwhile
			return data[:n], nil
		}
		if n > 0 {
			return nil, dfs.Errorf(dfs.Stale, "read", string(path), "it changed while it was being read: try again")
		}
	}
}

// WriteFile makes or replaces a file with the content. Readers see the old content or the new one, nothing between; when it
// fails the old one stays, unless the error says that the outcome is unknown.
func (c *Client) WriteFile(ctx context.Context, path dfs.Path, data []byte, opts ...Option) error {
	w, err := c.Create(ctx, path, append([]Option{WithOverwrite()}, opts...)...)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return w.CloseWithError(err)
}

// Copy copies one file within the namespace, through this client, with its mode. The target must not exist unless
// WithOverwrite says so; options are those of Create.
//
// The bytes pass through this process. Owner, TTL, replication and extended attributes are not copied: the target is a new
// file of this client's identity. When it fails the target is as it was, as with WriteFile.
func (c *Client) Copy(ctx context.Context, source, target dfs.Path, opts ...Option) error {
	f, err := c.Open(ctx, source)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	w, err := c.Create(ctx, target, append([]Option{WithMode(f.Status().Mode)}, opts...)...)
	if err != nil {
		return err
	}
	_, err = f.WriteTo(w)
	return w.CloseWithError(err)
}

// WalkFunc is called for every file and directory of a walk. status is nil, and err tells why, when what lies at or
// below path could not be listed. It may return fs.SkipDir or fs.SkipAll.
type WalkFunc func(path dfs.Path, status *dfs.FileStatus, err error) error

// WalkDir walks the tree at root in the order of names, parents before their children, at constant memory for each
// level.
//
// It is no snapshot. A directory that is removed between its visit and its listing is visited twice, the second time with
// the error; whether the walk goes on is visit's to say.
func (c *Client) WalkDir(ctx context.Context, root dfs.Path, visit WalkFunc, opts ...Option) error {
	status, err := c.Stat(ctx, root, opts...)
	if err != nil {
		err = visit(root, nil, err)
	} else {
		err = c.walk(ctx, status, visit, opts)
	}
	if errors.Is(err, fs.SkipDir) || errors.Is(err, fs.SkipAll) {
		return nil
	}
	return err
}

// walk visits at and, if it is a directory, what lies below. It keeps one page of entries for each level.
func (c *Client) walk(ctx context.Context, at *dfs.FileStatus, visit WalkFunc, opts []Option) error {
	err := visit(at.Path, at, nil)
	if err != nil || !at.IsDir() {
		if errors.Is(err, fs.SkipDir) && at.IsDir() {
			return nil
		}
		return err
	}
	for entry, err := range c.List(ctx, at.Path, opts...) {
		if err != nil {
			return skipped(visit(at.Path, nil, err))
		}
		if err := c.walk(ctx, entry, visit, opts); err != nil {
			return skipped(err)
		}
	}
	return nil
}

// skipped lets fs.SkipDir end the directory that it was returned in, and no more.
func skipped(err error) error {
	if errors.Is(err, fs.SkipDir) {
		return nil
	}
	return err
}
