package master

import (
	"context"
	"errors"
	"io"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
	"google.golang.org/grpc"
)

// maxRegistrations bounds the workers that send their block lists at a time, so that 3,000 of them after a failover do
// not stall reads and heartbeats; the others wait on their streams, which costs nothing else: a worker sends no block before
// it was admitted.
const maxRegistrations = 16

// Register implements proto.BlocksServer.
// The stream belongs to one leadership: when that ends, the next batch gets NotLeader and the worker registers with
// the next leader.
func (m *Master) Register(stream grpc.BidiStreamingServer[proto.RegisterRequest, proto.RegisterResponse]) error {
	return rpc.ToStatus(m.register(stream))
}

// register takes a worker's block list in batches and answers each with the lease, so that a worker never sends faster
// than the map takes it in. Conflict means that another registration of the same worker began, or that it was lost
// meanwhile: it registers anew. Whatever ends the stream before the last batch ends the lease.
func (m *Master) register(stream grpc.BidiStreamingServer[proto.RegisterRequest, proto.RegisterResponse]) error {
	l := m.leader.Load()
	if l == nil {
		return m.notLeader("register worker")
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if first.Worker == nil || first.Worker.Id == "" || first.Worker.Address == "" {
		return dfs.Errorf(dfs.InvalidArgument, "register worker", "", "the first message must carry the worker's id and address")
	}
	id := dfs.WorkerID(first.Worker.Id)
	if m.workers.Supersede(id, first.Worker.Address, m.h.Now()) {
		l.expireWorkers()
	}
	// The lease first: it ends that of an earlier stream, which would go on adding what is removed here. And before the wait:
	// a worker that waits for its turn is live, so that clients and commands reach it.
	lease := m.workers.Begin(first.Worker, m.h.Now())
	defer func() { m.workers.Broken(id, lease, m.h.Now()) }()
	if err := m.registering.Acquire(stream.Context(), 1); err != nil {
		return err
	}
	defer m.registering.Release(1)
	l.persist.again(id, "the worker that was writing it registered anew")
	if m.blocks.Blocks(id) > 0 {
		m.blocks.RemoveWorker(id)
	}
	for msg := first; ; {
		if err := l.accept(id, lease, msg); err != nil {
			return err
		}
		if msg.Last && !m.workers.Complete(id, lease, m.h.Now()) {
			return dfs.Errorf(dfs.Conflict, "register worker", first.Worker.Id, "another registration of this worker began: is a second process using its directory?")
		}
		if err := stream.Send(&proto.RegisterResponse{Lease: lease}); err != nil || msg.Last {
			return err
		}
		if msg, err = stream.Recv(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// accept takes one batch of a registration.
// It extends the lease: a long list is no silence.
func (l *leadership) accept(id dfs.WorkerID, lease uint64, msg *proto.RegisterRequest) error {
	if l.ctx.Err() != nil {
		return l.m.notLeader("register worker")
	}
	if !l.m.workers.Touch(id, lease, l.m.h.Now()) {
		return dfs.Errorf(dfs.Conflict, "register worker", string(id), "its lease ended: register anew")
	}
	return l.hold(id, msg.Files)
}

// hold records what a worker holds, and brings in line what it believes of files that changed while it was away.
// Files that may be evicted need no word: a stale copy is found by its version, which no reader asks for any more.
// Only copies that the worker keeps from eviction are looked at.
func (l *leadership) hold(id dfs.WorkerID, files []*proto.HeldFile) error {
	if !l.m.blocks.AddList(id, blockIDs(files)) {
		return dfs.Errorf(dfs.ResourceExhausted, "register worker", string(id), "more than 65,535 workers were seen by this leader: move leadership to reset its table")
	}
	for _, f := range files {
		if !f.Unpersisted {
			continue
		}
		if action := l.reconcile(fileVersion(f)); action != proto.WorkerCommand_NONE {
			l.m.workers.Tell(id, &proto.WorkerCommand{Action: action, Inode: f.Inode, Version: f.Version})
		}
	}
	return nil
}

// blockIDs is what a worker's message names, block by block.
func blockIDs(files []*proto.HeldFile) []dfs.BlockID {
	n := 0
	for _, f := range files {
		n += len(f.Blocks)
	}
	ids := make([]dfs.BlockID, 0, n)
	for _, f := range files {
		for _, index := range f.Blocks {
			ids = append(ids, dfs.BlockID{File: fileVersion(f), Index: index})
		}
	}
	return ids
}

func fileVersion(f *proto.HeldFile) dfs.FileVersion {
	return dfs.FileVersion{Inode: dfs.InodeID(f.Inode), Version: f.Version}
}

// reconcile tells what to do with data that a worker keeps for the only copy. Such files have a location record as long
// as they exist.
// A worker's word is never a reason to drop what may be the only copy: in doubt it keeps the data, at the price of its
// place.
func (l *leadership) reconcile(f dfs.FileVersion) proto.WorkerCommand_Action {
	_, n, err := l.m.machine.PathOf(f.Inode)
	switch {
	case dfs.IsKind(err, dfs.NotFound):
		return l.reconcileUnlocated()
	case err != nil || f.Version > n.Version:
		return proto.WorkerCommand_NONE // in doubt, or still being written: keep
	case f.Version < n.Version || n.Persist == dfs.Persisted:
		return proto.WorkerCommand_SET_PERSISTED // evictable from now on
	}
	return proto.WorkerCommand_NONE
}

// reconcileUnlocated: without a location the file was removed, or it was persisted. Either way its copy may be evicted
// and need not be kept; dropping it outright would lose cached data in the second case for nothing.
func (l *leadership) reconcileUnlocated() proto.WorkerCommand_Action {
	return proto.WorkerCommand_SET_PERSISTED
}

// Heartbeat implements proto.BlocksServer.
// It answers before the results of persisting are taken in, unless maxPersistResults are under way: then it waits, which
// slows the worker down instead of gathering tasks.
func (m *Master) Heartbeat(ctx context.Context, req *proto.HeartbeatRequest) (*proto.HeartbeatResponse, error) {
	l := m.leader.Load()
	if l == nil {
		return nil, rpc.ToStatus(m.notLeader("heartbeat"))
	}
	response, ok := m.workers.Heartbeat(req, m.h.Now())
	if !ok {
		return &proto.HeartbeatResponse{Register: true}, nil
	}
	id := dfs.WorkerID(req.Worker)
	if err := l.hold(id, req.Added); err != nil {
		return nil, rpc.ToStatus(err)
	}
	for _, f := range req.Removed {
		m.blocks.Remove(id, fileVersion(f), f.Blocks)
	}
	if err := l.persist.reported(ctx, req.Persisted); err != nil {
		return nil, rpc.ToStatus(err)
	}
	response.NextNs = int64(m.workers.Patience())
	return response, nil
}

// Mounts implements proto.BlocksServer.
// It proves leadership first, since a deposed leader could name a store that was unmounted, and the worker would write
// there. The answer holds the stores' secrets, so it is for workers alone; id 0 asks for all.
func (m *Master) Mounts(ctx context.Context, req *proto.MountsRequest) (*proto.MountsResponse, error) {
	l := m.leader.Load()
	if l == nil {
		return nil, rpc.ToStatus(m.notLeader("mounts"))
	}
	if err := l.reads.Wait(ctx); err != nil {
		return nil, rpc.ToStatus(err)
	}
	out := &proto.MountsResponse{}
	for _, mount := range m.mounts(nil, true) {
		if req.Id == 0 || req.Id == mount.Id {
			out.Mounts = append(out.Mounts, mount)
		}
	}
	return out, nil
}
