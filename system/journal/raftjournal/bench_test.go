package raftjournal

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/forebay/forebay/system/journal"
)

// nullMachine applies nothing, at no cost.
type nullMachine struct{ applied atomic.Uint64 }

func (m *nullMachine) Apply(entries []journal.Entry) []error {
	m.applied.Store(entries[len(entries)-1].Index)
	return make([]error, len(entries))
}

func (m *nullMachine) AppliedIndex() uint64              { return m.applied.Load() }
func (m *nullMachine) FlushedIndex() uint64              { return m.applied.Load() }
func (m *nullMachine) Checkpoint(string) (uint64, error) { return 0, fmt.Errorf("not here") }
func (m *nullMachine) Restore(string) error              { return fmt.Errorf("not here") }

// startMembers opens the quorum with the default timing and waits for a leader that has proved itself.
func startMembers(t testing.TB, members int, tune func(*Config)) (*cluster, int) {
	c := newCluster(t, members, tune)
	for i := range members {
		if _, err := c.Open(i, &nullMachine{}); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, j := range c.running {
			if j != nil {
				_ = j.stop(nil)
			}
		}
	})
	return c, waitLeader(t, c)
}

func waitLeader(t testing.TB, c *cluster) int {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for i, j := range c.running {
			if j != nil && j.Leader() == c.members[i].ID && j.Barrier(t.Context()) == nil {
				return i
			}
		}
	}
	t.Fatal("no leader")
	return -1
}

// BenchmarkPropose is durable proposals with the caller's group commit: one loop, three entries in flight, each of 256
// operations of 100 bytes. An iteration is one entry.
func BenchmarkPropose(b *testing.B) {
	const operations, operationBytes = 256, 100
	for _, members := range []int{1, 3} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			c, leader := startMembers(b, members, func(c *Config) { c.SegmentBytes = 64 << 20 })
			j := c.running[leader]
			b.ResetTimer()
			var inFlight []journal.Pending
			for range b.N {
				data := make([]byte, operations*operationBytes)
				inFlight = append(inFlight, j.Propose(b.Context(), data))
				if len(inFlight) == MaxInFlight {
					if _, err := inFlight[0].Wait(b.Context()); err != nil {
						b.Fatal(err)
					}
					inFlight = inFlight[1:]
				}
			}
			for _, p := range inFlight {
				if _, err := p.Wait(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*operations/b.Elapsed().Seconds(), "operations/s")
		})
	}
}

// BenchmarkAlone is what a single small proposal waits.
func BenchmarkAlone(b *testing.B) {
	for _, members := range []int{1, 3} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			c, leader := startMembers(b, members, func(c *Config) { c.SegmentBytes = 64 << 20 })
			b.ResetTimer()
			for range b.N {
				if _, err := c.running[leader].Propose(b.Context(), make([]byte, 100)).Wait(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerifyLeader(b *testing.B) {
	c, leader := startMembers(b, 3, func(c *Config) { c.SegmentBytes = 64 << 20 })
	b.ResetTimer()
	for range b.N {
		if err := c.running[leader].VerifyLeader(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFailover measures the gap in durable writes when a leader dies without a word, with the default timing: from
// its last acknowledgement to the first one of the next leader.
func BenchmarkFailover(b *testing.B) {
	c, _ := startMembers(b, 3, func(c *Config) { c.SegmentBytes = 4 << 20 })
	var gaps []time.Duration
	for range b.N {
		leader := firstWrite(b, c) // the leader, after whatever the returned member did
		start := time.Now()
		dead := c.running[leader]
		c.running[leader] = nil
		go dead.stop(nil)
		firstWrite(b, c)
		gaps = append(gaps, time.Since(start))
		<-time.After(50 * time.Millisecond) // the dead one lets go of its directory
		_ = dead.stop(nil)
		if _, err := c.Open(leader, &nullMachine{}); err != nil {
			b.Fatal(err)
		}
		<-time.After(300 * time.Millisecond) // the returned one catches up
	}
	slices.Sort(gaps)
	b.ReportMetric(float64(gaps[len(gaps)/2].Milliseconds()), "p50-ms")
	b.ReportMetric(float64(gaps[len(gaps)*99/100].Milliseconds()), "p99-ms")
	b.ReportMetric(float64(gaps[len(gaps)-1].Milliseconds()), "max-ms")
}

// firstWrite asks every member until one has written.
func firstWrite(b *testing.B, c *cluster) int {
	for {
		for i, j := range c.running {
			if j == nil || j.Leader() != c.members[i].ID {
				continue
			}
			ctx, cancel := context.WithTimeout(b.Context(), 5*time.Second)
			_, err := j.Propose(ctx, []byte("y")).Wait(ctx)
			cancel()
			if err == nil {
				return i
			}
		}
		time.Sleep(time.Millisecond)
	}
}
