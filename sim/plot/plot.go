// Package plot draws what the report of a simulated run says: throughput, latencies, hits, the masters and the network over
// simulated time, with the faults marked. It owns the form of the pictures and of the raw data beside them; every figure in
// them is the report's (package scenario), and nothing is computed here but rates and units. The research command calls it;
// production code never does.
package plot

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/forebay/forebay/sim/scenario"
)

// Write writes report.json, the raw data as CSV and the pictures as PNG into dir, which it makes. The JSON and the CSV hold
// everything that is drawn, so that pictures can be made again. A picture that would be empty is not made; one of an earlier
// run is removed.
func Write(dir string, r *scenario.Report) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(compact(r), "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "report.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	if err := writeCSV(filepath.Join(dir, "series.csv"), seriesRows(r)); err != nil {
		return err
	}
	if err := writeCSV(filepath.Join(dir, "operations.csv"), operationRows(r)); err != nil {
		return err
	}
	for _, f := range figures(r) {
		path := filepath.Join(dir, f.name+".png")
		if f.empty() {
			if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
				return err
			}
			continue
		}
		if err := f.save(path, r); err != nil {
			return fmt.Errorf("draw %s: %w", path, err)
		}
	}
	return nil
}

// compact is the report without its samples, which series.csv has.
func compact(r *scenario.Report) *scenario.Report {
	short := *r
	short.Series.Samples = nil
	return &short
}

func writeCSV(path string, rows [][]string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // the second time after a success
	if err := csv.NewWriter(f).WriteAll(rows); err != nil {
		return err
	}
	return f.Close()
}

// column is one figure of a sample, with its unit in its name.
type column struct {
	name string
	of   func(*scenario.Sample) float64
}

var columns = []column{
	{"time_s", func(s *scenario.Sample) float64 { return s.At.Seconds() }},
	{"operations", func(s *scenario.Sample) float64 { return float64(s.Operations) }},
	{"failed", func(s *scenario.Sample) float64 { return float64(s.Failed) }},
	{"median_ms", func(s *scenario.Sample) float64 { return milliseconds(s.Median) }},
	{"p99_ms", func(s *scenario.Sample) float64 { return milliseconds(s.P99) }},
	{"max_ms", func(s *scenario.Sample) float64 { return milliseconds(s.Max) }},
	{"hit_pages", func(s *scenario.Sample) float64 { return float64(s.Hits) }},
	{"missed_pages", func(s *scenario.Sample) float64 { return float64(s.Misses) }},
	{"master_cores", func(s *scenario.Sample) float64 { return s.MasterCores }},
	{"master_queue_ms", func(s *scenario.Sample) float64 { return milliseconds(s.MasterQueue) }},
	{"network_bytes", func(s *scenario.Sample) float64 { return float64(s.NetworkBytes) }},
	{"store_read_bytes", func(s *scenario.Sample) float64 { return float64(s.StoreReadBytes) }},
	{"store_written_bytes", func(s *scenario.Sample) float64 { return float64(s.StoreWriteBytes) }},
	{"store_requests", func(s *scenario.Sample) float64 { return float64(s.StoreRequests) }},
	{"store_refused", func(s *scenario.Sample) float64 { return float64(s.StoreRefused) }},
	{"leader", func(s *scenario.Sample) float64 { return float64(s.Leader) }},
	{"registered_workers", func(s *scenario.Sample) float64 { return float64(s.Registered) }},
	{"blocks", func(s *scenario.Sample) float64 { return float64(s.Blocks) }},
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func seriesRows(r *scenario.Report) [][]string {
	head := make([]string, len(columns))
	for i, c := range columns {
		head[i] = c.name
	}
	rows := [][]string{head}
	for i := range r.Series.Samples {
		row := make([]string, len(columns))
		for j, c := range columns {
			row[j] = strconv.FormatFloat(c.of(&r.Series.Samples[i]), 'f', -1, 64)
		}
		rows = append(rows, row)
	}
	return rows
}

func operationRows(r *scenario.Report) [][]string {
	rows := [][]string{{"operation", "count", "failed", "median_ms", "p99_ms", "max_ms"}}
	for _, name := range sortedKinds(r) {
		k := r.Kinds[name]
		ms := func(d time.Duration) string { return strconv.FormatFloat(milliseconds(d), 'f', 3, 64) }
		rows = append(rows, []string{name, strconv.Itoa(k.Count), strconv.Itoa(k.Failed), ms(k.Median), ms(k.P99), ms(k.Max)})
	}
	return rows
}
