package client

import (
	"context"
	"sync"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	pb "github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

// maxOutstandingMutations bounds the mutations under way in one session, and so what the master must remember of it.
const maxOutstandingMutations = 4096

// maxReopens is how often one mutation opens a new session before its error is given to the caller.
const maxReopens = 3

// session is one session with the master (contract C2).
//
// INV-1: a sequence is given to one mutation, and never again.
// INV-2: ackedBelow never exceeds the sequence of a mutation that may still be retried.
type session struct {
	id uint64

	mu   sync.Mutex
	next uint64          // the sequence of the next mutation
	low  uint64          // every mutation below has ended
	open map[uint64]bool // those at or above low that have not
}

// newSession is a session just opened. Sequences begin at 1: 0 means an operation without one.
func newSession(id uint64) *session {
	return &session{id: id, next: 1, low: 1, open: make(map[uint64]bool)}
}

// begin gives a new mutation its sequence. end must follow.
func (s *session) begin() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	sequence := s.next
	s.next++
	s.open[sequence] = true
	return sequence
}

// end says that the mutation will not be sent again, whatever became of it: its answer may be forgotten once all before it
// have ended too. A mutation whose caller gave up ends here as well; the master may still execute it.
// The set of open sequences is bounded by maxOutstandingMutations, but low waits for the oldest of them: one mutation that
// hangs keeps the master from forgetting all later answers, which is why slow ones have a session of their own.
func (s *session) end(sequence uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, sequence)
	for s.low < s.next && !s.open[s.low] {
		s.low++
	}
}

// ackedBelow is what the master may forget: the answers of all smaller sequences.
// It never waits, as rpc.Caller asks, and never falls.
func (s *session) ackedBelow() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.low
}

// sessions opens the client's session when the first mutation needs it, keeps it alive, and replaces it when the master
// has forgotten it.
//
// INV-3: at most one session is current, and mutations that begin use it; those that are being retried stay in theirs.
type sessions struct {
	c       *core
	opening *host.Mutex     // held while a session is being opened
	room    *host.Semaphore // of maxOutstandingMutations

	mu      sync.Mutex
	current *session
	keeping bool // the keep-alive task runs
}

// newSessions opens nothing yet: a client that only reads has no session.
func newSessions(c *core) *sessions {
	return &sessions{c: c, opening: host.NewMutex(c.h), room: host.NewSemaphore(c.h, maxOutstandingMutations)}
}

// peek is the current session, or nil before the first mutation and after an expiry.
func (s *sessions) peek() *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// get returns the current session, opening one if there is none. Callers that come meanwhile wait for it.
//
// A session that was opened for a caller who gave up before the answer is not used: the master forgets it after its
// timeout, as it does those of clients that died.
func (s *sessions) get(ctx context.Context) (*session, error) {
	if current := s.peek(); current != nil {
		return current, nil
	}
	if err := s.opening.Lock(ctx); err != nil {
		return nil, dfs.Wrap(err, "open session", "")
	}
	defer s.opening.Unlock()
	if current := s.peek(); current != nil {
		return current, nil
	}
	// One nonce for all attempts: the master opens one session for it, however often it is asked.
	open := &pb.Operation{Kind: &pb.Operation_OpenSession{OpenSession: &pb.OpenSession{
		Client: s.c.cfg.Name, Nonce: s.c.h.Rand().Uint64(),
	}}}
	who := &rpc.Caller{Identity: rpc.IdentityToProto(s.c.cfg.Identity)}
	result, _, err := s.c.execute(ctx, who, open, alone)
	if err != nil {
		return nil, dfs.Wrap(err, "open session", "")
	}
	if result.Session == 0 {
		return nil, dfs.Errorf(dfs.Unknown, "open session", "", "the master gave no session: see its log")
	}
	opened := newSession(result.Session)
	s.adopt(opened)
	return opened, nil
}

// adopt makes a session the current one. The keep-alive task is started once and serves all that follow.
func (s *sessions) adopt(opened *session) {
	s.mu.Lock()
	s.current = opened
	start := !s.keeping
	s.keeping = true
	s.mu.Unlock()
	if start {
		s.c.h.Go("session-keepalive", s.keep)
	}
}

// expired forgets gone, unless it was replaced already: many mutations may learn of one expiry, the last of them when the
// next session is in use.
func (s *sessions) expired(gone *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == gone {
		s.current = nil
	}
}

// keep tells the master at regular intervals that the session is wanted, and what it may forget.
// It ends with the client. A failure other than an expiry is passed over, since the next interval tries again; an expiry that
// it finds costs no mutation anything, since the next one opens another session.
func (s *sessions) keep() {
	for s.c.h.Sleep(s.c.life, s.c.cfg.KeepAlive) == nil {
		current := s.peek()
		if current == nil {
			continue
		}
		if err := s.keepOnce(current); dfs.IsKind(err, dfs.SessionExpired) {
			s.expired(current)
		}
	}
}

// keepOnce tries for one interval, at least a second: the next round comes anyway, and the master forgets a session only
// after many of them.
func (s *sessions) keepOnce(current *session) error {
	ctx, cancel := s.c.h.WithTimeout(s.c.life, max(s.c.cfg.KeepAlive, time.Second))
	defer cancel()
	who := &rpc.Caller{
		Identity: rpc.IdentityToProto(s.c.cfg.Identity), Session: current.id, AckedBelow: current.ackedBelow,
	}
	keep := &pb.Operation{Kind: &pb.Operation_KeepSession{KeepSession: &pb.KeepSession{}}}
	_, _, err := s.c.execute(ctx, who, keep, alone)
	return err
}

// mutate executes a mutation exactly once, or says that it cannot know. Its errors name op and path. It waits for a place
// among the outstanding ones, for a session, and for the answer, all within one time: ctx's deadline, or Config.Timeout.
//
// The sequence is given back (end) after the last attempt and before another session is tried, so that a mutation that
// gives up does not hold the master's memory for ever; the next one has a sequence of its own in the new session.
//
// Each session gets an Operation of its own: the one before may still lie in a batch, where it must not change. Only an
// operation without doubt goes to another session; one that may have happened there would happen twice.
func (c *Client) mutate(ctx context.Context, op, path string, mutation *pb.Operation, way route) (*pb.Result, error) {
	ctx, cancel := c.core.bounded(ctx)
	defer cancel()
	s := c.core.sessions[way]
	if err := s.room.Acquire(ctx, 1); err != nil {
		return nil, dfs.Wrap(err, op, path)
	}
	defer s.room.Release(1)
	for reopens := 0; ; reopens++ {
		current, err := s.get(ctx)
		if err != nil {
			return nil, dfs.Wrap(err, op, path)
		}
		sequence := current.begin()
		numbered := &pb.Operation{Sequence: sequence, Kind: mutation.Kind}
		result, doubt, err := c.core.execute(ctx, c.caller(current, way), numbered, way)
		current.end(sequence)
		if dfs.IsKind(err, dfs.SessionExpired) {
			s.expired(current)
			if !doubt && reopens < maxReopens {
				continue
			}
		}
		return result, mutationError(err, op, path, doubt)
	}
}

// mutationError makes a mutation's error tell whether its outcome is known.
//
// The kind stays that of the failure, so that callers who match DeadlineExceeded go on to do so; the words tell of the doubt.
func mutationError(err error, op, path string, doubt bool) error {
	if err == nil {
		return nil
	}
	wrapped := dfs.Wrap(err, op, path)
	kind := dfs.KindOf(err)
	unknown := kind == dfs.DeadlineExceeded || kind == dfs.Canceled || (kind == dfs.SessionExpired && doubt)
	if !unknown {
		return wrapped
	}
	return &dfs.Error{Kind: kind, Op: op, Path: path, Err: wrapped,
		Detail: "its outcome is unknown: it may have happened or not, look before you try again; " + dfs.DetailOf(err)}
}
