package master

import (
	"context"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
)

// Mutations that wait for an under store take two steps, the store's and the namespace's, and a client may give up and
// ask again between them. Three rules keep the answer the first one's (contract C2) and the two trees alike:
//
//   - One run at a time for each (session, sequence): a second asker waits for the first run and gets its result. Without
//     this it would find the source already renamed and answer NotFound.
//   - A run that changes a store goes on when its caller gives up, and keeps its claim until its entry is applied or the
//     leadership ends. Nobody sees, or syncs, the store changed and the namespace not.
//   - A run that begins anew looks for its remembered answer first.
//
// What remains is a leader that dies between the steps. It has logged an intent before the first (namespace/intent.go), so
// that the next leader's retry goes on from the changed store, also when a sync has seen the change meanwhile.

// slowLimit bounds a run whose caller is gone. A store that hangs must not keep a slot and a claim for ever; the removal
// of a large tree may take minutes.
const slowLimit = 10 * time.Minute

type runKey struct {
	session  dfs.SessionID
	sequence uint64
}

// slowRun is one under way; res is valid once done.
type slowRun struct {
	done host.Event
	res  *proto.Result
}

// runSlow runs a mutation that may wait for an under store or walk a tree, or joins the run of its first try.
func (l *leadership) runSlow(ctx context.Context, r namespace.Request, op *proto.Operation) *proto.Result {
	if _, ok := op.Kind.(*proto.Operation_KeepSession); ok { // must not queue behind stores that hang
		res, err := l.keepSession(ctx, r)
		if err != nil {
			return errorResult(err)
		}
		return res
	}
	for {
		run, mine := l.enter(r)
		if mine {
			l.start(ctx, r, op, run)
		}
		if err := run.done.Wait(ctx); err != nil {
			return errorResult(dfs.Wrap(err, "wait for the under store", pathIn(op)))
		}
		if mine || !gaveUp(run.res) {
			return run.res
		}
	}
}

// gaveUp tells whether a run ended since its caller did: whoever joined it still wants an answer.
func gaveUp(res *proto.Result) bool {
	k := dfs.Kind(res.GetError().GetKind())
	return k == dfs.Canceled || k == dfs.DeadlineExceeded
}

// enter finds the run of this mutation, or registers a new one. Requests without a sequence are never retried.
func (l *leadership) enter(r namespace.Request) (run *slowRun, mine bool) {
	run = &slowRun{done: l.m.h.NewEvent()}
	if r.Session == 0 || r.Sequence == 0 {
		return run, true
	}
	key := runKey{r.Session, r.Sequence}
	l.mu.Lock()
	defer l.mu.Unlock()
	if first := l.running[key]; first != nil {
		return first, false
	}
	l.running[key] = run
	return run, true
}

// start runs op, in a task of its own when it must outlive its caller. It returns when the place is taken and the run
// has begun, or is over. A caller who gives up while it waits for a place ends the run for all who joined, who then
// try for themselves (gaveUp).
func (l *leadership) start(ctx context.Context, r namespace.Request, op *proto.Operation, run *slowRun) {
	if err := l.slow.Acquire(ctx, 1); err != nil {
		l.leave(r, run, errorResult(dfs.Wrap(err, "wait for a place among under-store operations", pathIn(op))))
		return
	}
	work := func(ctx context.Context) {
		res := l.attempt(ctx, r, op)
		l.slow.Release(1)
		l.leave(r, run, res)
	}
	if !outlives(op) {
		work(ctx)
		return
	}
	err := l.m.tasks.Go(l.ctx, "under-store-operation", func() error {
		ctx, cancel := l.m.h.WithTimeout(l.ctx, slowLimit)
		defer cancel()
		work(ctx)
		return nil
	})
	if err != nil {
		panic(err) // the group has no limit of its own, so there is nothing to wait for
	}
}

// outlives tells whether op changes a store before the namespace. The others can be cut off anywhere.
func outlives(op *proto.Operation) bool {
	switch op.Kind.(type) {
	case *proto.Operation_CompleteFile, *proto.Operation_MakeDirectory, *proto.Operation_Rename, *proto.Operation_Remove,
		*proto.Operation_Mount, *proto.Operation_Unmount:
		return true
	}
	return false
}

// leave ends a run: later tries of the mutation begin anew, and find the remembered answer. The result is set before
// those who joined are woken.
func (l *leadership) leave(r namespace.Request, run *slowRun, res *proto.Result) {
	l.mu.Lock()
	if key := (runKey{r.Session, r.Sequence}); l.running[key] == run {
		delete(l.running, key)
	}
	l.mu.Unlock()
	run.res = res
	run.done.Set()
}

// attempt runs op once. Its errors are answered after what they may rest on is applied (INV-3 of package namespace).
func (l *leadership) attempt(ctx context.Context, r namespace.Request, op *proto.Operation) *proto.Result {
	res, err := l.slowly(ctx, r, op)
	if err == nil {
		return res
	}
	if l.ctx.Err() != nil { // cut off by the end of this leadership, not by the caller: the next leader goes on
		return errorResult(l.m.notLeader("execute operation"))
	}
	if k := dfs.KindOf(err); k == dfs.Canceled || k == dfs.DeadlineExceeded {
		return errorResult(err) // says how far it came, which a failure to settle would hide
	}
	if settled := l.settle(ctx); settled != nil {
		err = settled
	}
	return errorResult(err)
}
