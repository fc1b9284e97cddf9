package master

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

// Bounds of one client's stream and of one batch.
const (
	maxBatchesInFlight   = 16
	maxOperationsInBatch = 4096
	readsInView          = 64 // Apply waits for a view: a batch of long listings must not hold it for all of them
)

// Execute implements proto.MetadataServer.
// It never fails as a call: what went wrong is in the batch's error or in its results, in the form that keeps kinds
// and the leader's address.
func (m *Master) Execute(ctx context.Context, b *proto.OperationBatch) (*proto.ResultBatch, error) {
	answer := m.execute(ctx, b)
	answer.BatchId = b.BatchId
	return answer, nil
}

// Stream implements proto.MetadataServer.
// Batches of one stream run beside each other, at most maxBatchesInFlight; a client that sends more waits for its own
// answers.
func (m *Master) Stream(stream rpc.OperationStream) error {
	return rpc.ServeStream(m.h, stream, maxBatchesInFlight, m.execute)
}

// execute runs a batch at the leadership of this moment. An error of the whole batch means that none of it was tried.
// The number of results is that of the operations, in their order. It is safe to send a batch again to any master:
// mutations carry their sequence, reads change nothing.
func (m *Master) execute(ctx context.Context, b *proto.OperationBatch) *proto.ResultBatch {
	l := m.leader.Load()
	switch {
	case l == nil:
		return refuse(m.notLeader("execute batch"))
	case len(b.Operations) > maxOperationsInBatch:
		return refuse(dfs.Errorf(dfs.InvalidArgument, "execute batch", "", "%d operations, the limit is %d", len(b.Operations), maxOperationsInBatch))
	}
	l.heard(dfs.SessionID(b.Session))
	x := &execution{l: l, ctx: ctx, results: make([]*proto.Result, len(b.Operations)), req: namespace.Request{
		Identity: rpc.IdentityFromProto(b.Identity), Superuser: m.cfg.Superuser,
		Session: dfs.SessionID(b.Session), AckedBelow: b.AckedBelow,
	}}
	x.run(b.Operations)
	return &proto.ResultBatch{Results: x.results, WorkersVersion: l.workersVersion()}
}

// refuse is the answer to a batch of which nothing was tried.
func refuse(err *dfs.Error) *proto.ResultBatch {
	return &proto.ResultBatch{Error: rpc.ErrorToProto(err)}
}

// errorResult is one operation's error; the others of its batch have their own results.
func errorResult(err error) *proto.Result { return &proto.Result{Error: rpc.ErrorToProto(err)} }

// settle makes an error worth telling: what it was judged on is applied, and this master still leads (INV-3 of package
// namespace).
func (l *leadership) settle(ctx context.Context) error {
	if err := l.e.Settle(ctx); err != nil {
		return err
	}
	return l.reads.Wait(ctx)
}
