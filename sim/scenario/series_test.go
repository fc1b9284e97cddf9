package scenario

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/sim/world"
)

func parsed(t *testing.T, text string) *Scenario {
	t.Helper()
	s, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	s.Name = "test"
	return s
}

// TestStormIsMeasured: when the leader dies, the report says when the next one served and when it knew every block, and what
// the slowest operation was; that nobody serves in between shows in the series.
func TestStormIsMeasured(t *testing.T) {
	r := run1(t, parsed(t, `
workers: 20
clients: 10
racks: 3
duration: 20s
rate: 20
files: 50
fileSize: 1KiB
blocks: 20000
mix: {stat: 4, write: 1}
faults: [{at: 8s, kind: kill-leader, for: 5s}]
`), 5)
	if len(r.Trials) != 1 || r.ViolationCount > 0 {
		t.Fatalf("%d trials, violations %q", len(r.Trials), r.Violations)
	}
	f := r.Trials[0]
	if f.Kind != kindKillLeader || f.At != 8*time.Second || f.Blocks < 20_000 {
		t.Errorf("%+v", f)
	}
	if f.Serving < 100*time.Millisecond || f.Serving > 2*time.Second || f.Complete <= f.Serving || f.Complete > 5*time.Second {
		t.Errorf("serving after %v, every block known after %v", f.Serving, f.Complete)
	}
	if f.Worst < f.Serving || f.Worst > f.Serving+3*time.Second {
		t.Errorf("the worst operation took %v, with nobody serving for %v", f.Worst, f.Serving)
	}
	if n := len(r.Series.Samples); n != 20 || r.Series.Step != time.Second {
		t.Fatalf("%d samples of %v", n, r.Series.Step)
	}
	before, after := r.Series.Samples[6], r.Series.Samples[19]
	if before.Leader == after.Leader || before.Blocks < 20_000 || after.Blocks < 20_000 || after.Registered != 20 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	operations, hits := 0, int64(0)
	for _, one := range r.Series.Samples {
		operations, hits = operations+one.Operations, hits+one.Hits+one.Misses
	}
	if operations != r.Operations() || r.Totals.PerSecond < 100 || r.Totals.MasterPeak <= 0 || r.Totals.MasterQueue <= 0 {
		t.Errorf("%d operations in the samples of %d; totals %+v", operations, r.Operations(), r.Totals)
	}
	var out bytes.Buffer
	if err := r.Print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"kill-leader  8s   5s", "operations ", "busiest master", "longest wait for a core"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report does not say %q:\n%s", want, &out)
		}
	}
	if text, err := json.Marshal(r); err != nil || !bytes.Contains(text, []byte(`"blockMapNs":`)) || !bytes.Contains(text, []byte(`"masterQueueNs":`)) {
		t.Errorf("%v: %.300s", err, text)
	}
}

// TestUnderStoreTroubles: an outage makes reads of what is not cached fail and ends with it; a slow store shows in the
// latencies; and both in the store's own counts.
func TestUnderStoreTroubles(t *testing.T) {
	const base = `
workers: 3
clients: 10
duration: 30s
rate: 5
files: 5000
fileSize: 1KiB
tables: {count: 3, size: 3MiB}
store: {model: object, requestRate: 5000}
mix: {read: 20, scan: 1}
`
	calm, slow, down := run1(t, parsed(t, base), 1), run1(t, parsed(t, base+"faults: [{at: 3s, kind: brownout, for: 27s, slow: 10}]\n"), 1),
		run1(t, parsed(t, base+"faults: [{at: 10s, kind: outage, for: 5s}]\n"), 1)
	if c, s := calm.Kinds["read"].Median, slow.Kinds["read"].Median; s < 3*c || c < 10*time.Millisecond {
		t.Errorf("a read takes %v, and %v with a store that is 10 times slower", c, s)
	}
	if calm.Totals.StoreRefused > 10 || calm.Kinds["scan"].Count == 0 || calm.Totals.Misses == 0 || calm.Totals.Hits == 0 {
		t.Errorf("without faults: %+v, scans %+v", calm.Totals, calm.Kinds["scan"])
	}
	f := down.Trials[0]
	if f.Failed == 0 || f.LastFailure < 3*time.Second || f.LastFailure > 8*time.Second || f.Serving != 0 || f.Complete != 0 {
		t.Errorf("an outage of 5 s: %+v", f)
	}
	refused, at := uint64(0), 0
	for i, one := range down.Series.Samples {
		if one.StoreRefused > refused {
			refused, at = one.StoreRefused, i
		}
	}
	if at < 10 || at > 15 || down.Totals.StoreRefused < refused || refused == 0 {
		t.Errorf("most requests, %d, were refused in second %d", refused, at)
	}
	for _, r := range []*Report{calm, slow, down} {
		if r.ViolationCount > 0 {
			t.Errorf("violations %q", r.Violations)
		}
	}
}

// TestSeriesIsBounded: a day has as many samples as half an hour.
func TestSeriesIsBounded(t *testing.T) {
	for duration, want := range map[time.Duration]time.Duration{time.Second: time.Second, 30 * time.Minute: time.Second,
		30*time.Minute + 1: 2 * time.Second, maxDuration: 48 * time.Second} {
		r := newRun(&Scenario{Masters: 1, Workers: 1, Duration: duration}, newWorld(t), Options{})
		if got := r.sampler.series.Step; got != want {
			t.Errorf("a run of %v has steps of %v, want %v", duration, got, want)
		}
	}
}

func newWorld(t *testing.T) *world.World {
	w := world.New(1)
	t.Cleanup(w.Close)
	return w
}

// TestAllScenariosRun: every scenario that comes along, made small, keeps its promises and does each of its operations.
func TestAllScenariosRun(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			s, err := Load(name)
			if err != nil {
				t.Fatal(err)
			}
			s.Workers, s.Clients, s.Files, s.Blocks, s.Duration = min(s.Workers, 4), 8, min(s.Files, 100), min(s.Blocks, 1000), 16*time.Second
			s.Hot.Files, s.Tables.Size = min(s.Hot.Files, 20), min(s.Tables.Size, 3<<20)
			for i := range s.Faults {
				s.Faults[i].At, s.Faults[i].For = time.Duration(6+5*i)*time.Second, 3*time.Second
			}
			s.Rate = min(4, 1000*s.Rate) // 0 with groups
			for i := range s.Groups {
				s.Groups[i].Rate = 4
			}
			r := run1(t, s, 1)
			if r.ViolationCount > 0 || r.Operations() < 200 || r.Faults < len(s.Faults) || len(r.Trials) != r.Faults {
				t.Errorf("%d operations, %d faults, violations %q", r.Operations(), r.Faults, r.Violations)
			}
			for _, g := range s.groups() {
				for name := range g.Mix {
					if k := r.Kinds[name]; k == nil || k.Count == k.Failed {
						t.Errorf("no %s succeeded", name)
					}
				}
			}
		})
	}
}
