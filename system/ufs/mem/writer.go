package mem

import (
	"bytes"
	"context"
	"fmt"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/ufs"
)

// Create implements ufs.Store.
// Create looks whether path can be made now; Commit looks again. Nothing of the writer is in the store before that.
func (s *Store) Create(ctx context.Context, path string, mode uint32) (ufs.Writer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if path == "" {
		return nil, dfs.Errorf(dfs.IsDirectory, "create", path, "give a name below the root")
	}
	n, err := s.lookup("create", path)
	if err != nil && (!dfs.IsKind(err, dfs.NotFound) || ufs.CheckPath("create", path) != nil) {
		return nil, err
	}
	if n != nil && n.dir {
		return nil, dfs.Errorf(dfs.IsDirectory, "create", path, "a directory has that name")
	}
	return &writer{s: s, path: path, mode: mode}, nil
}

// writer gathers the content in memory. One task uses it, so only Commit takes the store's lock.
type writer struct {
	s    *Store
	path string
	mode uint32
	data bytes.Buffer
	done bool
}

// It takes all of p, always: memory is not bounded here, so the store is for tests and for the simulator.
func (w *writer) Write(p []byte) (int, error) { return w.data.Write(p) }

// Commit makes the parents, and looks again at what Create looked at. It may be repeated after an error, and not
// after it has succeeded.
func (w *writer) Commit(ctx context.Context) (ufs.Entry, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return ufs.Entry{}, dfs.Wrap(err, "commit", w.path)
	}
	if w.done {
		return ufs.Entry{}, dfs.Errorf(dfs.InvalidArgument, "commit", w.path, "the writer was committed or aborted before")
	}
	if n := w.s.get(w.path); n != nil && n.dir {
		return ufs.Entry{}, dfs.Errorf(dfs.IsDirectory, "commit", w.path, "a directory of that name was made meanwhile")
	}
	parent, _ := ufs.Split(w.path)
	if err := w.s.mkdir("commit", parent, 0o755); err != nil {
		return ufs.Entry{}, err
	}
	w.done = true
	w.s.version++
	n := &node{data: w.data.Bytes(), mode: w.mode & 0o7777, modTime: w.s.h.Now(),
		fingerprint: fmt.Sprintf("%d-%d", w.s.version, w.data.Len())}
	w.s.nodes.Set(key(w.path), n)
	return n.entry(w.path), nil
}

// After a Commit that succeeded it does nothing: the object has the buffer's bytes.
func (w *writer) Abort() {
	if !w.done {
		w.done, w.data = true, bytes.Buffer{}
	}
}
