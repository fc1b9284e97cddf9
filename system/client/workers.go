package client

import (
	"context"
	"sync"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	pb "github.com/forebay/forebay/system/proto"
)

// suspicion is how long a worker that failed is asked last. It is not left out: it may be the only one that has the data.
// It is as long as the master may take to notice its death.
const suspicion = 10 * time.Second

// minListAge bounds how often failures make a client ask for the worker list again.
const minListAge = 200 * time.Millisecond

// refreshPatience bounds the wait for a new list while an old one is at hand, and how long the old one then serves before
// the next try: readers go on while no master leads.
const refreshPatience = time.Second

// workerList is the live workers, as a master's placement tells, and what this client has seen of them.
//
// INV-1: live and version are of one answer of a master, and are replaced together, never changed.
//
// A failed question changes nothing but the time of the next one, so that the last known list serves while no master does.
// Every answer of a leader tells the version that it would give: as long as that is ours, there is nothing to ask.
type workerList struct {
	c       *core
	loading *host.Mutex // held by the one task that refreshes the list

	mu       sync.Mutex
	live     *ring  // nil: none was loaded yet
	version  uint64 // of live; 0: none, or it is no master's list as it was
	loaded   time.Time
	patient  time.Time            // until then the list serves as it is: no master gave a newer one
	stale    bool                 // a failure was seen since, or another version was told of
	suspects map[string]time.Time // by address: asked last until then; nil while there are none
}

// newWorkerList knows nothing yet; the first get asks.
func newWorkerList(c *core) *workerList {
	return &workerList{c: c, loading: host.NewMutex(c.h)}
}

// observe takes note of the version that a leader told with some answer; 0: it told none. A version that is ours makes the
// list as good as loaded now; another one, old: it is asked for when it is needed.
func (w *workerList) observe(version uint64) {
	if version == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.live == nil:
	case version != w.version:
		w.stale = true
	case !w.stale:
		w.loaded = w.c.h.Now()
	}
}

// known is the list as it is, and whether it is recent enough to be used without a question to the master. A list from the
// future, after the clock was set back, is not.
// A list that failures have put in doubt, or that has nobody to ask, still serves for minListAge: a worker that dies under a
// thousand readers costs the master five questions a second, not a thousand.
func (w *workerList) known() (live *ring, recent bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.c.h.Now()
	if w.live != nil && now.Before(w.patient) {
		return w.live, true
	}
	age := now.Sub(w.loaded)
	limit := w.c.cfg.WorkerListAge
	if w.stale || w.live == nil || len(w.live.workers) == 0 {
		limit = min(limit, minListAge)
	}
	return w.live, w.live != nil && age >= 0 && age < limit
}

// get returns the live workers, asking the master when the list is old. An old list is better than none: it serves while no
// master does.
//
// With a list at hand nobody waits for somebody else's question; without one all wait, each within its own time.
func (w *workerList) get(ctx context.Context) (*ring, error) {
	live, recent := w.known()
	if recent {
		return live, nil
	}
	if live != nil && !w.loading.TryLock() {
		return live, nil // somebody is asking: go on with what is known
	}
	if live == nil {
		bounded, cancel := w.c.bounded(ctx)
		defer cancel()
		if err := w.loading.Lock(bounded); err != nil {
			return nil, dfs.Wrap(err, "list workers", "")
		}
		ctx = bounded
	}
	defer w.loading.Unlock()
	if live, recent = w.known(); recent {
		return live, nil
	}
	return w.refresh(ctx, live)
}

// refresh loads the list. An old one serves when that fails or takes long. The caller holds loading.
func (w *workerList) refresh(ctx context.Context, old *ring) (*ring, error) {
	inner := ctx
	if old != nil {
		bounded, cancel := w.c.h.WithTimeout(ctx, refreshPatience)
		defer cancel()
		inner = bounded
	}
	live, err := w.load(inner)
	switch {
	case err == nil:
		return live, nil
	case old == nil || ctx.Err() != nil:
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.patient = w.c.h.Now().Add(refreshPatience)
	return old, nil
}

// load asks the master for the placement and keeps its answer; what is known is told as unchanged, which costs neither side
// a list. It replaces the list as a whole: those who have the old one go on with it, unchanged. The caller holds loading.
//
// It is executed with the client's own identity, whichever view asks: the list is shared by all. The first list is large and
// goes alone; a question whether there is another goes with other operations.
func (w *workerList) load(ctx context.Context) (*ring, error) {
	w.mu.Lock()
	live, known := w.live, w.version
	w.mu.Unlock()
	way := alone
	if known != 0 {
		way = shared
	}
	list := &pb.Operation{Kind: &pb.Operation_ListWorkers{ListWorkers: &pb.ListWorkers{Placement: true, Known: known}}}
	result, _, err := w.c.execute(ctx, w.c.own, list, way)
	if err != nil {
		return nil, dfs.Wrap(err, "list workers", "")
	}
	version := result.WorkersVersion
	if known == 0 || version != known {
		old := live
		if live, err = rings.get(result.Placement); err != nil {
			return nil, err
		}
		if result.WorkersPartial {
			live, version = live.joined(old), 0 // no master's list: the next question is for all of it
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.live, w.version, w.loaded, w.stale = live, version, w.c.h.Now(), false
	return live, nil
}

// all asks the master for everything that it knows of all workers, the lost ones included, at this moment.
func (w *workerList) all(ctx context.Context) ([]Worker, error) {
	list := &pb.Operation{Kind: &pb.Operation_ListWorkers{ListWorkers: &pb.ListWorkers{}}}
	result, _, err := w.c.execute(ctx, w.c.own, list, alone)
	if err != nil {
		return nil, dfs.Wrap(err, "list workers", "")
	}
	all := make([]Worker, len(result.Workers))
	for i, info := range result.Workers {
		all[i] = workerFromProto(info)
	}
	return all, nil
}

// suspect takes note that the worker at address failed: it is asked last for a while, and the list is asked for anew.
// The suspicion is this client's alone, and ends by itself or with the first good chunk (cleared).
func (w *workerList) suspect(address string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stale = true
	now := w.c.h.Now()
	for known, until := range w.suspects { // bounded by the number of workers that failed lately
		if now.After(until) {
			delete(w.suspects, known)
		}
	}
	if w.suspects == nil {
		w.suspects = make(map[string]time.Time)
	}
	w.suspects[address] = now.Add(suspicion)
}

// doubt makes the next get ask the master, however young the list is.
func (w *workerList) doubt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stale = true
}

// cleared takes note that the worker at address serves.
func (w *workerList) cleared(address string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.suspects) > 0 {
		delete(w.suspects, address)
	}
}

// suspected tells whether the worker at address failed lately.
func (w *workerList) suspected(address string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.c.h.Now().Before(w.suspects[address])
}

// suspectedCount is how many workers failed lately, at most.
func (w *workerList) suspectedCount() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.suspects)
}

// preferred returns ranked with the suspects moved to its end.
// Both parts keep the order of the rank, so that clients without suspicions and those with the same ones agree.
func (w *workerList) preferred(ranked []*Worker) []*Worker {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.suspects) == 0 {
		return ranked
	}
	now := w.c.h.Now()
	var good, suspected []*Worker
	for _, worker := range ranked {
		if now.Before(w.suspects[worker.Address]) {
			suspected = append(suspected, worker)
		} else {
			good = append(good, worker)
		}
	}
	return append(good, suspected...)
}

// data is the stub of the worker at address. That the worker is away shows in calls.
func (c *core) data(address string) (pb.DataClient, error) {
	conn, err := c.conns.Get(address)
	if err != nil {
		return nil, err
	}
	return pb.NewDataClient(conn), nil
}

// workerFromProto is the message as this package's noun.
func workerFromProto(info *pb.WorkerInfo) Worker {
	w := Worker{
		ID: dfs.WorkerID(info.Id), Address: info.Address, Live: info.Live, Registered: info.Registered,
		LastHeartbeat: time.Unix(0, info.LastHeartbeat), Started: time.Unix(0, info.Started), Version: info.Version,
		Blocks: info.Blocks,
	}
	for _, t := range info.Tiers {
		w.Tiers = append(w.Tiers, Tier{
			Name: t.Name, CapacityBytes: t.CapacityBytes, UsedBytes: t.UsedBytes, Failed: t.Failed,
		})
	}
	return w
}
