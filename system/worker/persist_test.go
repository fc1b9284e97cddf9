package worker_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/ufstest"
	"github.com/forebay/forebay/system/worker"
)

// staged is where workers are told to write.
var staged = ufs.Staged("1")

func persistCommand(r *proto.FileRef) *proto.WorkerCommand {
	return &proto.WorkerCommand{Action: proto.WorkerCommand_PERSIST, Inode: r.Inode, Version: r.Version, MountId: r.MountId,
		UfsPath: r.UfsPath, Length: r.Length, BlockSize: r.BlockSize, Staged: staged}
}

// broken fails one step of a write to the under store.
type broken struct {
	ufs.Store
	step string
}

func (b broken) Create(ctx context.Context, path string, mode uint32) (ufs.Writer, error) {
	if b.step == "create" {
		return nil, dfs.Errorf(dfs.PermissionDenied, "create", path, "read the manual")
	}
	w, err := b.Store.Create(ctx, path, mode)
	return brokenWriter{w, b.step}, err
}

type brokenWriter struct {
	ufs.Writer
	step string
}

func (w brokenWriter) Write(p []byte) (int, error) {
	if w.step == "write" {
		return len(p) / 2, dfs.Errorf(dfs.NoSpace, "write", "", "full")
	}
	return w.Writer.Write(p)
}

func (w brokenWriter) Commit(ctx context.Context) (ufs.Entry, error) {
	if w.step == "commit" {
		return ufs.Entry{}, dfs.Errorf(dfs.UnderStore, "commit", "", "down")
	}
	return w.Writer.Commit(ctx)
}

// TestPersistFailures: whatever fails is told to the master with its kind, leaves nothing in the under store and the data
// where it was; told again, the worker does it.
func TestPersistFailures(t *testing.T) {
	for _, test := range []struct {
		name   string
		step   string
		change func(*proto.WorkerCommand)
		remote func(offset, length int64) (io.ReadCloser, error)
		kind   dfs.Kind
	}{
		{"create", "create", nil, nil, dfs.PermissionDenied},
		{"write", "write", nil, nil, dfs.NoSpace},
		{"commit", "commit", nil, nil, dfs.UnderStore},
		{"no such mount", "", func(c *proto.WorkerCommand) { c.MountId = 9 }, nil, dfs.NotFound},
		{"no block size", "", func(c *proto.WorkerCommand) { c.BlockSize = 0 }, nil, dfs.InvalidArgument},
		{"a path out of the store", "", func(c *proto.WorkerCommand) { c.Staged = "../x" }, nil, dfs.InvalidArgument},
		{"more than is anywhere", "", func(c *proto.WorkerCommand) { c.Length += 2 * mib }, nil, dfs.DataLost},
		{"another worker that is away", "", func(c *proto.WorkerCommand) { c.Length += 2 * mib },
			func(int64, int64) (io.ReadCloser, error) {
				return nil, dfs.Errorf(dfs.Unavailable, "read", "", "away")
			}, dfs.Unavailable},
		{"another worker that gives too little", "", func(c *proto.WorkerCommand) { c.Length += 2 * mib },
			func(int64, int64) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte("abc"))), nil }, dfs.Unavailable},
		{"another worker that breaks off", "", func(c *proto.WorkerCommand) { c.Length += 2 * mib },
			func(int64, int64) (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(bytes.NewReader([]byte("abc")), failingReader{})), nil
			}, dfs.Unknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := setup(t, 1)
			f.stop()
			f.start(func(c *worker.Config) {
				c.OpenUFS = func(context.Context, *proto.Mount) (ufs.Store, error) { return broken{f.under, test.step}, nil }
				if test.remote != nil {
					c.ReadRemote = func(_ context.Context, _ *proto.FileRef, offset, length int64) (io.ReadCloser, error) {
						return test.remote(offset, length)
					}
				}
			})
			m, r := f.masters[0], ref(1, 2*mib)
			f.write(r, 0, r.Length)
			c := persistCommand(r)
			if test.change != nil {
				test.change(c)
			}
			m.tell(c)
			f.wait("the result", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return len(m.results) == 1 })
			if e := m.result(0).Error; e == nil || dfs.Kind(e.Kind) != test.kind || m.result(0).Staged != c.Staged {
				t.Errorf("got %v, want %v", m.result(0), test.kind)
			}
			for e, err := range f.under.List(t.Context(), "", "") {
				t.Errorf("left in the under store: %v, %v", e.Name, err)
			}
			if got, err := f.read(r); err != nil || !bytes.Equal(got, content(1, r.Length)) {
				t.Errorf("the data: %d bytes, %v", len(got), err)
			}
			if test.step != "" {
				return
			}
			m.tell(persistCommand(r))
			f.wait("the second result", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return len(m.results) == 2 })
			if got := ufstest.Get(t.Context(), t, f.under, staged, 0, 1<<40); m.result(1).Error != nil || !bytes.Equal(got, content(1, r.Length)) {
				t.Errorf("told again: %v, %d bytes", m.result(1), len(got))
			}
		})
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("cut") }

// TestCommands does each command of the master on a file that is held and on one that is not; none stops the others.
func TestCommands(t *testing.T) {
	f := setup(t, 1)
	m := f.masters[0]
	f.wait("the registration", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return m.beats > 0 })
	for i, action := range []proto.WorkerCommand_Action{proto.WorkerCommand_FREE, proto.WorkerCommand_PIN, proto.WorkerCommand_UNPIN,
		proto.WorkerCommand_SET_PERSISTED, 77} {
		inode := uint64(100 + i)
		f.write(ref(inode, 1000), 0, 1000)
		m.tell(&proto.WorkerCommand{Action: action, Inode: inode, Version: 1})
		m.tell(&proto.WorkerCommand{Action: action, Inode: 9999, Version: 3}) // not held
	}
	unpersisted := func(inode uint64) (held, flag bool) {
		m.mu.Lock()
		defer m.mu.Unlock()
		flag, held = m.held[dfs.BlockID{File: dfs.FileVersion{Inode: dfs.InodeID(inode), Version: 1}}]
		return held, flag
	}
	f.wait("all commands to show", func() bool {
		freed, _ := unpersisted(100)
		_, persisted := unpersisted(103)
		last, flag := unpersisted(104)
		return !freed && !persisted && last && flag
	})
}

// TestPersistOnce takes repeated commands for a file that is being written for the same one.
func TestPersistOnce(t *testing.T) {
	f := setup(t, 1)
	f.stop()
	begun, goOn := make(chan struct{}, 10), make(chan struct{})
	f.start(func(c *worker.Config) {
		c.OpenUFS = func(context.Context, *proto.Mount) (ufs.Store, error) { return waiting{f.under, begun, goOn}, nil }
	})
	m, r := f.masters[0], ref(1, mib)
	f.write(r, 0, r.Length)
	for range 5 {
		m.tell(persistCommand(r))
	}
	<-begun
	beats := m.beatCount()
	f.wait("some heartbeats", func() bool { return m.beatCount() > beats+5 })
	close(goOn)
	f.wait("the result", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return len(m.results) > 0 })
	beats = m.beatCount()
	f.wait("some heartbeats more", func() bool { return m.beatCount() > beats+5 })
	m.with(func() {
		if len(m.results) != 1 || len(begun) != 0 {
			t.Errorf("%d results, %d more writes", len(m.results), len(begun))
		}
	})
}

func (m *master) beatCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.beats
}

type waiting struct {
	ufs.Store
	begun, goOn chan struct{}
}

func (w waiting) Create(ctx context.Context, path string, mode uint32) (ufs.Writer, error) {
	w.begun <- struct{}{}
	<-w.goOn
	return w.Store.Create(ctx, path, mode)
}

// TestBatches registers and reports more blocks than one message holds.
func TestBatches(t *testing.T) {
	const blocks = 12_000
	f := setup(t, 1)
	m := f.masters[0]
	f.stop()
	f.start(func(c *worker.Config) {
		c.Store.MaxChanges = 100_000
		c.Tiers[0].CapacityBytes = 128 * mib
	})
	f.wait("a heartbeat", func() bool { return m.beatCount() > 0 })
	r := ref(1, blocks)
	r.BlockSize = 1
	f.write(r, 0, blocks)
	f.wait("all blocks to be reported by heartbeats", func() bool { return m.blocks() == blocks })
	m.with(func() { m.lease += 10 }) // it forgot us
	f.wait("a registration in batches", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.batches == 2 && len(m.held) == blocks
	})
	start := time.Now()
	m.tell(&proto.WorkerCommand{Action: proto.WorkerCommand_FREE, Inode: 1})
	f.wait("all to be freed", func() bool { return m.blocks() == 0 })
	t.Logf("freed in %v", time.Since(start))
}
