package master

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

// speaker is a worker's side of the Blocks service, spoken by the test over real gRPC.
type speaker struct {
	t     *testing.T
	c     proto.BlocksClient
	id    string
	lease uint64
	heard uint64
}

func (r *rig) serve(t *testing.T) host.Conn {
	t.Helper()
	s, err := r.h.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.m.RegisterServices(s)
	s.Serve()
	conn, err := r.h.Dial(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s.Stop(ctx)
	})
	return conn
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func (s *speaker) register(batches ...[]*proto.HeldFile) {
	s.t.Helper()
	stream, err := s.c.Register(within(s.t))
	if err != nil {
		s.t.Fatal(err)
	}
	for i, files := range batches {
		req := &proto.RegisterRequest{Files: files, Last: i == len(batches)-1}
		if i == 0 {
			req.Worker = &proto.WorkerInfo{Id: s.id, Address: s.id + ":1"}
		}
		if err := stream.Send(req); err != nil && !errors.Is(err, io.EOF) {
			s.t.Fatal(err)
		}
		res, err := stream.Recv()
		if err != nil {
			s.t.Fatal(rpc.FromStatus(err))
		}
		s.lease, s.heard = res.Lease, 0
	}
}

func (s *speaker) beat(req *proto.HeartbeatRequest) *proto.HeartbeatResponse {
	s.t.Helper()
	req.Worker, req.Lease, req.Heard = s.id, s.lease, s.heard
	res, err := s.c.Heartbeat(within(s.t), req)
	if err != nil {
		s.t.Fatal(rpc.FromStatus(err))
	}
	s.heard = res.Answer
	return res
}

// await beats until a command of the given action comes, and returns it.
func (s *speaker) await(r *rig, action proto.WorkerCommand_Action) *proto.WorkerCommand {
	s.t.Helper()
	var found *proto.WorkerCommand
	r.until("the worker is told to "+action.String(), func() bool {
		for _, c := range s.beat(&proto.HeartbeatRequest{}).Commands {
			if c.Action == action {
				found = c
			}
		}
		return found != nil
	})
	return found
}

func held(inode uint64, version uint32, unpersisted bool, blocks ...uint32) []*proto.HeldFile {
	return []*proto.HeldFile{{Inode: inode, Version: version, Blocks: blocks, Unpersisted: unpersisted}}
}

func opLocate(inode uint64, version, count uint32) *proto.Operation {
	return &proto.Operation{Kind: &proto.Operation_LocateBlocks{LocateBlocks: &proto.LocateBlocks{Inode: inode, Version: version, Count: count}}}
}

func TestRegistrationAndReports(t *testing.T) {
	r := newRig(t)
	w := &speaker{t: t, c: proto.NewBlocksClient(r.serve(t)), id: "w1"}
	if !w.beat(&proto.HeartbeatRequest{}).Register {
		t.Error("an unknown worker was not told to register")
	}
	w.register(held(9, 1, false, 0, 1), held(9, 1, false, 2))
	r.until("safe start is over", func() bool { return r.batch(opLocate(9, 1, 4))[0].Error == nil })
	res := r.must(opLocate(9, 1, 4))
	for i, want := range []int{1, 1, 1, 0} {
		if got := res.Blocks[i].Workers; len(got) != want {
			t.Errorf("block %d is at %v, want %d holders", i, got, want)
		}
	}
	w.beat(&proto.HeartbeatRequest{Removed: held(9, 1, false, 1), Added: held(9, 1, false, 3)})
	res = r.must(opLocate(9, 1, 4))
	if len(res.Blocks[1].Workers) != 0 || len(res.Blocks[3].Workers) != 1 {
		t.Errorf("after a report: %v", res.Blocks)
	}
	workers := r.must(&proto.Operation{Kind: &proto.Operation_ListWorkers{ListWorkers: &proto.ListWorkers{}}}).Workers
	if len(workers) != 1 || workers[0].Blocks != 3 || !workers[0].Registered {
		t.Errorf("workers %v", workers)
	}
	w.register(held(9, 1, false, 0)) // it came back with less
	res = r.must(opLocate(9, 1, 4))
	if len(res.Blocks[0].Workers) != 1 || len(res.Blocks[2].Workers) != 0 {
		t.Errorf("after registering anew: %v", res.Blocks)
	}
}

// TestRegistrationsTakeTurns: a worker whose turn has not come is live and unanswered, and sends nothing until it is; the
// end of another's registration is its turn.
func TestRegistrationsTakeTurns(t *testing.T) {
	r := newRig(t, func(c *Config) { c.WorkerLostAfter = 50 * time.Millisecond })
	c := proto.NewBlocksClient(r.serve(t))
	hello := func(id string) proto.Blocks_RegisterClient {
		stream, err := c.Register(within(t))
		if err != nil || stream.Send(&proto.RegisterRequest{Worker: &proto.WorkerInfo{Id: id, Address: id + ":1"}}) != nil {
			t.Fatal(err)
		}
		return stream
	}
	for r.m.registering.TryAcquire(1) { // as many as are admitted at a time
	}
	waiting := hello("w1")
	r.until("it is live", func() bool { return r.m.workers.Live("w1") })
	time.Sleep(150 * time.Millisecond) // on the machine's clock, as the rig is: three times what a silent worker has
	if !r.m.workers.Live("w1") || r.m.workers.Settled() {
		t.Error("a worker that waits for its turn is lost, or counts as registered")
	}
	r.m.registering.Release(1)
	answer, err := waiting.Recv()
	if err != nil || answer.Lease == 0 {
		t.Fatalf("admitted: %v, %v", answer, err)
	}
	if err := waiting.Send(&proto.RegisterRequest{Files: held(9, 1, false, 0), Last: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := waiting.Recv(); err != nil || r.m.blocks.Len() != 1 {
		t.Errorf("registered: %v, %d blocks", err, r.m.blocks.Len())
	}
}

func TestRegistrationWithoutNameIsRefused(t *testing.T) {
	r := newRig(t)
	stream, err := proto.NewBlocksClient(r.serve(t)).Register(within(t))
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.Send(&proto.RegisterRequest{})
	if _, err := stream.Recv(); !dfs.IsKind(rpc.FromStatus(err), dfs.InvalidArgument) {
		t.Errorf("error %v", err)
	}
}

// TestAsyncPersist: a worker that holds the file is told to write it, and its report makes the file persisted.
func TestAsyncPersist(t *testing.T) {
	r := newRig(t)
	r.must(opMount("/m", "mem://a", false))
	w := &speaker{t: t, c: proto.NewBlocksClient(r.serve(t)), id: "w1"}
	w.register(nil)
	s := r.must(opCreate("/m/f", dfs.WriteAsyncThrough)).Status
	r.must(opComplete(s, dfs.WriteAsyncThrough, 4, "", "w1"))
	c := w.await(r, proto.WorkerCommand_PERSIST)
	if c.Inode != s.Id || c.UfsPath != "f" || c.Length != 4 {
		t.Fatalf("command %v", c)
	}
	// The first try fails: it is told again.
	w.beat(&proto.HeartbeatRequest{Persisted: []*proto.PersistResult{{Inode: c.Inode, Version: c.Version, MountId: c.MountId, UfsPath: c.UfsPath,
		Error: rpc.ErrorToProto(dfs.Errorf(dfs.NoSpace, "persist", "f", "the store is full"))}}})
	r.until("the failure is reported", func() bool {
		rep, err := r.m.Report(context.Background(), nil)
		return err == nil && rep.ToPersist == 1 && len(rep.Problems) > 0
	})
	w.await(r, proto.WorkerCommand_PERSIST)
	w.beat(&proto.HeartbeatRequest{Persisted: r.wrote(c, "data")})
	if set := w.await(r, proto.WorkerCommand_SET_PERSISTED); set.Inode != s.Id {
		t.Errorf("command %v", set)
	}
	e, err := r.space.Open(r.h, "a").Stat(context.Background(), "f")
	if st := r.must(opStat("/m/f")).Status; err != nil || dfs.PersistState(st.Persist) != dfs.Persisted || st.Fingerprint != e.Fingerprint {
		t.Errorf("status %v; the store has %v, %v", st, e, err)
	}
}

// TestReconcile: what a worker keeps for the only copy is brought in line with what happened while it was away.
func TestReconcile(t *testing.T) {
	r := newRig(t)
	r.must(opMount("/m", "mem://a", false))
	w := &speaker{t: t, c: proto.NewBlocksClient(r.serve(t)), id: "w1"}
	kept := r.must(opCreate("/kept", dfs.WriteMustCache)).Status
	r.must(opComplete(kept, dfs.WriteMustCache, 4, "", ""))
	files := append(held(kept.Id, 1, true, 0), held(4711, 1, true, 0)...)
	w.register(files)
	set := w.await(r, proto.WorkerCommand_SET_PERSISTED)
	if set.Inode != 4711 {
		t.Errorf("the only copy of a file that exists may be evicted: %v", set)
	}
}

func TestPinAndFreeReachHolders(t *testing.T) {
	r := newRig(t)
	r.must(opMount("/m", "mem://a", false))
	w := &speaker{t: t, c: proto.NewBlocksClient(r.serve(t)), id: "w1"}
	if _, err := r.store("f", "data"); err != nil {
		t.Fatal(err)
	}
	s := r.must(opStat("/m/f")).Status
	w.register(held(s.Id, 1, false, 0))
	pinned := true
	r.must(&proto.Operation{Kind: &proto.Operation_SetAttribute{SetAttribute: &proto.SetAttribute{Path: "/m/f", Pinned: &pinned}}})
	if c := w.await(r, proto.WorkerCommand_PIN); c.Inode != s.Id {
		t.Errorf("command %v", c)
	}
	free := &proto.Operation{Kind: &proto.Operation_Free{Free: &proto.Free{Path: "/m/f"}}}
	if _, err := r.do(free); !dfs.IsKind(err, dfs.InvalidArgument) {
		t.Errorf("freeing a pinned file: %v", err)
	}
	free.GetFree().Force = true
	r.must(free)
	w.await(r, proto.WorkerCommand_FREE)
	if got := r.must(opStat("/m/f")).Status.CachedBytes; got != 4 {
		t.Errorf("%d bytes cached before the worker reports their removal, want 4", got)
	}
	w.beat(&proto.HeartbeatRequest{Removed: held(s.Id, 1, false, 0)})
	if got := r.must(opStat("/m/f")).Status.CachedBytes; got != 0 {
		t.Errorf("%d bytes cached after, want 0", got)
	}
}

func TestLostWorker(t *testing.T) {
	r := newRig(t, func(c *Config) { c.WorkerLostAfter = 50 * time.Millisecond })
	w := &speaker{t: t, c: proto.NewBlocksClient(r.serve(t)), id: "w1"}
	w.register(held(9, 1, false, 0))
	r.until("the worker is lost", func() bool { return r.m.blocks.Len() == 0 })
	rep, err := r.m.Report(context.Background(), nil)
	if err != nil || len(rep.Problems) < 2 {
		t.Errorf("problems %v, %v", rep.GetProblems(), err)
	}
	if !w.beat(&proto.HeartbeatRequest{}).Register {
		t.Error("a lost worker was not told to register")
	}
}

func TestMountsKeepSecretsFromPeople(t *testing.T) {
	r := newRig(t)
	r.must(opMount("/m", "mem://a", false))
	shown := r.must(&proto.Operation{Kind: &proto.Operation_ListMounts{ListMounts: &proto.ListMounts{}}}).Mounts
	if len(shown) != 1 || shown[0].Options["secret_key"] != "***" {
		t.Errorf("mounts %v", shown)
	}
	c := proto.NewBlocksClient(r.serve(t))
	given, err := c.Mounts(within(t), &proto.MountsRequest{})
	if err != nil || len(given.Mounts) != 1 || given.Mounts[0].Options["secret_key"] != "hush" {
		t.Errorf("workers get %v, %v", given, err)
	}
	r.user = "bob"
	if shown := r.must(&proto.Operation{Kind: &proto.Operation_ListMounts{ListMounts: &proto.ListMounts{}}}).Mounts; len(shown) != 0 {
		t.Errorf("another user sees a mount that is not shared: %v", shown)
	}
}
