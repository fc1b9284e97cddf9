package client

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	pb "github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

var pathAnswerLost = host.NewPath("an answer of the master is lost")

// Backoff between attempts: exponential, with full jitter above the floor, so that callers that failed together do not
// come back together. The ceiling is well under the second that a failover may take (DESIGN section 13).
const (
	backoffFloor   = 5 * time.Millisecond
	backoffCeiling = 250 * time.Millisecond
)

// The retry budget: a failover with a thousand waiting callers fits; a cluster that is down sees a bounded stream of
// retries, not a storm.
const (
	budgetBurst     = 20_000.0
	budgetPerSecond = 2_000.0
)

// retryBudget is a token bucket that all retries of a process draw from. An empty bucket delays retries; it does not
// fail them, since their contexts end by themselves.
//
// INV-1: tokens is never over budgetBurst, whatever the clock does: a jump back fills nothing, and one ahead the bucket at
// most.
type retryBudget struct {
	mu     sync.Mutex
	tokens float64
	filled time.Time
}

// newRetryBudget is a full bucket.
func newRetryBudget(now time.Time) *retryBudget {
	return &retryBudget{tokens: budgetBurst, filled: now}
}

// take takes a token if there is one.
// It never waits, so that it can be asked under any lock.
func (b *retryBudget) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if elapsed := now.Sub(b.filled); elapsed > 0 {
		b.tokens = min(b.tokens+elapsed.Seconds()*budgetPerSecond, budgetBurst)
	}
	b.filled = now // also when the clock was set back
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// retrier paces the attempts of one operation. It is for one task.
type retrier struct {
	c        *core
	deadline time.Time // when the context has none; zero otherwise
	backoff  time.Duration
}

// bounded gives ctx the client's timeout when it has no deadline of its own. Everything that waits for masters or for
// other callers is below one: callers that queue for a lock whose holder waits for a dead cluster would otherwise wait one
// timeout after the other.
//
// The cancel must be called in any case; it does nothing when ctx came with a deadline.
func (c *core) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return ctx, func() {}
	}
	return c.h.WithTimeout(ctx, c.cfg.Timeout)
}

// newRetrier begins the retries of one operation, whose time starts now.
func (c *core) newRetrier(ctx context.Context) retrier {
	r := retrier{c: c, backoff: backoffFloor}
	if _, bounded := ctx.Deadline(); !bounded {
		r.deadline = c.h.Now().Add(c.cfg.Timeout)
	}
	return r
}

// expired tells whether the operation's own time has run out; a deadline of its context shows there.
func (r *retrier) expired() bool { return !r.deadline.IsZero() && r.c.h.Now().After(r.deadline) }

// wait waits before the next attempt. It returns why there can be none: ctx.Err(), Canceled when the client was closed, or
// DeadlineExceeded when the context has no deadline and Config.Timeout has passed.
//
// Pauses are 5 to 10 ms at first and 5 to 255 ms in the end. The token is taken after the pause, so that a caller who gives
// up meanwhile costs none; an empty bucket means another pause, not a failure.
func (r *retrier) wait(ctx context.Context) error {
	for {
		pause := backoffFloor + time.Duration(r.c.h.Rand().Int64N(int64(r.backoff)))
		r.backoff = min(2*r.backoff, backoffCeiling)
		if err := r.c.h.Sleep(ctx, pause); err != nil {
			return err
		}
		if r.c.life.Err() != nil {
			return context.Canceled
		}
		if r.expired() {
			return context.DeadlineExceeded
		}
		if r.c.budget.take(r.c.h.Now()) {
			return nil
		}
	}
}

// worthRetry tells whether an attempt that failed with err may succeed at another time or master.
// DeadlineExceeded and Canceled are, since they may be those of the attempt and not of the caller, whose context execute
// looks at before it goes on.
func worthRetry(err error) bool {
	kind := dfs.KindOf(err)
	return kind.Retryable() || kind == dfs.DeadlineExceeded || kind == dfs.Canceled
}

// mayHaveHappened tells whether the operation may have taken effect although the attempt failed with err. What the
// master refused before evaluating has not. NotLeader counts as doubt too: a master that loses its leadership answers so
// for what it has already proposed, and the next leader may commit it.
func mayHaveHappened(err error) bool {
	switch dfs.KindOf(err) {
	case dfs.SessionExpired, dfs.ResourceExhausted:
		return false
	}
	return true
}

// execute runs the operation at the leader, wherever it moves, until it is answered or time runs out. doubt tells
// whether an attempt may have taken effect although none was answered. An operation that was cut short always fails with
// the kind of the end, DeadlineExceeded or Canceled, whatever the last attempt met: those are the kinds of which callers
// of mutations know that the outcome is open.
func (c *core) execute(ctx context.Context, caller *rpc.Caller, operation *pb.Operation, way route) (result *pb.Result, doubt bool, err error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	retry := c.newRetrier(ctx)
	var before error // why the attempt before this one failed
	for ; ; before = err {
		result, err = c.attempt(ctx, caller, operation, way)
		if err == nil || !worthRetry(err) {
			return result, doubt, err
		}
		doubt = doubt || mayHaveHappened(err)
		if ended := c.ended(ctx); ended != nil {
			if dfs.KindOf(err) != dfs.KindOf(ended) {
				before = err
			}
			if before != nil { // it knows more than an attempt that was cut short
				err = gaveUp(ended, before)
			}
			return nil, doubt, err
		}
		if ended := retry.wait(ctx); ended != nil {
			return nil, doubt, gaveUp(ended, err)
		}
	}
}

// ended is why there can be no further attempt: the context's end or the client's; nil while there can.
func (c *core) ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.life.Err() != nil {
		return context.Canceled
	}
	return nil
}

// attempt asks the probable leader once. The server is told the time that is left, so that it does not work for nobody.
//
// NotLeader and Unavailable move the guess, for all callers. Other errors are the operation's own, or say that time ran out,
// which a slow under store can cause as well: neither speaks against this master.
func (c *core) attempt(ctx context.Context, caller *rpc.Caller, operation *pb.Operation, way route) (*pb.Result, error) {
	m, err := c.masters.leader()
	if err != nil {
		return nil, err
	}
	timeout := c.cfg.Timeout
	if deadline, bounded := ctx.Deadline(); bounded {
		timeout = max(deadline.Sub(c.h.Now()), 1)
	}
	result, err := m.do(ctx, caller, operation, way, int64(timeout))
	if err == nil && pathAnswerLost.Taken(c.h) {
		result, err = nil, dfs.Errorf(dfs.Unavailable, "ask", "", "as if the answer was lost")
	}
	switch {
	case dfs.IsKind(err, dfs.NotLeader), dfs.IsKind(err, dfs.Unavailable):
		c.masters.failed(m.address, leaderHint(err))
		err = atAddress(err, m.address)
	}
	return result, err
}

// leaderHint is the address that a NotLeader answer names, "" without one.
func leaderHint(err error) string {
	var e *dfs.Error
	if errors.As(err, &e) {
		return e.Leader
	}
	return ""
}

// atAddress names the master in an error that has no path of its own.
// It makes a copy: several callers may hold the error.
func atAddress(err error, address string) error {
	var e *dfs.Error
	if errors.As(err, &e) && e.Path == "" {
		named := *e
		named.Path = address
		return &named
	}
	return err
}

// gaveUp is the error of an operation whose time ran out while it was being retried: the kind of the end, the words of
// the last failure.
// The last failure is its cause: it is what an operator has to look at.
func gaveUp(ended, last error) error {
	return &dfs.Error{Kind: dfs.KindOf(ended), Op: "call master", Err: last,
		Detail: "gave up retrying; the last answer was: " + last.Error()}
}
