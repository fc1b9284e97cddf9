package metadata

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/bench/benchtest"
	"github.com/forebay/forebay/bench/record"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

// These tests hold the benchmarks to their word: that they check what they measure, and record every run. They assert no
// speed.

func small(t *testing.T) Config {
	return Config{Runs: 2, Files: 1024, Rec: record.New("test", io.Discard)}
}

// recorded fails unless every named measurement has its runs with the right number of operations.
func recorded(t *testing.T, rec *record.Recorder, names ...string) {
	t.Helper()
	for _, name := range names {
		row, ok := rec.Median(name)
		if !ok || row.Ops == 0 || row.Wall <= 0 {
			t.Errorf("%q was not recorded: %+v", name, row)
		}
	}
}

func TestInProcessParts(t *testing.T) {
	cfg := small(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := Lookups(cfg); err != nil {
		t.Fatal(err)
	}
	if err := Journal(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	if err := Creates(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	recorded(t, cfg.Rec, "lookup hot, heap store", "lookup hot, pebble + cache", "journal alone, durable", "create durable, in process")
	if row, _ := cfg.Rec.Median("create durable, in process"); row.Ops != int64(cfg.Files) {
		t.Errorf("%d creates were counted of %d", row.Ops, cfg.Files)
	}
}

func TestNetwork(t *testing.T) {
	cfg := small(t)
	cfg.Runs, cfg.Binary, cfg.Files = 1, benchtest.Binary(t), 6400
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := Network(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	recorded(t, cfg.Rec, "status unary, 64 callers", "status coalesced, 64 callers", "status batched, 512 a call",
		"create unary, 64 callers", "create coalesced, 64 callers", "create coalesced, 256 callers", "create batched, 64 a call")
}

// TestLookupsNotice: a tree that lacks a file makes the measurement fail, not fast.
func TestLookupsNotice(t *testing.T) {
	s, err := inodestore.OpenHeap(host.NewReal(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := fillTree(s, 300); err != nil {
		t.Fatal(err)
	}
	if n, err := lookupAll(s, treePaths(300)); err != nil || n != 300 {
		t.Errorf("%d lookups, %v", n, err)
	}
	if _, err := lookupAll(s, treePaths(301)); err == nil {
		t.Error("a missing file was not noticed")
	}
}

func TestTreePathsAreAPermutation(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range treePaths(1000) {
		seen[strings.Join(p[:], "/")] = true
	}
	if len(seen) != 1000 {
		t.Errorf("%d of 1000 paths", len(seen))
	}
}

// TestBatchesNoticeErrors: an error anywhere in a batch ends a measurement.
func TestBatchesNoticeErrors(t *testing.T) {
	refusal := rpc.ErrorToProto(dfs.Errorf(dfs.NotFound, "status", "/x", "gone"))
	for name, f := range map[string]execute{
		"of the call": func(context.Context, *proto.OperationBatch) (*proto.ResultBatch, error) { return nil, io.ErrClosedPipe },
		"of the batch": func(context.Context, *proto.OperationBatch) (*proto.ResultBatch, error) {
			return &proto.ResultBatch{Error: refusal}, nil
		},
		"of one result": func(context.Context, *proto.OperationBatch) (*proto.ResultBatch, error) {
			return &proto.ResultBatch{Results: []*proto.Result{{}, {Error: refusal}}}, nil
		},
	} {
		if _, err := f.all(context.Background(), &proto.OperationBatch{}); err == nil {
			t.Errorf("an error %s was not noticed", name)
		}
	}
	if err := check(&proto.Result{Status: &proto.FileStatus{Path: "/other"}}, "/x"); err == nil {
		t.Error("a status of another path was not noticed")
	}
}

func TestTimedWarmsUpOnce(t *testing.T) {
	cfg := small(t)
	runs := 0
	if err := cfg.timed("x", none, func(int) (int64, error) { runs++; return 1, nil }); err != nil || runs != cfg.Runs+1 {
		t.Errorf("%d runs, %v", runs, err)
	}
	boom := errors.New("boom")
	if err := cfg.timed("y", none, func(int) (int64, error) { return 0, boom }); !errors.Is(err, boom) || !strings.Contains(err.Error(), "y") {
		t.Errorf("error %v", err)
	}
}

// TestSequences: everything below ackedBelow has been answered, whatever the order of the answers.
func TestSequences(t *testing.T) {
	s := &sequences{open: map[uint64]bool{}}
	a, b, c := s.take(), s.take(), s.take()
	s.give(b)
	if got := s.ackedBelow(); got != a {
		t.Errorf("%d is open and everything below %d is called answered", a, got)
	}
	s.give(a)
	if got := s.ackedBelow(); got != c {
		t.Errorf("acked below %d, want %d", got, c)
	}
	s.give(c)
	if got := s.ackedBelow(); got != c+1 {
		t.Errorf("acked below %d, want %d", got, c+1)
	}
}
