// Package metadata measures the master: its parts in process, and the whole of it through gRPC in a process of its own.
// Each measurement warms up, runs several times, and checks its answers.
//
// The parts build on each other, so that a figure can be set against its bound: lookups in the inode store alone (what a status
// can cost at least), the journal alone (what a durable create can), creates in process (both, with the namespace), and the same
// operations through gRPC by one call each, coalesced, and in batches (what the wire adds, and how much of it sharing saves).
// Files are created and never written: no worker runs, and no under store is in the way.
package metadata

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/forebay/forebay/bench/cluster"
	"github.com/forebay/forebay/bench/record"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
	"github.com/forebay/forebay/system/journal/raftjournal"
	"github.com/forebay/forebay/system/master"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

// Config says how much to measure. Binary is for Network alone; everything else runs in this process. Runs is at least 1.
// Files is rounded down to what divides among the callers; too few for one operation each is an error of the measurement.
type Config struct {
	Binary string
	Runs   int
	Files  int // of the hot set and of each create run
	// Match leaves out what has not this in its name; "": nothing. Parts that a measurement needs are made all the same.
	Match string
	Rec   *record.Recorder
}

const (
	lookupDepth  = 4
	callers      = 64
	batchSize    = 64
	batchedCalls = 512
)

// timed runs work once to warm up and cfg.Runs times for the record. work is given the run's number, 0 to warm up, so that it
// can stay out of the way of what earlier runs made; it returns how many operations were answered and checked. An error, or
// a run that did nothing, ends the measurement: a figure of it would be none, and rows that were recorded before are of no
// use without the others.
func (cfg Config) timed(name string, serverCPU func() time.Duration, work func(run int) (int64, error)) error {
	if !strings.Contains(name, cfg.Match) {
		return nil
	}
	for run := range cfg.Runs + 1 {
		server, own, begin := serverCPU(), cluster.OwnCPU(), time.Now()
		ops, err := work(run)
		if err == nil && ops <= 0 {
			err = fmt.Errorf("%d operations: %d files are too few to measure with", ops, cfg.Files)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		row := record.Row{Name: name, Run: run, Ops: ops, Wall: time.Since(begin), ServerCPU: serverCPU() - server, ClientCPU: cluster.OwnCPU() - own}
		if run > 0 {
			cfg.Rec.Add(row)
		}
	}
	return nil
}

// none is the CPU of the servers of a measurement that has none: everything runs in this process.
func none() time.Duration { return 0 }

// Lookups compares hot lookups of 4-component paths: pebble with its cache against the heap store, in turn.
func Lookups(cfg Config) error {
	dir, err := os.MkdirTemp("", "forebay-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	h := host.NewReal()
	heap, err := inodestore.OpenHeap(h, "")
	if err != nil {
		return err
	}
	defer heap.Close()
	pebble, err := inodestore.OpenPebble(h, filepath.Join(dir, "store"), inodestore.Options{InodeCacheBytes: 1 << 30, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer pebble.Close()
	for _, s := range []inodestore.Store{heap, pebble} {
		if err := fillTree(s, cfg.Files); err != nil {
			return err
		}
	}
	paths := treePaths(cfg.Files)
	for range cfg.Runs { // interleaved, so that a drift of the machine meets both
		one := cfg
		one.Runs = 1
		if err := one.timed("lookup hot, heap store", none, func(int) (int64, error) { return lookupAll(heap, paths) }); err != nil {
			return err
		}
		if err := one.timed("lookup hot, pebble + cache", none, func(int) (int64, error) { return lookupAll(pebble, paths) }); err != nil {
			return err
		}
	}
	return nil
}

// treePath is file i's place: /d/a/b/f with 100 files in a directory.
func treePath(i int) [lookupDepth]string {
	return [lookupDepth]string{"data", fmt.Sprintf("shard-%04d", i/10_000), fmt.Sprintf("part-%06d", i/100), fmt.Sprintf("sample-%09d.jpg", i)}
}

// treePaths lists all files in a fixed shuffled order, so that neighbours in time are not neighbours on disk. A stride that
// has no factor in common with n visits every place once; a prime has none unless it divides n, and no n that fits into
// memory is a multiple of both.
func treePaths(n int) [][lookupDepth]string {
	stride := 7919
	if n%stride == 0 {
		stride = 1_000_003
	}
	out := make([][lookupDepth]string, n)
	for i := range out {
		out[(i*stride)%n] = treePath(i)
	}
	return out
}

// fillTree puts the same tree into any store, in batches, so that the comparison is of equals.
func fillTree(s inodestore.Store, n int) error {
	ids := map[string]dfs.InodeID{"": dfs.RootID}
	next := dfs.RootID
	index := s.AppliedIndex()
	for begin := 0; begin < n; begin += 10_000 {
		index++
		err := s.Apply(index, func(b inodestore.Batch) {
			for i := begin; i < min(begin+10_000, n); i++ {
				at := ""
				for depth, name := range treePath(i) {
					parent := ids[at]
					at += "/" + name
					if depth < lookupDepth-1 && ids[at] != 0 {
						continue
					}
					next++
					inode := &inodestore.Inode{ID: next, Parent: parent, Name: name, Owner: "root", Group: "root", Mode: 0o644, Version: 1, LastVersion: 1,
						Length: int64(i), BlockSize: dfs.DefaultBlockSizeBytes, Persist: dfs.Persisted}
					if depth < lookupDepth-1 {
						inode.Type, inode.Mode, ids[at] = dfs.TypeDirectory, 0o755, next
					}
					b.PutInode(inode)
				}
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// lookupAll walks every path from the root, component by component, as the namespace does.
func lookupAll(s inodestore.Store, paths [][lookupDepth]string) (int64, error) {
	for _, p := range paths {
		id := dfs.RootID
		for _, name := range p {
			n, err := s.Child(id, name)
			if err != nil || n == nil {
				return 0, fmt.Errorf("%v: %v, %w", p, n, err)
			}
			id = n.ID
		}
	}
	return int64(len(paths)), nil
}

// openJournal opens a lone durable journal in dir.
func openJournal(h host.Host, dir string, sm journal.StateMachine) (journal.Journal, error) {
	ports := []journal.Member{{ID: "m1", Address: "127.0.0.1:0", Voter: true}}
	return raftjournal.Open(raftjournal.Config{Host: h, ID: "m1", Dir: dir, BindAddr: "127.0.0.1:0", Peers: ports, Logger: slog.New(slog.DiscardHandler)}, sm)
}

// Creates measures durable creates on one master in process: the whole path from an operation batch to its answer, with
// fsync, without the network.
func Creates(ctx context.Context, cfg Config) error {
	dir, err := os.MkdirTemp("", "forebay-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	h := host.NewReal()
	store, err := inodestore.OpenPebble(h, filepath.Join(dir, "store"), inodestore.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	m, err := master.New(master.Config{Host: h, ID: "m1", Address: "127.0.0.1:0", Store: store, Superuser: "root", Group: "root",
		OpenJournal: func(sm journal.StateMachine) (journal.Journal, error) {
			return openJournal(h, filepath.Join(dir, "journal"), sm)
		}})
	if err != nil {
		return err
	}
	if err := m.Start(); err != nil {
		return err
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = m.Stop(stop) // its directory is removed anyway
	}()
	for !m.Serving() {
		if err := h.Sleep(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	return cfg.timed("create durable, in process", none, func(run int) (int64, error) { return createAll(ctx, m.Execute, run, cfg.Files) })
}

// execute is a master's door: the call in process, or gRPC to one of a process of its own. The measurements are the same.
type execute func(context.Context, *proto.OperationBatch) (*proto.ResultBatch, error)

// all executes a batch and fails when any of it did, or when it has not an answer to each operation: a refusal is faster than
// the work. It gives the batch its identity and a bound of a minute.
func (f execute) all(ctx context.Context, b *proto.OperationBatch) ([]*proto.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	b.TimeoutNs = int64(time.Minute)
	b.Identity = &proto.Identity{User: "root"}
	res, err := f(ctx, b)
	if err != nil {
		return nil, rpc.FromStatus(err)
	}
	if res.Error != nil {
		return nil, rpc.ErrorFromProto(res.Error)
	}
	if len(res.Results) != len(b.Operations) {
		return nil, fmt.Errorf("%d answers to %d operations", len(res.Results), len(b.Operations))
	}
	for _, r := range res.Results {
		if r.Error != nil {
			return nil, rpc.ErrorFromProto(r.Error)
		}
	}
	return res.Results, nil
}

// createAll makes n files by callers of batchSize operations each, in directories of their own.
func createAll(ctx context.Context, f execute, run, n int) (int64, error) {
	var wg sync.WaitGroup
	var done atomic.Int64
	errs := make([]error, callers)
	for c := range callers {
		wg.Go(func() {
			errs[c] = createSome(ctx, f, fmt.Sprintf("/run%d-%d", run, c), uint64(run)<<32|uint64(c)+1, n/callers, &done)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return 0, err
		}
	}
	return done.Load(), nil
}

// createSome is one caller: a session of its own, a directory of its own, batches one after the other. It acknowledges what
// was answered, as clients do, so that the master's session table stays small.
func createSome(ctx context.Context, f execute, dir string, nonce uint64, n int, done *atomic.Int64) error {
	res, err := f.all(ctx, &proto.OperationBatch{Operations: []*proto.Operation{
		{Kind: &proto.Operation_OpenSession{OpenSession: &proto.OpenSession{Nonce: nonce, Client: "bench"}}},
		{Kind: &proto.Operation_MakeDirectory{MakeDirectory: &proto.MakeDirectory{Path: dir, Mode: 0o755}}}}})
	if err != nil {
		return err
	}
	session, sequence := res[0].Session, uint64(0)
	for i := 0; i < n; i += batchSize {
		b := &proto.OperationBatch{Session: session, AckedBelow: sequence + 1}
		for j := i; j < min(i+batchSize, n); j++ {
			sequence++
			b.Operations = append(b.Operations, &proto.Operation{Sequence: sequence, Kind: &proto.Operation_CreateFile{CreateFile: &proto.CreateFile{
				Path: fmt.Sprintf("%s/sample-%08d.jpg", dir, j), Mode: 0o644, WriteType: uint32(dfs.WriteMustCache)}}})
		}
		res, err := f.all(ctx, b)
		if err != nil {
			return err
		}
		for _, r := range res {
			if r.Status.GetId() == 0 {
				return fmt.Errorf("a create answered without an inode: %v", r)
			}
		}
		done.Add(int64(len(res)))
	}
	return nil
}

// Journal measures the durable journal alone: entries as large as group commit makes them, three in flight. It is the bound of
// what creates can reach on this disk: each entry is synced before its Wait returns.
func Journal(ctx context.Context, cfg Config) error {
	dir, err := os.MkdirTemp("", "forebay-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	const operations, operationBytes, inFlight = 512, 100, 3
	j, err := openJournal(host.NewReal(), dir, &sink{})
	if err != nil {
		return err
	}
	defer j.Close()
	if _, err := j.Leadership(ctx); err != nil {
		return err
	}
	return cfg.timed("journal alone, durable", none, func(int) (int64, error) {
		entries := cfg.Files / operations
		var flying []journal.Pending
		for range entries {
			if len(flying) == inFlight {
				if _, err := flying[0].Wait(ctx); err != nil {
					return 0, err
				}
				flying = flying[1:]
			}
			flying = append(flying, j.Propose(ctx, make([]byte, operations*operationBytes)))
		}
		for _, p := range flying {
			if _, err := p.Wait(ctx); err != nil {
				return 0, err
			}
		}
		return int64(entries * operations), nil
	})
}

// sink is a state machine that only counts.
type sink struct{ applied atomic.Uint64 }

// Apply implements journal.StateMachine.
func (s *sink) Apply(entries []journal.Entry) []error {
	s.applied.Store(entries[len(entries)-1].Index)
	return make([]error, len(entries))
}

// AppliedIndex implements journal.StateMachine.
func (s *sink) AppliedIndex() uint64 { return s.applied.Load() }

// FlushedIndex implements journal.StateMachine: nothing is kept, so nothing is ever behind.
func (s *sink) FlushedIndex() uint64 { return s.applied.Load() }

// Checkpoint implements journal.StateMachine.
func (s *sink) Checkpoint(string) (uint64, error) { return s.applied.Load(), nil }

// Restore implements journal.StateMachine.
func (s *sink) Restore(string) error { return nil }
