package fetch

import (
	"context"
	"hash/crc32"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/rpc"
	"github.com/forebay/forebay/system/worker/blockstore"
)

var stateShared = host.NewState("two readers share one fetch")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// reader answers one range. One task uses it.
//
// INV-3 in detail: a reader waits for memory only while it holds none, so that readers never wait for each other.
type reader struct {
	f         *Fetcher
	ctx       context.Context
	q         *Request
	ref       *blockstore.Ref
	next, end int64
	take      func(Piece) error

	flights []*flight // boarded, for the pages from next on, without gaps
	joined  int64     // the end of the last of them
	held    int64     // bytes of memory
	bypass  bool      // the store holds the next page but cannot read it

	// taking is when take was called while memory was held; zero when it is not being called. The fetcher's mu guards it.
	// From then until take has returned, flights and held belong to whoever has that mu: reclaim may empty them (INV-4).
	taking time.Time
}

// run answers page by page until the range ends. Each turn has either flights to take from, or looks in the store and
// begins some: what the store gained or lost in between is seen at the next page.
func (r *reader) run() error {
	for r.next < r.end {
		if err := r.ctx.Err(); err != nil {
			return dfs.Wrap(err, "read", r.q.File.UfsPath)
		}
		if len(r.flights) == 0 {
			hit, err := r.fromStore()
			if err != nil {
				return err
			}
			if hit {
				continue
			}
			if err := r.miss(); err != nil {
				return err
			}
			continue
		}
		if err := r.fromFlight(); err != nil {
			return err
		}
	}
	return nil
}

// fromStore answers the next page's part from the block store.
// A page that is persisted and cannot be read is a miss: it is fetched, once, past the store (bypass). The error
// is the caller's only when there is no other copy to be had. The buffer is the consumer's until take returns.
func (r *reader) fromStore() (hit bool, err error) {
	start, pageEnd := r.ref.PageSpan(r.next)
	end := min(pageEnd, r.end)
	buffer := rpc.NewPageBuffer(int(end - r.next))
	defer buffer.Free()
	crc, hit, err := r.f.c.Store.Read(r.ctx, r.ref, r.next, buffer.Bytes())
	if err != nil && r.ref.Persisted && !r.q.CachedOnly && r.ctx.Err() == nil {
		r.f.c.Logger.Warn("a cached page cannot be read: it is fetched", "file", r.q.File.UfsPath, "error", err)
		r.bypass = true
		return false, nil
	}
	if err != nil || !hit {
		return false, err
	}
	if r.q.ReadType == dfs.ReadCachePromote && r.f.c.Store.TierOf(r.ref, start) > 0 {
		r.f.promote(*r.ref, start)
	}
	r.f.Counters.BytesCached.Add(end - r.next)
	return true, r.give(Piece{Offset: r.next, Data: buffer.Bytes(), Buffer: buffer, CRC32C: crc, Cached: true})
}

// give hands a piece over. Whoever takes it may take as long as it likes; what the reader holds it does not keep for ever
// (INV-4), so flights and held may be gone when give returns.
func (r *reader) give(p Piece) error {
	r.next = p.Offset + int64(len(p.Data))
	if r.held == 0 {
		return r.take(p)
	}
	r.f.beginTake(r)
	err := r.take(p)
	r.f.endTake(r)
	return err
}

// miss begins to fetch what the store does not have.
// NotFound is for clients to ask another worker; nothing was asked of the under store then.
func (r *reader) miss() error {
	switch {
	case r.q.CachedOnly:
		return dfs.Errorf(dfs.NotFound, "read", r.q.File.UfsPath, "bytes at %d are not cached on this worker", r.next)
	case !r.ref.Persisted:
		return dfs.Errorf(dfs.NotFound, "read", r.q.File.UfsPath, "bytes at %d are not on this worker and the under store does not have "+
			"them yet: ask a worker that holds the block", r.next)
	case r.q.ReadType == dfs.ReadNoCache:
		return r.passThrough()
	}
	want := min(r.end-r.next+dfs.PageSizeBytes, r.f.c.MaxRunBytes)
	if err := r.f.acquire(r, want); err != nil {
		return dfs.Wrap(err, "read", r.q.File.UfsPath)
	}
	start, _ := r.ref.PageSpan(r.next)
	r.join(start, want)
	if len(r.flights) == 0 { // it was stored meanwhile
		r.f.release(r)
	}
	return nil
}

// join boards flights for pages from at on, making those that are missing, for at most room bytes and up to the first
// page that the store has.
func (r *reader) join(at, room int64) {
	var runs [][]*flight // new flights, each run contiguous
	fresh := false       // the last run can be continued
	r.f.mu.Lock()
	for at < r.end && room > 0 {
		start, end := r.ref.PageSpan(at)
		key := pageKey{r.ref.File, start}
		fl := r.f.flights[key]
		switch {
		case fl != nil:
			stateShared.Reached(r.f.h)
			r.f.Counters.SharedPages.Add(1)
			fresh = false
		case !r.bypass && r.f.c.Store.Has(r.ref, start):
			room = 0
			continue
		default:
			fl = r.f.newFlight(key, end)
			if !fresh {
				runs = append(runs, nil)
			}
			runs[len(runs)-1] = append(runs[len(runs)-1], fl)
			fresh, r.bypass = true, false
		}
		fl.board()
		r.flights = append(r.flights, fl)
		room -= max(end-start, minFlightBytes)
		at, r.joined = end, end
	}
	r.f.mu.Unlock()
	for _, run := range runs {
		r.f.start("fetch", r.q.File, r.ref, run, func() {})
	}
}

// fromFlight answers the next page's part from the first flight, after having more join behind the last.
// Memory is given back as soon as no flight is left, so that a reader in the last page does not keep others
// waiting. With an error the flight is left already (Fetcher.wait), and drop leaves the rest.
func (r *reader) fromFlight() error {
	fl := r.flights[0]
	buffer, err := r.f.wait(r.ctx, fl)
	r.flights = r.flights[1:]
	if err != nil {
		return dfs.Wrap(err, "read", r.q.File.UfsPath)
	}
	defer buffer.Free()
	end := min(fl.end, r.end)
	data := buffer.Bytes()[r.next-fl.key.start : end-fl.key.start]
	err = r.give(Piece{Offset: r.next, Data: data, Buffer: buffer, CRC32C: crc32.Checksum(data, castagnoli)})
	if err == nil && len(r.flights) == 0 {
		r.f.release(r)
	}
	if err == nil && r.held > 0 && int64(len(r.flights))*2*dfs.PageSizeBytes <= r.f.c.MaxRunBytes {
		r.joinMore()
	}
	return err
}

// joinMore keeps a long read's fetches ahead of its consumer, in the memory that the reader holds already.
func (r *reader) joinMore() {
	room := r.held - int64(len(r.flights))*dfs.PageSizeBytes
	if room >= dfs.PageSizeBytes && r.joined < r.end && !r.f.c.Store.Has(r.ref, r.joined) {
		r.join(r.joined, room)
	}
}

// passThrough streams from the under store without keeping anything, up to the next page that is held.
// Nothing of it is shared: NO_CACHE says that nobody else will want it. It holds one page, and no memory of the
// fetcher's.
func (r *reader) passThrough() error {
	end := r.end
	for at := r.next; at < r.end; {
		_, pageEnd := r.ref.PageSpan(at)
		if pageEnd < r.end && r.f.c.Store.Has(r.ref, pageEnd) {
			end = pageEnd
			break
		}
		at = pageEnd
	}
	body, err := r.f.open(r.ctx, r.q.File, r.next, end-r.next)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	for r.next < end {
		_, pageEnd := r.ref.PageSpan(r.next)
		buffer := rpc.NewPageBuffer(int(min(pageEnd, end) - r.next))
		err := r.f.readFull(body, buffer.Bytes(), r.q.File, r.next)
		if err == nil {
			r.f.Counters.BytesFetched.Add(int64(len(buffer.Bytes())))
			data := buffer.Bytes()
			err = r.give(Piece{Offset: r.next, Data: data, Buffer: buffer, CRC32C: crc32.Checksum(data, castagnoli)})
		}
		buffer.Free()
		if err != nil {
			return err
		}
	}
	return nil
}

// drop leaves the flights that were not used.
// It is called on every way out of Read. Flights go on without their readers, since their pages are wanted by the
// store.
func (r *reader) drop() {
	for _, fl := range r.flights {
		r.f.leave(fl)
	}
	r.flights = nil
	r.f.release(r)
}
