package master

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
	"github.com/forebay/forebay/system/journal/memjournal"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
	"github.com/forebay/forebay/system/ufs"
)

// stopping is a store whose changes are done and then do not return until the test lets them.
type stopping struct {
	ufs.Store
	on      *atomic.Bool
	reached chan struct{}
	pass    chan struct{}
}

func (s *stopping) hold() {
	if s.on.CompareAndSwap(true, false) {
		close(s.reached)
		<-s.pass
	}
}

func (s *stopping) Rename(ctx context.Context, a, b string) error {
	err := s.Store.Rename(ctx, a, b)
	s.hold()
	return err
}

func (s *stopping) Remove(ctx context.Context, p string) error {
	err := s.Store.Remove(ctx, p)
	s.hold()
	return err
}

func (r *rig) stopStore(s *stopping) func(*Config) {
	return func(c *Config) {
		open := c.OpenStore
		c.OpenStore = func(ctx context.Context, uri string, o map[string]string) (ufs.Store, error) {
			inner, err := open(ctx, uri, o)
			return &stopping{inner, s.on, s.reached, s.pass}, err
		}
	}
}

func (r *rig) send(ctx context.Context, op *proto.Operation) error {
	b := &proto.OperationBatch{Session: r.session, Operations: []*proto.Operation{op}, Identity: &proto.Identity{User: "root"}}
	res, err := r.m.Execute(ctx, b)
	if err != nil {
		return err
	}
	if res.Error != nil {
		return rpc.ErrorFromProto(res.Error)
	}
	return rpc.ErrorFromProto(res.Results[0].Error)
}

// TestRetryJoinsTheFirstTry (contract C2): the client gives up while the under store has done its part and the namespace
// has not. Its retry, at once or later, gets the first try's answer, and the two trees agree.
func TestRetryJoinsTheFirstTry(t *testing.T) {
	for name, op := range map[string]func() *proto.Operation{
		"rename": func() *proto.Operation { return opRename("/m/f", "/m/g") },
		"remove": func() *proto.Operation { return opRemove("/m/f", false) },
	} {
		t.Run(name, func(t *testing.T) {
			s := &stopping{on: &atomic.Bool{}, reached: make(chan struct{}), pass: make(chan struct{})}
			r := newRig(t, (*rig)(nil).stopStore(s))
			r.session = r.must(opSession(3)).Session
			r.must(opMount("/m", "mem://a", false))
			if _, err := r.store("f", "data"); err != nil {
				t.Fatal(err)
			}
			r.must(opStat("/m/f"))
			first := op()
			first.Sequence = 50
			s.on.Store(true)
			ctx, cancel := context.WithCancel(within(t))
			gaveUp := make(chan error, 1)
			go func() { gaveUp <- r.send(ctx, first) }()
			<-s.reached
			cancel()
			if err := <-gaveUp; !dfs.IsKind(err, dfs.Canceled) {
				t.Errorf("the caller that gave up: %v", err)
			}
			const retries = 5
			answers := make(chan error, retries)
			for range retries {
				again := op()
				again.Sequence = 50
				go func() { answers <- r.send(within(t), again) }()
			}
			time.Sleep(5 * time.Millisecond)
			close(s.pass)
			for range retries {
				if err := <-answers; err != nil {
					t.Errorf("a retry: %v", err)
				}
			}
			last := op()
			last.Sequence = 50
			if err := r.send(within(t), last); err != nil {
				t.Errorf("a late retry: %v", err)
			}
			if _, err := r.do(opStatNow("/m/f")); !dfs.IsKind(err, dfs.NotFound) {
				t.Errorf("the source: %v", err)
			}
			l := r.m.leader.Load()
			l.mu.Lock()
			defer l.mu.Unlock()
			if len(l.running) != 0 {
				t.Errorf("%d runs are registered for ever", len(l.running))
			}
		})
	}
}

// TestNothingComesBack: what an earlier version left in the under store goes with its file.
func TestNothingComesBack(t *testing.T) {
	for name, take := range map[string]*proto.Operation{"remove": opRemove("/m/f", false), "rename": opRename("/m/f", "/m/g")} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.session = r.must(opSession(3)).Session
			r.must(opMount("/m", "mem://a", false))
			for _, kind := range []string{"THROUGH", "MUST_CACHE"} {
				if _, err := r.put("/m/f", kind); err != nil {
					t.Fatal(err)
				}
			}
			r.must(take)
			if s, err := r.do(opStatNow("/m/f")); !dfs.IsKind(err, dfs.NotFound) {
				t.Errorf("the old content came back: %v %v", s.Status, err)
			}
		})
	}
}

// TestCompleteGoesByItsBeginning: a writer cannot talk unconfirmed content into the namespace by naming another write
// type, length or path at the end.
func TestCompleteGoesByItsBeginning(t *testing.T) {
	r := newRig(t)
	r.session = r.must(opSession(3)).Session
	r.must(opMount("/m", "mem://a", false))
	s := r.must(opCreate("/m/f", dfs.WriteThrough)).Status
	if _, err := r.do(opComplete(s, dfs.WriteMustCache, 4, "made-up", "")); err == nil {
		t.Error("published without its object")
	}
	fingerprint, err := r.store("f", "data")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.do(opComplete(s, dfs.WriteThrough, 400, fingerprint, "")); !dfs.IsKind(err, dfs.Conflict) {
		t.Errorf("a length that the store does not confirm: %v", err)
	}
	victim, err := r.store("victim", "gold")
	if err != nil {
		t.Fatal(err)
	}
	r.must(opStat("/m/victim"))
	stolen := opComplete(s, dfs.WriteThrough, 4, victim, "")
	stolen.GetCompleteFile().Path = "/m/victim"
	if _, err := r.do(stolen); !dfs.IsKind(err, dfs.Conflict) {
		t.Errorf("another file's object was taken: %v", err)
	}
	r.must(opRename("/m/f", "/m/g"))
	left, err := r.store("f", "late") // its worker commits at the old path
	if err != nil {
		t.Fatal(err)
	}
	r.must(opComplete(s, dfs.WriteThrough, 4, left, "not-a-worker"))
	if got := r.must(opStatNow("/m/g")).Status; got.Length != 4 || got.Version != 1 {
		t.Errorf("after the rename: %v", got)
	}
	if r.m.blocks.Len() != 0 {
		t.Error("a worker that does not exist is in the block map")
	}
}

// TestTTLSparesOnlyCopies: a TTL that frees drops copies of what the store has, and nothing else's only copy.
func TestTTLSparesOnlyCopies(t *testing.T) {
	r := newRig(t)
	r.must(opMount("/m", "mem://a", false))
	w := &speaker{t: t, c: proto.NewBlocksClient(r.serve(t)), id: "w1"}
	w.register(nil)
	s := r.must(opCreate("/only", dfs.WriteMustCache)).Status
	r.must(opComplete(s, dfs.WriteMustCache, 4, "", "w1"))
	ttl, free := int64(time.Millisecond), uint32(dfs.TTLFree)
	r.must(&proto.Operation{Kind: &proto.Operation_SetAttribute{SetAttribute: &proto.SetAttribute{Path: "/only", Ttl: &ttl, TtlAction: &free}}})
	r.until("the TTL is spent", func() bool { return r.must(opStat("/only")).Status.Ttl == 0 })
	for _, c := range w.beat(&proto.HeartbeatRequest{}).Commands {
		if c.Action == proto.WorkerCommand_FREE {
			t.Error("the only copy was freed")
		}
	}
}

// TestTTLAsksAgain: an entry of an old list does nothing to the file that has the path now.
func TestTTLAsksAgain(t *testing.T) {
	r := newRig(t)
	s := r.must(opCreate("/f", dfs.WriteMustCache)).Status
	r.must(opComplete(s, dfs.WriteMustCache, 0, "", ""))
	old := &inodestore.Inode{ID: dfs.InodeID(s.Id + 1000), TTL: 1}
	for _, action := range []dfs.TTLAction{dfs.TTLDelete, dfs.TTLFree} {
		if err := r.m.leader.Load().expireTTL(namespace.Due{Path: "/f", Inode: old, Action: action}); err != nil {
			t.Errorf("%v: %v", action, err)
		}
	}
	r.must(opStat("/f"))
}

// TestStuckFilesStopNobody: more files than may be in the making, none of which can be persisted, before one that can.
func TestStuckFilesStopNobody(t *testing.T) {
	r := newRig(t)
	r.must(opMount("/m", "mem://a", false))
	w := &speaker{t: t, c: proto.NewBlocksClient(r.serve(t)), id: "w1"}
	w.register(nil)
	var last *proto.FileStatus
	for i := range maxPersisting + 10 {
		last = r.must(opCreate(fmt.Sprintf("/m/%d", i), dfs.WriteAsyncThrough)).Status
		holder := ""
		if i == maxPersisting+9 {
			holder = "w1"
		}
		r.must(opComplete(last, dfs.WriteAsyncThrough, 4, "", holder))
	}
	if c := w.await(r, proto.WorkerCommand_PERSIST); c.Inode != last.Id {
		t.Errorf("told to persist %v", c)
	}
}

// TestPermissionsOfWalks: what acts on trees asks at every step.
func TestPermissionsOfWalks(t *testing.T) {
	r := newRig(t)
	r.must(opMount("/m", "mem://a", false))
	for _, p := range []string{"/open", "/open/shut"} {
		r.must(opMkdir(p))
	}
	s := r.must(opCreate("/open/shut/f", dfs.WriteMustCache)).Status
	r.must(opComplete(s, dfs.WriteMustCache, 0, "", ""))
	mode := uint32(0o777)
	for _, p := range []string{"/", "/open"} {
		r.must(&proto.Operation{Kind: &proto.Operation_SetAttribute{SetAttribute: &proto.SetAttribute{Path: p, Mode: &mode}}})
	}
	r.user = "bob"
	for name, op := range map[string]*proto.Operation{
		"remove":  opRemove("/open", true),
		"free":    {Kind: &proto.Operation_Free{Free: &proto.Free{Path: "/open", Recursive: true}}},
		"persist": {Kind: &proto.Operation_Persist{Persist: &proto.Persist{Path: "/open", Recursive: true}}},
		"mount":   opMount("/x", "mem://nowhere", false),
		"load":    {Kind: &proto.Operation_Load{Load: &proto.Load{Path: "/m", Recursive: true}}},
	} {
		if _, err := r.do(op); !dfs.IsKind(err, dfs.PermissionDenied) {
			t.Errorf("%s by somebody: %v", name, err)
		}
	}
	r.user = "root"
	r.must(opStat("/open/shut/f"))
}

// TestHollowOperations: callers in process can leave out what the wire always carries.
func TestHollowOperations(t *testing.T) {
	r := newRig(t)
	ops := []*proto.Operation{nil, {}, {Kind: &proto.Operation_CreateFile{}}, {Kind: &proto.Operation_GetStatus{}}, {Kind: (*proto.Operation_Rename)(nil)}, opStat("/")}
	res, err := r.m.Execute(within(t), &proto.OperationBatch{Operations: ops})
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range res.Results[:5] {
		if dfs.Kind(x.GetError().GetKind()) != dfs.InvalidArgument {
			t.Errorf("operation %d: %v", i, x)
		}
	}
	if res.Results[5].Status == nil {
		t.Error("the good one got no answer")
	}
}

func TestLocateBounds(t *testing.T) {
	r := newRig(t)
	s := r.must(opCreate("/f", dfs.WriteMustCache)).Status
	r.must(opComplete(s, dfs.WriteMustCache, 10, "", ""))
	locate := func(path string, first, count uint32) (*proto.Result, error) {
		return r.do(&proto.Operation{Kind: &proto.Operation_LocateBlocks{LocateBlocks: &proto.LocateBlocks{Path: path, Inode: s.Id, Version: 1, First: first, Count: count}}})
	}
	if res, err := locate("/f", math.MaxUint32, 5); err != nil || len(res.Blocks) != 0 {
		t.Errorf("far beyond the end: %v %v", res, err)
	}
	if _, err := locate("", math.MaxUint32, 5); !dfs.IsKind(err, dfs.InvalidArgument) {
		t.Errorf("indexes that wrap round: %v", err)
	}
}

// shaky is a journal whose leadership the test gives and takes, and whose proofs it can hold back.
type shaky struct {
	journal.Journal
	events *host.Queue[uint64]
	leads  atomic.Bool
	verify atomic.Pointer[func(context.Context) error]
}

func (j *shaky) Leadership(ctx context.Context) (uint64, error) { return j.events.Recv(ctx) }

func (j *shaky) Leader() string {
	if j.leads.Load() {
		return memjournal.MemberID
	}
	return "other"
}

func (j *shaky) VerifyLeader(ctx context.Context) error {
	if f := j.verify.Load(); f != nil {
		return (*f)(ctx)
	}
	return j.Journal.VerifyLeader(ctx)
}

func newShaky(t *testing.T) (*rig, *shaky) {
	j := &shaky{}
	r := newRig(t, func(c *Config) {
		h := c.Host
		c.OpenJournal = func(sm journal.StateMachine) (journal.Journal, error) {
			j.Journal, j.events = memjournal.Open(h, sm), host.NewQueue[uint64](h, 1000)
			j.leads.Store(true)
			return j, j.events.Send(context.Background(), 1)
		}
	})
	return r, j
}

// TestLeadershipComesAndGoes: however often leadership is gained, lost, and ended by a refused entry, at the same time,
// one leadership is left, and it works.
func TestLeadershipComesAndGoes(t *testing.T) {
	r, j := newShaky(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		for term := uint64(2); term < 60; term++ {
			for _, say := range []uint64{0, term} {
				if say > 0 || term%3 == 0 { // often the loss in between is not seen
					j.leads.Store(say > 0)
					_ = j.events.Send(context.Background(), say)
				}
			}
			time.Sleep(time.Millisecond)
		}
	})
	wg.Go(func() {
		for range 40 {
			if l := r.m.leader.Load(); l != nil {
				for range 3 {
					_ = r.send(within(t), opMkdir(fmt.Sprint("/d", time.Now().UnixNano())))
				}
			}
			time.Sleep(time.Millisecond)
		}
	})
	wg.Wait()
	r.until("the last term leads", func() bool { l := r.m.leader.Load(); return l != nil && l.term == 59 })
	r.must(opMkdir("/after"))
	r.must(opStat("/after"))
}

// TestReadProofs: reads wait for a proof of leadership that began after them; a proof that fails fails them, and one that
// hangs lets go of a caller at its deadline.
func TestReadProofs(t *testing.T) {
	r, j := newShaky(t)
	began, pass := make(chan struct{}, 100), make(chan struct{})
	hold := func(ctx context.Context) error {
		began <- struct{}{}
		select {
		case <-pass:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	j.verify.Store(&hold)
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- r.send(within(t), opStat("/")) }()
	<-began
	go func() { second <- r.send(within(t), opStat("/")) }()
	short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := r.send(short, opStat("/")); !dfs.IsKind(err, dfs.DeadlineExceeded) {
		t.Errorf("a caller whose time ran out: %v", err)
	}
	pass <- struct{}{}
	if err := <-first; err != nil {
		t.Error(err)
	}
	select {
	case err := <-second:
		t.Errorf("a read was answered on a proof that began before it: %v", err)
	case <-began:
	}
	close(pass)
	if err := <-second; err != nil {
		t.Error(err)
	}
	refuse := func(context.Context) error { return dfs.Errorf(dfs.NotLeader, "verify", "", "deposed") }
	j.verify.Store(&refuse)
	for name, op := range map[string]*proto.Operation{"status": opStat("/"), "an error": opRemove("/none", false)} {
		if err := r.send(within(t), op); !dfs.IsKind(err, dfs.NotLeader) {
			t.Errorf("%s without a proof: %v", name, err)
		}
	}
}
