package namespace

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/inodestore"
)

// Request is who asks, and which mutation of which session this is.
type Request struct {
	Identity   dfs.Identity
	Superuser  string // the user that the master runs as
	Session    dfs.SessionID
	Sequence   uint64 // 0: the master's own request, which nobody retries
	AckedBelow uint64
	Claim      *Claim // held by the caller: its own paths do not stop it
	// OnlyIf, if set, is asked of the inode that the path leads to when the mutation is evaluated. The leader's own upkeep
	// decides on a list that is old by then: another file may have the path, or the same file a new life.
	OnlyIf func(*inodestore.Inode) bool
}

func (r *Request) onlyIf(n *inodestore.Inode, op string, p dfs.Path) error {
	if r.OnlyIf == nil || r.OnlyIf(n) {
		return nil
	}
	return dfs.Errorf(dfs.Stale, op, string(p), "it changed since this was decided")
}

func (r *Request) super() bool { return r.Identity.Superuser(r.Superuser) }

// Claim keeps other mutations off some paths, with all above and below them, while the under store is asked. Fast
// mutations take none; they only check.
type Claim struct {
	e     *Evaluator
	paths []dfs.Path
}

// Claim waits until no other claim stands in the way and takes the paths, all at once, so that claims cannot deadlock.
func (e *Evaluator) Claim(ctx context.Context, paths ...dfs.Path) (*Claim, error) {
	c := &Claim{e: e, paths: paths}
	for {
		e.mu.Lock()
		if e.failed != nil {
			defer e.mu.Unlock()
			return nil, e.failed
		}
		wait := e.conflict(nil, paths)
		if wait == nil {
			e.claims = append(e.claims, c)
			e.mu.Unlock()
			return c, nil
		}
		e.mu.Unlock()
		if err := wait.Wait(ctx); err != nil {
			return nil, err
		}
	}
}

// Release gives the paths back.
func (c *Claim) Release() {
	c.e.mu.Lock()
	for i, x := range c.e.claims {
		if x == c {
			c.e.claims = append(c.e.claims[:i], c.e.claims[i+1:]...)
			break
		}
	}
	waiting := c.e.claimWait
	c.e.claimWait = nil
	c.e.mu.Unlock()
	if waiting != nil {
		waiting.Set()
	}
}

// conflict returns an event to wait for when another claim stands in the way of paths; nil when none does. All that wait
// share one event, which the next release of any claim sets: a claim that is held for long (its store hangs) while
// clients retry and give up must not gather an event for each of them.
func (e *Evaluator) conflict(own *Claim, paths []dfs.Path) host.Event {
	for _, c := range e.claims {
		if c == own {
			continue
		}
		for _, p := range c.paths {
			for _, q := range paths {
				if p.Contains(q) || q.Contains(p) {
					if e.claimWait == nil {
						e.claimWait = e.h.NewEvent()
					}
					return e.claimWait
				}
			}
		}
	}
	return nil
}

// do evaluates one operation. f checks first and adds effects last: an error from it leaves nothing behind. An error
// that comes back with ok true is f's verdict on the (perhaps pending) state, to be answered after Settle.
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

// obstacle is what to wait for before evaluating: a full batch, or a claim.
func (e *Evaluator) obstacle(r Request, paths []dfs.Path) host.Event {
	if e.failed != nil {
		return nil
	}
	if len(e.open.effects) >= maxBatchEffects || e.open.bytes >= maxBatchBytes {
		return e.open.done
	}
	if len(e.claims) == 0 {
		return nil
	}
	return e.conflict(r.Claim, paths)
}

// replay finds the answer of a mutation that was evaluated before (contract C2). It looks for the answer before it looks
// at any bound: a session that is refused new mutations must still get its old answers.
func (e *Evaluator) replay(r Request) (*Ticket, error) {
	if r.Sequence == 0 && r.Session == 0 {
		return nil, nil
	}
	if p, ok := e.pending[pendingKey{r.Session, r.Sequence}]; ok {
		return &Ticket{batch: p.batch, answer: p.answer, Replayed: true}, nil
	}
	e.m.mu.RLock()
	defer e.m.mu.RUnlock()
	s := e.m.sessions.byID[r.Session]
	if s == nil || e.closing(r.Session) {
		return nil, dfs.Errorf(dfs.SessionExpired, "check session", "",
			"session %d is not known: it expired or was never opened; open another", r.Session)
	}
	if r.Sequence == 0 {
		return nil, nil
	}
	if a, ok := s.answers[r.Sequence]; ok {
		return &Ticket{answer: a, Replayed: true}, nil
	}
	if r.Sequence < s.ackedBelow {
		return nil, dfs.Errorf(dfs.InvalidArgument, "check session", "",
			"sequence %d was acknowledged already (everything below %d)", r.Sequence, s.ackedBelow)
	}
	return nil, s.checkRoom(r.AckedBelow)
}

// closing tells whether the end of a session is proposed and not yet applied: what it would begin now, nobody would end.
func (e *Evaluator) closing(id dfs.SessionID) bool {
	p, pending := e.view.records[recordKey{inodestore.TableSession, string(idKey(uint64(id)))}]
	return pending && p.value == nil
}

// checkRoom refuses a session that remembers too many answers. What this very request acknowledges counts as forgotten:
// only an accepted mutation takes the acknowledgement in, so a full session could never get out otherwise.
func (s *session) checkRoom(ackedBelow uint64) error {
	if len(s.answers) < maxAnswersPerSession {
		return nil
	}
	waiting := 0
	for sequence := range s.answers {
		if sequence >= ackedBelow {
			waiting++
		}
	}
	if waiting < maxAnswersPerSession {
		return nil
	}
	return dfs.Errorf(dfs.ResourceExhausted, "check session", "",
		"%d answers of this session wait to be acknowledged: send acked_below", waiting)
}

// Replay finds the answer of a mutation that was evaluated before; nil when it is new. For callers that must ask an
// under store before they evaluate.
func (e *Evaluator) Replay(r Request) (*Ticket, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failed != nil {
		return nil, e.failed
	}
	return e.replay(r)
}
