package record

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// readRaw reads raw.csv back into rows.
func readRaw(t *testing.T, dir string) []Row {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "raw.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil || len(lines) == 0 || strings.Join(lines[0], ",") != "name,run,ops,bytes,wall_s,server_cpu_s,client_cpu_s" {
		t.Fatalf("%v, %q", err, lines)
	}
	var rows []Row
	for _, l := range lines[1:] {
		number := func(i int) int64 {
			n, err := strconv.ParseInt(l[i], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		seconds := func(i int) time.Duration {
			s, err := strconv.ParseFloat(l[i], 64)
			if err != nil {
				t.Fatal(err)
			}
			return time.Duration(s*1e6+.5) * time.Microsecond
		}
		rows = append(rows, Row{l[0], int(number(1)), number(2), number(3), seconds(4), seconds(5), seconds(6)})
	}
	return rows
}

// TestTableFromRaw: the table on disk is what its raw data and manifest make, for random rows: no figure of it is anywhere
// else, and a reader can check each.
func TestTableFromRaw(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	names := []string{"plain", "with, comma", `with "quotes"`, "write 64 MiB MUST_CACHE", "ünï"}
	for round := range 30 {
		r := New("unit", io.Discard)
		for run := range 1 + rng.IntN(6) {
			for _, name := range names[:1+rng.IntN(len(names))] {
				r.Add(Row{name, run, rng.Int64N(1e6), rng.Int64N(2) * rng.Int64N(1e9), time.Duration(1+rng.Int64N(1e7)) * time.Microsecond,
					time.Duration(rng.Int64N(1e6)) * time.Microsecond, time.Duration(rng.Int64N(1e6)) * time.Microsecond})
			}
		}
		r.Note("round %d", round)
		dir, err := r.Write(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		again := &Recorder{Manifest: r.Manifest, rows: readRaw(t, dir)}
		table, err := os.ReadFile(filepath.Join(dir, "table.md"))
		if err != nil || string(table) != again.Table() || string(table) != r.Table() {
			t.Fatalf("round %d: %v: the table is not that of its raw data:\n%s\n%s", round, err, table, again.Table())
		}
	}
}

// TestTableOrder: measurements come in the order of their first runs, each once, however the runs were mixed.
func TestTableOrder(t *testing.T) {
	r := New("unit", io.Discard)
	for run := range 3 {
		for _, name := range []string{"z", "a", "m"} {
			r.Add(Row{Name: name, Run: run, Ops: 1, Wall: time.Second})
		}
	}
	table := r.Table()
	z, a, m := strings.Index(table, "| z |"), strings.Index(table, "| a |"), strings.Index(table, "| m |")
	if z < 0 || a < z || m < a || strings.Count(table, "| a |") != 1 {
		t.Errorf("%d, %d, %d in\n%s", z, a, m, table)
	}
	if !strings.Contains(table, "| z | 1 | – |") {
		t.Errorf("operations without bytes have a rate of bytes:\n%s", table)
	}
}

// TestFigures: progress is one line for each run, in the units of the table.
func TestFigures(t *testing.T) {
	var out bytes.Buffer
	r := New("unit", &out)
	r.Add(Row{Name: "ops only", Run: 1, Ops: 500, Wall: 2 * time.Second, ServerCPU: 1500 * time.Millisecond, ClientCPU: 250 * time.Millisecond})
	r.Add(Row{Name: "bytes", Run: 2, Ops: 1, Bytes: 3e6, Wall: 500 * time.Millisecond})
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 3 || !strings.HasSuffix(lines[0], "run 1: 250 ops/s, 1.50+0.25 CPU-s") || !strings.HasSuffix(lines[1], "run 2: 2 ops/s, 6.0 MB/s, 0.00+0.00 CPU-s") {
		t.Errorf("%q", lines)
	}
}

// TestWriteFailsAtAnyFile: whichever of the three cannot be written, there is no result.
func TestWriteFailsAtAnyFile(t *testing.T) {
	for _, name := range []string{"manifest.json", "table.md", "raw.csv"} {
		r, dir := New("unit", io.Discard), t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "unit", r.Manifest.Time.Format("20060102-150405"), name), 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Write(dir); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("a folder is in the place of %s: %v", name, err)
		}
	}
}

// TestField: the first line of the name, whatever is around it.
func TestField(t *testing.T) {
	path := filepath.Join(t.TempDir(), "info")
	text := "processor\t: 0\nmodel name\t: A CPU @ 2: GHz\nmodel name\t: another\nMemTotal:       16 kB\nempty:\nno colon\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"model name": "A CPU @ 2: GHz", "MemTotal": "16 kB", "empty": "", "model": "", "no colon": ""} {
		if got := field(path, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := field(path+".none", "x"); got != "" {
		t.Errorf("a file that is not there: %q", got)
	}
}

// TestManifest: what is needed to get figures again is there: command, commit, time, machine.
func TestManifest(t *testing.T) {
	r := New("unit", io.Discard)
	m := r.Manifest
	if m.Command == "" || m.Commit == "" || time.Since(m.Time) > time.Hour || m.Time.Location() != time.UTC || m.Machine.Cores < 1 || m.Machine.Kernel == "" || m.Machine.Memory == "" {
		t.Errorf("%+v", m)
	}
	t.Chdir(t.TempDir())
	if got := commit(); got != "unknown" {
		t.Errorf("outside of a checkout the commit is %q", got)
	}
	for i := range 3 {
		r.Note("note %d", i)
	}
	if fmt.Sprint(r.Manifest.Notes) != "[note 0 note 1 note 2]" {
		t.Errorf("%q", r.Manifest.Notes)
	}
}
