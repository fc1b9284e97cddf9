package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	pb "github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

// fakeMaster answers the Admin service as a test wants. A method without a function is one that this master does not have.
type fakeMaster struct {
	pb.UnimplementedAdminServer
	address    string
	report     func(context.Context) (*pb.ReportResponse, error)
	quorum     func() (*pb.QuorumResponse, error)
	change     func(*pb.ChangeQuorumRequest) (*pb.QuorumResponse, error)
	checkpoint func() (*pb.CheckpointResponse, error)

	mu    sync.Mutex
	asked int
}

func (f *fakeMaster) count() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
}

// Asked is how many calls came.
func (f *fakeMaster) Asked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

// Report implements pb.AdminServer.
func (f *fakeMaster) Report(ctx context.Context, _ *pb.ReportRequest) (*pb.ReportResponse, error) {
	f.count()
	r, err := f.report(ctx)
	return r, rpc.ToStatus(err)
}

// Quorum implements pb.AdminServer.
func (f *fakeMaster) Quorum(context.Context, *pb.QuorumRequest) (*pb.QuorumResponse, error) {
	f.count()
	r, err := f.quorum()
	return r, rpc.ToStatus(err)
}

// ChangeQuorum implements pb.AdminServer.
func (f *fakeMaster) ChangeQuorum(_ context.Context, r *pb.ChangeQuorumRequest) (*pb.QuorumResponse, error) {
	f.count()
	answer, err := f.change(r)
	return answer, rpc.ToStatus(err)
}

// Checkpoint implements pb.AdminServer.
func (f *fakeMaster) Checkpoint(context.Context, *pb.CheckpointRequest) (*pb.CheckpointResponse, error) {
	f.count()
	r, err := f.checkpoint()
	return r, rpc.ToStatus(err)
}

// masters serves fakes on loopback and returns the environment of a command that asks them, in this order.
func masters(t *testing.T, fakes ...*fakeMaster) (environ []string) {
	t.Helper()
	h := host.NewReal()
	var addresses []string
	for _, f := range fakes {
		s, err := h.Listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		pb.RegisterAdminServer(s, f)
		s.Serve()
		t.Cleanup(func() { s.Stop(t.Context()) })
		f.address = s.Addr()
		addresses = append(addresses, f.address)
	}
	return []string{"FOREBAY_MASTERS=" + strings.Join(addresses, ",")}
}

// reporter is a master whose report is always the same.
func reporter(r *pb.ReportResponse) *fakeMaster {
	return &fakeMaster{report: func(context.Context) (*pb.ReportResponse, error) { return r, nil }}
}

// TestReportAsksAllAtOnce: each master answers only when all were asked, which one after the other would never be.
func TestReportAsksAllAtOnce(t *testing.T) {
	var all sync.WaitGroup
	all.Add(3)
	meet := func(name string, serving bool) *fakeMaster {
		return &fakeMaster{report: func(ctx context.Context) (*pb.ReportResponse, error) {
			all.Done()
			met := make(chan struct{})
			go func() { all.Wait(); close(met) }()
			select {
			case <-met:
				return &pb.ReportResponse{Node: name, Serving: serving}, nil
			case <-ctx.Done():
				return nil, dfs.Errorf(dfs.Unavailable, "report", name, "the others were not asked meanwhile")
			}
		}}
	}
	environ := masters(t, meet("m1", false), meet("m2", true), meet("m3", false))
	code, out, errs := forebay(t, environ, "--timeout", "20s", "admin", "report")
	if code != exitOK || !strings.Contains(out, "m2") || !strings.Contains(out, "leader, serving") {
		t.Errorf("code %d, %s%s", code, out, errs)
	}
}

// TestReportForms: what a report tells, to people and to scripts, of a cluster that has everything in it.
func TestReportForms(t *testing.T) {
	full := &pb.ReportResponse{
		Node: "m1", Serving: true, Leader: "10.0.0.1:19998", Inodes: 12_345, Blocks: 678, Sessions: 9, ToPersist: 3,
		StoreBytes: 5 << 30, CacheBytes: 3 << 20, CacheHits: 3, CacheMisses: 1, JournalBytes: 7 << 20, FirstLogIndex: 100,
		CommitIndex: 300, AppliedIndex: 299, FlushedIndex: 200, Problems: []string{"worker w3\x1b[2J is lost"},
		Workers: []*pb.WorkerInfo{
			{Id: "w1", Address: "a:1", Live: true, Registered: true, Blocks: 5, LastHeartbeat: time.Now().UnixNano(),
				Tiers: []*pb.TierInfo{{UsedBytes: 1 << 30, CapacityBytes: 2 << 30}, {UsedBytes: 1 << 29, CapacityBytes: 2 << 30}}},
			{Id: "w2", Address: "a:2", Live: true},
			{Id: "w3", Address: "a:3"},
		},
	}
	environ := masters(t, reporter(full))
	code, out, errs := forebay(t, environ, "admin", "report")
	if code != exitOK || errs != "" {
		t.Fatalf("code %d, %s", code, errs)
	}
	for _, want := range []string{
		"leader, serving", "10.0.0.1:19998", "12345", "678", "5.0GiB", "3.0MiB, 75.0% hits", "7.0MiB, from index 100", "300 / 299 / 200",
		"1.5GiB", "4.0GiB", "live", "registering", "LOST", "never", `problem: worker w3\x1b[2J is lost`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the report does not say %q:\n%s", want, out)
		}
	}
	if lines := strings.Count(out, "\nw"); lines != 3 {
		t.Errorf("%d lines of workers, want 3:\n%s", lines, out)
	}
	code, out, _ = forebay(t, environ, "--json", "admin", "report")
	var got struct {
		Node    string
		Workers []struct{ Id string }
	}
	if err := json.Unmarshal([]byte(out), &got); code != exitOK || err != nil || got.Node != "m1" || len(got.Workers) != 3 {
		t.Errorf("code %d, %v, %s", code, err, out)
	}
}

// TestReportWithoutLeader: any master's view is better than none; that of one which is away is no view.
func TestReportWithoutLeader(t *testing.T) {
	away := &fakeMaster{report: func(context.Context) (*pb.ReportResponse, error) {
		return nil, dfs.Errorf(dfs.Unavailable, "report", "", "it is stopping")
	}}
	environ := masters(t, away, reporter(&pb.ReportResponse{Node: "m2"}))
	if code, out, errs := forebay(t, environ, "admin", "report"); code != exitOK || !strings.Contains(out, "m2") || !strings.Contains(out, "follower") {
		t.Errorf("code %d, %s%s", code, out, errs)
	}
	environ = masters(t, away)
	if code, out, errs := forebay(t, environ, "admin", "report"); code != exitUnavailable || out != "" || !strings.Contains(errs, "it is stopping") {
		t.Errorf("nobody answers: code %d, %q, %q", code, out, errs)
	}
}

// TestDoctor: every problem of every master is told, in the order of the masters, and the code says that there are any.
func TestDoctor(t *testing.T) {
	one := reporter(&pb.ReportResponse{Node: "m1", Serving: true, Problems: []string{"first", "second"}})
	two := reporter(&pb.ReportResponse{Node: "m2", Problems: []string{"third"}})
	environ := masters(t, one, two)
	code, out, _ := forebay(t, environ, "admin", "doctor")
	if want := "m1: first\nm1: second\nm2: third\n"; code != exitError || out != want {
		t.Errorf("code %d, %q, want %q", code, out, want)
	}
	code, out, _ = forebay(t, environ, "--json", "admin", "doctor")
	var got struct{ Problems []string }
	if err := json.Unmarshal([]byte(out), &got); code != exitError || err != nil || len(got.Problems) != 3 {
		t.Errorf("code %d, %v, %s", code, err, out)
	}
	well := masters(t, reporter(&pb.ReportResponse{Node: "m1", Serving: true}))
	code, out, _ = forebay(t, well, "--json", "admin", "doctor")
	if want := "{\n  \"problems\": []\n}\n"; code != exitOK || out != want {
		t.Errorf("code %d, %q, want %q", code, out, want)
	}
}

// TestDoctorInterrupted: that masters did not answer because the user gave up is no problem of theirs.
func TestDoctorInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	environ := masters(t, &fakeMaster{report: func(call context.Context) (*pb.ReportResponse, error) {
		cancel()
		<-call.Done()
		return nil, call.Err()
	}})
	var out, errs bytes.Buffer
	code := Main(ctx, []string{"admin", "doctor"}, Streams{In: strings.NewReader(""), Out: &out, Err: &errs}, environ)
	if code != exitInterrupted || out.Len() > 0 {
		t.Errorf("code %d, %q, %q", code, out.String(), errs.String())
	}
}

// notLeader refuses and names the leader.
func notLeader(leader string) error {
	return &dfs.Error{Kind: dfs.NotLeader, Op: "quorum", Leader: leader, Detail: "this master follows"}
}

// TestQuorumFindsTheLeader: masters that do not lead or are away are passed over, and nobody is asked after the leader.
func TestQuorumFindsTheLeader(t *testing.T) {
	follower := &fakeMaster{quorum: func() (*pb.QuorumResponse, error) { return nil, notLeader("x:1") }}
	away := &fakeMaster{quorum: func() (*pb.QuorumResponse, error) { return nil, dfs.Errorf(dfs.Unavailable, "quorum", "", "starting") }}
	leads := func() (*pb.QuorumResponse, error) {
		return &pb.QuorumResponse{Term: 7, Leader: "x:1", Members: []*pb.QuorumMember{{Id: "m1", Address: "x:2", Voter: true, Leader: true}, {Id: "m2", Address: "y:2"}}}, nil
	}
	leader, last := &fakeMaster{quorum: leads}, &fakeMaster{quorum: leads}
	environ := masters(t, follower, away, leader, last)
	code, out, errs := forebay(t, environ, "admin", "journal", "quorum")
	if code != exitOK || errs != "" || !strings.Contains(out, "term 7, leader for clients x:1") || strings.Count(out, "\n") != 4 {
		t.Errorf("code %d, %s%s", code, out, errs)
	}
	if follower.Asked() != 1 || away.Asked() != 1 || leader.Asked() != 1 || last.Asked() != 0 {
		t.Errorf("asked %d, %d, %d, %d times, want 1, 1, 1, 0", follower.Asked(), away.Asked(), leader.Asked(), last.Asked())
	}
	environ = masters(t, follower)
	code, _, errs = forebay(t, environ, "admin", "journal", "quorum")
	if code != exitUnavailable || !strings.Contains(errs, "the leader is x:1: name it with -m") {
		t.Errorf("only a follower: code %d, %s", code, errs)
	}
}

// TestQuorumChanges: each form sends what it says; a refusal is final: the next master is not asked, which might do it.
func TestQuorumChanges(t *testing.T) {
	var got *pb.ChangeQuorumRequest
	refusal := error(nil)
	leader := &fakeMaster{change: func(r *pb.ChangeQuorumRequest) (*pb.QuorumResponse, error) {
		got = r
		return &pb.QuorumResponse{Term: 1}, refusal
	}}
	next := &fakeMaster{change: leader.change}
	environ := masters(t, leader, next)
	change := func(args ...string) (int, string) {
		t.Helper()
		got = nil
		code, _, errs := forebay(t, environ, append([]string{"admin", "journal", "quorum"}, args...)...)
		return code, errs
	}
	if code, errs := change("add", "m4", "10.0.0.4:19997"); code != exitOK || got.GetAdd().GetId() != "m4" || got.GetAdd().GetAddress() != "10.0.0.4:19997" || !got.GetAdd().GetVoter() {
		t.Errorf("add: code %d, %s, sent %v", code, errs, got)
	}
	if code, errs := change("remove", "m1"); code != exitOK || got.GetRemove() != "m1" {
		t.Errorf("remove: code %d, %s, sent %v", code, errs, got)
	}
	if code, errs := change("transfer", "any"); code != exitOK || got.GetTransfer() != "any" {
		t.Errorf("transfer: code %d, %s, sent %v", code, errs, got)
	}
	refusal = dfs.Errorf(dfs.Conflict, "change quorum", "m9", "it is not a member")
	if code, errs := change("remove", "m9"); code != exitWrongState || !strings.Contains(errs, "it is not a member") || !strings.Contains(errs, leader.address) {
		t.Errorf("a refusal: code %d, %s", code, errs)
	}
	if next.Asked() != 0 {
		t.Errorf("after an answer the next master was asked, %d times", next.Asked())
	}
	if code, _ := change("add", "m4"); code != exitUsage || got != nil {
		t.Errorf("add without an address: code %d, sent %v", code, got)
	}
}

// TestCheckpointGoesOn: each master has a log of its own: an error of one does not keep the others from theirs.
func TestCheckpointGoesOn(t *testing.T) {
	taken := func(index uint64) *fakeMaster {
		return &fakeMaster{checkpoint: func() (*pb.CheckpointResponse, error) { return &pb.CheckpointResponse{Index: index}, nil }}
	}
	full := &fakeMaster{checkpoint: func() (*pb.CheckpointResponse, error) {
		return nil, dfs.Errorf(dfs.NoSpace, "checkpoint", "/journal", "no space is left")
	}}
	one, three := taken(11), taken(33)
	environ := masters(t, one, full, three)
	code, out, errs := forebay(t, environ, "admin", "journal", "checkpoint")
	want := fmt.Sprintf("%s: checkpoint at index 11\n%s: checkpoint at index 33\n", one.address, three.address)
	if code != exitNoSpace || out != want || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, full.address) {
		t.Errorf("code %d, %q, %q", code, out, errs)
	}
	code, out, _ = forebay(t, environ, "--json", "admin", "journal", "checkpoint")
	var got []struct {
		Master string
		Index  uint64
	}
	if err := json.Unmarshal([]byte(out), &got); code != exitNoSpace || err != nil || len(got) != 2 || got[1].Index != 33 {
		t.Errorf("code %d, %v, %s", code, err, out)
	}
}

// TestOlderMaster: a method that a master does not have is told as that, not as a failure of the cluster.
func TestOlderMaster(t *testing.T) {
	s, err := host.NewReal().Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pb.RegisterAdminServer(s, pb.UnimplementedAdminServer{})
	s.Serve()
	defer s.Stop(t.Context())
	for _, args := range [][]string{{"admin", "report"}, {"admin", "journal", "quorum"}, {"admin", "journal", "checkpoint"}} {
		if code, _, errs := forebay(t, []string{"FOREBAY_MASTERS=" + s.Addr()}, args...); code != exitUnsupported || !strings.Contains(errs, s.Addr()) {
			t.Errorf("%q: code %d, %s", args, code, errs)
		}
	}
}
