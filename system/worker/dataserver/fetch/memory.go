package fetch

import (
	"slices"
	"time"
)

// The memory for readers is a semaphore of bytes. A reader takes a run's worth when it misses, and gives it back when the
// last page of the run was taken. In between it depends on its consumer, which is a client's stream: a client that keeps
// its stream open and reads nothing would keep the memory as long, and MaxBytes/MaxRunBytes of those (32 by default) would
// end all cold reads of the worker.
//
// So while anybody waits for memory, one task looks at those who hold it, and takes back what stalled readers hold
// (INV-4). Such a reader's stream goes on when its client does: what it had boarded it finds in the store, or asks the
// under store for once more. Ending the stream instead would need a send that can be cut off from outside, and would hurt
// clients that are only slow. What is bounded then by the number of streams is the one page that each is sending.

// acquire waits for memory for r, at most for r.ctx, and notes it as a holder.
// want may be more than all there is: it is cut to MaxBytes.
func (f *Fetcher) acquire(r *reader, want int64) error {
	if !f.memory.TryAcquire(want) {
		f.mu.Lock()
		f.waiting++
		watch := !f.watching
		f.watching = true
		f.mu.Unlock()
		if watch {
			f.watch()
		}
		err := f.memory.Acquire(r.ctx, want)
		f.mu.Lock()
		f.waiting--
		f.mu.Unlock()
		if err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	r.held = min(want, f.c.MaxBytes)
	f.holders = append(f.holders, r)
	return nil
}

// release gives back what r holds, if anything. The reader's own task calls it, and not during take.
func (f *Fetcher) release(r *reader) {
	f.mu.Lock()
	held := f.forgetHolder(r)
	f.mu.Unlock()
	f.memory.Release(held)
}

// forgetHolder takes r from the holders and tells what it held, for the caller to release. The caller holds mu.
func (f *Fetcher) forgetHolder(r *reader) (held int64) {
	held, r.held = r.held, 0
	if i := slices.Index(f.holders, r); i >= 0 {
		f.holders = slices.Delete(f.holders, i, i+1)
	}
	return held
}

// beginTake and endTake frame the time in which reclaim may empty r.
func (f *Fetcher) beginTake(r *reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.taking = f.h.Now()
}

func (f *Fetcher) endTake(r *reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.taking = time.Time{}
}

// watch reclaims in a task of its own until nobody waits any more. The waiters keep their places in the semaphore's queue
// meanwhile, which they would lose if they gave up to look for themselves.
func (f *Fetcher) watch() {
	err := f.tasks.Go(f.ctx, "reclaim memory", func() error {
		for f.h.Sleep(f.ctx, f.c.StallTimeout/2) == nil {
			f.reclaim()
			f.mu.Lock()
			done := f.waiting == 0
			if done {
				f.watching = false
			}
			f.mu.Unlock()
			if done {
				return nil
			}
		}
		return nil
	})
	if err != nil { // the fetcher is closed
		f.mu.Lock()
		f.watching = false
		f.mu.Unlock()
	}
}

// reclaim takes the memory of readers that have stood still for StallTimeout, and leaves their flights for them.
func (f *Fetcher) reclaim() {
	f.mu.Lock()
	now := f.h.Now()
	var flights []*flight
	var stalled []*reader
	for _, r := range f.holders {
		if !r.taking.IsZero() && now.Sub(r.taking) >= f.c.StallTimeout {
			stalled = append(stalled, r)
		}
	}
	var bytes int64
	for _, r := range stalled {
		bytes += f.forgetHolder(r)
		flights = append(flights, r.flights...)
		r.flights = nil
	}
	f.mu.Unlock()
	if len(stalled) == 0 {
		return
	}
	for _, fl := range flights {
		f.leave(fl)
	}
	f.memory.Release(bytes)
	f.Counters.ReclaimedBytes.Add(bytes)
	f.c.Logger.Warn("readers that take nothing lose their read-ahead, since others wait for its memory", "readers", len(stalled), "bytes", bytes)
}
