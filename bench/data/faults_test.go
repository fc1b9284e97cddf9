package data

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/forebay/forebay/bench/benchtest"
	"github.com/forebay/forebay/bench/cluster"
	"github.com/forebay/forebay/bench/record"
	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
)

// small is a benchmark of a moment on a cluster in this process. What it measures is of no account; that it looks is.
func small(t *testing.T, c *client.Client, under string, runs int) *bench {
	t.Helper()
	b := &bench{
		sizes: sizes{large: 300_000, small: 1000, files: 40, written: 70_000}, ctx: t.Context(), under: under, client: c, c: &cluster.Cluster{},
		cfg: Config{Runs: runs, Rec: record.New("unit", io.Discard)},
	}
	if err := b.originals(); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRoundsRecord: the warm-up is not recorded, every other run is, each with what it moved; nothing that was written stays, but
// for the empty folder that a file brings back whose write to the under store was under way when it was removed.
func TestRoundsRecord(t *testing.T) {
	c, under := benchtest.Embedded(t)
	b := small(t, c, under, 2)
	if err := b.round(0); err != nil {
		t.Fatal(err)
	}
	if table := b.cfg.Rec.Table(); strings.Contains(table, "| read") || strings.Contains(table, "| write") {
		t.Errorf("the warm-up is in the table:\n%s", table)
	}
	for run := 1; run <= 2; run++ {
		if err := b.round(run); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string][2]int64{
		"read 256 MiB cold": {1, 300_000}, "read 256 MiB warm": {1, 300_000},
		"read 100 KiB files cold, 8 threads": {40, 40_000}, "read 100 KiB files warm, 8 threads": {40, 40_000},
		"write 64 MiB MUST_CACHE": {1, 70_000}, "write 64 MiB CACHE_THROUGH": {1, 70_000}, "write 64 MiB THROUGH": {1, 70_000},
		"write 100 KiB files ASYNC_THROUGH, 8 threads": {10, 10_000}, "write 100 KiB files THROUGH, 8 threads": {10, 10_000},
	} {
		row, ok := b.cfg.Rec.Median(name)
		if !ok || row.Run == 0 || row.Ops != want[0] || row.Bytes != want[1] || row.Wall <= 0 {
			t.Errorf("%s: %+v, %v; want %v", name, row, ok, want)
		}
	}
	for s, err := range c.List(t.Context(), "/") {
		if err != nil || !strings.HasPrefix(s.Name, "round") && !strings.HasPrefix(s.Name, "ASYNC_THROUGH") {
			t.Errorf("the rounds leave %v, %v", s, err)
		}
	}
}

// TestRoundsNotice: an original that is not as it should be fails the measurement which reads it, with its name, and no row of
// that measurement is recorded.
func TestRoundsNotice(t *testing.T) {
	c, under := benchtest.Embedded(t)
	b := small(t, c, under, 5)
	for i, tt := range []struct {
		name  string
		plant func(round string) error
		want  []string
		none  string // a measurement that must not be in the table
	}{
		{"a byte of the large file", func(dir string) error { return flip(filepath.Join(dir, "large"), 299_999) }, []string{"256 MiB cold", "differ"}, "read 256 MiB cold"},
		{"the large file is short", func(dir string) error { return os.Truncate(filepath.Join(dir, "large"), 100_000) }, []string{"256 MiB cold", "100000 bytes of 300000"}, "read 256 MiB cold"},
		{"a byte of a small file", func(dir string) error { return flip(filepath.Join(dir, "small", "00007"), 0) }, []string{"100 KiB files cold", "file 7 differs"}, "read 100 KiB files cold, 8 threads"},
		{"a small file is gone", func(dir string) error { return os.Remove(filepath.Join(dir, "small", "00039")) }, []string{"100 KiB files cold", "00039"}, "read 100 KiB files cold, 8 threads"},
	} {
		run := i + 1
		b.cfg.Rec = record.New("unit", io.Discard)
		if err := tt.plant(filepath.Join(under, fmt.Sprintf("round%d", run))); err != nil {
			t.Fatal(err)
		}
		err := b.round(run)
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", tt.name, err, want)
			}
		}
		if _, ok := b.cfg.Rec.Median(tt.none); ok {
			t.Errorf("%s: a figure was recorded", tt.name)
		}
	}
	if err := os.RemoveAll(filepath.Join(under, "round5")); err != nil {
		t.Fatal(err)
	}
	if err := b.round(5); !dfs.IsKind(err, dfs.NotFound) {
		t.Errorf("a round without originals: %v", err)
	}
}

// flip changes one byte.
func flip(path string, at int) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	data[at] ^= 1
	return os.WriteFile(path, data, 0o644)
}

// TestWritesNotice: a write that is refused is an error, not a fast write.
func TestWritesNotice(t *testing.T) {
	c, under := benchtest.Embedded(t)
	b := small(t, c, under, 1)
	if err := c.Mkdir(t.Context(), "/THROUGH-1"); err != nil { // in the way of the third type
		t.Fatal(err)
	}
	if err := b.writes(1); !dfs.IsKind(err, dfs.AlreadyExists) {
		t.Errorf("a folder in the way: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.ctx, b.cfg.Rec = ctx, record.New("unit", io.Discard)
	if err := b.writes(2); !dfs.IsKind(err, dfs.Canceled) {
		t.Errorf("after an interrupt: %v", err)
	}
	if err := b.measure("x", 1, func() (int64, int64, error) { return 1, 1, io.ErrShortWrite }); !errors.Is(err, io.ErrShortWrite) || !strings.Contains(err.Error(), "x") {
		t.Errorf("a measurement that failed: %v", err)
	}
	if _, ok := b.cfg.Rec.Median("x"); ok {
		t.Error("a measurement that failed was recorded")
	}
}

// TestOriginals: a set for each round and the warm-up, all alike, not all zero, and the same on every machine.
func TestOriginals(t *testing.T) {
	read := func(dir string) string {
		b := &bench{sizes: sizes{large: 1000, small: 10, files: 3}, under: dir, cfg: Config{Runs: 1}}
		if err := b.originals(); err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, name := range []string{"round0/large", "round1/large", "round0/small/00000", "round1/small/00002"} {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, string(data))
		}
		if all[0] != all[1] || len(all[0]) != 1000 || all[2] != all[3] || len(all[2]) != 10 || strings.Count(all[0], "\x00") > 100 {
			t.Errorf("originals are %q", all)
		}
		return strings.Join(all, "")
	}
	if first, second := read(t.TempDir()), read(t.TempDir()); first != second {
		t.Error("two runs have different originals")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (&bench{under: file}).originals(); err == nil {
		t.Error("originals were written below a file")
	}
}

// TestRunsAreNeeded: no run is no result.
func TestRunsAreNeeded(t *testing.T) {
	for _, runs := range []int{0, -1} {
		if err := Run(t.Context(), Config{Runs: runs}); err == nil || !strings.Contains(err.Error(), "at least 1") {
			t.Errorf("%d runs: %v", runs, err)
		}
	}
}

// TestParallelIsParallel: all threads work at a time, and after an error each stops at its own next piece.
func TestParallelIsParallel(t *testing.T) {
	var all sync.WaitGroup
	all.Add(threads)
	if err := (&bench{}).parallel(threads, func(int) error { all.Done(); all.Wait(); return nil }); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	done := 0
	err := (&bench{}).parallel(1000, func(i int) error {
		mu.Lock()
		defer mu.Unlock()
		done++
		return fmt.Errorf("piece %d", i)
	})
	if err == nil || done > threads {
		t.Errorf("%d pieces were done after errors: %v", done, err)
	}
}
