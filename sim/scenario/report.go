package scenario

import (
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/forebay/forebay/system/dfs"
)

// Report is what a run showed. Times of operations are virtual; Wall and Memory are the machine's.
// All but Wall and PeakMemory are equal for equal runs.
type Report struct {
	Scenario       string             `json:"scenario"`
	Seed           uint64             `json:"seed"`
	Workers        int                `json:"workers"`
	Clients        int                `json:"clients"`
	Simulated      time.Duration      `json:"simulatedNs"`
	Wall           time.Duration      `json:"wallNs"`
	Events         uint64             `json:"events"`
	Messages       uint64             `json:"messages"`
	Bytes          uint64             `json:"bytes"`
	PeakMemory     uint64             `json:"peakMemoryBytes"`
	Faults         int                `json:"faults"`
	Kinds          map[string]*Timing `json:"operations"`
	States         map[string]int     `json:"states,omitempty"` // rare ones that were reached, and how often (package host)
	Paths          map[string]int     `json:"paths,omitempty"`  // rare ones that were taken
	Violations     []string           `json:"violations"`
	ViolationCount int                `json:"violationCount"`
	Oracle         string             `json:"oracle,omitempty"` // that saw the first violation
	History        string             `json:"history"`          // of everything that happened: equal for equal runs
	Totals         Totals             `json:"totals"`
	Trials         []*Trial           `json:"faultTrials"` // the faults, one after the other
	Series         Series             `json:"series"`

	began time.Time
}

// Timing is one kind of operation. Median and P99 are at most 1.6 % too long (histogram); Max is exact.
type Timing struct {
	Count  int            `json:"count"`
	Failed int            `json:"failed"`
	Errors map[string]int `json:"errors,omitempty"` // by kind
	Median time.Duration  `json:"medianNs"`
	P99    time.Duration  `json:"p99Ns"`
	Max    time.Duration  `json:"maxNs"`

	times histogram
}

func newReport(s *Scenario, seed uint64) *Report {
	r := &Report{Scenario: s.Name, Seed: seed, Workers: s.Workers, Clients: s.Clients, Kinds: map[string]*Timing{}, Violations: []string{}}
	r.began = r.clock()
	return r
}

// clock is the machine's: how long the simulation takes is a property of the machine.
func (*Report) clock() time.Time { return time.Now() }

func (r *Report) add(name string, took time.Duration, err error) {
	k := r.Kinds[name]
	if k == nil {
		k = &Timing{Errors: map[string]int{}}
		r.Kinds[name] = k
	}
	k.Count++
	k.times.add(took)
	if err != nil {
		k.Failed++
		k.Errors[dfs.KindOf(err).String()]++
	}
}

// Operations is how many have ended.
func (r *Report) Operations() int {
	n := 0
	for _, k := range r.Kinds {
		n += k.Count
	}
	return n
}

func (r *Report) finish(x *run) {
	w := x.w
	for _, v := range x.book.Told {
		r.Violations = append(r.Violations, v.String())
	}
	r.ViolationCount = x.book.Count
	r.States, r.Paths = w.Reached()
	if len(x.book.Told) > 0 {
		r.Oracle = x.book.Told[0].Oracle
	}
	r.Simulated, r.Wall = w.Sched.Elapsed(), r.clock().Sub(r.began)
	r.Events, r.Messages, r.Bytes = w.Sched.Events(), w.Net.Messages, w.Net.Bytes
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	r.PeakMemory = m.Sys // what was ever taken from the system
	r.History = fmt.Sprintf("%016x", w.Sched.History())
	r.Series = x.sampler.series
	r.Totals = r.Series.totals()
	for _, k := range r.Kinds {
		k.Median, k.P99, k.Max = k.times.quantile(0.5), k.times.quantile(0.99), k.times.most
	}
}

// Print writes the report for people. Its last lines are for scripts, too.
func (r *Report) Print(w io.Writer) error {
	fmt.Fprintf(w, "scenario %s, seed %d: %d workers, %d clients, %d faults\n\n", r.Scenario, r.Seed, r.Workers, r.Clients, r.Faults)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "operation\tcount\tfailed\tmedian\tp99\tmax\t")
	for _, name := range slices.Sorted(maps.Keys(r.Kinds)) {
		k := r.Kinds[name]
		fmt.Fprintf(t, "%s\t%d\t%d\t%v\t%v\t%v\t\n", name, k.Count, k.Failed, short(k.Median), short(k.P99), short(k.Max))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(r.Kinds)) {
		for _, kind := range slices.Sorted(maps.Keys(r.Kinds[name].Errors)) {
			fmt.Fprintf(w, "%s failed with %s: %d\n", name, kind, r.Kinds[name].Errors[kind])
		}
	}
	if err := r.printTrials(w); err != nil {
		return err
	}
	r.printTotals(w)
	for _, v := range r.Violations {
		fmt.Fprintf(w, "VIOLATION %s\n", v)
	}
	_, err := fmt.Fprintf(w, "\nsimulated %.1f s in %.1f s: %.1f times real time\nevents %d, %.0f a second\nmessages %d, %.1f MB\npeak memory %d MB\nviolations %d\nhistory %s\n",
		r.Simulated.Seconds(), r.Wall.Seconds(), r.Simulated.Seconds()/max(r.Wall.Seconds(), 1e-9), r.Events,
		float64(r.Events)/max(r.Wall.Seconds(), 1e-9), r.Messages, float64(r.Bytes)/1e6, r.PeakMemory>>20, r.ViolationCount, r.History)
	return err
}

// short rounds a duration to what people compare.
func short(d time.Duration) time.Duration {
	if d > time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(time.Microsecond)
}
