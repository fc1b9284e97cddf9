// Package data measures reads and writes of file data through a real cluster: cold and warm, large files and small ones,
// and writes by type, with the CPU time of every process.
//
// Every byte that is read is compared with what was written, and a cold read is of files that nobody has read in this cluster: each
// round has originals of its own. What the kernel has cached of them is not controlled: cold means cold for Forebay, and the
// under store is this machine's memory. Compare cold with warm, and types of writes with each other, on one machine and in one
// run; a rate by itself says little.
package data

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/forebay/forebay/bench/cluster"
	"github.com/forebay/forebay/bench/record"
	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
)

// Config says how much to measure.
type Config struct {
	Binary string
	Runs   int
	Rec    *record.Recorder
}

const threads = 8

// sizes are what is read and written. The names of the measurements say those of full, the only ones that are recorded.
type sizes struct {
	large, small int // bytes of a file
	files        int // of the small size, read in a round
	written      int // bytes of the large file that is written; small files are written in a quarter of the number read
}

var full = sizes{large: 256 << 20, small: 100 << 10, files: 2000, written: 64 << 20}

// Run measures everything: it writes the originals, starts a cluster over them, and runs a round to warm up and cfg.Runs (at
// least 1) for the record. It needs room for (Runs+1) * 0.5 GB of originals, and as much again in the workers' caches and
// what is written. An error, the end of ctx included, ends it; the rows recorded by then are not to be used. The processes
// and the folder are gone when it returns.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Runs < 1 {
		return fmt.Errorf("data: %d runs measure nothing: want at least 1", cfg.Runs)
	}
	dir, err := os.MkdirTemp("", "forebay-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{cfg: cfg, ctx: ctx, sizes: full, under: filepath.Join(dir, "under")}
	if err := b.originals(); err != nil {
		return err
	}
	c, err := cluster.Start(cluster.Config{Binary: cfg.Binary, Dir: dir, Masters: 1, Workers: 2, Capacity: "3GiB", RootURI: b.under})
	if err != nil {
		return err
	}
	defer c.Close()
	b.c = c
	ready, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := c.Ready(ready); err != nil {
		return err
	}
	if b.client, err = c.Client(nil); err != nil {
		return err
	}
	defer b.client.Close()
	for run := range cfg.Runs + 1 {
		if err := b.round(run); err != nil {
			return err
		}
	}
	return nil
}

// bench is the cluster under measurement and the bytes that its files hold. bytes are not changed after
// originals, so that all threads share them.
type bench struct {
	sizes
	cfg    Config
	ctx    context.Context
	under  string
	c      *cluster.Cluster
	client *client.Client
	bytes  struct{ large, small []byte }
}

// originals writes what is read cold, one set for each round. It writes below the under store's root, where the cluster finds
// it when the round loads its metadata. The bytes are random, but the same on every run and machine.
func (b *bench) originals() error {
	rng := rand.NewChaCha8([32]byte{1})
	b.bytes.large, b.bytes.small = make([]byte, b.large), make([]byte, b.small)
	_, _ = rng.Read(b.bytes.large) // it cannot fail
	_, _ = rng.Read(b.bytes.small)
	for run := range b.cfg.Runs + 1 {
		dir := filepath.Join(b.under, fmt.Sprintf("round%d", run))
		if err := os.MkdirAll(filepath.Join(dir, "small"), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "large"), b.bytes.large, 0o644); err != nil {
			return err
		}
		for i := range b.files {
			if err := os.WriteFile(filepath.Join(dir, "small", fmt.Sprintf("%05d", i)), b.bytes.small, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// measure records one run, unless it is the warm-up (run 0). CPU is summed over all processes: on a shared machine a
// rate says little, the work done says more.
func (b *bench) measure(name string, run int, work func() (ops, size int64, err error)) error {
	servers := func() time.Duration { return b.c.CPU("") }
	server, own, begin := servers(), cluster.OwnCPU(), time.Now()
	ops, size, err := work()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if run > 0 {
		b.cfg.Rec.Add(record.Row{Name: name, Run: run, Ops: ops, Bytes: size, Wall: time.Since(begin), ServerCPU: servers() - server, ClientCPU: cluster.OwnCPU() - own})
	}
	return nil
}

// round reads its own set of originals, so that cold is cold in each round, and then writes.
func (b *bench) round(run int) error {
	root := dfs.Path(fmt.Sprintf("/round%d", run))
	if _, err := b.client.LoadMetadata(b.ctx, root, true); err != nil {
		return err
	}
	large := func() (int64, int64, error) { return b.readLarge(root + "/large") }
	small := func() (int64, int64, error) { return b.readSmall(root + "/small") }
	for _, m := range []struct {
		name string
		work func() (int64, int64, error)
	}{
		{"read 256 MiB cold", large}, {"read 256 MiB warm", large},
		{"read 100 KiB files cold, 8 threads", small}, {"read 100 KiB files warm, 8 threads", small},
	} {
		if err := b.measure(m.name, run, m.work); err != nil {
			return err
		}
	}
	return b.writes(run)
}

// readLarge compares every byte on the way: a fast wrong answer would win otherwise.
func (b *bench) readLarge(p dfs.Path) (int64, int64, error) {
	f, err := b.client.Open(b.ctx, p)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	v := &verifier{want: b.bytes.large}
	n, err := io.Copy(v, f)
	if err == nil && n != int64(b.large) {
		err = fmt.Errorf("%s: %d bytes of %d", p, n, b.large)
	}
	return 1, n, err
}

// verifier compares what comes with what should, piece by piece, so that no second copy of a large file is needed. What is
// left of want at the end did not come: whoever copies compares the count, too.
type verifier struct{ want []byte }

// Write implements io.Writer.
func (v *verifier) Write(p []byte) (int, error) {
	if len(p) > len(v.want) || !bytes.Equal(p, v.want[:len(p)]) {
		return 0, fmt.Errorf("the bytes differ from the original, %d before the end", len(v.want))
	}
	v.want = v.want[len(p):]
	return len(p), nil
}

// parallel spreads n pieces of work over the threads, which take the next one when they are free. A thread stops at its
// first error, and the measurement fails with it.
func (b *bench) parallel(n int, one func(i int) error) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, threads)
	for t := range threads {
		wg.Go(func() {
			for errs[t] == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				errs[t] = one(i)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// readSmall opens, reads and closes every file by itself, as a data loader does.
func (b *bench) readSmall(dir dfs.Path) (int64, int64, error) {
	err := b.parallel(b.files, func(i int) error {
		got, err := b.client.ReadFile(b.ctx, dir.Join(fmt.Sprintf("%05d", i)))
		if err == nil && !bytes.Equal(got, b.bytes.small) {
			err = fmt.Errorf("file %d differs from the original", i)
		}
		return err
	})
	return int64(b.files), int64(b.files) * int64(b.small), err
}

// writes trusts the acknowledgement, as an application does; that acknowledged bytes are there is what package crash is for.
// It measures each write type, and takes the files away so that rounds meet the same room.
func (b *bench) writes(run int) error {
	for _, t := range []dfs.WriteType{dfs.WriteMustCache, dfs.WriteCacheThrough, dfs.WriteThrough, dfs.WriteAsyncThrough} {
		dir := dfs.Path(fmt.Sprintf("/%s-%d", t, run))
		if err := b.client.Mkdir(b.ctx, dir); err != nil {
			return err
		}
		err := b.measure("write 64 MiB "+t.String(), run, func() (int64, int64, error) {
			return 1, int64(b.written), b.client.WriteFile(b.ctx, dir+"/large", b.bytes.large[:b.written], client.WithWriteType(t))
		})
		if err != nil {
			return err
		}
		err = b.measure("write 100 KiB files "+t.String()+", 8 threads", run, func() (int64, int64, error) {
			n := b.files / 4
			return int64(n), int64(n) * int64(b.small), b.parallel(n, func(i int) error {
				return b.client.WriteFile(b.ctx, dir.Join(fmt.Sprintf("%05d", i)), b.bytes.small, client.WithWriteType(t))
			})
		})
		if err != nil {
			return err
		}
		if err := b.client.Remove(b.ctx, dir, client.RemoveOptions{Recursive: true}); err != nil {
			return err
		}
	}
	return nil
}
