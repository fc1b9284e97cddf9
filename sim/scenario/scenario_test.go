package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/sim/store"
	"github.com/forebay/forebay/sim/store/content"
	"github.com/forebay/forebay/system/dfs"
)

// small is a scenario with everything in it that takes a fraction of a second.
func small(t *testing.T) *Scenario {
	t.Helper()
	s, err := Parse([]byte(`
workers: 3
clients: 8
racks: 3
duration: 20s
rate: 2
files: 50
fileSize: 8KiB
mix: {stat: 20, read: 40, write: 20, rename: 5, remove: 5, list: 10}
faults:
  - {at: 6s, every: 5s, kind: restart-worker, for: 2s}
  - {at: 8s, kind: cut-zone, zone: z1, for: 3s}
  - {at: 12s, kind: cut-client, for: 1s}
  - {at: 14s, kind: kill-leader, for: 2s}
  - {at: 17s, kind: cut-leader, for: 2s}
`))
	if err != nil {
		t.Fatal(err)
	}
	s.Name = "small"
	return s
}

func run1(t *testing.T, s *Scenario, seed uint64) *Report {
	t.Helper()
	r, err := Run(context.Background(), s, Options{Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestSameSeedSameHistory: on any number of processors; another seed has another history.
func TestSameSeedSameHistory(t *testing.T) {
	want := run1(t, small(t), 7)
	if want.Operations() < 100 || want.Faults != 7 || want.ViolationCount != 0 {
		t.Errorf("%d operations, %d faults, violations %q", want.Operations(), want.Faults, want.Violations)
	}
	for _, procs := range []int{1, 2, 4} {
		before := runtime.GOMAXPROCS(procs)
		if got := run1(t, small(t), 7); got.History != want.History || got.Events != want.Events {
			t.Errorf("on %d processors: history %s, %d events, want %s, %d", procs, got.History, got.Events, want.History, want.Events)
		}
		runtime.GOMAXPROCS(before)
	}
	if run1(t, small(t), 8).History == want.History {
		t.Error("another seed has the same history")
	}
}

// TestViolationsAreSeen: when the under store changes or loses files behind everybody's back, the users say so.
func TestViolationsAreSeen(t *testing.T) {
	for name, harm := range map[string]func(r *run) error{
		"wrong bytes": func(r *run) error {
			return each(r, func(store *store.Store, p string) error {
				return store.Put(p, content.Of("/x", 9), int64(r.s.FileSize))
			})
		},
		"lost files": func(r *run) error {
			return each(r, func(_ *store.Store, p string) error { return r.store.Remove(context.Background(), p) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := small(t)
			s.Faults = []Fault{{At: time.Millisecond, Kind: "test"}}
			faultKinds["test"] = func(r *run, _ Fault, _ int) func() {
				if err := harm(r); err != nil {
					t.Error(err)
				}
				return func() {}
			}
			defer delete(faultKinds, "test")
			if r := run1(t, s, 1); r.ViolationCount == 0 || len(r.Violations) > 20 {
				t.Errorf("%d violations, %d told", r.ViolationCount, len(r.Violations))
			}
		})
	}
}

func each(r *run, do func(*store.Store, string) error) error {
	var errs []error
	for i := range r.s.Files {
		errs = append(errs, do(r.cluster.Store, string(sharedPath(i)[1:])))
	}
	return errors.Join(errs...)
}

// TestBadScenarios: what cannot be is refused, naming the key.
func TestBadScenarios(t *testing.T) {
	const good = "workers: 1\nclients: 1\nduration: 1s\nrate: 1\nmix: {stat: 1}\n"
	if _, err := Parse([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"":                                                             "workers is 0",
		good + "wokers: 3\n":                                           "wokers",
		good + "files: -1\n":                                           "files is -1",
		good + "files: 99999999999\n":                                  "files",
		good + "fileSize: 4 bananas\n":                                 "4 bananas",
		strings.Replace(good, "1s", "48h", 1):                          "duration",
		strings.Replace(good, "1s", "soon", 1):                         "soon",
		strings.Replace(good, "rate: 1", "rate: 0", 1):                 "rate",
		strings.Replace(good, "stat: 1", "sing: 1", 1):                 `"sing"`,
		strings.Replace(good, "stat: 1", "stat: -1", 1):                "mix.stat",
		strings.Replace(good, "{stat: 1}", "{}", 1):                    "mix is empty",
		good + "masters: 4\n":                                          "masters is 4",
		good + "replicas: 2\n":                                         "replicas is 2",
		good + "settle: -1s\n":                                         "settle",
		good + "blockSize: 5\n":                                        "blockSize is 5",
		good + "boards: 9999\n":                                        "boards is 9999",
		good + "largeSize: 2TiB\n":                                     "largeSize",
		good + "writeTypes: {SLOWLY: 1}\n":                             "SLOWLY",
		good + "writeTypes: {MUST_CACHE: -1}\n":                        "writeTypes.MUST_CACHE is -1",
		strings.Replace(good, "workers: 1", "workers: 1000000", 1):     "workers is 1000000",
		good + "faults: [{at: 1s, kind: meteor}]\n":                    `"meteor"`,
		good + "faults: [{at: -1s, kind: restart-worker}]\n":           "fault 1",
		good + "faults: [{at: 1s, kind: restart-worker, how: hard}]\n": "how",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", text, err, want)
		}
	}
}

// TestLoad: scenarios come by name or from a file; every one that comes with the simulator is whole and described.
func TestLoad(t *testing.T) {
	if len(Names()) < 4 {
		t.Errorf("scenarios %v", Names())
	}
	for _, name := range Names() {
		s, err := Load(name)
		if err != nil || s.Name != name || s.Description == "" {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	file := filepath.Join(t.TempDir(), "mine.yaml")
	if err := os.WriteFile(file, []byte("workers: 1\nclients: 1\nduration: 1s\nrate: 1\nmix: {stat: 1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := Load(file); err != nil || s.Name != "mine" {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := Load("none"); err == nil || !strings.Contains(err.Error(), "mixed") {
		t.Errorf("an unknown name: %v", err)
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := Run(context.Background(), &Scenario{}, Options{}); err == nil {
		t.Error("an empty scenario ran")
	}
}

// TestReport: quantiles, error kinds, and both forms.
func TestReport(t *testing.T) {
	r := newReport(&Scenario{Name: "x"}, 5)
	for i := range 100 {
		r.add("read", time.Duration(100-i)*time.Millisecond, nil)
	}
	r.add("read", time.Second, dfs.Errorf(dfs.Unavailable, "read", "/x", "away"))
	r.Violations, r.ViolationCount = []string{"at 3s: wrong"}, 1
	k := r.Kinds["read"]
	if k.Count != 101 || k.Failed != 1 || k.Errors["unavailable"] != 1 {
		t.Errorf("%+v", k)
	}
	var out bytes.Buffer
	if err := r.Print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"read    101       1", "read failed with unavailable: 1", "VIOLATION at 3s: wrong", "violations 1", "seed 5"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report does not say %q:\n%s", want, &out)
		}
	}
	text, err := json.Marshal(r)
	if err != nil || !bytes.Contains(text, []byte(`"violationCount":1`)) {
		t.Errorf("%s, %v", text, err)
	}
}

// TestInterrupted: a run that is given up says where it was, and its report is what there is.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var progress bytes.Buffer
	r, err := Run(ctx, small(t), Options{Seed: 1, Progress: &progress})
	if !errors.Is(err, context.Canceled) || r == nil || r.Simulated != 10*time.Second || !strings.Contains(err.Error(), "10s of 20s") {
		t.Errorf("%v, %+v", err, r)
	}
	if _, err := Run(t.Context(), small(t), Options{Seed: 1, Progress: &progress}); err != nil || strings.Count(progress.String(), "\n") != 2 {
		t.Errorf("%v, progress %q", err, progress.String())
	}
}

// TestTrace: every turn is told with time, node and task; it changes nothing.
func TestTrace(t *testing.T) {
	var trace bytes.Buffer
	r, err := Run(t.Context(), small(t), Options{Seed: 7, Trace: &trace})
	if err != nil || r.History != run1(t, small(t), 7).History {
		t.Errorf("%v, or the trace changed the history", err)
	}
	for _, want := range []string{" m1 ", " w2 ", " c3 ", "user", "/forebay."} {
		if !strings.Contains(trace.String(), want) {
			t.Errorf("the trace does not name %q:\n%.500s", want, trace.String())
		}
	}
}

// TestSweep: seeds differ in what they do, all hold, everything is reached by some, and a failing seed is told.
func TestSweep(t *testing.T) {
	var told []uint64
	o := SweepOptions{First: 1, Count: 12, Jobs: 2}
	w, err := RunSweep(t.Context(), o, func(one Outcome) { told = append(told, one.Seed) })
	if err != nil || len(told) != 12 || !slices.IsSorted(told) || len(w.Failed) > 0 {
		t.Errorf("%v, told %d, failed %v (%s)", err, told, w.Failed, w.First)
	}
	missed := w.Missed(o)
	for _, name := range swarmOperations() {
		if slices.Contains(missed, "operation "+name) {
			t.Errorf("no %s ever succeeded", name)
		}
	}
	if slices.Contains(missed, "state a time to live ends") || !slices.Contains(SweepOptions{}.wanted(), "path an answer of the master is lost") {
		t.Errorf("missed %q", missed)
	}
	alone, err := RunSweep(t.Context(), SweepOptions{First: 1, Count: 3}, nil)
	together, err2 := RunSweep(t.Context(), SweepOptions{First: 1, Count: 3, Jobs: 3}, nil)
	alone.Wall, together.Wall = 0, 0
	if err != nil || err2 != nil || !reflect.DeepEqual(alone, together) {
		t.Errorf("one at a time %+v, %v; three at a time %+v, %v", alone, err, together, err2)
	}
	faultKinds["test"] = func(r *run, _ Fault, _ int) func() { r.book.Violation("test", "planted"); return func() {} }
	defer delete(faultKinds, "test")
	w, err = RunSweep(t.Context(), SweepOptions{First: 1, Count: 8, Kinds: []string{"test"}}, nil)
	if err != nil || len(w.Failed) == 0 || w.First == "" {
		t.Errorf("%v, a planted violation was not found: %+v", err, w)
	}
}

// TestParseFaults: a list that names what there is, or says which is not.
func TestParseFaults(t *testing.T) {
	for text, want := range map[string][]string{"all": nil, "none": {}, "drift": {"drift"}, "kill-all,drift,drift": {"drift", "kill-all"}} {
		if got, err := ParseFaults(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "drift,", "kill"} {
		if _, err := ParseFaults(text); err == nil || !strings.Contains(err.Error(), "kill-all") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if s := Swarm(5, []string{}); len(s.Faults) != 0 {
		t.Errorf("none: %v", s.Faults)
	}
}
