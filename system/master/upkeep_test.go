package master

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
	"github.com/forebay/forebay/system/ufs"
	"google.golang.org/grpc"
)

// registration is the stream of a worker that registers, without a network: requests come from a list.
type registration struct {
	grpc.ServerStream
	ctx      context.Context
	requests []*proto.RegisterRequest
	before   func(i int) // called before request i is given
	end      error       // after the last request; nil: io.EOF
	given    int
	answers  []*proto.RegisterResponse
}

func (s *registration) Context() context.Context { return s.ctx }

func (s *registration) Recv() (*proto.RegisterRequest, error) {
	if s.given == len(s.requests) {
		if s.end != nil {
			return nil, s.end
		}
		return nil, io.EOF
	}
	if s.before != nil {
		s.before(s.given)
	}
	s.given++
	return s.requests[s.given-1], nil
}

func (s *registration) Send(res *proto.RegisterResponse) error {
	s.answers = append(s.answers, res)
	return nil
}

func worker(id string) *proto.WorkerInfo { return &proto.WorkerInfo{Id: id, Address: id + ":1"} }

// join registers a worker with all that it holds, and returns its lease.
func (r *rig) join(id string, files []*proto.HeldFile) uint64 {
	r.t.Helper()
	s := &registration{ctx: context.Background(), requests: []*proto.RegisterRequest{{Worker: worker(id), Files: files, Last: true}}}
	if err := r.m.register(s); err != nil || len(s.answers) != 1 {
		r.t.Fatalf("register %s: %v, %d answers", id, err, len(s.answers))
	}
	return s.answers[0].Lease
}

// heartbeat gives what a worker is told.
func (r *rig) heartbeat(req *proto.HeartbeatRequest) *proto.HeartbeatResponse {
	r.t.Helper()
	req.Heard = r.heard[req.Lease]
	res, err := r.m.Heartbeat(context.Background(), req)
	if err != nil {
		r.t.Fatal(err)
	}
	if r.heard == nil {
		r.heard = map[uint64]uint64{}
	}
	r.heard[req.Lease] = res.Answer
	return res
}

// commands gives the commands of one action that wait for a worker, and drops the others.
func (r *rig) commands(id string, lease uint64, action proto.WorkerCommand_Action) (out []*proto.WorkerCommand) {
	r.t.Helper()
	for _, c := range r.heartbeat(&proto.HeartbeatRequest{Worker: id, Lease: lease}).Commands {
		if c.Action == action {
			out = append(out, c)
		}
	}
	return out
}

// async makes a file that waits to be persisted, with its block on a worker ("": nowhere).
func (r *rig) async(p, holder string, length int64) *proto.FileStatus {
	r.t.Helper()
	s := r.must(opCreate(p, dfs.WriteAsyncThrough)).Status
	return r.must(opComplete(s, dfs.WriteAsyncThrough, length, "", holder)).Status
}

// wrote has a worker do what c says, and gives its report.
func (r *rig) wrote(c *proto.WorkerCommand, content string) []*proto.PersistResult {
	r.t.Helper()
	if _, err := r.store(c.Staged, content); err != nil {
		r.t.Error(err)
	}
	return persisted(c, nil)
}

// stored is what the store mem://a has at a path, and whether it has anything.
func (r *rig) stored(path string) (content string, there bool) {
	o, err := r.space.Open(r.h, "a").Open(context.Background(), path, 0, 1<<20)
	if err != nil {
		return "", false
	}
	text, err := io.ReadAll(o)
	return string(text), err == nil
}

// persisted is a worker's report of what it did for c.
func persisted(c *proto.WorkerCommand, err error) []*proto.PersistResult {
	res := &proto.PersistResult{Inode: c.Inode, Version: c.Version, MountId: c.MountId, UfsPath: c.UfsPath, Staged: c.Staged}
	if err != nil {
		res.Error = rpc.ErrorToProto(err)
	}
	return []*proto.PersistResult{res}
}

// TestPersistBackoff: a file that cannot be written is told again after one second, two, four and so on, and at last every
// minute, for as long as it takes; the report names it all the time.
func TestPersistBackoff(t *testing.T) {
	onVirtualTime(t, func(r *rig) {
		r.must(opMount("/m", "mem://a", false))
		lease := r.join("w1", nil)
		r.async("/m/f", "w1", 4)
		full := dfs.Errorf(dfs.NoSpace, "persist", "f", "the store is full")
		told := r.h.Now()
		var waits []time.Duration
		for range 10 {
			var c []*proto.WorkerCommand
			for tries := 0; len(c) == 0; tries++ {
				if tries > 4000 {
					r.t.Fatalf("not told again after waits of %v", waits)
				}
				r.sleep(50 * time.Millisecond)
				c = r.commands("w1", lease, proto.WorkerCommand_PERSIST)
			}
			if len(c) != 1 {
				t.Errorf("told %d times at once", len(c))
			}
			waits = append(waits, r.h.Now().Sub(told).Round(time.Second))
			told = r.h.Now()
			r.heartbeat(&proto.HeartbeatRequest{Worker: "w1", Lease: lease, Persisted: persisted(c[0], full)})
			r.sleep(10 * time.Millisecond)
			rep, err := r.m.Report(context.Background(), nil)
			if err != nil || rep.ToPersist != 1 || !strings.Contains(strings.Join(rep.Problems, " "), "the store is full") {
				t.Errorf("report %v, %v", rep.GetProblems(), err)
			}
		}
		if got, want := fmt.Sprint(waits), "[0s 1s 2s 4s 8s 16s 32s 1m0s 1m0s 1m0s]"; got != want {
			t.Errorf("told after %s, want %s", got, want)
		}
	})
}

// TestPersistLease: a worker that was told and says nothing is not told again while its lease runs, and a file is told
// once more after it; a worker that is lost meanwhile gives its files back at once.
func TestPersistLease(t *testing.T) {
	onVirtualTime(t, func(r *rig) {
		r.must(opMount("/m", "mem://a", false))
		first := r.join("w1", nil)
		s := r.async("/m/f", "w1", 4)
		r.sleep(time.Second)
		if c := r.commands("w1", first, proto.WorkerCommand_PERSIST); len(c) != 1 {
			r.t.Fatalf("told %v", c)
		}
		began := r.h.Now()
		for r.h.Now().Sub(began) < persistLease-5*time.Second {
			r.sleep(time.Second)
			if c := r.commands("w1", first, proto.WorkerCommand_PERSIST); len(c) != 0 {
				r.t.Fatalf("told again after %v, within its lease", r.h.Now().Sub(began))
			}
		}
		r.sleep(10 * time.Second)
		if c := r.commands("w1", first, proto.WorkerCommand_PERSIST); len(c) != 1 {
			t.Errorf("after the lease: %v", c)
		}
		second := r.join("w2", held(s.Id, 1, true, 0))
		for range 40 { // w1 falls silent, w2 does not
			r.sleep(time.Second)
			if c := r.commands("w2", second, proto.WorkerCommand_PERSIST); len(c) == 1 {
				return
			}
		}
		t.Error("the file of a lost worker was told to nobody else")
	})
}

// TestPersistReasons: the report says of each file that cannot be persisted what it waits for.
func TestPersistReasons(t *testing.T) {
	onVirtualTime(t, func(r *rig) {
		r.must(opMount("/m", "mem://a", false))
		r.async("/m/f", "", 4)
		problems := func() string {
			r.sleep(2 * time.Second)
			rep, err := r.m.Report(context.Background(), nil)
			if err != nil {
				t.Error(err)
			}
			return strings.Join(rep.Problems, "\n")
		}
		if got := problems(); !strings.Contains(got, `not persisted yet: /m/f: waiting for workers to register`) {
			t.Errorf("without workers: %s", got)
		}
		r.join("w1", nil)
		if got := problems(); !strings.Contains(got, `/m/f: no live worker holds its data`) {
			t.Errorf("without a holder: %s", got)
		}
	}, func(c *Config) { c.SafeStart = time.Second })
}

// TestPersistEmptyFile: it has no block that anyone could hold, so any live worker writes it.
func TestPersistEmptyFile(t *testing.T) {
	onVirtualTime(t, func(r *rig) {
		r.must(opMount("/m", "mem://a", false))
		lost := r.join("w0", nil)
		_ = lost
		r.sleep(DefaultWorkerLostAfter + 5*time.Second) // w0 is known and not live
		lease := r.join("w1", nil)
		r.async("/m/empty", "", 0)
		r.sleep(time.Second)
		if c := r.commands("w1", lease, proto.WorkerCommand_PERSIST); len(c) != 1 || c[0].Length != 0 {
			t.Errorf("told %v", c)
		}
	})
}

// TestPersistNewerVersion: a report of a version that was replaced meanwhile says nothing of the one that waits now.
func TestPersistNewerVersion(t *testing.T) {
	onVirtualTime(t, func(r *rig) {
		r.must(opMount("/m", "mem://a", false))
		lease := r.join("w1", nil)
		r.async("/m/f", "w1", 4)
		r.sleep(time.Second)
		old := r.commands("w1", lease, proto.WorkerCommand_PERSIST)
		over := opCreate("/m/f", dfs.WriteAsyncThrough)
		over.GetCreateFile().Overwrite = true
		r.must(opComplete(r.must(over).Status, dfs.WriteAsyncThrough, 5, "", "w1"))
		r.sleep(time.Second)
		c := r.commands("w1", lease, proto.WorkerCommand_PERSIST)
		if len(old) != 1 || len(c) != 1 || c[0].Version != 2 {
			r.t.Fatalf("told %v, then %v", old, c)
		}
		r.heartbeat(&proto.HeartbeatRequest{Worker: "w1", Lease: lease, Persisted: persisted(old[0], dfs.Errorf(dfs.NoSpace, "persist", "", "full"))})
		r.heartbeat(&proto.HeartbeatRequest{Worker: "w1", Lease: lease, Persisted: r.wrote(old[0], "old!")})
		r.sleep(5 * time.Second)
		if s := r.must(opStat("/m/f")).Status; dfs.PersistState(s.Persist) != dfs.ToBePersisted {
			t.Errorf("an old version's report made the new one %v", dfs.PersistState(s.Persist))
		}
		if again := r.commands("w1", lease, proto.WorkerCommand_PERSIST); len(again) != 0 {
			t.Errorf("told %v again although the worker is at it", again)
		}
		r.heartbeat(&proto.HeartbeatRequest{Worker: "w1", Lease: lease, Persisted: r.wrote(c[0], "newer")})
		r.sleep(time.Second)
		if s := r.must(opStat("/m/f")).Status; dfs.PersistState(s.Persist) != dfs.Persisted || s.Fingerprint == "" {
			t.Errorf("status %v", s)
		}
		if got, _ := r.stored("f"); got != "newer" {
			t.Errorf("the store has %q", got)
		}
	})
}

// TestPersistInRootMount: paths below a store that is mounted at / are joined with one slash.
func TestPersistInRootMount(t *testing.T) {
	onVirtualTime(t, func(r *rig) {
		r.until("the root is mounted", r.m.RootMounted)
		lease := r.join("w1", nil)
		r.must(opMkdir("/d"))
		r.async("/d/f", "w1", 4)
		r.sleep(time.Second)
		c := r.commands("w1", lease, proto.WorkerCommand_PERSIST)
		if len(c) != 1 || c[0].UfsPath != "d/f" {
			r.t.Fatalf("told %v", c)
		}
		r.heartbeat(&proto.HeartbeatRequest{Worker: "w1", Lease: lease, Persisted: r.wrote(c[0], "data")})
		r.sleep(time.Second)
		if s := r.must(opStat("/d/f")).Status; dfs.PersistState(s.Persist) != dfs.Persisted {
			t.Errorf("status %v", s)
		}
	}, func(c *Config) { c.RootURI = "mem://a" })
}

// TestLatePersist (INV-2 of persister): what was written for a file that has moved, gone or changed meanwhile is removed, and
// what is at its path by then stays, whoever put it there.
func TestLatePersist(t *testing.T) {
	through := func(r *rig) {
		over := opCreate("/m/f", dfs.WriteThrough)
		over.GetCreateFile().Overwrite = true
		s := r.must(over).Status
		fingerprint, _ := r.store("f", "newer")
		r.must(opComplete(s, dfs.WriteThrough, 5, fingerprint, ""))
	}
	for name, c := range map[string]struct {
		meanwhile func(r *rig)
		want      string // at the path in the end
	}{
		"removed":               {func(r *rig) { r.must(opRemove("/m/f", false)) }, ""},
		"renamed":               {func(r *rig) { r.must(opRename("/m/f", "/m/g")) }, ""},
		"overwritten through":   {through, "newer"},
		"another's by now":      {func(r *rig) { r.must(opRemove("/m/f", false)); _, _ = r.store("f", "other") }, "other"},
		"another file's by now": {func(r *rig) { r.must(opRename("/m/f", "/m/g")); through(r) }, "newer"},
	} {
		t.Run(name, func(t *testing.T) {
			onVirtualTime(t, func(r *rig) {
				r.must(opMount("/m", "mem://a", false))
				lease := r.join("w1", nil)
				r.async("/m/f", "w1", 4)
				r.sleep(time.Second)
				told := r.commands("w1", lease, proto.WorkerCommand_PERSIST)
				c.meanwhile(r)
				r.heartbeat(&proto.HeartbeatRequest{Worker: "w1", Lease: lease, Persisted: r.wrote(told[0], "data")})
				r.sleep(time.Second)
				if got, _ := r.stored("f"); got != c.want {
					t.Errorf("the store has %q at the path, want %q", got, c.want)
				}
				if _, there := r.stored(told[0].Staged); there {
					t.Errorf("%s is left", told[0].Staged)
				}
			})
		})
	}
}

// TestPublishOnce: a result that comes twice changes nothing the second time, and one whose object is gone has the file
// written anew.
func TestPublishOnce(t *testing.T) {
	onVirtualTime(t, func(r *rig) {
		r.must(opMount("/m", "mem://a", false))
		lease := r.join("w1", nil)
		r.async("/m/f", "w1", 4)
		r.sleep(time.Second)
		c := r.commands("w1", lease, proto.WorkerCommand_PERSIST)[0]
		r.heartbeat(&proto.HeartbeatRequest{Worker: "w1", Lease: lease, Persisted: persisted(c, nil)})
		r.sleep(3 * time.Second)
		again := r.commands("w1", lease, proto.WorkerCommand_PERSIST)
		if s := r.must(opStat("/m/f")).Status; len(again) != 1 || dfs.PersistState(s.Persist) != dfs.ToBePersisted {
			t.Fatalf("after a report of an object that is not there: told %v, status %v", again, s)
		}
		for range 2 {
			r.heartbeat(&proto.HeartbeatRequest{Worker: "w1", Lease: lease, Persisted: r.wrote(again[0], "data")})
			r.sleep(time.Second)
		}
		if set := r.commands("w1", lease, proto.WorkerCommand_SET_PERSISTED); len(set) != 1 {
			t.Errorf("a report that came twice: told %v", set)
		}
		if _, there := r.stored(c.Staged); there {
			t.Error("what was written twice is left")
		}
		if got, _ := r.stored("f"); got != "data" {
			t.Errorf("the store has %q", got)
		}
	})
}

// TestPersistResultIsChecked: a worker's word moves nothing but what Forebay itself staged.
func TestPersistResultIsChecked(t *testing.T) {
	onVirtualTime(t, func(r *rig) {
		r.must(opMount("/m", "mem://a", false))
		lease := r.join("w1", nil)
		r.async("/m/f", "w1", 4)
		r.sleep(time.Second)
		c := r.commands("w1", lease, proto.WorkerCommand_PERSIST)[0]
		_, _ = r.store("precious", "another's")
		c.Staged = "precious"
		r.heartbeat(&proto.HeartbeatRequest{Worker: "w1", Lease: lease, Persisted: persisted(c, nil)})
		r.sleep(500 * time.Millisecond)
		if got, _ := r.stored("precious"); got != "another's" {
			t.Errorf("the store has %q where it was not to be touched", got)
		}
		if s := r.must(opStat("/m/f")).Status; dfs.PersistState(s.Persist) == dfs.Persisted {
			t.Error("the file counts as persisted")
		}
	})
}

// TestPersistAfterRegistration: what a worker was told in its former life it does not know any more, and is told again at
// once, not when the lease of the command runs out.
func TestPersistAfterRegistration(t *testing.T) {
	onVirtualTime(t, func(r *rig) {
		r.must(opMount("/m", "mem://a", false))
		lease := r.join("w1", nil)
		s := r.async("/m/f", "w1", 4)
		r.sleep(time.Second)
		if told := r.commands("w1", lease, proto.WorkerCommand_PERSIST); len(told) != 1 {
			r.t.Fatalf("told %v", told)
		}
		r.heartbeat(&proto.HeartbeatRequest{Worker: "w1", Lease: lease}) // it has heard
		lease = r.join("w1", held(s.Id, 1, true, 0))
		r.sleep(2 * time.Second)
		if told := r.commands("w1", lease, proto.WorkerCommand_PERSIST); len(told) != 1 {
			t.Errorf("after it registered anew it was told %v", told)
		}
	})
}

// TestReplacedWorker: a worker with a new name at the address of another is not a second one beside it: what the first was told is
// another's to do, at once, and no block counts as held by two when one machine has it.
func TestReplacedWorker(t *testing.T) {
	onVirtualTime(t, func(r *rig) {
		r.must(opMount("/m", "mem://a", false))
		old := r.join("w1", nil)
		other := r.join("w2", nil)
		r.async("/m/f", "w1", 4)
		again := worker("w1-again")
		again.Address = worker("w1").Address
		s := &registration{ctx: context.Background(), requests: []*proto.RegisterRequest{{Worker: again, Last: true}}}
		if err := r.m.register(s); err != nil {
			r.t.Fatal(err)
		}
		live := map[string]bool{}
		for _, w := range r.m.workers.List() {
			live[w.Id] = w.Live
		}
		if live["w1"] || !live["w2"] || !live["w1-again"] || len(live) != 3 {
			t.Errorf("live are %v", live)
		}
		if !r.heartbeat(&proto.HeartbeatRequest{Worker: "w1", Lease: old}).Register || r.heartbeat(&proto.HeartbeatRequest{Worker: "w2", Lease: other}).Register {
			t.Error("the replaced worker is known still, or the other one is not")
		}
		if n := r.m.blocks.Blocks("w1"); n != 0 {
			t.Errorf("it holds %d blocks still", n)
		}
	})
}

// TestFreeNamesTheVersion: a worker that hears late of a free must not drop a newer version, which it may have alone.
func TestFreeNamesTheVersion(t *testing.T) {
	onVirtualTime(t, func(r *rig) {
		r.must(opMount("/m", "mem://a", false))
		lease := r.join("w1", nil)
		s := r.must(opCreate("/m/f", dfs.WriteCacheThrough)).Status
		fingerprint, _ := r.store("f", "data")
		r.must(opComplete(s, dfs.WriteCacheThrough, 4, fingerprint, "w1"))
		r.must(&proto.Operation{Kind: &proto.Operation_Free{Free: &proto.Free{Path: "/m/f"}}})
		if told := r.commands("w1", lease, proto.WorkerCommand_FREE); len(told) != 1 || told[0].Version != 1 {
			t.Errorf("told %v", told)
		}
	})
}

// TestReportAfterUnmount: results for a mount that is gone change nothing and are not tried again.
func TestReportAfterUnmount(t *testing.T) {
	onVirtualTime(t, func(r *rig) {
		r.must(opMount("/m", "mem://a", false))
		lease := r.join("w1", nil)
		r.async("/m/f", "w1", 4)
		unmount := &proto.Operation{Kind: &proto.Operation_Unmount{Unmount: &proto.UnmountUfs{Path: "/m"}}}
		if _, err := r.do(unmount); !dfs.IsKind(err, dfs.Conflict) || !strings.Contains(err.Error(), "/m/f") {
			t.Errorf("unmounting what waits: %v", err)
		}
		r.sleep(time.Second)
		c := r.commands("w1", lease, proto.WorkerCommand_PERSIST)
		r.must(opRemove("/m/f", false))
		r.must(unmount)
		r.heartbeat(&proto.HeartbeatRequest{Worker: "w1", Lease: lease, Persisted: r.wrote(c[0], "data")})
		r.sleep(time.Second)
		if _, there := r.stored(c[0].Staged); !there {
			t.Error("a store that is no longer ours was changed")
		}
	})
}

// TestSessionsExpireBySilence: a client that keeps its session, or sends anything in it, keeps it; one that is silent for
// the timeout loses it, and not before.
func TestSessionsExpireBySilence(t *testing.T) {
	onVirtualTime(t, func(r *rig) {
		open := func(nonce uint64) uint64 { return r.must(opSession(nonce)).Session }
		keeps, works, silent := open(1), open(2), open(3)
		as := func(session uint64, op *proto.Operation) error {
			r.session = session
			_, err := r.do(op)
			r.session = 0
			return err
		}
		keep := func() *proto.Operation {
			return &proto.Operation{Kind: &proto.Operation_KeepSession{KeepSession: &proto.KeepSession{}}}
		}
		for minute := range 25 {
			r.sleep(time.Minute)
			if err := as(keeps, keep()); err != nil {
				t.Errorf("minute %d: keeping: %v", minute, err)
			}
			if err := as(works, opStat("/")); err != nil {
				t.Errorf("minute %d: working: %v", minute, err)
			}
			if has := r.m.machine.HasSession(dfs.SessionID(silent)); minute < 9 && !has || minute > 11 && has {
				t.Errorf("minute %d: the silent session is there: %v", minute, has)
			}
		}
		if err := as(silent, keep()); !dfs.IsKind(err, dfs.SessionExpired) {
			t.Errorf("keeping what expired: %v", err)
		}
		if err := as(works, opMkdir("/d")); err != nil {
			t.Errorf("a mutation of the one that works: %v", err)
		}
	})
}

// TestHeardIsBounded: sessions that clients name and nobody opened are remembered up to a bound, and until the next look.
func TestHeardIsBounded(t *testing.T) {
	onVirtualTime(t, func(r *rig) {
		real := r.must(opSession(1)).Session
		l := r.m.leader.Load()
		for i := range maxSeen + 10 {
			l.heard(dfs.SessionID(1_000_000 + i))
		}
		l.heard(dfs.SessionID(real)) // known already: at the bound, too
		if len(l.lastSeen) != maxSeen {
			t.Errorf("%d sessions are remembered, the bound is %d", len(l.lastSeen), maxSeen)
		}
		l.expireSessions()
		if len(l.lastSeen) != 1 {
			t.Errorf("%d sessions are remembered after the look", len(l.lastSeen))
		}
	})
}

// TestRootIsMountedWhenItCan: a new cluster mounts the configured store as soon as it can be reached, and one whose
// operator took it away is left alone.
func TestRootIsMountedWhenItCan(t *testing.T) {
	tries := 0
	onVirtualTime(t, func(r *rig) {
		if r.m.RootMounted() {
			t.Error("mounted although the store cannot be opened")
		}
		r.must(opStat("/")) // the master serves meanwhile
		r.sleep(4 * mountRootRetry)
		if !r.m.RootMounted() || tries != 3 {
			t.Errorf("mounted %v after %d tries", r.m.RootMounted(), tries)
		}
		if s := r.must(opStat("/")).Status; s.MountId == 0 {
			t.Errorf("the root is %v", s)
		}
	}, func(c *Config) {
		open := c.OpenStore
		c.RootURI = "mem://a"
		c.OpenStore = func(ctx context.Context, uri string, o map[string]string) (ufs.Store, error) {
			if tries++; tries < 3 {
				return nil, dfs.Errorf(dfs.Unavailable, "open", uri, "not yet")
			}
			return open(ctx, uri, o)
		}
	})
}

// TestTTLOfReadOnlyMount: nothing can be removed from the store, so the file's copies go and its TTL is spent; a pinned
// file keeps its copies.
func TestTTLOfReadOnlyMount(t *testing.T) {
	onVirtualTime(t, func(r *rig) {
		for _, name := range []string{"f", "pinned"} {
			if _, err := r.store(name, "data"); err != nil {
				t.Error(err)
			}
		}
		r.must(opMount("/ro", "mem://a", true))
		f, pinned := r.must(opStat("/ro/f")).Status, r.must(opStat("/ro/pinned")).Status
		lease := r.join("w1", append(held(f.Id, 1, false, 0), held(pinned.Id, 1, false, 0)...))
		ttl, action, pin := int64(time.Millisecond), uint32(dfs.TTLDelete), true
		for p, op := range map[string]*proto.SetAttribute{"/ro/f": {}, "/ro/pinned": {Pinned: &pin}} {
			op.Path, op.Ttl, op.TtlAction = p, &ttl, &action
			r.must(&proto.Operation{Kind: &proto.Operation_SetAttribute{SetAttribute: op}})
		}
		r.sleep(3 * time.Second)
		freed := r.commands("w1", lease, proto.WorkerCommand_FREE)
		if len(freed) != 1 || freed[0].Inode != f.Id {
			t.Errorf("told to free %v", freed)
		}
		for _, p := range []string{"/ro/f", "/ro/pinned"} {
			if s := r.must(opStat(p)).Status; s.Ttl != 0 {
				t.Errorf("%s has a TTL of %v", p, time.Duration(s.Ttl))
			}
		}
	})
}

// TestFailingTTLStopsNobody: a file that cannot be removed is tried again and again, and those after it go meanwhile.
func TestFailingTTLStopsNobody(t *testing.T) {
	refuse := func(c *Config) {
		open := c.OpenStore
		c.OpenStore = func(ctx context.Context, uri string, o map[string]string) (ufs.Store, error) {
			s, err := open(ctx, uri, o)
			return &refusing{Store: s, op: "remove", path: "stuck"}, err
		}
	}
	onVirtualTime(t, func(r *rig) {
		r.must(opMount("/m", "mem://a", false))
		ttl, action := int64(time.Millisecond), uint32(dfs.TTLDelete)
		for i, name := range []string{"stuck", "goes"} {
			if _, err := r.store(name, "data"); err != nil {
				t.Error(err)
			}
			r.must(opStat("/m/" + name))
			modified := int64(i + 1)
			r.must(&proto.Operation{Kind: &proto.Operation_SetAttribute{SetAttribute: &proto.SetAttribute{Path: "/m/" + name, ModTime: &modified, Ttl: &ttl, TtlAction: &action}}})
		}
		r.sleep(5 * time.Second)
		if _, err := r.do(opStat("/m/goes")); !dfs.IsKind(err, dfs.NotFound) {
			t.Errorf("behind a stuck file: %v", err)
		}
		r.must(opStat("/m/stuck"))
	}, refuse)
}

// TestLostWhileRegistering: a worker that falls silent in the middle of its registration is dropped with what it has
// reported, and cannot go on with it afterwards.
func TestLostWhileRegistering(t *testing.T) {
	onVirtualTime(t, func(r *rig) {
		s := &registration{ctx: context.Background(), requests: []*proto.RegisterRequest{
			{Worker: worker("w1"), Files: held(9, 1, false, 0, 1)}, {Files: held(9, 1, false, 2), Last: true}}}
		s.before = func(i int) {
			if i == 1 {
				r.sleep(DefaultWorkerLostAfter + 5*time.Second)
			}
		}
		if err := r.m.register(s); !dfs.IsKind(err, dfs.Conflict) {
			t.Errorf("the second half: %v", err)
		}
		if n := r.m.blocks.Len(); n != 0 {
			t.Errorf("%d blocks of a lost worker are left", n)
		}
		if r.m.RegisteredWorkers() != 0 {
			t.Error("it counts as registered")
		}
	})
}

// TestRegistrationErrors: what ends a registration, and what the worker is told.
func TestRegistrationErrors(t *testing.T) {
	broken := errors.New("the connection broke")
	for name, c := range map[string]struct {
		requests []*proto.RegisterRequest
		end      error
		want     dfs.Kind
	}{
		"nothing":        {nil, broken, dfs.Unavailable},
		"no worker":      {[]*proto.RegisterRequest{{}}, nil, dfs.InvalidArgument},
		"no id":          {[]*proto.RegisterRequest{{Worker: &proto.WorkerInfo{Address: "a:1"}}}, nil, dfs.InvalidArgument},
		"no address":     {[]*proto.RegisterRequest{{Worker: &proto.WorkerInfo{Id: "w"}}}, nil, dfs.InvalidArgument},
		"ends in half":   {[]*proto.RegisterRequest{{Worker: worker("w"), Files: held(9, 1, false, 0)}}, nil, 0},
		"breaks in half": {[]*proto.RegisterRequest{{Worker: worker("w"), Files: held(9, 1, false, 0)}}, broken, dfs.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			onVirtualTime(t, func(r *rig) {
				err := r.m.register(&registration{ctx: context.Background(), requests: c.requests, end: c.end})
				switch {
				case c.want == 0 && err != nil, c.want == dfs.InvalidArgument && !dfs.IsKind(err, c.want), c.end != nil && !errors.Is(err, broken):
					t.Errorf("%v", err)
				}
				if r.m.RegisteredWorkers() != 0 {
					t.Error("it counts as registered")
				}
				if len(c.requests) > 0 && c.requests[0].Worker.GetId() == "w" && c.requests[0].Worker.GetAddress() != "" {
					if res := r.heartbeat(&proto.HeartbeatRequest{Worker: "w", Lease: 1}); !res.Register {
						t.Error("it may go on without its blocks")
					}
				}
				if held := r.m.registering.Held(); held != 0 {
					t.Errorf("%d places are taken for ever", held)
				}
			})
		})
	}
}

// TestSecondProcessWithOneID: the later registration wins, and the earlier stream is told.
func TestSecondProcessWithOneID(t *testing.T) {
	onVirtualTime(t, func(r *rig) {
		s := &registration{ctx: context.Background(), requests: []*proto.RegisterRequest{
			{Worker: worker("w1"), Files: held(9, 1, false, 0)}, {Files: held(9, 1, false, 1), Last: true}}}
		s.before = func(i int) {
			if i == 1 {
				r.join("w1", held(9, 1, false, 5))
			}
		}
		if err := r.m.register(s); !dfs.IsKind(err, dfs.Conflict) {
			t.Errorf("the first process: %v", err)
		}
		if r.m.blocks.Len() != 1 || r.m.RegisteredWorkers() != 1 {
			t.Errorf("%d blocks, %d workers; want the second's alone", r.m.blocks.Len(), r.m.RegisteredWorkers())
		}
	})
}

// TestReconcileStates: what a worker is told of data that it keeps for the only copy, for each thing that may have
// happened to the file.
func TestReconcileStates(t *testing.T) {
	onVirtualTime(t, func(r *rig) {
		r.must(opMount("/m", "mem://a", false))
		put := func(p string, w dfs.WriteType) *proto.FileStatus {
			op := opCreate(p, w)
			op.GetCreateFile().Overwrite = true
			s := r.must(op).Status
			return r.must(opComplete(s, w, 4, "", "")).Status
		}
		replaced := put("/replaced", dfs.WriteMustCache)
		put("/replaced", dfs.WriteMustCache)
		writing := r.must(opCreate("/writing", dfs.WriteMustCache)).Status
		removed := put("/removed", dfs.WriteMustCache)
		r.must(opRemove("/removed", false))
		waits := put("/m/waits", dfs.WriteAsyncThrough)
		kept := put("/kept", dfs.WriteMustCache)
		over := put("/over", dfs.WriteMustCache)
		again := opCreate("/over", dfs.WriteMustCache)
		again.GetCreateFile().Overwrite = true
		r.must(again)
		var files []*proto.HeldFile
		for _, f := range []*proto.FileStatus{replaced, writing, removed, waits, kept, over} {
			files = append(files, held(f.Id, 1, true, 0)...)
		}
		files = append(files, held(over.Id, 2, true, 0)...)
		if _, err := r.put("/m/through", "THROUGH"); err != nil {
			t.Error(err)
		}
		again = opCreate("/m/through", dfs.WriteAsyncThrough)
		again.GetCreateFile().Overwrite = true
		newer := r.must(again).Status
		files = append(files, held(newer.Id, 2, true, 0)...)
		lease := r.join("w1", files)
		got := map[uint64]int{}
		for _, c := range r.commands("w1", lease, proto.WorkerCommand_SET_PERSISTED) {
			got[c.Inode]++
		}
		for _, c := range []struct {
			what string
			file *proto.FileStatus
			want int
		}{{"replaced", replaced, 1}, {"being written", writing, 0}, {"removed", removed, 1}, {"waiting", waits, 0}, {"kept", kept, 0},
			{"being overwritten", over, 0}, {"the next version of a persisted one", newer, 0}} {
			if got[c.file.Id] != c.want {
				t.Errorf("%s: told %d times that it may be evicted, want %d", c.what, got[c.file.Id], c.want)
			}
		}
	})
}

// TestPersistCommandsAreBounded (INV-3 of persister): no more commands are out than maxPersisting, and as workers report
// the rest follows; what is known of files that went is forgotten.
func TestPersistCommandsAreBounded(t *testing.T) {
	onVirtualTime(t, func(r *rig) {
		r.must(opMount("/m", "mem://a", false))
		lease := r.join("w1", nil)
		const extra = 30
		for i := range maxPersisting + extra {
			r.async(fmt.Sprintf("/m/%d", i), "w1", 4)
		}
		r.sleep(3 * time.Second)
		told := r.commands("w1", lease, proto.WorkerCommand_PERSIST)
		if len(told) != maxPersisting {
			t.Errorf("%d commands are out, the bound is %d", len(told), maxPersisting)
		}
		for _, c := range told[:extra] {
			r.heartbeat(&proto.HeartbeatRequest{Worker: "w1", Lease: lease, Persisted: r.wrote(c, "data")})
		}
		r.sleep(3 * time.Second)
		if more := r.commands("w1", lease, proto.WorkerCommand_PERSIST); len(more) != extra {
			t.Errorf("%d more were told after %d reports", len(more), extra)
		}
		for i := range maxPersisting + extra {
			r.must(opRemove(fmt.Sprintf("/m/%d", i), false))
		}
		r.sleep(3 * time.Second)
		p := r.m.leader.Load().persist
		if len(p.told) != 0 {
			t.Errorf("%d removed files are remembered for ever", len(p.told))
		}
	})
}

// TestUnmountLooksThroughTheQueue: a file that waits behind more than a page of other mounts' files is found, and only
// what lies in the mount stops its unmount.
func TestUnmountLooksThroughTheQueue(t *testing.T) {
	onVirtualTime(t, func(r *rig) {
		r.must(opMount("/m", "mem://a", false))
		r.must(opMount("/mm", "mem://b", false))
		r.join("w1", nil)
		for i := range persistPage + 3 {
			r.async(fmt.Sprintf("/m/%d", i), "w1", 4)
		}
		r.async("/mm/last", "w1", 4)
		unmount := &proto.Operation{Kind: &proto.Operation_Unmount{Unmount: &proto.UnmountUfs{Path: "/mm"}}}
		if _, err := r.do(unmount); !dfs.IsKind(err, dfs.Conflict) || !strings.Contains(err.Error(), "/mm/last") {
			t.Errorf("unmounting what waits behind a page: %v", err)
		}
		r.must(opRemove("/mm/last", false))
		r.must(unmount)
	})
}

// TestSilenceIsCountedByThisLeader: sessions that a new leader finds have the whole timeout from then on.
func TestSilenceIsCountedByThisLeader(t *testing.T) {
	onVirtualTime(t, func(r *rig) {
		id := dfs.SessionID(r.must(opSession(1)).Session)
		l := r.m.leader.Load()
		for range 3 { // three leaders that never heard of it, each long after the one before
			r.sleep(DefaultSessionTimeout - time.Minute)
			l.mu.Lock()
			clear(l.lastSeen)
			l.mu.Unlock()
			l.expireSessions()
			if !r.m.machine.HasSession(id) {
				r.t.Fatal("expired by a leader that had just begun to listen")
			}
		}
	})
}
