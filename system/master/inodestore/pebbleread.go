package inodestore

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/forebay/forebay/system/dfs"
)

// Child implements Reader. A miss takes the cache's version before it reads the database (INV-1 of cache).
func (s *pebbleStore) Child(parent dfs.InodeID, name string) (*Inode, error) {
	n, version, hit := s.cache.get(parent, name)
	if hit {
		return n, nil
	}
	name = cloneName(name)
	n, err := s.readChild(parent, name)
	if err != nil {
		return nil, err
	}
	s.cache.fill(version, parent, name, n)
	return n, nil
}

// readChild reads an inode past the cache; nil, nil when there is none.
func (s *pebbleStore) readChild(parent dfs.InodeID, name string) (*Inode, error) {
	buf := keyPool.Get().(*[]byte)
	defer keyPool.Put(buf)
	*buf = inodeKey((*buf)[:0], parent, name)
	g := s.acquire()
	defer g.release()
	if s.opts.LastLevelFilterBits > 0 {
		return s.seekChild(g.db, *buf, parent, name)
	}
	record, done, err := g.db.Get(*buf)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, diskError(err, "read inode", s.dir)
	}
	n, err := decodeInode(parent, name, record)
	return n, errors.Join(err, done.Close())
}

// seekChild is for stores with a filter on the last level, which Get never asks.
func (s *pebbleStore) seekChild(db *pebble.DB, key []byte, parent dfs.InodeID, name string) (n *Inode, err error) {
	it, err := db.NewIter(&pebble.IterOptions{UseL6Filters: true})
	if err != nil {
		return nil, diskError(err, "read inode", s.dir)
	}
	if it.SeekPrefixGE(key) {
		n, err = decodeInode(parent, name, it.Value())
	}
	if closeErr := it.Close(); closeErr != nil {
		return nil, diskError(closeErr, "read inode", s.dir)
	}
	return n, err
}

// List implements Reader. It reads one consistent state of the directory.
func (s *pebbleStore) List(parent dfs.InodeID, after string, yield func(*Inode) bool) error {
	from := inodeKey(nil, parent, after)
	if after != "" {
		from = append(from, 0) // the first name greater than after
	}
	const prefixLen = 1 + 8
	opts := &pebble.IterOptions{LowerBound: from, UpperBound: prefixEnd(from[:prefixLen])}
	return s.scan(opts, "list directory", func(key, record []byte) (bool, error) {
		n, err := decodeInode(parent, string(key[prefixLen:]), record)
		return err == nil && yield(n), err
	})
}

// Record implements Reader.
func (s *pebbleStore) Record(t Table, key []byte) ([]byte, error) {
	g := s.acquire()
	defer g.release()
	value, done, err := g.db.Get(recordKey(nil, t, key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, diskError(err, "read record", s.dir)
	}
	value = append([]byte{}, value...)
	return value, done.Close()
}

// Records implements Reader.
func (s *pebbleStore) Records(t Table, prefix, from []byte, yield func(key, value []byte) bool) error {
	lower, upper := recordKey(nil, t, prefix), prefixEnd(recordKey(nil, t, prefix))
	if start := recordKey(nil, t, from); string(start) > string(lower) {
		lower = start
	}
	if string(lower) >= string(upper) {
		return nil
	}
	return s.scan(&pebble.IterOptions{LowerBound: lower, UpperBound: upper}, "read records",
		func(key, value []byte) (bool, error) { return yield(key[1:], value), nil })
}

// scan calls each for the keys within the bounds until it returns false or an error.
func (s *pebbleStore) scan(opts *pebble.IterOptions, op string, each func(key, value []byte) (bool, error)) error {
	g := s.acquire()
	defer g.release()
	it, err := g.db.NewIter(opts)
	if err != nil {
		return diskError(err, op, s.dir)
	}
	more := true
	for ok := it.First(); ok && more && err == nil; ok = it.Next() {
		more, err = each(it.Key(), it.Value())
	}
	if closeErr := it.Close(); closeErr != nil && err == nil {
		err = diskError(closeErr, op, s.dir)
	}
	return err
}
