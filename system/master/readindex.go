package master

import (
	"context"
	"sync"
	"time"

	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
	"github.com/forebay/forebay/system/master/namespace"
)

// readProofTimeout bounds one round; a leader that cannot reach a quorum in this time answers Unavailable.
const readProofTimeout = 3 * time.Second

// readIndex makes reads linearizable (contract C1, raft dissertation section 6.4): each round notes the commit index,
// proves leadership once for all reads that wait, and waits until that index is applied. A read joins the next round,
// never one under way, whose proof may be older than the read.
type readIndex struct {
	h host.Host
	j journal.Journal
	m *namespace.Machine

	mu      sync.Mutex
	next    *readRound
	running bool
}

// readRound is one proof and the readers who wait for it; err is valid once done.
// err is written once, before done is set, and read after.
type readRound struct {
	done host.Event
	err  error
}

// Wait returns when the applied state may be read. The error is ctx's, or why leadership could not be proved: then
// nothing may be answered from here.
func (r *readIndex) Wait(ctx context.Context) error {
	r.mu.Lock()
	if r.next == nil {
		r.next = &readRound{done: r.h.NewEvent()}
	}
	round := r.next
	if !r.running {
		r.running = true
		r.h.Go("read-index", r.run)
	}
	r.mu.Unlock()
	if err := round.done.Wait(ctx); err != nil {
		return err
	}
	return round.err
}

// run serves rounds until nobody waits. One task at a time runs (INV: running is true exactly while it does), so that
// under load rounds grow instead of proofs piling up.
func (r *readIndex) run() {
	for {
		r.mu.Lock()
		round := r.next
		r.next = nil
		r.running = round != nil
		r.mu.Unlock()
		if round == nil {
			return
		}
		round.err = r.prove()
		round.done.Set()
	}
}

// prove notes the commit index before it asks the quorum: an entry that commits after the proof began need not be seen
// by reads that began before, one that was committed before must be. The context is the round's own, since the round
// serves many callers; each of them waits with its own deadline.
func (r *readIndex) prove() error {
	ctx, cancel := r.h.WithTimeout(context.Background(), readProofTimeout)
	defer cancel()
	index := r.j.CommitIndex()
	if err := r.j.VerifyLeader(ctx); err != nil {
		return err
	}
	return r.m.WaitApplied(ctx, index)
}
