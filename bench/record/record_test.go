package record

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMedianAndTable(t *testing.T) {
	r := New("unit", io.Discard)
	for i, wall := range []time.Duration{3, 1, 2} {
		r.Add(Row{Name: "x", Run: i, Ops: 600, Bytes: 6e6, Wall: wall * time.Second, ServerCPU: time.Second, ClientCPU: 2 * time.Second})
	}
	row, ok := r.Median("x")
	if !ok || row.Wall != 2*time.Second || row.Rate() != 300 || row.PerServerCPU() != 600 {
		t.Errorf("median %+v", row)
	}
	if _, ok := r.Median("y"); ok {
		t.Error("a measurement that was not made has a median")
	}
	r.Note("a %s", "remark")
	table := r.Table()
	for _, want := range []string{"| x | 300 | 3.0 | 1666.67 | 3333.33 | 600 |", "- a remark", r.Manifest.Machine.Go} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
}

func TestWrite(t *testing.T) {
	r := New("unit", io.Discard)
	r.Add(Row{Name: "a,b", Ops: 1, Wall: time.Second})
	dir, err := r.Write(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "raw.csv"))
	if err != nil || !strings.Contains(string(raw), `"a,b",0,1,0,1.000000`) {
		t.Errorf("raw data %q, %v", raw, err)
	}
	var m Manifest
	b, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil || json.Unmarshal(b, &m) != nil || m.Experiment != "unit" || m.Machine.Cores == 0 {
		t.Errorf("manifest %s, %v", b, err)
	}
}

func TestInProcessRateCountsOwnCPU(t *testing.T) {
	row := Row{Ops: 10, Wall: time.Second, ClientCPU: 2 * time.Second}
	if row.PerServerCPU() != 5 {
		t.Errorf("%v operations a CPU-second", row.PerServerCPU())
	}
}

// TestNoInfiniteFigures: a run without time or operations has finite figures everywhere.
func TestNoInfiniteFigures(t *testing.T) {
	r := New("unit", io.Discard)
	r.Add(Row{Name: "empty"})
	r.Add(Row{Name: "instant", Ops: 5, Bytes: 7})
	if table := r.Table(); strings.Contains(table, "Inf") || strings.Contains(table, "NaN") {
		t.Errorf("the table has figures that are none:\n%s", table)
	}
}

// TestMedianOfMany: the median is the middle of the sorted rates, whatever the order of the runs; equal rates are kept.
func TestMedianOfMany(t *testing.T) {
	for _, tt := range []struct {
		walls []time.Duration
		want  time.Duration
	}{{[]time.Duration{1}, 1}, {[]time.Duration{5, 1, 4, 2, 3}, 3}, {[]time.Duration{2, 2, 2}, 2}, {[]time.Duration{1, 2}, 1}} {
		r := New("unit", io.Discard)
		for i, wall := range tt.walls {
			r.Add(Row{Name: "x", Run: i, Ops: 60, Wall: wall * time.Second})
			r.Add(Row{Name: "other", Run: i, Ops: 1, Wall: time.Hour})
		}
		if row, ok := r.Median("x"); !ok || row.Wall != tt.want*time.Second {
			t.Errorf("%v: median %v, want %v", tt.walls, row.Wall, tt.want*time.Second)
		}
	}
}

// TestWriteFails: a folder that cannot be made is an error, not a lost result.
func TestWriteFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New("unit", io.Discard).Write(file); err == nil {
		t.Error("results were written below a file")
	}
}
