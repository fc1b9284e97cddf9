package fetch

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
	"github.com/forebay/forebay/system/worker/blockstore"
)

// pageKey names a page: start is its offset in the file, which is the same for all references of one version.
type pageKey struct {
	file  dfs.FileVersion
	start int64
}

// flight is one page on its way from the under store. The fetcher's mu guards it.
//
// A flight is in the map from its making until its page is in the store (or could not be kept). Once landed, its buffer
// has one reference for the flight while it is in the map and one for each waiter.
type flight struct {
	key     pageKey
	end     int64
	landing host.Event
	landed  bool
	waiters int
	buffer  *rpc.PageBuffer
	err     error
}

// InFlight is how many pages are on their way or being stored.
func (f *Fetcher) InFlight() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.flights)
}

// newFlight puts a flight into the map. The caller holds mu.
// Somebody must start it: a flight that nobody fetches would be waited for until its readers give up.
func (f *Fetcher) newFlight(key pageKey, end int64) *flight {
	fl := &flight{key: key, end: end, landing: f.h.NewEvent()}
	f.flights[key] = fl
	return fl
}

// board joins a flight as a waiter. The caller holds mu.
func (fl *flight) board() {
	if fl.landed {
		fl.buffer.Ref()
		return
	}
	fl.waiters++
}

// wait returns the page's buffer, of which the caller has a reference.
// With an error it has left the flight, and there is no buffer. A failed flight has none either: its error is that of
// the fetch, the same for all who wait.
func (f *Fetcher) wait(ctx context.Context, fl *flight) (*rpc.PageBuffer, error) {
	if err := fl.landing.Wait(ctx); err != nil {
		f.leave(fl)
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return fl.buffer, fl.err
}

// leave undoes board, landed or not.
func (f *Fetcher) leave(fl *flight) {
	f.mu.Lock()
	landed := fl.landed
	if !landed {
		fl.waiters--
	}
	f.mu.Unlock()
	if landed {
		fl.buffer.Free()
	}
}

// land hands the page, or why there is none, to everyone who waits. A failed flight leaves the map at once.
func (f *Fetcher) land(fl *flight, buffer *rpc.PageBuffer, err error) {
	f.mu.Lock()
	fl.landed, fl.buffer, fl.err = true, buffer, err
	if err != nil {
		delete(f.flights, fl.key)
	} else {
		for range fl.waiters {
			buffer.Ref()
		}
	}
	f.mu.Unlock()
	fl.landing.Set()
}

// retire takes a flight whose page was stored, or could not be, out of the map.
// Readers that have boarded keep their references; who comes later finds the page in the store, or begins a new flight.
func (f *Fetcher) retire(fl *flight) {
	f.mu.Lock()
	delete(f.flights, fl.key)
	f.mu.Unlock()
	fl.buffer.Free()
}

// start fetches a run of flights, which are contiguous pages, in a task of its own: readers that give up do not cut
// others off. after is called at its end.
// It takes its own copy of ref, as the reader's may be gone before the task begins. Every flight of the run
// lands, with a page or with an error, whatever becomes of the task.
func (f *Fetcher) start(name string, m *proto.FileRef, ref *blockstore.Ref, run []*flight, after func()) {
	own := *ref
	err := f.tasks.Go(f.ctx, name, func() error {
		defer after()
		if err := f.slots.Acquire(f.ctx, 1); err != nil {
			f.failRun(run, closing())
			return nil
		}
		defer f.slots.Release(1)
		ctx, cancel := f.h.WithTimeout(f.ctx, f.c.Timeout)
		defer cancel()
		f.fetch(ctx, m, &own, run)
		return nil
	})
	if err != nil {
		f.failRun(run, closing())
		after()
	}
}

func closing() error {
	return dfs.Errorf(dfs.Unavailable, "fetch", "", "the worker is stopping: ask another one")
}

// failRun lands flights without a page. That the fetch's own time ran out says nothing of the readers' deadlines, and
// another worker would fare no better: it is the under store's fault.
func (f *Fetcher) failRun(run []*flight, err error) {
	switch k := dfs.KindOf(err); {
	case f.ctx.Err() != nil: // Close cut it off: another worker may well answer
		err = closing()
	case k == dfs.DeadlineExceeded || k == dfs.Canceled:
		err = dfs.Errorf(dfs.UnderStore, "fetch", "", "the under store did not answer within %v: try again", f.c.Timeout)
	}
	for _, fl := range run {
		f.land(fl, nil, err)
	}
}
