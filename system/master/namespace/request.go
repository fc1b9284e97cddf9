package namespace

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/inodestore"
)

var pathSmallBatch = host.NewPath("an entry of the journal is closed early")

// Request is who asks, and which mutation of which session this is.
type Request struct {
	Identity   dfs.Identity
	Superuser  string // the user that the master runs as
	Session    dfs.SessionID
	Sequence   uint64 // 0: the master's own request, which nobody retries
	AckedBelow uint64
	Claim      *Claim // held by the caller: its own paths do not stop it
	Intended   bool   // an intent is logged, which this mutation's entry removes (intent.go)
	// OnlyIf, if set, is asked of the inode that the path leads to when the mutation is evaluated. The leader's own upkeep
	// decides on a list that is old by then: another file may have the path, or the same file a new life.
	OnlyIf func(*inodestore.Inode) bool
}

// onlyIf answers Stale when the condition of the request does not hold any more: the caller decides anew, or lets it
// be.
func (r *Request) onlyIf(n *inodestore.Inode, op string, p dfs.Path) error {
	if r.OnlyIf == nil || r.OnlyIf(n) {
		return nil
	}
	return dfs.Errorf(dfs.Stale, op, string(p), "it changed since this was decided")
}

// super tells whether permission checks are passed: for root, and for the user that the master runs as.
func (r *Request) super() bool { return r.Identity.Superuser(r.Superuser) }

// do evaluates one operation. f checks first and adds effects last: an error from it leaves nothing behind. An error
// that comes back with ok true is f's verdict on the (perhaps pending) state, to be answered after Settle. It waits
// with ctx for a place in the batch and for claims; once f has run nothing waits, and the ticket is the caller's to
// wait for. The errors are those of the leadership's end, SessionExpired, ResourceExhausted for a session that
// acknowledges nothing, and f's own.
func (e *Evaluator) do(ctx context.Context, r Request, paths []dfs.Path, f func(t *txn) error) (*Ticket, error) {
	for {
		e.mu.Lock()
		wait := e.obstacle(r, paths)
		if wait == nil {
			break
		}
		e.mu.Unlock()
		if err := wait.Wait(ctx); err != nil {
			return nil, err
		}
	}
	defer e.mu.Unlock()
	if e.failed != nil {
		return nil, e.failed
	}
	if t, err := e.replay(r); t != nil || err != nil {
		return t, err
	}
	t := &txn{e: e, effects: e.scratch[:0]}
	nextID, reserved := e.nextID, e.reserved
	if err := f(t); err != nil {
		if e.reserved != reserved {
			// The reservation was among the effects that are dropped now. Ids beyond the logged one must not be given
			// out: a failover would give them out again (INV-7).
			e.nextID, e.reserved = nextID, reserved
		}
		return nil, err
	}
	return t.commit(r), nil
}

// obstacle is what to wait for before evaluating: a full batch, or a claim. nil when evaluation may go on, also when
// the leadership has ended, which do then tells. e.mu is held.
func (e *Evaluator) obstacle(r Request, paths []dfs.Path) host.Event {
	if e.failed != nil {
		return nil
	}
	if len(e.open.effects) >= maxBatchEffects || len(e.open.effects) > 0 && pathSmallBatch.Taken(e.h) || e.open.bytes >= maxBatchBytes {
		return e.open.done
	}
	if len(e.claims) == 0 {
		return nil
	}
	return e.conflict(r.Claim, paths)
}
