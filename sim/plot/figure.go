package plot

import (
	"maps"
	"slices"

	"github.com/forebay/forebay/sim/scenario"
)

// figure is one picture: lines over the run's time, in one unit.
type figure struct {
	name  string // of the file
	title string
	unit  string // of the vertical axis, with what it measures
	log   bool
	top   float64 // of the vertical axis; 0: what the lines need
	lines []line
}

type line struct {
	label string
	xs    []float64
	ys    []float64
}

// empty tells whether there is nothing to see: no line is ever above zero.
func (f *figure) empty() bool {
	for _, l := range f.lines {
		if len(l.ys) > 0 && slices.Max(l.ys) > 0 {
			return false
		}
	}
	return true
}

func sortedKinds(r *scenario.Report) []string { return slices.Sorted(maps.Keys(r.Kinds)) }

// over makes a line of what a sample says; skip leaves samples out that say nothing.
func over(r *scenario.Report, label string, of func(*scenario.Sample) (y float64, ok bool)) line {
	l := line{label: label}
	for i := range r.Series.Samples {
		s := &r.Series.Samples[i]
		if y, ok := of(s); ok {
			l.xs, l.ys = append(l.xs, s.At.Seconds()), append(l.ys, y)
		}
	}
	return l
}

// figures are all that a report can be drawn as.
func figures(r *scenario.Report) []*figure {
	step := r.Series.Step.Seconds()
	rate := func(n float64) float64 { return n / max(step, 1e-9) }
	every := func(of func(*scenario.Sample) float64) func(*scenario.Sample) (float64, bool) {
		return func(s *scenario.Sample) (float64, bool) { return of(s), true }
	}
	ended := func(of func(*scenario.Sample) float64) func(*scenario.Sample) (float64, bool) {
		return func(s *scenario.Sample) (float64, bool) { return of(s), s.Operations > 0 }
	}
	blocks, blockUnit := blockScale(r)
	return []*figure{
		{name: "throughput", title: "Throughput", unit: "operations a second", lines: []line{
			over(r, "succeeded", every(func(s *scenario.Sample) float64 { return rate(float64(s.Operations - s.Failed)) })),
			over(r, "failed", every(func(s *scenario.Sample) float64 { return rate(float64(s.Failed)) })),
		}},
		{name: "latency", title: "Latency of operations that ended (logarithmic)", unit: "milliseconds", log: true, lines: []line{
			over(r, "maximum", ended(func(s *scenario.Sample) float64 { return milliseconds(s.Max) })),
			over(r, "99th percentile", ended(func(s *scenario.Sample) float64 { return milliseconds(s.P99) })),
			over(r, "median", ended(func(s *scenario.Sample) float64 { return milliseconds(s.Median) })),
		}},
		{name: "hits", title: "Pages found in workers' caches", unit: "per cent of pages asked for", top: 100, lines: []line{
			over(r, "hit ratio", func(s *scenario.Sample) (float64, bool) {
				return 100 * float64(s.Hits) / float64(max(s.Hits+s.Misses, 1)), s.Hits+s.Misses > 0
			}),
		}},
		{name: "master-cpu", title: "CPU of the busiest master", unit: "cores busy", lines: []line{
			over(r, "busiest master", every(func(s *scenario.Sample) float64 { return s.MasterCores })),
		}},
		{name: "master-queue", title: "Longest wait for a core of a master", unit: "milliseconds", lines: []line{
			over(r, "longest wait", every(func(s *scenario.Sample) float64 { return milliseconds(s.MasterQueue) })),
		}},
		{name: "bytes", title: "Bytes moved", unit: "MB a second", lines: []line{
			over(r, "between machines", every(func(s *scenario.Sample) float64 { return rate(float64(s.NetworkBytes) / 1e6) })),
			over(r, "read from the under store", every(func(s *scenario.Sample) float64 { return rate(float64(s.StoreReadBytes) / 1e6) })),
			over(r, "written to the under store", every(func(s *scenario.Sample) float64 { return rate(float64(s.StoreWriteBytes) / 1e6) })),
		}},
		{name: "blocks", title: "Blocks that the leader knows", unit: blockUnit, lines: []line{
			over(r, "blocks in its map", every(func(s *scenario.Sample) float64 { return float64(s.Blocks) / blocks })),
		}},
		{name: "workers", title: "Workers, all of whose blocks the leader knows", unit: "workers", lines: []line{
			over(r, "registered workers", every(func(s *scenario.Sample) float64 { return float64(s.Registered) })),
		}},
	}
}

// blockScale is what blocks are counted by.
func blockScale(r *scenario.Report) (by float64, unit string) {
	for i := range r.Series.Samples {
		if r.Series.Samples[i].Blocks >= 1_000_000 {
			return 1e6, "million blocks"
		}
	}
	return 1, "blocks"
}
