// Package demo is Forebay's main job, shown on real processes: a directory of real files is mounted, listed, read cold
// and warm and compared with the originals, and the leader is killed under a writer. It reports what it saw and fails
// when any check does.
//
// The steps, each of which has a check: survey the source; read it natively, noting checksums; mount it read-only; list it and
// compare names and sizes; read it cold and compare every byte; read it warm, compare again, and see that the bytes came from the
// cache; kill the leader under a writer, read back what was acknowledged, and see another lead. The figures are those of one run
// on whatever else the machine does: package metadata and package data measure.
package demo

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/forebay/forebay/bench/cluster"
	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
)

// Config says what to show.
type Config struct {
	Binary   string
	Source   string // directory of real files; empty: the Go toolchain's own tree
	MaxFiles int    // of the source that are read
	MaxBytes int64
	Out      io.Writer
}

// Report is what was seen. It exists only when every check held. Native, Cold and Warm are the times of reading Files files of
// Bytes bytes by the same number of readers, each byte hashed on the way.
type Report struct {
	Files          int           `json:"files"`
	Bytes          int64         `json:"bytes"`
	List           time.Duration `json:"list_ns"`
	Native         time.Duration `json:"native_ns"`
	Cold           time.Duration `json:"cold_ns"`
	Warm           time.Duration `json:"warm_ns"`
	Acknowledged   int           `json:"acknowledged"`
	FailoverGap    time.Duration `json:"failover_gap_ns"`
	LeaderBefore   string        `json:"leader_before"`
	LeaderAfter    string        `json:"leader_after"`
	CachedFraction float64       `json:"cached_fraction"`
}

const readers = 8

// file is one original.
type file struct {
	rel  string
	size int64
	sum  [sha256.Size]byte
}

// Run shows everything and returns an error unless every check held: every name, size and byte as in the source, warm reads
// from the cache, no write refused or lost over the leader's death, and a new leader. The first that does not hold ends it.
// The source is only read. The processes and their folder are gone when Run returns, also when ctx ends it.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	dir, err := os.MkdirTemp("", "forebay-demo-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	d := &demo{cfg: cfg, ctx: ctx, report: &Report{}}
	if err := d.survey(); err != nil {
		return nil, err
	}
	under := filepath.Join(dir, "under")
	if err := os.Mkdir(under, 0o755); err != nil {
		return nil, err
	}
	d.say("starting 3 masters and 3 workers in %s", dir)
	d.c, err = cluster.Start(cluster.Config{Binary: cfg.Binary, Dir: dir, Masters: 3, Workers: 3, Capacity: "2GiB", RootURI: under})
	if err != nil {
		return nil, err
	}
	defer d.c.Close()
	if err := d.steps(); err != nil {
		return nil, err
	}
	d.table()
	return d.report, d.c.Close()
}

// demo is a run: what was surveyed, the cluster, and the report as it grows. Its steps run one after the other.
type demo struct {
	cfg    Config
	ctx    context.Context
	c      *cluster.Cluster
	client *client.Client
	files  []file
	report *Report
}

// say tells what happens while it happens: the demo takes a while, and silence looks like a hang.
func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.cfg.Out, "demo: "+format+"\n", args...) }

// steps runs the demo's parts in order on a cluster that is up. The first that fails ends it.
func (d *demo) steps() error {
	ready, cancel := context.WithTimeout(d.ctx, 30*time.Second)
	defer cancel()
	if err := d.c.Ready(ready); err != nil {
		return err
	}
	var err error
	if d.client, err = d.c.Client(func(c *client.Config) { c.Timeout = 20 * time.Second }); err != nil {
		return err
	}
	defer d.client.Close()
	for _, step := range []func() error{d.readNative, d.mount, d.list, d.readCold, d.readWarm, d.failover} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// survey picks regular files of the source, in the order of their names, up to the bounds. A directory that cannot be read is
// an error: the listing through Forebay would fail at it, too, and later. So is a source without files.
func (d *demo) survey() error {
	if d.cfg.Source == "" {
		out, err := exec.Command("go", "env", "GOROOT").Output()
		if err != nil {
			return fmt.Errorf("find the Go toolchain's tree: %w; name another directory with --source", err)
		}
		d.cfg.Source = strings.TrimSpace(string(out))
	}
	stop := errors.New("enough")
	err := filepath.WalkDir(d.cfg.Source, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if len(d.files) >= d.cfg.MaxFiles || d.report.Bytes+info.Size() > d.cfg.MaxBytes {
			return stop
		}
		rel, err := filepath.Rel(d.cfg.Source, path)
		d.files = append(d.files, file{rel: rel, size: info.Size()})
		d.report.Bytes += info.Size()
		return err
	})
	d.report.Files = len(d.files)
	if err != nil && !errors.Is(err, stop) {
		return fmt.Errorf("survey %s: %w; name another directory with --source", d.cfg.Source, err)
	}
	if len(d.files) == 0 {
		return fmt.Errorf("survey %s: no regular files; name another directory with --source", d.cfg.Source)
	}
	d.say("%d files, %.1f MB of %s", len(d.files), megabytes(d.report.Bytes), d.cfg.Source)
	return nil
}

// megabytes is in units of 10^6 bytes, as rates of disks and networks are given.
func megabytes(n int64) float64 { return float64(n) / 1e6 }

// readAll reads every file by several readers, each once, and times it. A reader stops at its first error; the others go on,
// so that an error may come with those of other readers. got is called by the readers, for different files at a time.
func (d *demo) readAll(open func(f *file) (io.ReadCloser, error), got func(f *file, sum [sha256.Size]byte, n int64) error) (time.Duration, error) {
	begin := time.Now()
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, readers)
	for r := range readers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(d.files) || errs[r] != nil {
					return
				}
				errs[r] = readOne(&d.files[i], open, got)
			}
		})
	}
	wg.Wait()
	return time.Since(begin), errors.Join(errs...)
}

// readOne reads one file to its end and passes on its checksum and length.
func readOne(f *file, open func(f *file) (io.ReadCloser, error), got func(f *file, sum [sha256.Size]byte, n int64) error) error {
	r, err := open(f)
	if err != nil {
		return err
	}
	defer r.Close()
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err != nil {
		return fmt.Errorf("read %s: %w", f.rel, err)
	}
	return got(f, [sha256.Size]byte(h.Sum(nil)), n)
}

// readNative notes the originals' checksums and lengths, which every later step compares with. It reads the originals once to have them in the kernel's cache, and once for the figure beside ours.
func (d *demo) readNative() error {
	native := func(f *file) (io.ReadCloser, error) { return os.Open(filepath.Join(d.cfg.Source, f.rel)) }
	keep := func(f *file, sum [sha256.Size]byte, n int64) error {
		f.sum, f.size = sum, n
		return nil
	}
	if _, err := d.readAll(native, keep); err != nil {
		return err
	}
	var err error
	d.report.Native, err = d.readAll(native, keep)
	return err
}

const mountPoint = dfs.Path("/data")

// mount puts the source into the namespace, read-only: the demo must not be able to harm real files.
func (d *demo) mount() error {
	return d.client.Mount(d.ctx, client.Mount{Path: mountPoint, URI: d.cfg.Source, ReadOnly: true, Shared: true, SyncInterval: -1})
}

// list walks the mount and compares names and sizes with the originals.
func (d *demo) list() error {
	begin := time.Now()
	sizes := map[string]int64{}
	err := d.client.WalkDir(d.ctx, mountPoint, func(p dfs.Path, s *dfs.FileStatus, err error) error {
		if err == nil && !s.IsDir() {
			sizes[mountPoint.Relative(p)] = s.Length
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	d.report.List = time.Since(begin)
	for _, f := range d.files {
		if size, ok := sizes[f.rel]; !ok || size != f.size {
			return fmt.Errorf("list: %s: %d bytes listed (%v), the original has %d", f.rel, size, ok, f.size)
		}
	}
	d.say("listed %d files in %.2f s; all names and sizes agree", len(sizes), d.report.List.Seconds())
	return nil
}

// read reads everything through Forebay and compares checksums.
func (d *demo) read() (time.Duration, error) {
	return d.readAll(func(f *file) (io.ReadCloser, error) {
		p, err := dfs.ParsePath(string(mountPoint) + "/" + filepath.ToSlash(f.rel))
		if err != nil {
			return nil, err
		}
		return d.client.Open(d.ctx, p)
	}, func(f *file, sum [sha256.Size]byte, n int64) error {
		if sum != f.sum || n != f.size {
			return fmt.Errorf("%s: the bytes differ from the original (%d of %d bytes)", f.rel, n, f.size)
		}
		return nil
	})
}

// readCold reads what no worker holds yet.
func (d *demo) readCold() (err error) {
	if d.report.Cold, err = d.read(); err == nil {
		d.say("read cold in %.2f s; all checksums agree", d.report.Cold.Seconds())
	}
	return err
}

// readWarm reads again, and makes sure that the bytes now came from the workers.
func (d *demo) readWarm() (err error) {
	before := d.client.Stats()
	if d.report.Warm, err = d.read(); err != nil {
		return err
	}
	after := d.client.Stats()
	total := after.BytesRead - before.BytesRead
	cached := after.BytesFromCache - before.BytesFromCache
	d.report.CachedFraction = float64(cached) / float64(max(total, 1))
	d.say("read warm in %.2f s; all checksums agree, %.1f%% of the bytes came from the workers' cache", d.report.Warm.Seconds(), 100*d.report.CachedFraction)
	if d.report.CachedFraction < 0.99 {
		return fmt.Errorf("warm read: only %.1f%% came from the cache", 100*d.report.CachedFraction)
	}
	return nil
}
