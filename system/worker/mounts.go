package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	gproto "google.golang.org/protobuf/proto"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/ufs"
)

// closeGrace is how long a store whose mount is gone stays open for the reads that have it.
const closeGrace = time.Minute

// mountCache keeps the under stores of mounts that were used. It has at most as many as the mount table.
// Lock order: an opening lock first, then mu, which is innermost and held over no call of a store but Close of one
// that came too late.
type mountCache struct {
	h     host.Host
	open  func(context.Context, *proto.Mount) (ufs.Store, error)
	fetch func(context.Context, dfs.MountID) ([]*proto.Mount, error)
	log   *slog.Logger
	// opening lets one task at a time open a mount's store: many readers of a new mount cause one. Mounts share these
	// locks by their ids, so that clients that invent ids do not make more of them.
	opening [64]*host.Mutex

	mu     sync.Mutex
	stores map[dfs.MountID]*mounted
	closed bool
}

type mounted struct {
	mount *proto.Mount
	store ufs.Store
}

func newMountCache(h host.Host, open func(context.Context, *proto.Mount) (ufs.Store, error),
	fetch func(context.Context, dfs.MountID) ([]*proto.Mount, error), log *slog.Logger) *mountCache {
	c := &mountCache{h: h, open: open, fetch: fetch, log: log, stores: map[dfs.MountID]*mounted{}}
	for i := range c.opening {
		c.opening[i] = host.NewMutex(h)
	}
	return c
}

func (c *mountCache) cached(id dfs.MountID) ufs.Store {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.stores[id]; m != nil {
		return m.store
	}
	return nil
}

// get gives a mount's store, asking the master for the mount at its first use.
// NotFound says that the mount table does not have it, as the leader knows it; the errors of opening the store are not
// remembered, so that a mount whose keys were corrected works with the next read. ctx bounds the wait for another
// reader that is opening it.
func (c *mountCache) get(ctx context.Context, id dfs.MountID) (ufs.Store, error) {
	if s := c.cached(id); s != nil {
		return s, nil
	}
	one := c.opening[id%dfs.MountID(len(c.opening))]
	if err := one.Lock(ctx); err != nil {
		return nil, dfs.Wrap(err, "open under store", "")
	}
	defer one.Unlock()
	if s := c.cached(id); s != nil {
		return s, nil
	}
	mounts, err := c.fetch(ctx, id)
	if err != nil {
		return nil, dfs.Wrap(err, "find mount", "")
	}
	for _, m := range mounts {
		if dfs.MountID(m.Id) == id {
			return c.add(ctx, m)
		}
	}
	return nil, dfs.Errorf(dfs.NotFound, "find mount", "", "mount %d is not in the mount table: it was unmounted", id)
}

// add opens the store and keeps it, unless the worker stops meanwhile. The caller holds the mount's opening lock.
func (c *mountCache) add(ctx context.Context, m *proto.Mount) (ufs.Store, error) {
	store, err := c.open(ctx, m)
	if err != nil {
		return nil, dfs.Wrap(err, "open under store", m.Uri)
	}
	if m.ReadOnly {
		store = ufs.ReadOnly(store)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = store.Close()
		return nil, dfs.Errorf(dfs.Unavailable, "open under store", m.Uri, "the worker is stopping: ask another one")
	}
	c.stores[dfs.MountID(m.Id)] = &mounted{m, store}
	return store, nil
}

// refresh drops the stores whose mounts are gone or have other options, and gives them for closing.
// Reads that have such a store go on with it: the caller closes it after closeGrace. The next get opens the mount
// anew, with the options that it has then.
func (c *mountCache) refresh(mounts []*proto.Mount) (dropped []ufs.Store) {
	current := map[dfs.MountID]*proto.Mount{}
	for _, m := range mounts {
		current[dfs.MountID(m.Id)] = m
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, m := range c.stores {
		if now := current[id]; now == nil || !sameStore(now, m.mount) {
			c.log.Info("an under store is closed: its mount is gone or changed", "mount", m.mount.Path, "uri", m.mount.Uri)
			dropped = append(dropped, m.store)
			delete(c.stores, id)
		}
	}
	return dropped
}

// sameStore tells whether two rows of the mount table lead to the same store in the same way.
func sameStore(a, b *proto.Mount) bool {
	return gproto.Equal(
		&proto.Mount{Uri: a.Uri, ReadOnly: a.ReadOnly, Options: a.Options},
		&proto.Mount{Uri: b.Uri, ReadOnly: b.ReadOnly, Options: b.Options})
}

// close closes all stores; a store that is being opened is closed by whoever opens it. Reads have ended by then.
func (c *mountCache) close() {
	c.mu.Lock()
	stores := c.stores
	c.stores, c.closed = nil, true
	c.mu.Unlock()
	for _, m := range stores {
		_ = m.store.Close()
	}
}

// mountLoop watches the mount table while any store is open.
// A worker that has no store open asks nothing: a thousand idle workers cost the leader nothing. The first wait is shorter by
// chance, so that thousands that were started together do not ask in one moment.
func (w *Worker) mountLoop() {
	wait := time.Duration(w.h.Rand().Int64N(int64(w.c.MountRefresh)) + 1)
	for ; w.h.Sleep(w.ctx, wait) == nil; wait = w.c.MountRefresh {
		w.mounts.mu.Lock()
		idle := len(w.mounts.stores) == 0
		w.mounts.mu.Unlock()
		if idle {
			continue
		}
		mounts, err := w.masters.mounts(w.ctx, 0)
		if err != nil {
			continue // the heartbeat says that no master answers
		}
		if dropped := w.mounts.refresh(mounts); len(dropped) > 0 {
			// A group without a limit always takes a task, and Stop waits for it.
			_ = w.tasks.Go(w.ctx, "close-stores", func() error {
				_ = w.h.Sleep(w.ctx, closeGrace) // or the worker stops
				for _, s := range dropped {
					_ = s.Close()
				}
				return nil
			})
		}
	}
}
