// Package journaltest holds the tests that every journal passes, and the state machine that they use. It owns no data;
// the drivers' tests call Run.
package journaltest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
)

// Cluster is a set of members under test, made anew for each test.
type Cluster interface {
	// Open opens or reopens member i with the directory that it had. Members 0..n-1 make the quorum, the next one is a
	// spare that waits to be added.
	Open(i int, sm journal.StateMachine) (journal.Journal, error)
	// Kill ends member i as a crash does: nothing is handed over or finished.
	Kill(i int)
	// Wipe removes everything that the dead member i has on its disk.
	Wipe(i int)
	// Member is how member i is called.
	Member(i int) journal.Member
}

// Driver is what is tested.
type Driver struct {
	// Members is the size of the quorum.
	Members int
	// Durable tells that a log survives a restart, and that snapshots trim it.
	Durable bool
	// New makes a cluster; it ends with the test.
	New func(t *testing.T) Cluster
	// Drive runs a test's body; nil: it is called. A virtual world runs it as a task of its own.
	Drive func(t *testing.T, c Cluster, body func())
}

// Hosted is implemented by clusters whose members do not all live on the machine itself. Host is member i's, -1 the test's.
type Hosted interface {
	Host(i int) host.Host
}

// patience is how long anything may take on a loaded machine.
const patience = 30 * time.Second

var background = context.Background()

// Run tests a driver.
func Run(t *testing.T, d Driver) {
	run := func(name string, applies bool, test func(*testing.T, *env)) {
		if applies {
			t.Run(name, func(t *testing.T) {
				c := d.New(t)
				body := func() {
					e := newEnv(t, d, c)
					defer e.end()
					test(t, e)
				}
				if d.Drive == nil {
					body()
					return
				}
				d.Drive(t, c, body)
			})
		}
	}
	run("order and answers", true, testOrder)
	run("refusal", true, testRefusal)
	run("back-pressure", true, testBackPressure)
	run("barrier", true, testBarrier)
	run("commit index", true, testCommitIndex)
	run("leadership", true, testLeadership)
	run("closed", true, testClosed)
	run("restart replays what was not flushed", d.Durable, testRestart)
	run("snapshot, trim, restart", d.Durable, testSnapshot)
	run("lost state comes back from the snapshot", d.Durable, testLostState)
	run("log ahead of the state is refused", d.Durable, testLostLog)
	run("members agree", d.Members > 1, testAgree)
	run("not leader", d.Members > 1, testNotLeader)
	run("leader dies", d.Members > 1, testLeaderDies)
	run("follower catches up by snapshot", d.Members > 1, testCatchUp)
	run("membership", d.Members > 1, testMembership)
	run("transfer", d.Members > 1, testTransfer)
	run("close hands over", d.Members > 1, testCloseHandsOver)
	run("lost quorum", d.Members > 1, testLostQuorum)
}

// env is a cluster with its state machines.
type env struct {
	t        *testing.T
	d        Driver
	host     host.Host
	cluster  Cluster
	journals []journal.Journal // nil: not running
	sms      []*Recorder
}

func newEnv(t *testing.T, d Driver, c Cluster) *env {
	e := &env{t: t, d: d, cluster: c}
	e.host = e.hostOf(-1)
	e.journals = make([]journal.Journal, d.Members+1)
	e.sms = make([]*Recorder, d.Members+1)
	for i := range e.sms {
		e.sms[i] = e.recorder(i)
	}
	for i := range d.Members {
		e.open(i)
	}
	return e
}

// hostOf is where member i lives, or with -1 the test.
func (e *env) hostOf(i int) host.Host {
	if h, ok := e.cluster.(Hosted); ok {
		return h.Host(i)
	}
	if e.host == nil {
		e.host = host.NewReal()
	}
	return e.host
}

// recorder makes an empty state machine for member i.
func (e *env) recorder(i int) *Recorder { return NewRecorder(e.hostOf(i)) }

// within is a context of the test's host.
func (e *env) within(d time.Duration) (context.Context, context.CancelFunc) {
	return e.host.WithTimeout(background, d)
}

// start runs f beside the test and returns an event that is set at its end.
func (e *env) start(f func()) host.Event {
	done := e.host.NewEvent()
	e.host.Go("beside", func() {
		defer done.Set()
		f()
	})
	return done
}

// end closes what runs, and reports what the state machines saw go wrong: every test checks the journal's side of the
// contract that way, whatever else it is about.
func (e *env) end() {
	for i, j := range e.journals {
		if j != nil {
			e.close(i)
		}
	}
	for i, sm := range e.sms {
		if v := sm.Violations(); len(v) > 0 {
			e.t.Errorf("member %d: %v", i, v)
		}
	}
}

func (e *env) open(i int) {
	e.t.Helper()
	j, err := e.cluster.Open(i, e.sms[i])
	if err != nil {
		e.t.Fatalf("open member %d: %v", i, err)
	}
	e.journals[i] = j
}

func (e *env) close(i int) {
	e.t.Helper()
	if err := e.journals[i].Close(); err != nil {
		e.t.Fatalf("close member %d: %v", i, err)
	}
	e.journals[i] = nil
}

// kill crashes member i; its state machine goes back to what it had flushed.
func (e *env) kill(i int) {
	e.cluster.Kill(i)
	e.journals[i] = nil
	e.sms[i] = e.sms[i].Crash()
}

// ctx is bounded by the suite's patience.
func (e *env) ctx() context.Context {
	ctx, cancel := e.within(patience)
	e.t.Cleanup(cancel)
	return ctx
}

// until polls for a condition that has no event.
func (e *env) until(what string, ok func() bool) {
	e.t.Helper()
	ctx, cancel := e.within(patience)
	defer cancel()
	for !ok() {
		if e.host.Sleep(ctx, 2*time.Millisecond) != nil {
			e.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// leader waits for a member that can prove that it leads.
func (e *env) leader() int {
	e.t.Helper()
	leader := -1
	e.until("a leader", func() bool {
		leader = slices.IndexFunc(e.journals, func(j journal.Journal) bool {
			if j == nil || j.Leader() == "" {
				return false
			}
			ctx, cancel := e.within(2 * time.Second)
			defer cancel()
			return j.Barrier(ctx) == nil
		})
		return leader >= 0
	})
	return leader
}

func (e *env) follower(not ...int) int {
	for i := range e.d.Members {
		if e.journals[i] != nil && !slices.Contains(not, i) {
			return i
		}
	}
	e.t.Fatal("no follower")
	return -1
}

// propose makes count proposals at once and waits for all of them.
func (e *env) propose(leader int, prefix string, count int) {
	e.t.Helper()
	var all []journal.Pending
	for i := range count {
		all = append(all, e.journals[leader].Propose(e.ctx(), fmt.Appendf(nil, "%s%d", prefix, i)))
	}
	for i, p := range all {
		if _, err := p.Wait(e.ctx()); err != nil {
			e.t.Fatalf("proposal %s%d: %v", prefix, i, err)
		}
	}
}

// wantAll waits until member i has exactly the entries of the given proposals, in order.
func (e *env) wantAll(i int, sets ...entrySet) {
	e.t.Helper()
	var want []string
	for _, s := range sets {
		for k := range s.count {
			want = append(want, fmt.Sprintf("%s%d", s.prefix, k))
		}
	}
	e.until(fmt.Sprintf("member %d has %d entries", i, len(want)), func() bool {
		return len(e.sms[i].Entries()) >= len(want)
	})
	if got := datas(e.sms[i].Entries()); !slices.Equal(got, want) {
		e.t.Fatalf("member %d: got %d entries %.200q, want %d %.200q", i, len(got), got, len(want), want)
	}
}

type entrySet struct {
	prefix string
	count  int
}

func datas(entries []journal.Entry) []string {
	var all []string
	for _, x := range entries {
		all = append(all, string(x.Data))
	}
	return all
}
