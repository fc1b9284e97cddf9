package metadata

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/forebay/forebay/bench/record"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

// fake is a master in few lines that holds callers to their word: sequences without gaps, nothing acknowledged before it was
// answered, no file twice. spoil changes an answer on its way out.
type fake struct {
	mu       sync.Mutex
	spoil    func(q *proto.Operation, r *proto.Result) *proto.Result
	files    map[string]bool
	sessions map[uint64]uint64 // the last sequence answered of each
	nonces   map[uint64]uint64
	faults   []error
}

func newFake() *fake {
	return &fake{files: map[string]bool{}, sessions: map[uint64]uint64{}, nonces: map[uint64]uint64{}}
}

func (f *fake) fault(format string, args ...any) {
	f.faults = append(f.faults, fmt.Errorf(format, args...))
}

func (f *fake) execute(ctx context.Context, b *proto.OperationBatch) (*proto.ResultBatch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if b.Identity.GetUser() == "" || b.TimeoutNs <= 0 {
		f.fault("a batch of %d has no user or no bound", len(b.Operations))
	}
	if last := f.sessions[b.Session]; b.Session != 0 && b.AckedBelow > last+1 {
		f.fault("session %d: acknowledged below %d, answered to %d", b.Session, b.AckedBelow, last)
	}
	out := &proto.ResultBatch{}
	for _, q := range b.Operations {
		r := f.one(b.Session, q)
		if f.spoil != nil {
			r = f.spoil(q, r)
		}
		if r != nil {
			out.Results = append(out.Results, r)
		}
	}
	return out, nil
}

func (f *fake) one(session uint64, q *proto.Operation) *proto.Result {
	switch k := q.Kind.(type) {
	case *proto.Operation_OpenSession:
		if _, again := f.nonces[k.OpenSession.Nonce]; again {
			f.fault("nonce %d was used twice", k.OpenSession.Nonce)
		}
		id := uint64(len(f.nonces) + 1)
		f.nonces[k.OpenSession.Nonce] = id
		return &proto.Result{Session: id}
	case *proto.Operation_CreateFile:
		if q.Sequence != f.sessions[session]+1 || session == 0 {
			f.fault("session %d: sequence %d after %d", session, q.Sequence, f.sessions[session])
		}
		f.sessions[session] = q.Sequence
		if f.files[k.CreateFile.Path] {
			f.fault("%s was created twice", k.CreateFile.Path)
		}
		f.files[k.CreateFile.Path] = true
		return &proto.Result{Status: &proto.FileStatus{Id: uint64(len(f.files)), Path: k.CreateFile.Path}}
	case *proto.Operation_GetStatus:
		if !f.files[k.GetStatus.Path] {
			return refused(dfs.NotFound)
		}
		return &proto.Result{Status: &proto.FileStatus{Id: 1, Path: k.GetStatus.Path}}
	}
	return &proto.Result{}
}

func refused(kind dfs.Kind) *proto.Result {
	return &proto.Result{Error: rpc.ErrorToProto(dfs.Errorf(kind, "do", "/x", "as planted"))}
}

// works are the measurements that go through the master's door.
func works(ctx context.Context, n *network, run, total int) map[string]func() (int64, error) {
	return map[string]func() (int64, error){
		"status unary":   func() (int64, error) { return n.each(callers, total, n.statusUnary(ctx)) },
		"status batched": func() (int64, error) { return n.statusBatched(ctx, total) },
		"create unary":   func() (int64, error) { return n.creates(ctx, run, total) },
		"create batched": func() (int64, error) { return createAll(ctx, n.call, run, total) },
	}
}

// prepared is a network on a fake that has the files of prepare.
func prepared(t *testing.T) (*network, *fake) {
	t.Helper()
	f := newFake()
	n := &network{call: f.execute}
	if err := n.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n, f
}

// filled is a network on a fake that has some files, put there directly.
func filled() (*network, *fake) {
	f := newFake()
	n := &network{call: f.execute}
	for i := range 100 {
		n.paths = append(n.paths, fmt.Sprintf("/ready/%d", i))
		f.files[n.paths[i]] = true
	}
	return n, f
}

// TestWorksKeepTheirWord: each measurement does what it counts, in the way that clients do it, and can be run again.
func TestWorksKeepTheirWord(t *testing.T) {
	n, f := prepared(t)
	if want := statusFiles / callers * callers; len(n.paths) != want || len(f.files) != want {
		t.Errorf("%d paths of %d files, want %d", len(n.paths), len(f.files), want)
	}
	for run := range 2 {
		for name, work := range works(t.Context(), n, 10+run, 2048) {
			before := len(f.files)
			ops, err := work()
			created := len(f.files) - before
			if err != nil || ops < 2048 || strings.HasPrefix(name, "create") && int(ops) != created || strings.HasPrefix(name, "status") && created != 0 {
				t.Errorf("%s: %d operations, %d files, %v", name, ops, created, err)
			}
		}
	}
	for _, err := range f.faults[:min(len(f.faults), 5)] {
		t.Error(err)
	}
}

// TestWorksNotice plants a fault into one answer of thousands: each measurement that can see it fails.
func TestWorksNotice(t *testing.T) {
	status := func(path string) func() *proto.Result {
		return func() *proto.Result { return &proto.Result{Status: &proto.FileStatus{Path: path}} }
	}
	for name, tt := range map[string]struct {
		spoil func() *proto.Result
		seen  []string // the measurements that must fail
	}{
		"a refusal":                 {func() *proto.Result { return refused(dfs.Unavailable) }, []string{"status unary", "status batched", "create unary", "create batched"}},
		"an answer is lost":         {func() *proto.Result { return nil }, []string{"status unary", "status batched", "create unary", "create batched"}},
		"another's status":          {status("/other"), []string{"status unary", "status batched"}},
		"a status of nought":        {func() *proto.Result { return &proto.Result{} }, []string{"status unary", "status batched", "create batched"}},
		"a create without an inode": {status("/run1-0/sample-00000000.jpg"), []string{"create batched"}},
	} {
		for _, work := range tt.seen {
			n, f := filled()
			left := 300
			f.spoil = func(q *proto.Operation, r *proto.Result) *proto.Result {
				if r.Status == nil { // of a session or a directory
					return r
				}
				if left--; left == 0 {
					return tt.spoil()
				}
				return r
			}
			if _, err := works(t.Context(), n, 1, 2048)[work](); err == nil || left > 0 {
				t.Errorf("%s: %s: %v, %d answers before it", work, name, err, left)
			}
		}
	}
}

// TestWorksEnd: the end of the context ends every measurement with an error.
func TestWorksEnd(t *testing.T) {
	n, _ := filled()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, work := range works(ctx, n, 1, 6400) {
		if _, err := work(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEach: every caller does its share, one after the other, and the first error of any is the outcome.
func TestEach(t *testing.T) {
	n := &network{}
	for _, total := range []int{0, 63, 64, 65, 1000} {
		var mu sync.Mutex
		next := map[int]int{}
		got, err := n.each(callers, total, func(caller, i int) error {
			mu.Lock()
			defer mu.Unlock()
			if next[caller] != i {
				t.Errorf("caller %d did %d and then %d", caller, next[caller]-1, i)
			}
			next[caller]++
			return nil
		})
		if err != nil || got != int64(total/callers*callers) {
			t.Errorf("%d: %d, %v", total, got, err)
		}
	}
	late := errors.New("late")
	if got, err := n.each(callers, 6400, func(caller, i int) error {
		if caller == callers-1 && i == 99 {
			return late
		}
		return nil
	}); !errors.Is(err, late) || got != 0 {
		t.Errorf("an error of the last operation: %d, %v", got, err)
	}
}

// TestNothingIsNoMeasurement: a run of no operations has no rate; it is an error, and no row.
func TestNothingIsNoMeasurement(t *testing.T) {
	cfg := Config{Runs: 3, Rec: record.New("unit", io.Discard)}
	if err := cfg.timed("nothing", none, func(int) (int64, error) { return 0, nil }); err == nil || !strings.Contains(err.Error(), "too few") {
		t.Errorf("%v", err)
	}
	cfg.Files = 100 // fewer than an entry of the journal has
	if err := Journal(t.Context(), cfg); err == nil {
		t.Error("a journal without an entry was measured")
	}
	if err := Creates(t.Context(), Config{Runs: 1, Files: callers - 1, Rec: cfg.Rec}); err == nil {
		t.Error("creates of fewer files than callers were measured")
	}
	if table := cfg.Rec.Table(); strings.Contains(table, "nothing") || strings.Contains(table, "journal") || strings.Contains(table, "create") {
		t.Errorf("the table has them:\n%s", table)
	}
}

// TestTimedRows: each row has its run's number, operations and the servers' time of that run alone; after an error in a later
// run there is none.
func TestTimedRows(t *testing.T) {
	cfg := Config{Runs: 2, Rec: record.New("unit", io.Discard)}
	cpu := time.Duration(0)
	work := func(run int) (int64, error) {
		cpu += time.Duration(run+1) * time.Second
		return int64(10 * (run + 1)), nil
	}
	if err := cfg.timed("x", func() time.Duration { return cpu }, work); err != nil {
		t.Fatal(err)
	}
	row, _ := cfg.Rec.Median("x")
	if row.Run == 0 || row.Ops != int64(10*(row.Run+1)) || row.ServerCPU != time.Duration(row.Run+1)*time.Second {
		t.Errorf("row %+v", row)
	}
}

// TestTreePathsOfAnySize: every file is visited once, also when the number of files is a multiple of the stride.
func TestTreePathsOfAnySize(t *testing.T) {
	for _, n := range []int{0, 1, 2, 63, 7918, 7919, 7920, 2 * 7919} {
		seen := map[[lookupDepth]string]bool{}
		for _, p := range treePaths(n) {
			seen[p] = true
		}
		if len(seen) != n || seen[[lookupDepth]string{}] {
			t.Errorf("%d files: %d paths", n, len(seen))
		}
	}
}

// TestSequencesModel: INV-1 and INV-2 of sequences, against a set of all that was given out, under many takers at a time.
func TestSequencesModel(t *testing.T) {
	s := &sequences{open: map[uint64]bool{}}
	var mu sync.Mutex
	given := map[uint64]bool{}
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			low := uint64(0)
			var held []uint64
			for i := range 500 {
				held = append(held, s.take())
				if (i+c)%3 == 0 {
					continue // answers come late, and not in order
				}
				at := (i * 7) % len(held)
				mu.Lock()
				given[held[at]] = true
				mu.Unlock()
				s.give(held[at])
				held = append(held[:at], held[at+1:]...)
				now := s.ackedBelow()
				if now < low {
					t.Errorf("INV-2: acked below %d after %d", now, low)
				}
				low = now
				for _, n := range held {
					if n < now {
						t.Errorf("INV-1: %d is open and called answered below %d", n, now)
					}
				}
			}
			for _, n := range held {
				mu.Lock()
				given[n] = true
				mu.Unlock()
				s.give(n)
			}
		})
	}
	wg.Wait()
	if got := s.ackedBelow(); got != 8*500+1 || len(given) != 8*500 {
		t.Errorf("all %d were answered, acked below %d", len(given), got)
	}
}
