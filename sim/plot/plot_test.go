package plot

import (
	"encoding/csv"
	"image"
	"image/color"
	_ "image/png"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"gonum.org/v1/plot"

	"github.com/forebay/forebay/sim/scenario"
)

// report is of a run of a minute with a fault in the middle, without hits.
func report() *scenario.Report {
	r := &scenario.Report{Scenario: "test", Workers: 2, Clients: 3, Kinds: map[string]*scenario.Timing{
		"write": {Count: 7, Failed: 2, Median: time.Millisecond, P99: 20 * time.Millisecond, Max: time.Second}, "read": {Count: 5}},
		Trials: []*scenario.Trial{{Kind: "outage", At: 30 * time.Second, For: 10 * time.Second}}}
	r.Series.Step = time.Second
	for i := range 60 {
		r.Series.Samples = append(r.Series.Samples, scenario.Sample{At: time.Duration(i+1) * time.Second, Operations: 100 + i, Failed: 3,
			Median: time.Millisecond, P99: 30 * time.Millisecond, Max: 2500 * time.Millisecond, MasterCores: 1.5, MasterQueue: 12 * time.Millisecond,
			NetworkBytes: 5_000_000, Leader: 1, Registered: 2, Blocks: 42})
	}
	return r
}

// TestWrite: the raw data is what the report says, with units; every picture that has something to show is there and is one;
// one that has nothing is not, also when an earlier run left it.
func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sim-test")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "hits.png"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, report()); err != nil {
		t.Fatal(err)
	}
	var names []string
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"blocks.png", "bytes.png", "latency.png", "master-cpu.png", "master-queue.png", "operations.csv", "report.json",
		"series.csv", "throughput.png", "workers.png"}; !slices.Equal(names, want) {
		t.Errorf("files %v, want %v", names, want)
	}
	series := rows(t, filepath.Join(dir, "series.csv"))
	at := func(row int, name string) float64 {
		f, err := strconv.ParseFloat(series[row][slices.Index(series[0], name)], 64)
		if err != nil {
			t.Error(err)
		}
		return f
	}
	if len(series) != 61 || at(1, "time_s") != 1 || at(60, "operations") != 159 || at(5, "max_ms") != 2500 || at(5, "master_queue_ms") != 12 || at(9, "leader") != 1 {
		t.Errorf("%d rows, the first are %v", len(series), series[:2])
	}
	operations := rows(t, filepath.Join(dir, "operations.csv"))
	if len(operations) != 3 || !slices.Equal(operations[2], []string{"write", "7", "2", "1.000", "20.000", "1000.000"}) {
		t.Errorf("operations %v", operations)
	}
}

func rows(t *testing.T, path string) [][]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestFaultsAreMarked: where a fault lies the picture is shaded, and nowhere else; the line is drawn in its colour.
func TestFaultsAreMarked(t *testing.T) {
	dir := t.TempDir()
	shaded := func(r *scenario.Report) (share float64, lined bool) {
		if err := Write(dir, r); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(filepath.Join(dir, "master-cpu.png"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		m, _, err := image.Decode(f)
		if err != nil || m.Bounds().Dx() != 960 {
			t.Fatalf("%v, %v", err, m.Bounds())
		}
		n := 0
		for x := range m.Bounds().Dx() {
			for y := range m.Bounds().Dy() {
				switch c := color.NRGBAModel.Convert(m.At(x, y)).(color.NRGBA); {
				case c == color.NRGBAModel.Convert(colours[0]):
					lined = true
				case c.R > 0xf0 && c.B < 0xd8 && c.G > c.B+8: // the shade on white
					n++
				}
			}
		}
		return float64(n) / float64(m.Bounds().Dx()*m.Bounds().Dy()), lined
	}
	if share, lined := shaded(report()); share < 0.08 || share > 0.17 || !lined { // a sixth of the axes' area
		t.Errorf("%.3f of the picture is shaded; the line is there: %v", share, lined)
	}
	calm := report()
	calm.Trials = nil
	if share, _ := shaded(calm); share > 0.001 {
		t.Errorf("%.3f of the picture of a run without faults is shaded", share)
	}
}

// TestTicks: marks are few, at round numbers, within the axis, and not "-0".
func TestTicks(t *testing.T) {
	for _, c := range []struct {
		ticker    plot.Ticker
		low, high float64
		want      []string
	}{
		{ticks{most: 13, steps: []float64{1, 2, 5, 10, 15}}, 0, 75, []string{"0", "10", "20", "30", "40", "50", "60", "70"}},
		{ticks{most: 7}, 0, 0.75, []string{"0", "0.2", "0.4", "0.6"}},
		{ticks{most: 7}, 0, 4100, []string{"0", "1000", "2000", "3000", "4000"}},
		{ticks{most: 7}, 0, 104, []string{"0", "20", "40", "60", "80", "100"}},
		{decades{}, 1, 1000, []string{"1", "10", "100", "1000"}},
		{decades{}, 0.1, 10, []string{"0.1", "1", "10"}},
	} {
		var labels []string
		for _, mark := range c.ticker.Ticks(c.low, c.high) {
			if mark.Value < c.low-1e-9 || mark.Value > c.high*1.001 {
				t.Errorf("%v to %v: a mark at %v", c.low, c.high, mark.Value)
			}
			if mark.Label != "" {
				labels = append(labels, mark.Label)
			}
		}
		if !slices.Equal(labels, c.want) {
			t.Errorf("%v to %v: %v, want %v", c.low, c.high, labels, c.want)
		}
	}
}

// TestNothingToDraw: a run that was given up at once has raw data and no pictures.
func TestNothingToDraw(t *testing.T) {
	dir := t.TempDir()
	if err := Write(dir, &scenario.Report{}); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 3 {
		t.Errorf("%v", entries)
	}
}
