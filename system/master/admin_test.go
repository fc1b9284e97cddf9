package master

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/journal"
	"github.com/forebay/forebay/system/journal/memjournal"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

// staged is a journal in memory whose membership, leader, faults and refusals the test plays.
type staged struct {
	journal.Journal

	mu        sync.Mutex
	leader    string
	members   []journal.Member
	fault     error
	barrier   error
	refuse    error // of the next proposal
	transfers []string
	onMove    func(target string) error
}

func (j *staged) with(f func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f()
}

func (j *staged) Leader() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.leader
}

func (j *staged) Members(context.Context) ([]journal.Member, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.members), j.fault
}

func (j *staged) Status() journal.Status {
	s := j.Journal.Status()
	j.mu.Lock()
	defer j.mu.Unlock()
	s.Fault, s.Term = j.fault, 7
	return s
}

func (j *staged) Add(_ context.Context, m journal.Member) error {
	j.with(func() { j.members = append(j.members, m) })
	return nil
}

func (j *staged) Remove(_ context.Context, id string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	before := len(j.members)
	j.members = slices.DeleteFunc(j.members, func(m journal.Member) bool { return m.ID == id })
	if len(j.members) == before {
		return dfs.Errorf(dfs.NotFound, "remove member", id, "no such member")
	}
	return nil
}

func (j *staged) Transfer(_ context.Context, target string) error {
	j.with(func() { j.transfers = append(j.transfers, target) })
	return j.onMove(target)
}

func (j *staged) Barrier(ctx context.Context) error {
	var err error
	j.with(func() { err = j.barrier })
	if err != nil {
		return err
	}
	return j.Journal.Barrier(ctx)
}

type refused struct{ err error }

func (r refused) Wait(context.Context) (uint64, error) { return 0, r.err }

func (j *staged) Propose(ctx context.Context, data []byte) journal.Pending {
	var err error
	j.with(func() { err, j.refuse = j.refuse, nil })
	if err != nil {
		return refused{err}
	}
	return j.Journal.Propose(ctx, data)
}

// stage makes the master's journal one that the test plays.
func stage(j *staged) func(*Config) {
	return func(c *Config) {
		h := c.Host
		j.leader = memjournal.MemberID
		j.members = []journal.Member{{ID: memjournal.MemberID, Address: "a:1", Voter: true, Leader: true}, {ID: "m2", Address: "b:1", Voter: true}}
		c.OpenJournal = func(sm journal.StateMachine) (journal.Journal, error) {
			j.Journal = memjournal.Open(h, sm)
			return j, nil
		}
	}
}

// TestChangeQuorum: what is added and removed is what the answer shows, and what says nothing is refused.
func TestChangeQuorum(t *testing.T) {
	j := &staged{}
	r := newRig(t, stage(j))
	ids := func(q *proto.QuorumResponse) string {
		var out []string
		for _, m := range q.GetMembers() {
			out = append(out, m.Id)
		}
		return strings.Join(out, " ")
	}
	change := func(req *proto.ChangeQuorumRequest) (string, error) {
		q, err := r.m.ChangeQuorum(within(t), req)
		return ids(q), rpc.FromStatus(err)
	}
	add := func(id, address string) *proto.ChangeQuorumRequest {
		return &proto.ChangeQuorumRequest{Change: &proto.ChangeQuorumRequest_Add{Add: &proto.QuorumMember{Id: id, Address: address}}}
	}
	remove := func(id string) *proto.ChangeQuorumRequest {
		return &proto.ChangeQuorumRequest{Change: &proto.ChangeQuorumRequest_Remove{Remove: id}}
	}
	for _, c := range []struct {
		what string
		req  *proto.ChangeQuorumRequest
		kind dfs.Kind
		want string
	}{
		{"add", add("m3", "c:1"), 0, "memory m2 m3"},
		{"add without an address", add("m4", ""), dfs.InvalidArgument, ""},
		{"add without an id", add("", "d:1"), dfs.InvalidArgument, ""},
		{"remove", remove("m2"), 0, "memory m3"},
		{"remove again", remove("m2"), dfs.NotFound, ""},
		{"nothing", &proto.ChangeQuorumRequest{}, dfs.InvalidArgument, ""},
	} {
		got, err := change(c.req)
		if got != c.want || err != nil && !dfs.IsKind(err, c.kind) || err == nil && c.kind != 0 {
			t.Errorf("%s: %q, %v; want %q, kind %v", c.what, got, err, c.want, c.kind)
		}
	}
	q, err := r.m.Quorum(within(t), nil)
	if err != nil || q.Term != 7 || q.Leader != "127.0.0.1:1" || ids(q) != "memory m3" || !q.Members[0].Voter || !q.Members[0].Leader {
		t.Errorf("quorum %v, %v", q, err)
	}
	j.with(func() { j.fault = dfs.Errorf(dfs.Unavailable, "list members", "", "no majority") })
	if _, err := r.m.Quorum(within(t), nil); !dfs.IsKind(rpc.FromStatus(err), dfs.Unavailable) {
		t.Errorf("a quorum that cannot be listed: %v", err)
	}
}

// TestTransfer: it is done when the target leads, tried again while a member catches up, and ends with the caller.
func TestTransfer(t *testing.T) {
	behind := dfs.Errorf(dfs.Unavailable, "transfer leadership", "m2", "it has not caught up")
	for name, c := range map[string]struct {
		target string
		move   func(j *staged, tries int) error
		want   dfs.Kind
		asked  string // what the journal was asked for, each time
	}{
		"at once": {"m2", func(j *staged, _ int) error { j.with(func() { j.leader = "m2" }); return nil }, 0, "m2"},
		"anybody": {"any", func(j *staged, _ int) error { j.with(func() { j.leader = "m9" }); return nil }, 0, ""},
		"after catching up": {"m2", func(j *staged, tries int) error {
			if tries < 3 {
				return behind
			}
			j.with(func() { j.leader = "m2" })
			return nil
		}, 0, "m2 m2 m2"},
		"another took over": {"m2", func(j *staged, _ int) error { j.with(func() { j.leader = "m3" }); return nil }, dfs.Unavailable, "m2"},
		"never":             {"m2", func(*staged, int) error { return behind }, dfs.Unavailable, ""},
		"no such member":    {"m8", func(*staged, int) error { return dfs.Errorf(dfs.NotFound, "transfer", "m8", "no such member") }, dfs.NotFound, "m8"},
	} {
		t.Run(name, func(t *testing.T) {
			j := &staged{}
			j.onMove = func(string) error { return c.move(j, len(j.transfers)) }
			onVirtualTime(t, func(r *rig) {
				ctx, cancel := r.h.WithTimeout(context.Background(), 10*time.Second)
				defer cancel()
				_, err := r.m.ChangeQuorum(ctx, &proto.ChangeQuorumRequest{Change: &proto.ChangeQuorumRequest_Transfer{Transfer: c.target}})
				if err = rpc.FromStatus(err); err != nil && !dfs.IsKind(err, c.want) || err == nil && c.want != 0 {
					t.Errorf("%v, want kind %v", err, c.want)
				}
				if got := strings.Join(j.transfers, " "); name != "never" && got != c.asked {
					t.Errorf("the journal was asked for %q, want %q", got, c.asked)
				}
				if name == "never" && (len(j.transfers) < 5 || len(j.transfers) > 11) {
					t.Errorf("asked %d times in 10 s", len(j.transfers))
				}
			}, stage(j))
		})
	}
}

// TestReportNamesProblems: each thing that a doctor would say, with its remedy, and nothing on a healthy cluster.
func TestReportNamesProblems(t *testing.T) {
	j := &staged{}
	onVirtualTime(t, func(r *rig) {
		report := func() string {
			rep, err := r.m.Report(context.Background(), nil)
			if err != nil {
				t.Error(err)
			}
			return strings.Join(rep.GetProblems(), "\n")
		}
		if got := report(); !strings.Contains(got, "no worker is live") {
			t.Errorf("without workers: %s", got)
		}
		lease := r.join("w1", nil)
		if got := report(); got != "" {
			t.Errorf("a healthy cluster: %s", got)
		}
		r.heartbeat(&proto.HeartbeatRequest{Worker: "w1", Lease: lease, Tiers: []*proto.TierInfo{{Name: "mem"}, {Name: "ssd", Failed: true}}})
		if got := report(); !strings.Contains(got, "worker w1: its ssd tier has failed") || strings.Contains(got, "mem tier") {
			t.Errorf("a failed tier: %s", got)
		}
		half := &registration{ctx: context.Background(), requests: []*proto.RegisterRequest{{Worker: worker("w2")}, {Last: true}}}
		half.before = func(i int) {
			if got := report(); i == 1 && !strings.Contains(got, "worker w2 at w2:1 is still registering") {
				t.Errorf("half a registration: %s", got)
			}
		}
		if err := r.m.register(half); err != nil {
			t.Error(err)
		}
		j.with(func() { j.fault = dfs.Errorf(dfs.NoSpace, "append", "/disk", "no space left") })
		if got := report(); !strings.Contains(got, "the journal cannot be written") || !strings.Contains(got, "no space left") {
			t.Errorf("a full disk: %s", got)
		}
		j.with(func() { j.fault = nil })
		r.sleep(DefaultWorkerLostAfter + 5*time.Second)
		if got := report(); strings.Count(got, "was lost") != 2 || !strings.Contains(got, "no worker is live") {
			t.Errorf("lost workers: %s", got)
		}
		l := r.m.leader.Swap(nil)
		j.with(func() { j.leader = "" })
		if got := report(); !strings.Contains(got, "no leader is known") {
			t.Errorf("without a leader: %s", got)
		}
		if err := r.m.Ready(); !dfs.IsKind(err, dfs.Unavailable) {
			t.Errorf("ready without a leader: %v", err)
		}
		j.with(func() { j.leader = "m2" })
		if err := r.m.Ready(); err != nil {
			t.Errorf("not ready although another leads: %v", err)
		}
		l.end()
	}, stage(j))
}

// TestNotLeaderSaysWhy: a client that asks a master which does not lead hears who does, or what keeps this one from it.
func TestNotLeaderSaysWhy(t *testing.T) {
	j := &staged{}
	onVirtualTime(t, func(r *rig) {
		l := r.m.leader.Swap(nil)
		defer l.end()
		answer := func() *dfs.Error { return r.m.notLeader("ask") }
		j.with(func() { j.leader = memjournal.MemberID })
		if err := answer(); err.Kind != dfs.NotLeader || err.Leader != "" {
			t.Errorf("nobody leads: %v, named %q", err, err.Leader)
		}
		r.m.noteTrouble(dfs.Errorf(dfs.NotLeader, "propose", "", "lost an election"))
		if err := answer(); strings.Contains(err.Detail, "election") {
			t.Errorf("a lost election is no trouble: %v", err)
		}
		r.m.noteTrouble(dfs.Errorf(dfs.NoSpace, "propose", "", "no space left"))
		if err := answer(); !strings.Contains(err.Detail, "it could not") || !strings.Contains(err.Detail, "no space left") {
			t.Errorf("after trouble: %v", err)
		}
		j.with(func() { j.fault = dfs.Errorf(dfs.NoSpace, "append", "", "the disk is full") })
		if err := answer(); !strings.Contains(err.Detail, "its journal cannot be written") {
			t.Errorf("with a fault: %v", err)
		}
		j.with(func() { j.fault = nil })
		r.sleep(troubleLasts + time.Second)
		if err := answer(); strings.Contains(err.Detail, "no space") {
			t.Errorf("long after: %v", err)
		}
		j.with(func() { j.leader = "m2" })
		if err := answer(); err.Leader != "" { // it never led, so its address is not known
			t.Errorf("named %q", err.Leader)
		}
	}, stage(j))
}

// TestRefusedEntryEndsTheLeadership: a full disk refuses one entry; its caller and all after it are told to ask again, and
// the same term gets a new leadership that works. What was proposed after the lost one has no effect (INV-2 of namespace).
func TestRefusedEntryEndsTheLeadership(t *testing.T) {
	j := &staged{}
	onVirtualTime(t, func(r *rig) {
		old := r.m.leader.Load()
		j.with(func() { j.refuse = dfs.Errorf(dfs.NoSpace, "append", "/disk", "no space left") })
		if _, err := r.do(opMkdir("/refused")); !dfs.IsKind(err, dfs.Unavailable) || !strings.Contains(err.Error(), "no space left") {
			t.Errorf("the refused one: %v", err)
		}
		r.until("a new leadership serves", func() bool { l := r.m.leader.Load(); return l != nil && l != old })
		if now := r.m.leader.Load(); now.term != old.term {
			t.Errorf("term %d, want the same %d", now.term, old.term)
		}
		r.must(opMkdir("/after"))
		if _, err := r.do(opStat("/refused")); !dfs.IsKind(err, dfs.NotFound) {
			t.Errorf("what was refused: %v", err)
		}
		if old.ctx.Err() == nil {
			t.Error("the old leadership's tasks go on")
		}
	}, stage(j))
}

// TestLeadsOnceTheBarrierPasses: a master whose barrier fails tries again while the journal says that it leads.
func TestLeadsOnceTheBarrierPasses(t *testing.T) {
	j := &staged{}
	onVirtualTime(t, func(r *rig) {
		j.with(func() {
			j.barrier = dfs.Errorf(dfs.NoSpace, "barrier", "", "no space left")
			j.refuse = dfs.Errorf(dfs.NoSpace, "append", "", "no space left")
		})
		_, _ = r.do(opMkdir("/refused"))
		r.sleep(5 * time.Second)
		if r.m.Serving() {
			t.Fatal("it leads without having passed its barrier")
		}
		if err := r.m.notLeader("ask"); !strings.Contains(err.Detail, "no space left") {
			t.Errorf("why it does not lead: %v", err)
		}
		j.with(func() { j.barrier = nil })
		r.until("it leads", r.m.Serving)
		r.must(opMkdir("/after"))
	}, stage(j))
}

// TestSoftStateStartsEmpty: a new leadership knows no worker and no block of the one before it.
func TestSoftStateStartsEmpty(t *testing.T) {
	j := &staged{}
	onVirtualTime(t, func(r *rig) {
		lease := r.join("w1", held(9, 1, false, 0, 1))
		old := r.m.leader.Load()
		j.with(func() { j.refuse = dfs.Errorf(dfs.NoSpace, "append", "", "no space left") })
		_, _ = r.do(opMkdir("/refused"))
		r.until("a new leadership serves", func() bool { l := r.m.leader.Load(); return l != nil && l != old })
		if r.m.blocks.Len() != 0 || len(r.m.workers.List()) != 0 {
			t.Errorf("%d blocks, workers %v", r.m.blocks.Len(), r.m.workers.List())
		}
		if !r.heartbeat(&proto.HeartbeatRequest{Worker: "w1", Lease: lease, Added: held(9, 1, false, 2)}).Register {
			t.Error("a worker of the former leadership goes on")
		}
		if r.m.blocks.Len() != 0 {
			t.Error("a report without a lease was taken")
		}
	}, stage(j))
}

// TestGaugesRead: every gauge gives a figure, and those that tests can know are right.
func TestGaugesRead(t *testing.T) {
	r := newRig(t)
	r.must(opSession(1))
	r.must(opMkdir("/d"))
	r.join("w1", held(9, 1, false, 0, 1))
	gauges := r.m.Gauges()
	for name, want := range map[string]float64{"serving": 1, "inodes": 2, "sessions": 1, "blocks": 2, "workers": 1, "registrations_running": 0, "term": 1} {
		if got := gauges[name](); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for name, gauge := range gauges {
		if got := gauge(); got < 0 {
			t.Errorf("%s is %v", name, got)
		}
	}
	if gauges["applied_index"]() < 3 || gauges["commit_index"]() < gauges["applied_index"]() {
		t.Errorf("applied %v, committed %v", gauges["applied_index"](), gauges["commit_index"]())
	}
	if res, err := r.m.Checkpoint(within(t), nil); err != nil || res.Index != 0 {
		t.Errorf("checkpoint of a journal in memory: %v, %v", res, err)
	}
	if l := r.m.leader.Swap(nil); l != nil {
		defer l.end()
	}
	if gauges["serving"]() != 0 {
		t.Error("serving without a leadership")
	}
}

// TestLocate: answers for paths and for inodes, what is bounded, and who may ask.
func TestLocate(t *testing.T) {
	onVirtualTime(t, func(r *rig) {
		op := opCreate("/f", dfs.WriteMustCache)
		op.GetCreateFile().BlockSize = 1 << 20
		s := r.must(op).Status
		s = r.must(opComplete(s, dfs.WriteMustCache, 3<<20+5, "", "")).Status
		locate := func(path string, first, count uint32) (string, error) {
			res, err := r.do(&proto.Operation{Kind: &proto.Operation_LocateBlocks{LocateBlocks: &proto.LocateBlocks{Path: path, Inode: s.Id, Version: 1, First: first, Count: count}}})
			var out []string
			for _, b := range res.GetBlocks() {
				out = append(out, strings.Join(append([]string{string(rune('0' + b.Index))}, b.Workers...), ":"))
			}
			return strings.Join(out, " "), err
		}
		if _, err := locate("", 0, 2); !dfs.IsKind(err, dfs.Unavailable) {
			t.Errorf("while nobody has registered: %v", err)
		}
		if got, err := locate("/f", 0, 2); err != nil || got != "0 1" {
			t.Errorf("by path, while nobody has registered: %q, %v", got, err)
		}
		r.join("w1", held(s.Id, 1, false, 0, 3))
		r.join("w2", held(s.Id, 1, false, 3))
		r.sleep(time.Minute) // safe start is over, and both are lost
		first, second := r.join("w1", held(s.Id, 1, false, 0, 3)), r.join("w2", held(s.Id, 1, false, 3))
		_, _ = first, second
		for _, c := range []struct {
			path         string
			first, count uint32
			want         string
		}{
			{"/f", 0, 0, "0:w1 1 2 3:w1:w2"}, {"/f", 2, 0, "2 3:w1:w2"}, {"/f", 3, 100, "3:w1:w2"}, {"/f", 4, 1, ""}, {"/f", 1, 2, "1 2"},
			{"", 3, 2, "3:w1:w2 4"}, {"", 0, 0, ""},
		} {
			if got, err := locate(c.path, c.first, c.count); err != nil || got != c.want {
				t.Errorf("%q from %d, %d blocks: %q, %v; want %q", c.path, c.first, c.count, got, err, c.want)
			}
		}
		if _, err := locate("", 0, maxLocateBlocks+1); !dfs.IsKind(err, dfs.InvalidArgument) {
			t.Errorf("too many: %v", err)
		}
		if _, err := locate("/none", 0, 1); !dfs.IsKind(err, dfs.NotFound) {
			t.Errorf("of nothing: %v", err)
		}
		if got := r.must(opStat("/f")).Status.CachedBytes; got != 1<<20+5 { // the first block, and the short last one
			t.Errorf("%d bytes are cached", got)
		}
		mode := uint32(0o600)
		r.must(&proto.Operation{Kind: &proto.Operation_SetAttribute{SetAttribute: &proto.SetAttribute{Path: "/f", Mode: &mode}}})
		r.user = "bob"
		if _, err := locate("/f", 0, 1); !dfs.IsKind(err, dfs.PermissionDenied) {
			t.Errorf("by somebody: %v", err)
		}
	})
}

// TestKeepSessionDoesNotQueue: it is answered although every place for slow operations is taken.
func TestKeepSessionDoesNotQueue(t *testing.T) {
	r := mounted(t)
	l := r.m.leader.Load()
	if err := l.slow.Acquire(within(t), maxSlowOperations); err != nil {
		t.Fatal(err)
	}
	res := r.must(&proto.Operation{Kind: &proto.Operation_KeepSession{KeepSession: &proto.KeepSession{}}})
	if res.Session != r.session {
		t.Errorf("answer %v", res)
	}
	short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	waits := opMkdir("/m/d")
	waits.Sequence = 900
	if err := r.send(short, waits); !dfs.IsKind(err, dfs.DeadlineExceeded) {
		t.Errorf("a slow operation without a place: %v", err)
	}
	l.mu.Lock()
	running := len(l.running)
	l.mu.Unlock()
	if running != 0 {
		t.Errorf("%d runs are registered for ever", running)
	}
	l.slow.Release(maxSlowOperations)
	if err := r.send(within(t), waits); err != nil {
		t.Errorf("the retry: %v", err)
	}
}
