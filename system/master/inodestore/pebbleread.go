package inodestore

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/forebay/forebay/system/dfs"
)

// Child implements Reader. A miss takes the cache's version before it reads the database (INV-1 of cache).
// An error is not remembered: the next reader asks the disk again.
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
// The key's buffer goes back to the pool when the read is over: Pebble does not keep it. The record is the database's
// memory until done is closed, and decodeInode keeps nothing of it.
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
// An absent name is answered by the filter in nearly all cases without reading a block.
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
// The state is that of the moment when the iterator is made: what is applied meanwhile is not seen, unlike in the heap
// driver. yield may call the store. An error of decoding ends the listing: a directory with an entry left out would
// look whole.
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
// The value is a copy, the caller's to keep.
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
// It reads one consistent state, as List does. Key and value are the iterator's memory and change with its next step.
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
// An open iterator pins the tables of its state on the disk, so each must not linger. The first error wins: of each,
// or of the iterator, which tells of unreadable blocks only when it is closed.
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
