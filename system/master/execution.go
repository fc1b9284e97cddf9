package master

import (
	"context"
	"slices"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
)

// execution is one batch under way. Its operations come from callers that do not wait for each other, so their order
// is free: fast mutations are evaluated first and commit together; reads share one proof of leadership; operations
// that ask an under store run as tasks beside them. An execution belongs to one leadership: when that ends, its
// operations fail with NotLeader or Unavailable, and the client asks the next.
// No lock guards results: each operation's place is written by one task at a time, the batch's own or the one that was
// spawned for it, and run returns only after all of them.
type execution struct {
	l       *leadership
	ctx     context.Context
	req     namespace.Request
	results []*proto.Result
	tickets []waiting
	reads   []int
	verdict []int // errors that may stem from pending proposals (INV-3 of package namespace)
	slow    *host.Group
}

// waiting is a mutation that was evaluated: its ticket, and how its reply is built once it is applied.
type waiting struct {
	index  int
	ticket *namespace.Ticket
	answer answering
}

// run goes through a batch in the order in which its parts stand in nobody's way: fast mutations are evaluated and
// slow ones started in one pass, then the fast are waited for, then reads are answered, so that a read sees the fast
// mutations of its own batch. It returns when every result is there.
// It is not cut off by ctx as a whole: every part that waits is given ctx and fails with its error, so that each
// operation has an answer of its own, also those that were done before ctx ended.
func (x *execution) run(ops []*proto.Operation) {
	for i, op := range ops {
		x.start(i, op, len(ops) == 1)
	}
	x.awaitMutations()
	x.answerReads(ops)
	x.settleVerdicts()
	if x.slow != nil {
		if err := x.slow.Wait(context.WithoutCancel(x.ctx)); err != nil {
			panic(err) // tasks put their errors into their results
		}
	}
}

// start evaluates a fast mutation, queues a read, or starts a task for what may wait for an under store. A slow
// operation that is alone in its batch runs in the caller's own task: a task for it would gain nothing.
// An error of the evaluation is not told yet: it may rest on a proposal of somebody else that fails to commit, and is
// settled with all others of the batch (settleVerdicts).
func (x *execution) start(i int, op *proto.Operation, alone bool) {
	if hollow(op) {
		x.fail(i, dfs.Errorf(dfs.InvalidArgument, "execute operation", "", "operation %d of the batch says nothing to do", i))
		return
	}
	req := x.req
	req.Sequence = op.Sequence
	if isRead(op) {
		x.reads = append(x.reads, i)
		return
	}
	if f := x.l.fast(op); f != nil {
		ticket, answer, err := f(x.ctx, req)
		if err != nil {
			x.fail(i, err)
			x.verdict = append(x.verdict, i)
			return
		}
		x.tickets = append(x.tickets, waiting{i, ticket, answer})
		return
	}
	task := func() error {
		x.results[i] = x.l.runSlow(x.ctx, req, op)
		return nil
	}
	if alone {
		_ = task()
		return
	}
	x.spawn(i, "metadata-operation", task)
}

// spawn starts a task whose result run waits for. Its error is the operation's.
// It waits for nothing: the group has no limit of its own, and the leadership's semaphore is what bounds the work.
func (x *execution) spawn(i int, name string, task func() error) {
	if x.slow == nil {
		x.slow = host.NewGroup(x.l.m.h, 0)
	}
	if err := x.slow.Go(x.ctx, name, task); err != nil {
		x.fail(i, err)
	}
}

// fail sets an operation's error, in place of what it had.
func (x *execution) fail(i int, err error) { x.results[i] = errorResult(err) }

// hollow tells whether an operation or its message is missing. The wire cannot carry such a one, a caller in process can.
func hollow(op *proto.Operation) bool {
	if op == nil || op.Kind == nil {
		return true
	}
	switch k := op.Kind.(type) { // what comes by the thousand does without reflection
	case *proto.Operation_GetStatus:
		return k == nil || k.GetStatus == nil
	case *proto.Operation_CreateFile:
		return k == nil || k.CreateFile == nil
	case *proto.Operation_CompleteFile:
		return k == nil || k.CompleteFile == nil
	}
	m := op.ProtoReflect()
	set := m.WhichOneof(m.Descriptor().Oneofs().Get(0))
	return set == nil || !m.Get(set).Message().IsValid()
}

// isRead tells what is answered from the applied state, without a sequence and as often as it is asked.
func isRead(op *proto.Operation) bool {
	switch op.Kind.(type) {
	case *proto.Operation_GetStatus, *proto.Operation_ListStatus, *proto.Operation_LocateBlocks,
		*proto.Operation_ListMounts, *proto.Operation_ListWorkers:
		return true
	}
	return false
}

// awaitMutations answers the fast mutations once they are applied (INV-3 of package namespace).
// They were evaluated in order, and entries apply in order, so waiting for them one by one costs no more than waiting
// for the last. When ctx ends, the remaining ones fail with its error although they may still take effect: the client
// asks again with the same sequence and gets the first answer.
func (x *execution) awaitMutations() {
	for _, w := range x.tickets {
		if err := w.ticket.Wait(x.ctx); err != nil {
			x.fail(w.index, err)
			continue
		}
		res, err := w.answer(w.ticket)
		if err != nil {
			res = errorResult(err)
		}
		x.results[w.index] = res
	}
}

// settleVerdicts makes sure that errors describe committed state at a leader that still leads.
// One wait serves all of them. When it fails, its error replaces the verdicts: the client is to ask the next leader,
// whose state may judge otherwise.
func (x *execution) settleVerdicts() {
	if len(x.verdict) == 0 {
		return
	}
	if err := x.l.settle(x.ctx); err != nil {
		for _, i := range x.verdict {
			x.fail(i, err)
		}
	}
}

// answerReads answers what the applied state can answer; paths that must first be compared with their under store run as
// tasks.
// The proof of leadership comes before the state is read, and after the batch's fast mutations: what they changed is
// seen. Reads are taken in chunks of readsInView, so that Apply gets its turn between them; two reads of one batch may
// therefore see different states, each of them at least as new as the proof.
func (x *execution) answerReads(ops []*proto.Operation) {
	if len(x.reads) == 0 {
		return
	}
	if err := x.l.reads.Wait(x.ctx); err != nil {
		for _, i := range x.reads {
			x.fail(i, err)
		}
		return
	}
	var stale []int
	for some := range slices.Chunk(x.reads, readsInView) {
		_ = x.l.m.machine.View(func(r inodestore.Reader) error { // the closure answers into results
			for _, i := range some {
				res, sync := x.l.read(r, &x.req, ops[i])
				x.results[i] = res
				if sync {
					stale = append(stale, i)
				}
			}
			return nil
		})
	}
	for _, i := range stale {
		task := func() error {
			x.results[i] = x.l.readSynced(x.ctx, x.req, ops[i], x.results[i])
			return nil
		}
		if len(ops) == 1 {
			_ = task()
			continue
		}
		x.spawn(i, "metadata-sync", task)
	}
}
