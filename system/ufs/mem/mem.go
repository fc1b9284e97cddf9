// Package mem is an under store in memory, for tests and the simulator: a small true implementation with directories,
// fingerprints and atomic commits. It owns its objects and nothing else; it is never used in production.
//
// It is the reference of what ufs.Store means: where the conformance suite leaves a question open, this answers it in
// the simplest way. One lock guards a store, no call waits while it holds it, and nothing depends on the clock except
// the times that entries show, so that the simulator runs it in virtual time and meets the same history for the same
// seed.
//
// Contents are kept whole and never changed in place: a reader goes on with what it has opened, and a replaced content
// is free when its last reader is. There is no bound on what a store holds but the test's own.
package mem

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/ufs"
	"github.com/tidwall/btree"
)

// Space is a set of named stores that several nodes of one process share, as they would share a bucket.
type Space struct {
	mu     sync.Mutex
	stores map[string]*Store
}

// Open returns the store called name, making it at first use.
func (s *Space) Open(h host.Host, name string) *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stores == nil {
		s.stores = map[string]*Store{}
	}
	if s.stores[name] == nil {
		s.stores[name] = New(h)
	}
	return s.stores[name]
}

// Store is one store. A directory is a node of its own.
type Store struct {
	h  host.Host
	mu sync.Mutex
	// nodes holds every path but the root, keyed by parent, NUL, name, so that a directory's children lie together in
	// the order of their names. INV-1: the parent of every node is a directory node or the root.
	nodes btree.Map[string, *node]
	// version makes fingerprints; it never repeats.
	version uint64
}

type node struct {
	dir          bool
	data         []byte // replaced whole, never changed: readers keep it
	mode         uint32
	owner, group string
	modTime      time.Time
	fingerprint  string
}

// New makes an empty store.
func New(h host.Host) *Store { return &Store{h: h} }

// key sorts a directory's children together, by name: NUL is in no name.
func key(path string) string {
	dir, name := ufs.Split(path)
	return dir + "\x00" + name
}

func (s *Store) get(path string) *node {
	n, _ := s.nodes.Get(key(path))
	return n
}

// entry describes the node under the last name of path.
func (n *node) entry(path string) ufs.Entry {
	_, name := ufs.Split(path)
	return ufs.Entry{Name: name, Dir: n.dir, Size: int64(len(n.data)), ModTime: n.modTime, Mode: n.mode,
		Owner: n.owner, Group: n.group, Fingerprint: n.fingerprint}
}

// lookup finds a node, telling a missing path from one that leads through a file. The caller holds mu.
func (s *Store) lookup(op, path string) (*node, error) {
	if err := ufs.CheckPath(op, path); err != nil {
		return nil, err
	}
	if path == "" {
		return &node{dir: true, mode: 0o755}, nil
	}
	if n := s.get(path); n != nil {
		return n, nil
	}
	for dir, _ := ufs.Split(path); dir != ""; dir, _ = ufs.Split(dir) {
		if n := s.get(dir); n != nil && !n.dir {
			return nil, dfs.Errorf(dfs.NotDirectory, op, path, "%q is a file", dir)
		}
	}
	return nil, dfs.Errorf(dfs.NotFound, op, path, "no such path in the store")
}

// Stat implements ufs.Store.
func (s *Store) Stat(ctx context.Context, path string) (ufs.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.lookup("stat", path)
	if err != nil {
		return ufs.Entry{}, err
	}
	return n.entry(path), ctx.Err()
}

// listPage is how many entries are copied out under the lock at a time.
const listPage = 1000

// List implements ufs.Store. Entries made or removed meanwhile may or may not be seen.
func (s *Store) List(ctx context.Context, dir, after string) iter.Seq2[ufs.Entry, error] {
	return func(yield func(ufs.Entry, error) bool) {
		for {
			entries, err := s.children(dir, after)
			if err == nil {
				err = dfs.Wrap(ctx.Err(), "list", dir)
			}
			if err != nil {
				yield(ufs.Entry{}, err)
				return
			}
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
			if len(entries) < listPage {
				return
			}
			after = entries[len(entries)-1].Name
		}
	}
}

// children copies out the next page of entries, so that the lock is not held while they are yielded: a consumer may
// call the store.
func (s *Store) children(dir, after string) ([]ufs.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.lookup("list", dir)
	if err != nil {
		return nil, err
	}
	if !n.dir {
		return nil, dfs.Errorf(dfs.NotDirectory, "list", dir, "it is a file")
	}
	var entries []ufs.Entry
	s.ascend(dir, after, func(path string, n *node) bool {
		entries = append(entries, n.entry(path))
		return len(entries) < listPage
	})
	return entries, nil
}

// ascend visits the children of dir whose names are greater than after, in order, until visit returns false.
func (s *Store) ascend(dir, after string, visit func(path string, n *node) bool) {
	prefix := dir + "\x00"
	s.nodes.Ascend(prefix+after, func(k string, n *node) bool {
		name, ours := strings.CutPrefix(k, prefix)
		if !ours || name == after {
			return ours
		}
		return visit(ufs.Join(dir, name), n)
	})
}

// reader reads one content, which later writes do not touch.
type reader struct {
	io.Reader
	fingerprint string
}

func (r reader) Close() error        { return nil }
func (r reader) Fingerprint() string { return r.fingerprint }

// Open implements ufs.Store.
func (s *Store) Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.lookup("open", path)
	if err != nil {
		return nil, err
	}
	if n.dir {
		return nil, dfs.Errorf(dfs.IsDirectory, "open", path, "only objects can be read")
	}
	if offset < 0 || length < 0 {
		return nil, dfs.Errorf(dfs.InvalidArgument, "open", path, "range %d+%d: both must be at least 0", offset, length)
	}
	from := min(offset, int64(len(n.data)))
	to := from + min(length, int64(len(n.data))-from)
	return reader{bytes.NewReader(n.data[from:to]), n.fingerprint}, ctx.Err()
}

// Mkdir implements ufs.Store.
func (s *Store) Mkdir(ctx context.Context, path string, mode uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ufs.CheckPath("mkdir", path); err != nil {
		return err
	}
	return s.mkdir("mkdir", path, mode)
}

// mkdir makes path and its parents, all with the same mode. The caller holds mu.
func (s *Store) mkdir(op, path string, mode uint32) error {
	if path == "" {
		return nil
	}
	if n := s.get(path); n != nil {
		if !n.dir {
			return dfs.Errorf(dfs.NotDirectory, op, path, "a file of that name exists")
		}
		return nil
	}
	parent, _ := ufs.Split(path)
	if err := s.mkdir(op, parent, mode); err != nil {
		return err
	}
	s.nodes.Set(key(path), &node{dir: true, mode: mode, modTime: s.h.Now()})
	return nil
}

// Remove implements ufs.Store.
func (s *Store) Remove(ctx context.Context, path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.lookup("remove", path)
	switch {
	case err != nil:
		return err
	case path == "":
		return dfs.Errorf(dfs.InvalidArgument, "remove", path, "the root stays: unmount the store instead")
	case n.dir && s.hasChildren(path):
		return dfs.Errorf(dfs.NotEmpty, "remove", path, "remove what it holds first")
	}
	s.nodes.Delete(key(path))
	return nil
}

// hasChildren looks for one. The caller holds mu.
func (s *Store) hasChildren(path string) bool {
	found := false
	s.ascend(path, "", func(string, *node) bool { found = true; return false })
	return found
}

// Rename implements ufs.Store.
func (s *Store) Rename(ctx context.Context, from, to string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ufs.CheckRename(from, to); err != nil {
		return err
	}
	n, err := s.lookup("rename", from)
	if err != nil || from == to {
		return err
	}
	target, err := s.lookup("rename", to)
	if err != nil && !dfs.IsKind(err, dfs.NotFound) {
		return err
	}
	if target != nil {
		if err := ufs.CheckReplace(n.dir, target.dir, target.dir && s.hasChildren(to), to); err != nil {
			return err
		}
	}
	parent, _ := ufs.Split(to)
	if err := s.mkdir("rename", parent, 0o755); err != nil {
		return err
	}
	s.move(from, to)
	return nil
}

// move changes the path of from and everything below it. The caller holds mu.
func (s *Store) move(from, to string) {
	n := s.get(from)
	s.nodes.Delete(key(from))
	s.nodes.Set(key(to), n)
	if !n.dir {
		return
	}
	var below []string
	s.ascend(from, "", func(path string, _ *node) bool { below = append(below, path); return true })
	for _, path := range below {
		s.move(path, to+path[len(from):])
	}
}

// SetAttr implements ufs.AttrSetter.
func (s *Store) SetAttr(ctx context.Context, path string, mode *uint32, owner, group *string, modTime *time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.lookup("set attributes", path)
	if err != nil {
		return err
	}
	if mode != nil {
		n.mode = *mode & 0o7777
	}
	if owner != nil {
		n.owner = *owner
	}
	if group != nil {
		n.group = *group
	}
	if modTime != nil {
		n.modTime = *modTime
	}
	return nil
}

// Close implements ufs.Store; the content stays for the Space's other users.
func (s *Store) Close() error { return nil }

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

func (w *writer) Abort() {
	if !w.done {
		w.done, w.data = true, bytes.Buffer{}
	}
}
