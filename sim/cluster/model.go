package cluster

import (
	"context"
	"io"
	"time"

	"github.com/forebay/forebay/sim/model"
	"github.com/forebay/forebay/sim/simjournal"
	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/ufs"
)

// This file builds a cluster by a calibrated model. Without one nothing of it has an effect.

// calibrate has the world charge by the model, before the first node is made.
func (c *Cluster) calibrate() {
	m := c.cfg.Model
	if m == nil {
		return
	}
	c.World.Costs = m
	if c.cfg.OneMachine {
		c.machine = world.NewMachine(m.Cores)
		c.World.Net.Topology = m.Topology()
	}
}

// modelled is a node's machine by the model. Processes of one machine have no network card between them.
func (c *Cluster) modelled(cfg world.NodeConfig) world.NodeConfig {
	m := c.cfg.Model
	if m == nil {
		return cfg
	}
	cfg.Cores, cfg.Disk, cfg.On = m.Cores, m.DiskConfig(), c.machine
	if c.machine != nil {
		cfg.NIC = -1
	}
	return cfg
}

// timing is the journal's.
func (c *Cluster) timing() simjournal.Timing {
	t := simjournal.DefaultTiming
	t.Snapshot = c.cfg.SnapshotEntries
	if m := c.cfg.Model; m != nil {
		t.Sync, t.Entry, t.Spread = time.Duration(m.Journal.SyncNs), time.Duration(m.Journal.EntryNs), m.Disk.SyncSpread
	}
	return t
}

// Committed is how many entries the masters' journal has, of its own too.
func (c *Cluster) Committed() uint64 { return c.quorum.Committed() }

// charged is an under store whose driver works on the node's own cores and disk, as that of a file system does.
func (c *Cluster) charged(n *world.Node, s ufs.Store) ufs.Store {
	if c.cfg.Model == nil {
		return s
	}
	return &localStore{s, n, &c.cfg.Model.Store, &c.cfg.Model.Disk}
}

// localStore charges a node for the requests that carry data. Others are rare on the way of data, and part of what their
// operations cost.
type localStore struct {
	ufs.Store
	n    *world.Node
	m    *model.Store
	disk *model.Disk
}

// Unwrap makes the store's extras be found (ufs.As).
func (s *localStore) Unwrap() ufs.Store { return s.Store }

// Open implements ufs.Store.
func (s *localStore) Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, error) {
	if err := s.n.Compute(ctx, time.Duration(s.m.OpenNs)); err != nil {
		return nil, err
	}
	r, err := s.Store.Open(ctx, path, offset, length)
	if err != nil {
		return nil, err
	}
	return &localReader{r, s, ctx}, nil
}

// Create implements ufs.Store.
func (s *localStore) Create(ctx context.Context, path string, mode uint32) (ufs.Writer, error) {
	if err := s.n.Compute(ctx, time.Duration(s.m.WriteNs)); err != nil {
		return nil, err
	}
	w, err := s.Store.Create(ctx, path, mode)
	if err != nil {
		return nil, err
	}
	return &localWriter{Writer: w, s: s, ctx: ctx}, nil
}

func perKiB(ns float64, bytes int) time.Duration { return time.Duration(ns * float64(bytes) / 1024) }

type localReader struct {
	io.ReadCloser
	s   *localStore
	ctx context.Context
}

// Read implements io.Reader.
func (r *localReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if e := r.s.n.Compute(r.ctx, perKiB(r.s.m.ReadKiBNs, n)); e != nil && err == nil {
		err = e
	}
	return n, err
}

// Fingerprint implements ufs.Fingerprinted.
func (r *localReader) Fingerprint() string { return ufs.FingerprintOf(r.ReadCloser) }

type localWriter struct {
	ufs.Writer
	s       *localStore
	ctx     context.Context
	written int
}

// Write implements io.Writer.
func (w *localWriter) Write(p []byte) (int, error) {
	if err := w.s.n.Compute(w.ctx, perKiB(w.s.m.WriteKiBNs, len(p))); err != nil {
		return 0, err
	}
	n, err := w.Writer.Write(p)
	w.written += n
	return n, err
}

// Commit implements ufs.Writer: its bytes queue at the disk, and what else it takes does not (world.DiskConfig.Together).
func (w *localWriter) Commit(ctx context.Context) (ufs.Entry, error) {
	if err := w.s.n.Flush(ctx, time.Duration(float64(w.written)/w.s.disk.BytesPerSecond*1e9)); err != nil {
		return ufs.Entry{}, err
	}
	w.written = 0
	if err := w.s.n.Sleep(ctx, world.Spread(w.s.n.Rand(), time.Duration(w.s.m.CommitNs), w.s.disk.SyncSpread)); err != nil {
		return ufs.Entry{}, err
	}
	return w.Writer.Commit(ctx)
}
