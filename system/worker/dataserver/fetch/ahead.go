package fetch

import (
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/worker/blockstore"
)

// sequence is what is remembered of the last read of a file.
// It is kept by file, not by reader: a file that several read in order at a time looks random, and is then fetched by
// runs.
type sequence struct{ next, window int64 }

// window is how many bytes behind end are worth fetching ahead: what the request says, or twice as much each time that
// reads follow each other.
func (f *Fetcher) window(q *Request, ref *blockstore.Ref, end int64) int64 {
	if q.ReadType == dfs.ReadNoCache || q.CachedOnly || !ref.Persisted || end >= ref.Length {
		return 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	last := f.streams[ref.File]
	window := int64(0)
	if q.Offset == last.next && q.Offset > 0 {
		window = min(max(2*last.window, dfs.PageSizeBytes), f.c.MaxWindow)
	}
	if len(f.streams) >= maxRemembered {
		clear(f.streams)
	}
	f.streams[ref.File] = sequence{end, window}
	return min(max(window, q.Prefetch), f.c.MaxWindow)
}

// prefetch fetches what is missing of [from, to) for nobody yet. It does not wait, and does nothing when enough of it
// is under way, or when the store has had no room lately: what is fetched ahead and not kept is fetched twice.
// A prefetch holds a place among MaxPrefetches until it has ended; pages are claimed a run at a time, so a long window
// takes several.
func (f *Fetcher) prefetch(m *proto.FileRef, ref *blockstore.Ref, from, to int64) {
	if f.h.Now().UnixNano()-f.refused.Load() < int64(prefetchPause) {
		return
	}
	for from < to && f.ahead.TryAcquire(1) {
		run, next := f.claim(ref, from, to)
		from = next
		if len(run) == 0 {
			f.ahead.Release(1)
			continue
		}
		f.Counters.PrefetchedPages.Add(int64(len(run)))
		f.start("prefetch", m, ref, run, func() { f.ahead.Release(1) })
	}
}

// claim makes flights for the first run of pages in [from, to) that are neither held nor in flight. next is where to
// look for more.
func (f *Fetcher) claim(ref *blockstore.Ref, from, to int64) (run []*flight, next int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	bytes := int64(0)
	for at := from; at < to; {
		start, end := ref.PageSpan(at)
		key := pageKey{ref.File, start}
		if f.flights[key] != nil || f.c.Store.Has(ref, start) {
			if len(run) > 0 {
				return run, at
			}
			at = end
			continue
		}
		if bytes += max(end-start, minFlightBytes); bytes > f.c.MaxRunBytes && len(run) > 0 {
			return run, at
		}
		run = append(run, f.newFlight(key, end))
		at = end
	}
	return run, to
}

// promote moves the block at offset up, beside the read. At most a few at a time: what finds no place is promoted by a
// later read.
func (f *Fetcher) promote(ref blockstore.Ref, offset int64) {
	if !f.moves.TryAcquire(1) {
		return
	}
	err := f.tasks.Go(f.ctx, "promote", func() error {
		defer f.moves.Release(1)
		f.c.Store.Promote(&ref, offset)
		return nil
	})
	if err != nil {
		f.moves.Release(1)
	}
}
