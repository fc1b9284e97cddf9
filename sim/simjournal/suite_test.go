package simjournal

import (
	"fmt"
	"testing"
	"time"

	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
	"github.com/forebay/forebay/system/journal/journaltest"
)

// virtual is a cluster of the conformance suite in a world of its own.
type virtual struct {
	w     *world.World
	q     *Quorum
	test  *world.Node
	nodes []*world.Node
}

func newVirtual(seed uint64, members int) *virtual {
	v := &virtual{w: world.New(seed)}
	v.test = v.w.NewNode("test", world.NodeConfig{})
	var founders []journal.Member
	for i := range members + 1 { // and a spare
		v.nodes = append(v.nodes, v.w.NewNode(v.id(i), world.NodeConfig{Rack: fmt.Sprint("r", i)}))
		if i < members {
			founders = append(founders, v.Member(i))
		}
	}
	v.q = NewQuorum(v.w, founders, DefaultTiming)
	return v
}

func (*virtual) id(i int) string { return fmt.Sprintf("m%d", i+1) }

// Host implements journaltest.Hosted.
func (v *virtual) Host(i int) host.Host {
	if i < 0 {
		return v.test
	}
	return v.nodes[i]
}

// Open implements journaltest.Cluster. A member that died is on the disk that it left.
func (v *virtual) Open(i int, sm journal.StateMachine) (journal.Journal, error) {
	if !v.nodes[i].Alive() {
		v.between(v.nodes[i].Restart)
	}
	return v.q.Open(v.nodes[i], v.id(i), sm)
}

// Kill implements journaltest.Cluster.
func (v *virtual) Kill(i int) {
	v.between(func() {
		v.nodes[i].Crash()
		v.q.Crashed(v.id(i))
	})
}

// between does something between two tasks, where worlds change.
func (v *virtual) between(f func()) {
	done := v.test.NewEvent()
	v.w.Sched.After(0, func() {
		f()
		done.Set()
	})
	_ = done.Wait(background)
}

// Wipe implements journaltest.Cluster.
func (v *virtual) Wipe(i int) { v.q.Wipe(v.id(i)) }

// Member implements journaltest.Cluster.
func (v *virtual) Member(i int) journal.Member {
	return journal.Member{ID: v.id(i), Address: v.id(i) + ":1", Voter: true}
}

// TestConformance: the simulated journal keeps the contract of the real one, of one, three and five members, in the order
// of many seeds.
func TestConformance(t *testing.T) {
	for _, members := range []int{1, 3, 5} {
		for seed := range uint64(2) {
			t.Run(fmt.Sprintf("%d members, seed %d", members, seed), func(t *testing.T) {
				journaltest.Run(t, journaltest.Driver{
					Members: members, Durable: true,
					New: func(*testing.T) journaltest.Cluster { return newVirtual(seed, members) },
					Drive: func(t *testing.T, c journaltest.Cluster, body func()) {
						v := c.(*virtual)
						defer v.w.Close()
						v.test.Go("suite", func() {
							body()
							v.w.Sched.Stop()
						})
						if err := v.w.Sched.Run(time.Hour); err != nil {
							t.Error(err)
						}
					},
				})
			})
		}
	}
}
