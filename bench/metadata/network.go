package metadata

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/forebay/forebay/bench/cluster"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

// Network measures one master in a process of its own: status and creates by unary calls, coalesced on one stream, and
// in explicit batches.
func Network(ctx context.Context, cfg Config) error {
	dir, err := os.MkdirTemp("", "forebay-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c, err := cluster.Start(cluster.Config{Binary: cfg.Binary, Dir: dir, Masters: 1})
	if err != nil {
		return err
	}
	defer c.Close()
	ready, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := c.Ready(ready); err != nil {
		return err
	}
	h := host.NewReal()
	conn, err := h.Dial(c.Masters()[0])
	if err != nil {
		return err
	}
	defer conn.Close()
	n := &network{cfg: cfg, h: h, master: proto.NewMetadataClient(conn), cpu: func() time.Duration { return c.CPU("master") }}
	n.call = func(ctx context.Context, b *proto.OperationBatch) (*proto.ResultBatch, error) {
		return n.master.Execute(ctx, b)
	}
	return n.run(ctx)
}

// network is one master in a process of its own, its door, and the paths of the files whose status is asked.
type network struct {
	cfg    Config
	h      host.Host
	master proto.MetadataClient
	call   execute
	cpu    func() time.Duration
	paths  []string
}

const statusFiles = 10_000

// run measures the forms beside each other in one run. The slow forms get fewer operations, so that each run takes about
// as long.
func (n *network) run(ctx context.Context) error {
	if err := n.prepare(ctx); err != nil {
		return err
	}
	ops := n.cfg.Files
	steps := []struct {
		name string
		work func(run int) (int64, error)
	}{
		{"status unary, 64 callers", func(int) (int64, error) { return n.each(callers, ops/10, n.statusUnary(ctx)) }},
		{"status coalesced, 64 callers", func(int) (int64, error) { return n.coalesced(ctx, callers, ops, n.statusCoalesced) }},
		{"status batched, 512 a call", func(int) (int64, error) { return n.statusBatched(ctx, ops) }},
		{"create unary, 64 callers", func(run int) (int64, error) { return n.creates(ctx, run, ops/20) }},
		{"create coalesced, 64 callers", func(run int) (int64, error) { return n.createsCoalesced(ctx, run, callers, ops/2) }},
		{"create coalesced, 256 callers", func(run int) (int64, error) { return n.createsCoalesced(ctx, 100+run, 4*callers, ops/2) }},
		{"create batched, 64 a call", func(run int) (int64, error) { return createAll(ctx, n.call, 1000+run, ops/2) }},
	}
	for _, s := range steps {
		if err := n.cfg.timed(s.name, n.cpu, s.work); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes the files whose status is asked.
func (n *network) prepare(ctx context.Context) error {
	if _, err := createAll(ctx, n.call, 900, statusFiles); err != nil {
		return err
	}
	for c := range callers {
		for i := range statusFiles / callers {
			n.paths = append(n.paths, fmt.Sprintf("/run900-%d/sample-%08d.jpg", c, i))
		}
	}
	return nil
}

// opStatus asks for one path, without block locations.
func opStatus(p string) *proto.Operation {
	return &proto.Operation{Kind: &proto.Operation_GetStatus{GetStatus: &proto.GetStatus{Path: p}}}
}

// each spreads total operations over the callers, each with the same number one after the other, and waits for all. A caller
// stops at its first error. Without an error it returns how many were done, which is total rounded down to the callers.
func (n *network) each(callers, total int, one func(caller, i int) error) (int64, error) {
	var wg sync.WaitGroup
	errs := make([]error, callers)
	for c := range callers {
		wg.Go(func() {
			for i := range total / callers {
				if errs[c] = one(c, i); errs[c] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return 0, err
		}
	}
	return int64(total / callers * callers), nil
}

// path spreads the callers over the files without repeating itself soon.
func (n *network) path(caller, i int) string { return n.paths[(caller*7919+i*31)%len(n.paths)] }

// check makes sure that the answer is to this question: answers of a batch or a stream that were mixed up would measure as
// well as right ones.
func check(res *proto.Result, want string) error {
	if res.Status.GetPath() != want {
		return fmt.Errorf("status of %q answered %v", want, res)
	}
	return nil
}

// statusUnary is one call an operation: what a tool pays.
func (n *network) statusUnary(ctx context.Context) func(int, int) error {
	return func(c, i int) error {
		p := n.path(c, i)
		res, err := n.call.all(ctx, &proto.OperationBatch{Operations: []*proto.Operation{opStatus(p)}})
		if err != nil {
			return err
		}
		return check(res[0], p)
	}
}

// coalesced lets all callers share one stream, as the goroutines of one client process do.
func (n *network) coalesced(ctx context.Context, callers, total int, one func(context.Context, *rpc.Coalescer, *rpc.Caller) func(int, int) error) (int64, error) {
	co := rpc.NewCoalescer(n.h, n.master, rpc.CoalescerConfig{})
	defer co.Close()
	inner, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return n.each(callers, total, one(inner, co, &rpc.Caller{Identity: &proto.Identity{User: "root"}}))
}

// statusCoalesced is one operation at a time for each caller; packing them is the coalescer's work.
func (n *network) statusCoalesced(ctx context.Context, co *rpc.Coalescer, caller *rpc.Caller) func(int, int) error {
	return func(c, i int) error {
		p := n.path(c, i)
		res, err := co.Do(ctx, caller, opStatus(p))
		if err != nil {
			return err
		}
		return check(res, p)
	}
}

// statusBatched rounds up to whole batches, and counts what was answered. It asks for many paths in one message, a few messages in flight: what a listing tool or a data loader can do.
func (n *network) statusBatched(ctx context.Context, total int) (int64, error) {
	const inFlight = 4
	done := int64(0)
	var mu sync.Mutex
	var wg sync.WaitGroup
	errs := make([]error, inFlight)
	for c := range inFlight {
		wg.Go(func() {
			for i := 0; i < total/inFlight; i += batchedCalls {
				b := &proto.OperationBatch{}
				for j := range batchedCalls {
					b.Operations = append(b.Operations, opStatus(n.path(c, i+j)))
				}
				res, err := n.call.all(ctx, b)
				for j := 0; j < len(res) && err == nil; j++ {
					err = check(res[j], n.path(c, i+j))
				}
				if errs[c] = err; err != nil {
					return
				}
				mu.Lock()
				done += batchedCalls
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return 0, err
		}
	}
	return done, nil
}

// session opens a session and makes a directory. nonce must be new in this cluster: the master takes a second one with it for
// a retry of the first, and gives the same session.
func (n *network) session(ctx context.Context, nonce uint64, dir string) (uint64, error) {
	res, err := n.call.all(ctx, &proto.OperationBatch{Operations: []*proto.Operation{
		{Kind: &proto.Operation_OpenSession{OpenSession: &proto.OpenSession{Nonce: nonce}}},
		{Kind: &proto.Operation_MakeDirectory{MakeDirectory: &proto.MakeDirectory{Path: dir, Mode: 0o755}}}}})
	if err != nil {
		return 0, err
	}
	return res[0].Session, nil
}

// opCreate makes a file that is kept by workers only, so that no under store is in the measurement.
func opCreate(p string, sequence uint64) *proto.Operation {
	return &proto.Operation{Sequence: sequence, Kind: &proto.Operation_CreateFile{CreateFile: &proto.CreateFile{Path: p, Mode: 0o644, WriteType: uint32(dfs.WriteMustCache)}}}
}

// creates makes files by unary calls, each caller with a session of its own. The sessions are opened within the measurement,
// one for each caller: with many files they do not count.
func (n *network) creates(ctx context.Context, run, total int) (int64, error) {
	var sessions [callers]uint64
	for c := range callers {
		var err error
		if sessions[c], err = n.session(ctx, uint64(7000+run*callers+c), fmt.Sprintf("/unary%d-%d", run, c)); err != nil {
			return 0, err
		}
	}
	return n.each(callers, total, func(c, i int) error {
		_, err := n.call.all(ctx, &proto.OperationBatch{Session: sessions[c], AckedBelow: uint64(i + 1),
			Operations: []*proto.Operation{opCreate(fmt.Sprintf("/unary%d-%d/sample-%08d.jpg", run, c, i), uint64(i+1))}})
		return err
	})
}

// createsCoalesced makes files by many callers of one session, as threads of one client do.
func (n *network) createsCoalesced(ctx context.Context, run, callers, total int) (int64, error) {
	dir := fmt.Sprintf("/coalesced%d", run)
	session, err := n.session(ctx, uint64(9000+run), dir)
	if err != nil {
		return 0, err
	}
	return n.coalesced(ctx, callers, total, func(ctx context.Context, co *rpc.Coalescer, caller *rpc.Caller) func(int, int) error {
		seq := &sequences{open: map[uint64]bool{}}
		caller.Session, caller.AckedBelow = session, seq.ackedBelow
		return func(c, i int) error {
			s := seq.take()
			_, err := co.Do(ctx, caller, opCreate(fmt.Sprintf("%s/sample-%02d-%08d.jpg", dir, c, i), s))
			seq.give(s)
			return err
		}
	})
}

// sequences numbers a session's mutations and knows below which all are answered. Numbers begin at 1 and are given out once;
// many callers take and give at the same time. open holds no more than there are callers.
//
// INV-1: every number below ackedBelow was given back. The master forgets their answers, and an answer that is forgotten too
// early makes a retry an error.
// INV-2: low never falls, and is at most last+1.
type sequences struct {
	mu   sync.Mutex
	last uint64
	low  uint64
	open map[uint64]bool
}

// take gives out the next sequence number.
func (s *sequences) take() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	s.open[s.last] = true
	return s.last
}

// give notes that a mutation was answered.
func (s *sequences) give(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, n)
}

// ackedBelow is what the master may forget.
func (s *sequences) ackedBelow() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.low <= s.last && !s.open[s.low] {
		s.low++
	}
	return s.low
}
