package master

import (
	"context"
	"sync"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/mounttable"
	"github.com/forebay/forebay/system/ufs"
)

// OpenStore opens an under store.
// It may wait for a server as long as ctx lasts. Wrappers for retries and metrics are the opener's to add. What it
// gives is closed by whoever asked: the handle of a mount when the mount is gone, or when the master stops.
type OpenStore func(ctx context.Context, uri string, options map[string]string) (ufs.Store, error)

// stores keeps one open handle for each mount.
// A mount's options never change, so a handle is good for as long as its mount: another mount at the same path has
// another id. mu is held for a lookup only; lock is the one that is held while waiting, and one for all mounts, since
// opening is rare.
type stores struct {
	open OpenStore
	lock *host.Mutex // held while a store is opened, so that it is opened once

	mu   sync.Mutex
	byID map[dfs.MountID]ufs.Store
}

// newStores opens nothing: a mount whose store is away must not keep a leader from starting.
func newStores(h host.Host, open OpenStore) *stores {
	return &stores{open: open, lock: host.NewMutex(h), byID: map[dfs.MountID]ufs.Store{}}
}

// known gives the handle of a mount; nil when it was not opened yet.
func (s *stores) known(id dfs.MountID) ufs.Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[id]
}

// get gives a mount's store, opening it at first use. Opening may wait for a server, so it is done under a lock that can be
// waited for with a deadline; a handle that fails to open is tried again by the next caller, and never remembered.
func (s *stores) get(ctx context.Context, m *mounttable.Mount) (ufs.Store, error) {
	if store := s.known(m.ID); store != nil {
		return store, nil
	}
	if err := s.lock.Lock(ctx); err != nil {
		return nil, err
	}
	defer s.lock.Unlock()
	if store := s.known(m.ID); store != nil {
		return store, nil
	}
	store, err := s.open(ctx, m.URI, m.Options)
	if err != nil {
		return nil, dfs.Wrap(err, "open the under store of mount", string(m.Path))
	}
	s.mu.Lock()
	s.byID[m.ID] = store
	s.mu.Unlock()
	return store, nil
}

// retain closes the stores of mounts that are gone. An operation that still uses such a handle gets the store's error:
// its mount is gone.
func (s *stores) retain(t *mounttable.Table) {
	s.mu.Lock()
	var gone []ufs.Store
	for id, store := range s.byID {
		if t.ByID(id) == nil {
			gone = append(gone, store)
			delete(s.byID, id)
		}
	}
	s.mu.Unlock()
	for _, store := range gone {
		_ = store.Close() // nothing is being written through it
	}
}

// close closes every handle. Callers that come later open anew, so it comes when nobody does any more.
func (s *stores) close() { s.retain(mounttable.New(nil)) }
