package node

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/config"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/metrics"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/drivers"
	"github.com/forebay/forebay/system/worker"
	"github.com/forebay/forebay/system/worker/blockstore"
	"github.com/forebay/forebay/system/worker/tier"
)

// Worker is a running worker: a gRPC server, the service behind it, an HTTP door, and a client for other workers' data.
//
// What open sets is not changed afterwards, so that its methods need no lock.
type Worker struct {
	h      host.Host
	worker *worker.Worker // nil when its tiers could not be opened
	server host.Server
	door   *door
	client *client.Client // reads other workers' blocks
	stop   once
}

// RunWorker runs a worker until ctx ends, then stops it within stopTimeout. What only it holds is away until it runs again.
// An error to start is returned at once; one to stop means that something could not be closed in time, or not at all.
func RunWorker(ctx context.Context, h host.Host, cfg *config.Config, log *slog.Logger) error {
	return run(ctx, h, log, "worker", func() (stoppable, error) {
		w, err := StartWorker(h, cfg, log, drivers.Drivers{})
		if err != nil {
			return nil, err
		}
		log.Info("worker is up", "worker", w.worker.ID(), "address", w.server.Addr(), "http", w.door.Addr())
		return w, nil
	})
}

// StartWorker starts a worker. It recovers what its tiers hold before it answers, and needs no master for that: it looks for
// one in the background for as long as it runs. When it fails, ports and files are free again.
//
// The tiers' recovery is not bounded by a time: it takes as long as their disks need, and until then clients that connect
// wait.
func StartWorker(h host.Host, cfg *config.Config, log *slog.Logger, d drivers.Drivers) (*Worker, error) {
	c := &cfg.Worker
	server, err := h.Listen(c.Address)
	if err != nil {
		return nil, dfs.Errorf(dfs.Unavailable, "start worker", c.Address, "%v", err)
	}
	w := &Worker{h: h, server: server}
	reg := metrics.New()
	if err := w.open(c, newOpener(h, d, reg), reg, log); err != nil {
		ctx, cancel := h.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		_ = w.Stop(ctx) // the first error says why
		return nil, err
	}
	w.worker.Register(server)
	server.Serve()
	w.worker.Start()
	return w, nil
}

// open recovers the tiers before anything is served. The client comes first, since the worker may need other workers' blocks
// as soon as a master answers.
//
// What it has opened when it fails is Stop's to close. The door comes last and has no check of its own: it answers only once
// the tiers are recovered.
func (w *Worker) open(c *config.Worker, stores *opener, reg *metrics.Registry, log *slog.Logger) error {
	var err error
	name, group := processUser()
	w.client, err = client.New(client.Config{Host: w.h, Masters: c.Masters, Name: "worker " + w.server.Addr(),
		Identity: dfs.Identity{User: name, Groups: []string{group}}, ReadType: dfs.ReadNoCache})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return dfs.Errorf(dfs.Unavailable, "start worker", c.Dir, "%v: set worker.dir to a folder that can be written", err)
	}
	w.worker, err = worker.New(context.Background(), worker.Config{
		Host: w.h, Dir: c.Dir, Address: w.server.Addr(), Masters: c.Masters, Version: Version, Logger: log, HeartbeatInterval: c.Heartbeat,
		Tiers: tiers(c), Store: blockstore.Config{ScrubBytesPerSecond: scrubRate(c)}, ReadRemote: ReadRemote(w.client),
		OpenUFS: func(ctx context.Context, m *proto.Mount) (ufs.Store, error) {
			return stores.open(ctx, m.Uri, m.Options)
		},
	})
	if err != nil {
		return err
	}
	exportWorker(reg.Part("worker"), w.worker)
	w.door, err = openDoor(c.HTTP.Address, reg, nil, nil)
	return err
}

// scrubRate passes the configured pace on; 0 means none there and the default below.
func scrubRate(c *config.Worker) int64 {
	if c.Scrub.Rate == 0 {
		return -1
	}
	return int64(c.Scrub.Rate)
}

// tiers turns configuration into the worker's terms; the watermarks are one for all tiers. The order is kept: fastest first.
func tiers(c *config.Worker) []tier.Config {
	var out []tier.Config
	for _, t := range c.Tiers {
		out = append(out, tier.Config{Name: t.Name, Dir: t.Dir, CapacityBytes: int64(t.Capacity), High: c.Watermark.High, Low: c.Watermark.Low})
	}
	return out
}

// Address is where clients find this worker.
func (w *Worker) Address() string { return w.server.Addr() }

// Stop ends the worker in order: no new streams, then its conversation with the masters, then its files. It also ends one
// that was opened only in part. Further calls return what the first one did.
func (w *Worker) Stop(ctx context.Context) error {
	return w.stop.do(ctx, w.h, func() error {
		w.door.close()
		stopServer(ctx, w.h, w.server)
		var err error
		if w.worker != nil {
			err = w.worker.Stop(ctx)
		}
		if w.client != nil {
			_ = w.client.Close() // it has no session of its own
		}
		return err
	})
}

// ReadRemote makes a worker's way to read a part of a file version that other workers hold, for one that is told to
// replicate or persist it, from a client of the cluster. The path in the status is made up: blocks are located by inode
// and version, and the path appears in errors only. The caller closes the reader.
//
// Reading moves nothing in the holders' caches when c reads with ReadNoCache: a copy that is made for safety is no sign
// of use. ctx ends the reader too. Offsets are the file's; at the end of the length comes io.EOF.
func ReadRemote(c *client.Client) func(ctx context.Context, ref *proto.FileRef, offset, length int64) (io.ReadCloser, error) {
	return func(ctx context.Context, ref *proto.FileRef, offset, length int64) (io.ReadCloser, error) {
		status := &dfs.FileStatus{
			ID: dfs.InodeID(ref.Inode), Version: ref.Version, Length: ref.Length, BlockSize: ref.BlockSize, Completed: true,
			Persist: dfs.NotPersisted, MountID: dfs.MountID(ref.MountId), UfsPath: ref.UfsPath, Path: dfs.Path("/" + ref.UfsPath),
		}
		f, err := c.OpenStatus(ctx, status)
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{io.NewSectionReader(f, offset, length), f}, nil
	}
}

// exportWorker shows what an operator watches of a worker. The tier's place is part of each name, since two tiers may be of
// one kind.
func exportWorker(reg *metrics.Registry, w *worker.Worker) {
	for i, t := range w.Store().Tiers() {
		tier := reg.Part(fmt.Sprintf("worker_tier%d_%s", i, lower(t.Name)))
		tier.GaugeFunc("capacity_bytes", "of the tier", func() float64 { return float64(w.Store().Tiers()[i].CapacityBytes) })
		tier.GaugeFunc("used_bytes", "of the tier", func() float64 { return float64(w.Store().Tiers()[i].UsedBytes) })
		tier.GaugeFunc("failed", "1 when the tier's disk has failed", func() float64 {
			if w.Store().Tiers()[i].Failed {
				return 1
			}
			return 0
		})
	}
}
