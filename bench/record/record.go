// Package record keeps what an experiment measured: every run as a row of raw data, a manifest that says how to get it
// again, and a table of medians. Nothing in a table is written by hand.
//
// An experiment makes a Recorder, adds a row for each run that counted, and in the end writes all of it, or nothing: an experiment
// that failed writes no results. Rates and CPU times stand beside each other since a shared machine's rate is half the neighbours'
// doing, while the work that an operation took is ours.
package record

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Manifest says where figures come from: enough to get them again, or to see why others come out.
type Manifest struct {
	Experiment string    `json:"experiment"`
	Command    string    `json:"command"`
	Commit     string    `json:"commit"` // "-dirty" when the tree had changes
	Time       time.Time `json:"time"`
	Machine    Machine   `json:"machine"`
	Notes      []string  `json:"notes,omitempty"`
}

// Machine is what ran it.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory string `json:"memory"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

// Row is one run of one measurement. Warm-ups and runs that failed are no rows.
type Row struct {
	Name      string
	Run       int
	Ops       int64 // answered and checked
	Bytes     int64 // of data; 0 when it is about operations only
	Wall      time.Duration
	ServerCPU time.Duration // of all server processes; 0 when in process
	ClientCPU time.Duration // of this process
}

// Recorder gathers rows. It is used by one goroutine: measurements run one after the other, or they would measure each other.
type Recorder struct {
	Manifest Manifest
	rows     []Row
	out      io.Writer
}

// New begins an experiment, now, on this machine and at the commit of the working directory ("unknown" outside of one).
// experiment becomes the name of a folder. Progress goes to out, whose errors are of no account.
func New(experiment string, out io.Writer) *Recorder {
	return &Recorder{out: out, Manifest: Manifest{
		Experiment: experiment, Command: strings.Join(os.Args, " "), Commit: commit(), Time: time.Now().UTC(), Machine: machine(),
	}}
}

// Note adds a remark to the manifest.
func (r *Recorder) Note(format string, args ...any) {
	r.Manifest.Notes = append(r.Manifest.Notes, fmt.Sprintf(format, args...))
}

// Add keeps one run.
func (r *Recorder) Add(row Row) {
	r.rows = append(r.rows, row)
	fmt.Fprintf(r.out, "  %-34s run %d: %s\n", row.Name, row.Run, row.figures())
}

// figures is a run's progress line.
func (row Row) figures() string {
	s := fmt.Sprintf("%.0f ops/s", row.Rate())
	if row.Bytes > 0 {
		s += fmt.Sprintf(", %.1f MB/s", row.megabytes())
	}
	return s + fmt.Sprintf(", %.2f+%.2f CPU-s", row.ServerCPU.Seconds(), row.ClientCPU.Seconds())
}

// Rate is operations a second; of a run too short for the clock, as if it had taken a nanosecond, so that no figure is
// infinite.
func (row Row) Rate() float64 { return float64(row.Ops) / max(row.Wall.Seconds(), 1e-9) }

// megabytes is a second's; see Rate.
func (row Row) megabytes() float64 { return float64(row.Bytes) / 1e6 / max(row.Wall.Seconds(), 1e-9) }

// perOp spreads CPU time over the operations, in microseconds.
func (row Row) perOp(cpu time.Duration) float64 {
	return cpu.Seconds() * 1e6 / float64(max(row.Ops, 1))
}

// PerServerCPU is operations a CPU-second of the servers (of everything, when they run in this process).
func (row Row) PerServerCPU() float64 {
	cpu := row.ServerCPU
	if cpu == 0 {
		cpu = row.ClientCPU
	}
	return float64(row.Ops) / max(cpu.Seconds(), 1e-9)
}

// Empty tells whether nothing was measured.
func (r *Recorder) Empty() bool { return len(r.rows) == 0 }

// Median is the row whose rate is the median of a measurement's runs: a run that happened, so that its figures belong
// together, and no average of two. Of an even number it is the faster of the two in the middle. False when there was no run.
func (r *Recorder) Median(name string) (Row, bool) {
	var rows []Row
	for _, row := range r.rows {
		if row.Name == name {
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 {
		return Row{}, false
	}
	slices.SortStableFunc(rows, func(a, b Row) int { return cmp.Compare(a.Rate(), b.Rate()) })
	return rows[len(rows)/2], true
}

// names lists the measurements in the order of their first runs, which is that of the table.
func (r *Recorder) names() []string {
	var out []string
	for _, row := range r.rows {
		if !slices.Contains(out, row.Name) {
			out = append(out, row.Name)
		}
	}
	return out
}

// Table is the medians, as Markdown: a row for each measurement, in the order in which they were made, and the notes. It is a
// function of the rows and the manifest alone, so that it can be made again from what Write keeps.
func (r *Recorder) Table() string {
	var b strings.Builder
	m := r.Manifest.Machine
	fmt.Fprintf(&b, "# %s\n\n%s, %d cores, %s, Linux %s, %s; commit %s, %s.\nMedian of the runs in raw.csv. CPU-seconds: servers + this process.\n\n",
		r.Manifest.Experiment, m.CPU, m.Cores, m.Memory, m.Kernel, m.Go, r.Manifest.Commit, r.Manifest.Time.Format("2006-01-02 15:04"))
	b.WriteString("| measurement | ops/s | MB/s | CPU µs/op, servers | CPU µs/op, client | ops per server CPU-s |\n|---|---|---|---|---|---|\n")
	for _, name := range r.names() {
		row, _ := r.Median(name)
		mb := "–"
		if row.Bytes > 0 {
			mb = fmt.Sprintf("%.1f", row.megabytes())
		}
		fmt.Fprintf(&b, "| %s | %.0f | %s | %.2f | %.2f | %.0f |\n", name, row.Rate(), mb,
			row.perOp(row.ServerCPU), row.perOp(row.ClientCPU), row.PerServerCPU())
	}
	for _, note := range r.Manifest.Notes {
		fmt.Fprintf(&b, "\n- %s", note)
	}
	return b.String() + "\n"
}

// Write puts manifest, raw data and table into dir/<experiment>/<time>, which it makes and returns. Times are UTC, to the
// second. An error means that the folder may be there with a part of the files: it is no result.
func (r *Recorder) Write(dir string) (string, error) {
	to := filepath.Join(dir, r.Manifest.Experiment, r.Manifest.Time.Format("20060102-150405"))
	if err := os.MkdirAll(to, 0o755); err != nil {
		return "", err
	}
	manifest, err := json.MarshalIndent(r.Manifest, "", "  ")
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(to, "manifest.json"), append(manifest, '\n'), 0o644); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(to, "table.md"), []byte(r.Table()), 0o644); err != nil {
		return "", err
	}
	return to, r.writeRaw(filepath.Join(to, "raw.csv"))
}

// writeRaw writes a row for each run, times in seconds to the microsecond.
func (r *Recorder) writeRaw(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := csv.NewWriter(f)
	rows := [][]string{{"name", "run", "ops", "bytes", "wall_s", "server_cpu_s", "client_cpu_s"}}
	seconds := func(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 6, 64) }
	for _, row := range r.rows {
		rows = append(rows, []string{row.Name, strconv.Itoa(row.Run), strconv.FormatInt(row.Ops, 10), strconv.FormatInt(row.Bytes, 10),
			seconds(row.Wall), seconds(row.ServerCPU), seconds(row.ClientCPU)})
	}
	if err := w.WriteAll(rows); err != nil {
		return err
	}
	return f.Close()
}

// commit is the working directory's, "-dirty" when its tracked files have changes: figures of such a tree cannot be had again.
func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// machine leaves empty what this system does not tell.
func machine() Machine {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version(), CPU: field("/proc/cpuinfo", "model name"), Memory: field("/proc/meminfo", "MemTotal")}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(b))
	}
	return m
}

// field is the value of the first "name : value" line of a file of /proc; "" when there is none.
func field(path, name string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
