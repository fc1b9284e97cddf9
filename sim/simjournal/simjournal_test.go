package simjournal

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/journal"
	"github.com/forebay/forebay/system/journal/journaltest"
)

var background = context.Background()

// fleet is a quorum with its nodes and state machines.
type fleet struct {
	t     *testing.T
	w     *world.World
	q     *Quorum
	ids   []string
	nodes []*world.Node
	live  []*Member
	sms   []*journaltest.Recorder
}

func newFleet(t *testing.T, seed uint64, size int) *fleet {
	f := &fleet{t: t, w: world.New(seed)}
	t.Cleanup(f.w.Close)
	var founders []journal.Member
	for i := range size {
		id := fmt.Sprintf("m%d", i+1)
		founders = append(founders, journal.Member{ID: id, Address: id + ":1", Voter: true})
		n := f.w.NewNode(id, world.NodeConfig{Rack: fmt.Sprint("r", i)})
		f.ids, f.nodes = append(f.ids, id), append(f.nodes, n)
		f.sms = append(f.sms, journaltest.NewRecorder(n))
	}
	f.live = make([]*Member, size)
	f.q = NewQuorum(f.w, founders, DefaultTiming)
	for i := range size {
		f.open(i)
	}
	return f
}

func (f *fleet) open(i int) {
	f.nodes[i].Go("open", func() {
		m, err := f.q.Open(f.nodes[i], f.ids[i], f.sms[i])
		if err != nil {
			f.t.Errorf("open %s: %v", f.ids[i], err)
			return
		}
		f.live[i] = m
	})
}

// crash ends a member; its state machine goes back to what it had flushed.
func (f *fleet) crash(i int) {
	f.nodes[i].Crash()
	f.q.Crashed(f.ids[i])
	f.live[i] = nil
	f.sms[i] = f.sms[i].Crash()
}

func (f *fleet) restart(i int) {
	f.nodes[i].Restart()
	f.open(i)
}

// run runs the world to a time.
func (f *fleet) run(to time.Duration) {
	f.t.Helper()
	if err := f.w.Sched.Run(to); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) leader() int {
	return slices.IndexFunc(f.live, func(m *Member) bool { return m != nil && !m.over() && m.role == leader })
}

// propose has a member's node propose, and tells by ok whether it was acknowledged.
func (f *fleet) propose(i int, data string, done func(err error)) {
	m := f.live[i]
	f.nodes[i].Go("proposer", func() {
		ctx, cancel := f.nodes[i].WithTimeout(background, 30*time.Second)
		defer cancel()
		_, err := m.Propose(ctx, []byte(data)).Wait(ctx)
		done(err)
	})
}

func datas(r *journaltest.Recorder) []string {
	var all []string
	for _, e := range r.Entries() {
		all = append(all, string(e.Data))
	}
	return all
}

// TestElectsAndReplicates: one leader within a second, and every member has what was acknowledged.
func TestElectsAndReplicates(t *testing.T) {
	for _, size := range []int{1, 3, 5} {
		f := newFleet(t, 1, size)
		f.run(2 * time.Second)
		l := f.leader()
		if l < 0 {
			t.Fatalf("%d members: no leader", size)
		}
		acked := 0
		for i := range 50 {
			f.propose(l, fmt.Sprintf("p%02d", i), func(err error) {
				if err == nil {
					acked++
				}
			})
		}
		f.run(4 * time.Second)
		if acked != 50 {
			t.Errorf("%d members: %d of 50 were acknowledged", size, acked)
		}
		for i, sm := range f.sms {
			if got := datas(sm); len(got) != 50 || len(sm.Violations()) > 0 {
				t.Errorf("member %d has %d entries, violations %v", i, len(got), sm.Violations())
			}
		}
	}
}

// TestLeaderDies: another takes over within a second of the death.
func TestLeaderDies(t *testing.T) {
	for seed := range uint64(20) {
		f := newFleet(t, seed, 3)
		f.run(2 * time.Second)
		old := f.leader()
		f.crash(old)
		for at := 2 * time.Second; f.leader() < 0; at += 10 * time.Millisecond {
			if at > 3*time.Second {
				t.Fatalf("seed %d: no leader a second after the death of one", seed)
			}
			f.run(at)
		}
	}
}

// TestChaos: whatever crashes and is cut off, no acknowledged entry is lost or doubled, members agree on every index, a
// term has one leader, and when it is over the log goes on.
func TestChaos(t *testing.T) {
	elections, lost := 0, 0
	for seed := range uint64(50) {
		size := 3 + 2*int(seed%2)
		f := newFleet(t, seed, size)
		rng := rand.New(rand.NewPCG(seed, 99))
		f.q.timing.Sync = []time.Duration{DefaultTiming.Sync, 5 * time.Millisecond, 30 * time.Millisecond}[rng.IntN(3)]
		acked := map[string]bool{}
		leaders := map[uint64]string{}
		proposed := 0
		at := 2 * time.Second
		for range 150 {
			f.run(at)
			for i, m := range f.live {
				if m != nil && m.role == leader {
					if other, ok := leaders[m.s.term]; ok && other != f.ids[i] {
						t.Fatalf("seed %d: term %d has leaders %s and %s", seed, m.s.term, other, f.ids[i])
					}
					leaders[m.s.term] = f.ids[i]
				}
			}
			f.mischief(rng, size)
			for range rng.IntN(5) {
				if l := f.leader(); l >= 0 {
					data := fmt.Sprintf("p%05d", proposed)
					proposed++
					f.propose(l, data, func(err error) {
						if err == nil {
							acked[data] = true
						} else {
							lost++
						}
					})
				}
			}
			if rng.IntN(4) == 0 { // in the middle of it
				victim := rng.IntN(size)
				if l := f.leader(); l >= 0 && rng.IntN(2) == 0 {
					victim = l
				}
				f.w.Sched.After(time.Duration(rng.IntN(40_000))*time.Microsecond, func() {
					if f.nodes[victim].Alive() {
						f.crash(victim)
					}
				})
				f.w.Sched.After(time.Duration(50+rng.IntN(2000))*time.Millisecond, func() {
					if !f.nodes[victim].Alive() {
						f.restart(victim)
					}
				})
			}
			at += time.Duration(rng.IntN(200)) * time.Millisecond
		}
		f.w.Net.HealAll()
		f.w.Net.Loss = 0
		for i := range size {
			if !f.nodes[i].Alive() {
				f.restart(i)
			}
		}
		f.run(at + 10*time.Second)
		l := f.leader()
		if l < 0 {
			t.Fatalf("seed %d: no leader when all is well again", seed)
		}
		f.propose(l, "z", func(err error) {
			if err != nil {
				t.Errorf("seed %d: the log does not go on: %v", seed, err)
			}
		})
		f.run(at + 15*time.Second)
		want := datas(f.sms[l])
		for i, sm := range f.sms {
			if v := sm.Violations(); len(v) > 0 {
				t.Errorf("seed %d: member %d: %v", seed, i, v)
			}
			if got := datas(sm); !slices.Equal(got, want) {
				t.Errorf("seed %d: members %d and %d differ: %d and %d entries", seed, i, l, len(got), len(want))
			}
		}
		seen := map[string]int{}
		for _, d := range want {
			seen[d]++
		}
		for d := range acked {
			if seen[d] != 1 {
				t.Errorf("seed %d: %s was acknowledged and is there %d times", seed, d, seen[d])
			}
		}
		elections += len(leaders)
	}
	if elections < 100 || lost == 0 {
		t.Errorf("%d leaders and %d lost proposals in all: the chaos is too tame", elections, lost)
	}
}

// mischief does one thing to the quorum, or undoes one.
func (f *fleet) mischief(rng *rand.Rand, size int) {
	i := rng.IntN(size)
	switch rng.IntN(10) {
	case 0:
		if f.nodes[i].Alive() {
			f.crash(i)
		}
	case 1, 2:
		if !f.nodes[i].Alive() {
			f.restart(i)
		}
	case 3:
		f.w.Net.Cut(f.ids[i], f.ids[rng.IntN(size)])
	case 4:
		for _, other := range f.ids {
			f.w.Net.Cut(f.ids[i], other)
			f.w.Net.Cut(other, f.ids[i])
		}
	case 5, 6:
		f.w.Net.HealAll()
	case 7:
		if rng.IntN(3) == 0 {
			f.sms[i].Flush()
		}
		if m := f.live[i]; m != nil {
			f.nodes[i].Go("snapshot", func() { _, _ = m.Snapshot(background) })
		}
	case 8:
		if l := f.leader(); l >= 0 {
			m := f.live[l]
			f.nodes[l].Go("transfer", func() { _ = m.Transfer(background, "") })
		}
	case 9:
		f.w.Net.Loss = []float64{0, 0, 0.1, 0.3}[rng.IntN(4)]
	}
}
