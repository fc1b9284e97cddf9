package worker_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/mem"
	"github.com/forebay/forebay/system/ufs/ufstest"
	"github.com/forebay/forebay/system/worker"
	"github.com/forebay/forebay/system/worker/blockstore"
	"github.com/forebay/forebay/system/worker/tier"
	"github.com/forebay/forebay/system/worker/workertest"
)

const mib = workertest.MiB

// master is a small true master for workers: leases, a block map, commands and mounts.
type master struct {
	proto.UnimplementedBlocksServer
	address string

	mu       sync.Mutex
	leader   string // when it is another one
	lease    uint64
	worker   *proto.WorkerInfo
	held     map[dfs.BlockID]bool // to whether it is unpersisted
	batches  int
	early    int // files in the first message of a registration
	commands []*proto.WorkerCommand
	told     int    // of commands, by the last answer
	answer   uint64 // how many answers this lease had
	results  []*proto.PersistResult
	mounts   []*proto.Mount
	beats    int
	refused  int // heartbeats with changes that were refused
}

func startMaster(t *testing.T) *master {
	m := &master{held: map[dfs.BlockID]bool{}}
	server, err := host.NewReal().Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	proto.RegisterBlocksServer(server, m)
	server.Serve()
	m.address = server.Addr()
	t.Cleanup(func() { workertest.Stop(server) })
	return m
}

func (m *master) refuse() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.leader == "" {
		return nil
	}
	return rpc.ToStatus(&dfs.Error{Kind: dfs.NotLeader, Op: "heartbeat", Leader: m.leader})
}

func (m *master) Register(stream grpc.BidiStreamingServer[proto.RegisterRequest, proto.RegisterResponse]) error {
	if err := m.refuse(); err != nil {
		return err
	}
	for first := true; ; first = false {
		q, err := stream.Recv()
		if err != nil {
			return err
		}
		m.mu.Lock()
		if first {
			m.lease++
			m.answer, m.told = 0, 0
			m.worker, m.held, m.batches = q.Worker, map[dfs.BlockID]bool{}, 0
			m.early += len(q.Files)
		}
		m.batches++
		m.note(q.Files, true)
		lease := m.lease
		m.mu.Unlock()
		if err := stream.Send(&proto.RegisterResponse{Lease: lease}); err != nil || q.Last {
			return err
		}
	}
}

func (m *master) note(files []*proto.HeldFile, added bool) {
	for _, f := range files {
		for _, index := range f.Blocks {
			id := dfs.BlockID{File: dfs.FileVersion{Inode: dfs.InodeID(f.Inode), Version: f.Version}, Index: index}
			if added {
				m.held[id] = f.Unpersisted
			} else {
				delete(m.held, id)
			}
		}
	}
}

func (m *master) Heartbeat(ctx context.Context, q *proto.HeartbeatRequest) (*proto.HeartbeatResponse, error) {
	if err := m.refuse(); err != nil {
		m.with(func() { m.refused += len(q.Added) })
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if q.Lease != m.lease {
		return &proto.HeartbeatResponse{Register: true}, nil
	}
	m.beats++
	m.note(q.Removed, false)
	m.note(q.Added, true)
	m.results = append(m.results, q.Persisted...)
	if q.Heard == m.answer {
		m.commands, m.told = m.commands[m.told:], 0
	}
	m.answer, m.told = m.answer+1, len(m.commands)
	return &proto.HeartbeatResponse{Commands: m.commands, Answer: m.answer}, nil
}

func (m *master) Mounts(ctx context.Context, q *proto.MountsRequest) (*proto.MountsResponse, error) {
	if err := m.refuse(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return &proto.MountsResponse{Mounts: m.mounts}, nil
}

// with runs f under the master's lock.
func (m *master) with(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

func (m *master) tell(c *proto.WorkerCommand) { m.with(func() { m.commands = append(m.commands, c) }) }

func (m *master) result(i int) *proto.PersistResult {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.results[i]
}

func (m *master) info() *proto.WorkerInfo {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.worker
}

func (m *master) blocks() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.held)
}

// fixture is one worker, its masters, and an under store.
type fixture struct {
	*testing.T
	h       workertest.Node
	under   *mem.Store
	masters []*master
	w       *worker.Worker
	server  host.Server
	client  workertest.Client
	opened  int
	closed  int
	mu      sync.Mutex
}

// closing counts the stores that were closed.
type closing struct {
	ufs.Store
	f *fixture
}

func (c closing) Close() error {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	c.f.closed++
	return nil
}

func setup(t *testing.T, masters int) *fixture {
	f := &fixture{T: t, h: workertest.NewNode()}
	f.under = mem.New(f.h)
	for range masters {
		m := startMaster(t)
		m.mounts = []*proto.Mount{{Id: 1, Path: "/mnt", Uri: "mem://x"}}
		f.masters = append(f.masters, m)
	}
	f.start(nil)
	t.Cleanup(f.stop)
	return f
}

func (f *fixture) start(change func(*worker.Config)) {
	server, err := f.h.Listen("127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	c := worker.Config{Host: f.h, Dir: "/state", Address: server.Addr(), HeartbeatInterval: 10 * time.Millisecond, MountRefresh: 20 * time.Millisecond,
		Tiers: []tier.Config{{Name: "MEM", Dir: "/mem", CapacityBytes: 64 * mib}}, Version: "test",
		Store: blockstore.Config{ScrubBytesPerSecond: -1, MaxChanges: 50}}
	for _, m := range f.masters {
		c.Masters = append(c.Masters, m.address)
	}
	c.OpenUFS = func(context.Context, *proto.Mount) (ufs.Store, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.opened++
		return closing{f.under, f}, nil
	}
	if change != nil {
		change(&c)
	}
	if f.w, err = worker.New(f.Context(), c); err != nil {
		f.Fatal(err)
	}
	f.server = server
	f.w.Register(server)
	server.Serve()
	f.w.Start()
	f.client = workertest.Dial(f.T, f.h, server.Addr())
}

func (f *fixture) stop() {
	if f.w == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	f.server.Stop(ctx)
	if err := f.w.Stop(ctx); err != nil {
		f.Error(err)
	}
	f.w = nil
}

func (f *fixture) wait(what string, done func() bool) {
	f.Helper()
	workertest.WaitFor(f.T, what, done)
}

func content(inode uint64, n int64) []byte { return workertest.Content(inode, n) }

// ref is a file at the top of the under store.
func ref(inode uint64, length int64) *proto.FileRef {
	r := workertest.Ref(inode, length)
	r.UfsPath = fmt.Sprintf("f%d", inode)
	return r
}

func (f *fixture) write(r *proto.FileRef, from, to int64) {
	f.Helper()
	header := &proto.WriteHeader{File: r, WriteType: uint32(dfs.WriteAsyncThrough)}
	if _, err := f.client.Upload(header, from, content(r.Inode, r.Length)[from:to], mib, true, nil); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) read(r *proto.FileRef) ([]byte, error) {
	got, _, err := f.client.Download(&proto.ReadRequest{File: r, Length: r.Length}, false)
	return got, err
}

// TestLife follows a file through a worker: written, reported, persisted, marked, freed; then a restart with another.
func TestLife(t *testing.T) {
	f := setup(t, 1)
	m := f.masters[0]
	f.wait("the registration", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return m.worker != nil })
	id := f.w.ID()
	if info := m.info(); info.Id != string(id) || info.Version != "test" || len(info.Tiers) != 1 {
		t.Errorf("registered as %v", info)
	}
	r := ref(1, 5*mib+3)
	f.write(r, 0, r.Length)
	holds := func(n int, unpersisted bool) func() bool {
		return func() bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			for _, u := range m.held {
				if u != unpersisted {
					return false
				}
			}
			return len(m.held) == n
		}
	}
	f.wait("the blocks' report", holds(3, true))
	m.tell(&proto.WorkerCommand{Action: proto.WorkerCommand_PERSIST, Inode: 1, Version: 1, MountId: 1, UfsPath: r.UfsPath, Length: r.Length, BlockSize: r.BlockSize, Mode: 0o640, Staged: staged})
	f.wait("the persist result", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return len(m.results) == 1 })
	e, err := f.under.Stat(t.Context(), staged)
	if err != nil || m.result(0).Error != nil || m.result(0).Staged != staged || e.Mode != 0o640 {
		t.Errorf("result %v; under store %+v, %v", m.result(0), e, err)
	}
	if got := ufstest.Get(t.Context(), t, f.under, staged, 0, 1<<40); !bytes.Equal(got, content(1, r.Length)) {
		t.Error("persisted other bytes")
	}
	m.tell(&proto.WorkerCommand{Action: proto.WorkerCommand_SET_PERSISTED, Inode: 1, Version: 1})
	f.wait("the new report", holds(3, false))

	f.stop()
	f.start(nil)
	f.wait("the second registration", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return m.lease == 2 })
	if f.w.ID() != id {
		t.Errorf("the id changed from %s to %s", id, f.w.ID())
	}
	f.wait("the recovered blocks", holds(3, false))
	if got, err := f.read(r); err != nil || !bytes.Equal(got, content(1, r.Length)) {
		t.Errorf("after the restart: %d bytes, %v", len(got), err)
	}
	m.tell(&proto.WorkerCommand{Action: proto.WorkerCommand_FREE, Inode: 1})
	f.wait("the blocks to be freed", holds(0, false))
	if used := f.w.Store().Tiers()[0].UsedBytes; used != 0 {
		t.Errorf("%d bytes used after FREE", used)
	}
}

// TestFailover follows the leader's hint, and registers with a leader that does not know the worker.
func TestFailover(t *testing.T) {
	f := setup(t, 3)
	for _, m := range f.masters {
		m.with(func() { m.leader = f.masters[2].address })
	}
	f.masters[2].with(func() { f.masters[2].leader = "" })
	registered := func(m *master) func() bool {
		return func() bool { m.mu.Lock(); defer m.mu.Unlock(); return m.beats > 2 }
	}
	f.wait("the third master", registered(f.masters[2]))
	f.write(ref(1, 3*mib), 0, 3*mib)
	for _, m := range f.masters {
		m.with(func() { m.leader = f.masters[1].address })
	}
	f.masters[1].with(func() { f.masters[1].leader = "" })
	f.wait("the second master", registered(f.masters[1]))
	if n := f.masters[1].blocks(); n != 2 {
		t.Errorf("the new leader knows %d blocks, want 2", n)
	}
	if n := f.masters[1].early; n != 0 {
		t.Errorf("%d files were sent before the master had room for them", n)
	}
	f.masters[1].with(func() { f.masters[1].lease = 77 }) // it forgot us
	f.wait("a new registration", func() bool { f.masters[1].mu.Lock(); defer f.masters[1].mu.Unlock(); return f.masters[1].lease == 78 })
}

// TestOverflow has more changes than are kept between heartbeats: everything is registered anew.
func TestOverflow(t *testing.T) {
	f := setup(t, 1)
	m := f.masters[0]
	f.wait("the registration", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return m.beats > 0 })
	m.with(func() { m.leader = "127.0.0.1:1" }) // no heartbeat gets through
	f.write(ref(1000, 1000), 0, 1000)
	// From when a heartbeat with changes has failed until one succeeds, no further changes are taken from the store: they
	// all count against its bound. (Without this, the test failed when a heartbeat took ten of the sixty.)
	f.wait("a refused heartbeat", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return m.refused > 0 })
	for inode := uint64(1); inode <= 60; inode++ {
		f.write(ref(inode, 1000), 0, 1000)
	}
	m.with(func() { m.leader = "" })
	f.wait("everything to be known", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return len(m.held) == 61 && m.lease >= 2 })
}

// TestPersistFromElsewhere persists a file of which this worker holds one block of three.
func TestPersistFromElsewhere(t *testing.T) {
	f := setup(t, 1)
	m := f.masters[0]
	r := ref(4, 6*mib)
	command := &proto.WorkerCommand{Action: proto.WorkerCommand_PERSIST, Inode: 4, Version: 1, MountId: 1, UfsPath: r.UfsPath, Length: r.Length, BlockSize: r.BlockSize, Staged: staged}
	f.write(r, 2*mib, 4*mib)
	m.tell(command)
	f.wait("the failure", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return len(m.results) == 1 })
	if e := m.result(0).Error; e == nil || dfs.Kind(e.Kind) != dfs.DataLost {
		t.Errorf("without other workers: %v", m.result(0))
	}
	if _, err := f.under.Stat(t.Context(), staged); !dfs.IsKind(err, dfs.NotFound) {
		t.Errorf("a failed persist left something: %v", err)
	}
	f.stop()
	var remote []string
	f.start(func(c *worker.Config) {
		c.ReadRemote = func(_ context.Context, q *proto.FileRef, offset, length int64) (io.ReadCloser, error) {
			remote = append(remote, fmt.Sprintf("%d+%d", offset/mib, length/mib))
			return io.NopCloser(bytes.NewReader(content(4, 6*mib)[offset : offset+length])), nil
		}
	})
	// A heartbeat of the stopped worker may still be on its way, and would take the command with it.
	f.wait("the second registration", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return m.lease == 2 })
	m.tell(command)
	f.wait("the result", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return len(m.results) == 2 })
	if got := ufstest.Get(t.Context(), t, f.under, staged, 0, 1<<40); m.result(1).Error != nil || !bytes.Equal(got, content(4, r.Length)) {
		t.Errorf("%v, %d bytes", m.result(1), len(got))
	}
	if strings.Join(remote, " ") != "0+2 4+2" {
		t.Errorf("read from elsewhere: %v", remote)
	}
}

// TestMounts opens a mount's store once, and closes it when the mount is gone.
func TestMounts(t *testing.T) {
	f := setup(t, 1)
	m := f.masters[0]
	e := ufstest.Put(t.Context(), t, f.under, "f9", content(9, 3*mib))
	r := ref(9, 3*mib)
	r.Persisted, r.Fingerprint = true, e.Fingerprint
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got, err := f.read(r); err != nil || !bytes.Equal(got, content(9, r.Length)) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	f.mu.Lock()
	if f.opened != 1 {
		t.Errorf("the store was opened %d times", f.opened)
	}
	f.mu.Unlock()
	m.with(func() { m.mounts = nil })
	other := ref(10, mib)
	other.Persisted = true
	f.wait("the mount to be gone", func() bool { _, err := f.read(other); return err != nil && strings.Contains(err.Error(), "unmounted") })
	f.stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed != 1 {
		t.Errorf("%d stores closed", f.closed)
	}
}
