package master

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

func opSession(nonce uint64) *proto.Operation {
	return &proto.Operation{Kind: &proto.Operation_OpenSession{OpenSession: &proto.OpenSession{Nonce: nonce}}}
}

// TestBadPaths: every operation that takes a path refuses a bad one with the same clear kinds.
func TestBadPaths(t *testing.T) {
	r := newRig(t)
	paths := map[string]dfs.Kind{
		"": dfs.InvalidArgument, "relative": dfs.InvalidArgument, "/a/../b": dfs.InvalidArgument, "/a/./b": dfs.InvalidArgument,
		"/\xff": dfs.InvalidArgument, "/a\x00b": dfs.InvalidArgument,
		"/" + strings.Repeat("n", 300): dfs.NameTooLong, strings.Repeat("/long", 1000): dfs.NameTooLong,
	}
	for p, want := range paths {
		for name, op := range map[string]*proto.Operation{
			"status": opStat(p), "list": opList(p), "create": opCreate(p, dfs.WriteMustCache), "mkdir": opMkdir(p), "remove": opRemove(p, false),
			"rename from": opRename(p, "/x"), "rename to": opRename("/x", p), "mount": opMount(p, "mem://a", false),
			"free":    {Kind: &proto.Operation_Free{Free: &proto.Free{Path: p}}},
			"persist": {Kind: &proto.Operation_Persist{Persist: &proto.Persist{Path: p}}},
			"load":    {Kind: &proto.Operation_Load{Load: &proto.Load{Path: p}}},
			"unmount": {Kind: &proto.Operation_Unmount{Unmount: &proto.UnmountUfs{Path: p}}},
			"set":     {Kind: &proto.Operation_SetAttribute{SetAttribute: &proto.SetAttribute{Path: p}}},
			"xattr":   {Kind: &proto.Operation_SetXattr{SetXattr: &proto.SetXattr{Path: p, Name: "n"}}},
		} {
			if _, err := r.do(op); !dfs.IsKind(err, want) {
				t.Errorf("%s %.30q: %v, want kind %v", name, p, err, want)
			}
		}
	}
}

func TestOddNamesWork(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"with space", "new\nline", "tab\t", "ünï", strings.Repeat("x", 255), "-rf", "*", `back\slash`} {
		p := "/" + name
		s := r.must(opCreate(p, dfs.WriteMustCache)).Status
		r.must(opComplete(s, dfs.WriteMustCache, 0, "", ""))
		if got := r.must(opStat(p)).Status.Path; got != p {
			t.Errorf("%q came back as %q", p, got)
		}
	}
	if n := len(r.must(opList("/")).Entries); n != 8 {
		t.Errorf("%d entries of 8", n)
	}
}

// TestBatchMixesReadsAndWrites: operations of one batch are answered in their places.
func TestBatchMixesReadsAndWrites(t *testing.T) {
	r := newRig(t)
	r.session = r.must(opSession(1)).Session
	r.must(opMount("/m", "mem://a", false))
	if _, err := r.store("f", "data"); err != nil {
		t.Fatal(err)
	}
	res := r.batch(opMkdir("/a"), opStat("/nothing"), opCreate("/c", dfs.WriteMustCache), opStat("/m/f"), opMkdir("/m/d"), opList("/m"), opMkdir("/a"))
	kinds := []dfs.Kind{0, dfs.NotFound, 0, 0, 0, 0, dfs.AlreadyExists}
	for i, want := range kinds {
		if got := dfs.Kind(res[i].GetError().GetKind()); got != want {
			t.Errorf("result %d: kind %v, want %v: %v", i, got, want, res[i].Error)
		}
	}
	if res[3].Status.Length != 4 || len(res[5].Entries) == 0 {
		t.Errorf("results %v", res)
	}
}

func TestBatchBounds(t *testing.T) {
	r := newRig(t)
	ops := make([]*proto.Operation, maxOperationsInBatch+1)
	for i := range ops {
		ops[i] = opStat("/")
	}
	res, err := r.m.Execute(within(t), &proto.OperationBatch{Operations: ops})
	if err != nil || dfs.Kind(res.GetError().GetKind()) != dfs.InvalidArgument {
		t.Errorf("an oversized batch: %v %v", res.GetError(), err)
	}
	if res, err := r.m.Execute(within(t), &proto.OperationBatch{}); err != nil || res.Error != nil || len(res.Results) != 0 {
		t.Errorf("an empty batch: %v %v", res, err)
	}
	empty, err := r.m.Execute(within(t), &proto.OperationBatch{Operations: []*proto.Operation{{}}})
	if err != nil || dfs.Kind(empty.Results[0].GetError().GetKind()) != dfs.InvalidArgument && dfs.Kind(empty.Results[0].GetError().GetKind()) != dfs.UnsupportedFeature {
		t.Errorf("an operation without a kind: %v %v", empty, err)
	}
}

// TestConcurrentCreatesOfOneName: of many callers exactly one makes it.
func TestConcurrentCreatesOfOneName(t *testing.T) {
	r := newRig(t)
	const callers = 32
	for round := range 20 {
		p := fmt.Sprintf("/f%d", round)
		made := make([]bool, callers)
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				res, err := r.m.Execute(within(t), &proto.OperationBatch{Identity: &proto.Identity{User: "root"}, Operations: []*proto.Operation{opCreate(p, dfs.WriteMustCache)}})
				made[i] = err == nil && res.Results[0].Error == nil
				if err == nil && !made[i] && dfs.Kind(res.Results[0].Error.Kind) != dfs.AlreadyExists {
					t.Errorf("caller %d: %v", i, res.Results[0].Error)
				}
			})
		}
		wg.Wait()
		n := 0
		for _, m := range made {
			if m {
				n++
			}
		}
		if n != 1 {
			t.Fatalf("round %d: %d callers made the file", round, n)
		}
	}
}

func TestSessionExpiry(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SessionTimeout = 100 * time.Millisecond })
	r.session = r.must(opSession(5)).Session
	r.must(opCreate("/open", dfs.WriteMustCache))
	r.until("the silent session is closed and its open file dropped", func() bool {
		res, err := r.m.Execute(within(t), &proto.OperationBatch{Identity: &proto.Identity{User: "root"}, Operations: []*proto.Operation{opStat("/open")}})
		return err == nil && dfs.Kind(res.Results[0].GetError().GetKind()) == dfs.NotFound
	})
	if _, err := r.do(opMkdir("/late")); !dfs.IsKind(err, dfs.SessionExpired) {
		t.Errorf("a mutation of an expired session: %v", err)
	}
	keep := &proto.Operation{Kind: &proto.Operation_KeepSession{KeepSession: &proto.KeepSession{}}}
	if _, err := r.do(keep); !dfs.IsKind(err, dfs.SessionExpired) {
		t.Errorf("keeping an expired session: %v", err)
	}
}

func TestTTL(t *testing.T) {
	r := newRig(t)
	r.must(opMount("/m", "mem://a", false))
	if _, err := r.store("f", "data"); err != nil {
		t.Fatal(err)
	}
	r.must(opStat("/m/f"))
	ttl, del := int64(time.Millisecond), uint32(dfs.TTLDelete)
	set := &proto.Operation{Kind: &proto.Operation_SetAttribute{SetAttribute: &proto.SetAttribute{Path: "/m/f", Ttl: &ttl, TtlAction: &del}}}
	r.must(set)
	r.until("the file is removed from the under store", func() bool {
		_, err := r.space.Open(r.h, "a").Stat(context.Background(), "f")
		return dfs.IsKind(err, dfs.NotFound)
	})
	s := r.must(opCreate("/keep", dfs.WriteMustCache)).Status
	r.must(opComplete(s, dfs.WriteMustCache, 0, "", ""))
	free := uint32(dfs.TTLFree)
	r.must(&proto.Operation{Kind: &proto.Operation_SetAttribute{SetAttribute: &proto.SetAttribute{Path: "/keep", Ttl: &ttl, TtlAction: &free}}})
	r.until("the TTL is spent", func() bool { return r.must(opStat("/keep")).Status.Ttl == 0 })
}

func TestRecursiveRemovalIsCollected(t *testing.T) {
	r := newRig(t)
	for d := range 3 {
		r.must(opMkdir(fmt.Sprintf("/t%d", d)))
	}
	for i := range 50 {
		s := r.must(opCreate(fmt.Sprintf("/t0/%d", i), dfs.WriteMustCache)).Status
		r.must(opComplete(s, dfs.WriteMustCache, 0, "", ""))
	}
	r.must(opRemove("/t0", true))
	if _, err := r.do(opStat("/t0/1")); !dfs.IsKind(err, dfs.NotFound) {
		t.Errorf("a removed file: %v", err)
	}
	r.until("the garbage is gone", func() bool { return r.m.machine.Store().Stats().Inodes == 3 }) // root, t1, t2
}

// TestStreamAnswersEveryBatch speaks the stream over gRPC, several batches in flight.
func TestStreamAnswersEveryBatch(t *testing.T) {
	r := newRig(t)
	stream, err := proto.NewMetadataClient(r.serve(t)).Stream(within(t))
	if err != nil {
		t.Fatal(err)
	}
	const batches = 100
	for i := range batches {
		b := &proto.OperationBatch{BatchId: uint64(i + 1), TimeoutNs: int64(10 * time.Second), Operations: []*proto.Operation{opStat("/")}}
		if err := stream.Send(b); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[uint64]bool{}
	for range batches {
		res, err := stream.Recv()
		if err != nil || res.Error != nil || len(res.Results) != 1 || res.Results[0].Status.GetPath() != "/" {
			t.Fatalf("%v %v", res, err)
		}
		seen[res.BatchId] = true
	}
	if len(seen) != batches {
		t.Errorf("%d of %d batches answered", len(seen), batches)
	}
	if err := stream.Send(&proto.OperationBatch{BatchId: 999}); err != nil {
		t.Fatal(err)
	}
	if res, err := stream.Recv(); err != nil || dfs.Kind(res.GetError().GetKind()) != dfs.InvalidArgument {
		t.Errorf("a batch without a timeout: %v %v", res, err)
	}
}

func TestNotLeaderNamesTheLeader(t *testing.T) {
	r := newRig(t)
	if l := r.m.leader.Swap(nil); l != nil {
		defer l.end()
	}
	res, err := r.m.Execute(within(t), &proto.OperationBatch{Operations: []*proto.Operation{opStat("/")}})
	if err != nil || dfs.Kind(res.GetError().GetKind()) != dfs.NotLeader {
		t.Errorf("a master that does not lead: %v %v", res, err)
	}
	if _, err := r.m.Heartbeat(within(t), &proto.HeartbeatRequest{}); !dfs.IsKind(rpc.FromStatus(err), dfs.NotLeader) {
		t.Errorf("heartbeat: %v", err)
	}
	if _, err := r.m.ChangeQuorum(within(t), &proto.ChangeQuorumRequest{}); !dfs.IsKind(rpc.FromStatus(err), dfs.NotLeader) {
		t.Errorf("change quorum: %v", err)
	}
}

func TestUnaryNeedsADeadline(t *testing.T) {
	r := newRig(t)
	c := proto.NewMetadataClient(r.serve(t))
	_, err := c.Execute(context.Background(), &proto.OperationBatch{})
	if !dfs.IsKind(rpc.FromStatus(err), dfs.InvalidArgument) {
		t.Errorf("a call without a deadline: %v", err)
	}
}
