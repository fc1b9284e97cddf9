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
// The zero value is ready. Stores are never removed from it: a mount that comes again finds what it left.
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

// get is nil for what is not there, and for the root, which has no node. The caller holds mu.
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
		if !ufs.IsStaged(path) {
			entries = append(entries, n.entry(path))
		}
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
// ctx does not end it: a read of memory waits for nothing.
type reader struct {
	io.Reader
	fingerprint string
}

func (r reader) Close() error { return nil }

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

// Close implements ufs.Store; the content stays for the Space's other users.
func (s *Store) Close() error { return nil }
