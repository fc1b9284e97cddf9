package scenario

import (
	"testing"
	"time"
)

// TestFailoverGap: while leaders die one after the other, 99 of 100 reads and writes take less than a second (DESIGN.md, section
// 13). Time is the simulator's, so the machine has no part in it. Clients that gave up their list of workers for a new leader's
// empty one took 1.4 s and more.
func TestFailoverGap(t *testing.T) {
	s, err := Load("leader-death")
	if err != nil {
		t.Fatal(err)
	}
	s.Duration = 50 * time.Second
	for seed := range uint64(3) {
		r, err := Run(t.Context(), s, Options{Seed: seed + 1})
		if err != nil {
			t.Fatal(err)
		}
		if r.Faults < 3 || r.ViolationCount > 0 {
			t.Errorf("seed %d: %d leaders died, violations %v", seed+1, r.Faults, r.Violations)
		}
		for _, name := range []string{"read", "write"} {
			if k := r.Kinds[name]; k.Count-k.Failed < 500 || k.P99 > time.Second {
				t.Errorf("seed %d: %d of %d %ss succeeded, p99 %v", seed+1, k.Count-k.Failed, k.Count, name, k.P99)
			}
		}
	}
}
