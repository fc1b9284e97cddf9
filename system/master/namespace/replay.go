package namespace

import (
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/inodestore"
)

var (
	stateAnswered = host.NewState("a mutation that comes again is answered from memory")
	statePending  = host.NewState("a mutation comes again before its entry is applied")
)

// replay finds the answer of a mutation that was evaluated before (contract C2). It looks for the answer before it
// looks at any bound: a session that is refused new mutations must still get its old answers. nil, nil means that the
// mutation is new, and the session may have it. e.mu is held; Machine.mu is taken under it, so that an answer is found
// either here or there while its entry is being applied.
func (e *Evaluator) replay(r Request) (*Ticket, error) {
	if r.Sequence == 0 && r.Session == 0 {
		return nil, nil
	}
	if p, ok := e.pending[pendingKey{r.Session, r.Sequence}]; ok {
		statePending.Reached(e.h)
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
		stateAnswered.Reached(e.h)
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
// The leadership's end is its own error. A ticket that is found may still be under way: wait for it.
func (e *Evaluator) Replay(r Request) (*Ticket, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failed != nil {
		return nil, e.failed
	}
	return e.replay(r)
}
