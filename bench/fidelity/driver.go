package fidelity

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

// driver runs workloads on a host, which may be this machine or a node of the simulator: the same code in both. It may wait in
// nothing but the host, and holds no lock over a wait.
type driver struct {
	h         host.Host
	c         *client.Client
	counts    *counts
	originals func(dir string, files, size int) error // puts files into the under store, behind Forebay's back
	dirs      int                                     // made so far: each slice has names of its own
}

// slice is what one run of a workload's operations showed.
type slice struct {
	Ops       int
	Wall      time.Duration
	Latencies []time.Duration // of each operation
	Metadata  int64           // messages that the client and masters exchanged
}

// job is a workload made ready: what its i-th operation is. Operations of one job run at the same time.
type job struct {
	ops int
	one func(ctx context.Context, i int) error
}

// maxSlice bounds a slice: a cluster that hangs must not hang the experiment.
const maxSlice = time.Minute

// run does all operations of a job, by so many callers, each of which takes the next one when it is free.
func (d *driver) run(ctx context.Context, callers int, j job) (slice, error) {
	ctx, cancel := d.h.WithTimeout(ctx, maxSlice)
	defer cancel()
	s := slice{Ops: j.ops, Latencies: make([]time.Duration, j.ops)}
	var next atomic.Int64
	group := host.NewGroup(d.h, 0)
	before, began := d.counts.metadata.Load(), d.h.Now()
	for range callers {
		_ = group.Go(ctx, "caller", func() error { // without a limit it does not fail
			for {
				i := int(next.Add(1)) - 1
				if i >= j.ops {
					return nil
				}
				at := d.h.Now()
				if err := j.one(ctx, i); err != nil {
					next.Store(int64(j.ops)) // the others need not go on
					return err
				}
				s.Latencies[i] = d.h.Now().Sub(at)
			}
		})
	}
	err := group.Wait(ctx)
	s.Wall, s.Metadata = d.h.Now().Sub(began), d.counts.metadata.Load()-before
	return s, err
}

// dir makes a directory of its own for a slice. It is in the cache's namespace only.
func (d *driver) dir(ctx context.Context) (dfs.Path, error) {
	d.dirs++
	p := dfs.Path(fmt.Sprintf("/fidelity-%d", d.dirs))
	return p, d.c.Mkdir(ctx, p, client.WithWriteType(dfs.WriteMustCache))
}

// prepare makes a workload ready for many slices: slice returns the job of the next one.
func (d *driver) prepare(ctx context.Context, w Workload) (next func(ctx context.Context) (job, error), err error) {
	switch w.Op {
	case opStatus, opList:
		return d.lookups(ctx, w)
	case opCreate, opMkdir, opWrite:
		data := make([]byte, w.Bytes)
		return func(ctx context.Context) (job, error) {
			dir, err := d.dir(ctx)
			return job{w.Ops, func(ctx context.Context, i int) error { return d.change(ctx, w, dir, i, data) }}, err
		}, nil
	case opCold:
		return func(ctx context.Context) (job, error) {
			names, err := d.load(ctx, w.Ops, w.Bytes)
			return job{w.Ops, func(ctx context.Context, i int) error { return d.read(ctx, names(i), w.Bytes) }}, err
		}, nil
	case opWarm:
		return d.warm(ctx, w)
	}
	return nil, fmt.Errorf("fidelity: there is no operation %q", w.Op)
}

// statusFiles is how many files a directory has whose files are asked about.
const statusFiles = 1000

// lookups asks about files that are made once: one of them at a time, or all by a listing.
func (d *driver) lookups(ctx context.Context, w Workload) (func(context.Context) (job, error), error) {
	dir, err := d.dir(ctx)
	if err != nil {
		return nil, err
	}
	files := statusFiles
	if w.Entries > 0 {
		files = w.Entries
	}
	made := job{files, func(ctx context.Context, i int) error {
		return d.change(ctx, Workload{Op: opCreate}, dir, i, nil)
	}}
	if _, err := d.run(ctx, 64, made); err != nil {
		return nil, err
	}
	one := func(ctx context.Context, i int) error {
		p := name(dir, i*31%files)
		s, err := d.c.Stat(ctx, p)
		if err == nil && s.Path != p {
			err = fmt.Errorf("status of %s answered %s", p, s.Path)
		}
		return err
	}
	if w.Op == opList {
		one = func(ctx context.Context, _ int) error { return d.list(ctx, dir, files) }
	}
	return func(context.Context) (job, error) { return job{w.Ops, one}, nil }, nil
}

func (d *driver) list(ctx context.Context, dir dfs.Path, want int) error {
	n := 0
	for _, err := range d.c.List(ctx, dir) {
		if err != nil {
			return err
		}
		n++
	}
	if n != want {
		return fmt.Errorf("the listing of %s has %d entries, want %d", dir, n, want)
	}
	return nil
}

func name(dir dfs.Path, i int) dfs.Path { return dir.Join(fmt.Sprintf("sample-%06d", i)) }

// change is one operation that makes something.
func (d *driver) change(ctx context.Context, w Workload, dir dfs.Path, i int, data []byte) error {
	switch w.Op {
	case opMkdir:
		return d.c.Mkdir(ctx, name(dir, i), client.WithWriteType(dfs.WriteMustCache))
	case opCreate:
		f, err := d.c.Create(ctx, name(dir, i), client.WithWriteType(dfs.WriteMustCache))
		if err != nil {
			return err
		}
		return f.Close()
	}
	return d.c.WriteFile(ctx, name(dir, i), data, client.WithWriteType(w.Type))
}

// load puts files into the under store and has the master know them, without anybody reading them.
func (d *driver) load(ctx context.Context, files, size int) (func(int) dfs.Path, error) {
	d.dirs++
	dir := fmt.Sprintf("original-%d", d.dirs)
	if err := d.originals(dir, files, size); err != nil {
		return nil, err
	}
	_, err := d.c.LoadMetadata(ctx, dfs.Path("/"+dir), true)
	return func(i int) dfs.Path { return dfs.Path("/" + dir).Join(originalName(i)) }, err
}

func originalName(i int) string { return fmt.Sprintf("sample-%06d", i) }

// settledFiles is how many files each worker gets before it is measured: a fresh one makes a directory, durably, for nearly each of
// its first files, and is several times slower.
const settledFiles = 600

// settle fills new workers with small files.
func (d *driver) settle(ctx context.Context, workers int) error {
	const callers = 16
	names, err := d.load(ctx, settledFiles*workers, kib)
	if err == nil {
		_, err = d.run(ctx, callers, job{settledFiles * workers, func(ctx context.Context, i int) error { return d.read(ctx, names(i), kib) }})
	}
	return err
}

// warmFiles is how many files are read warm, again and again.
const warmFiles = 64

func (d *driver) warm(ctx context.Context, w Workload) (func(context.Context) (job, error), error) {
	files := warmFiles
	if w.Bytes >= 1<<20 {
		files = 4
	}
	names, err := d.load(ctx, files, w.Bytes)
	if err != nil {
		return nil, err
	}
	j := job{w.Ops, func(ctx context.Context, i int) error { return d.read(ctx, names(i%files), w.Bytes) }}
	_, err = d.run(ctx, 4, job{files, j.one})
	return func(context.Context) (job, error) { return j, nil }, err
}

// buffers are what callers read into: a caller of a real program has one of its own.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0); return &b }}

// read opens, reads and closes one file, as a data loader does. The client compares the checksums of all that it reads.
func (d *driver) read(ctx context.Context, p dfs.Path, size int) error {
	f, err := d.c.Open(ctx, p)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	if cap(*b) < size {
		*b = make([]byte, size)
	}
	n, err := f.ReadAt((*b)[:size], 0)
	if err == io.EOF && n == size {
		err = nil
	}
	if err == nil && f.Size() != int64(size) {
		err = fmt.Errorf("%s has %d bytes, want %d", p, f.Size(), size)
	}
	return err
}
