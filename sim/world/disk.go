package world

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// DiskConfig is a disk's speed. Zero values mean the defaults, a data centre's NVMe disk.
type DiskConfig struct {
	Rate     float64       // bytes a second, reads and writes
	ReadRate float64       // of reads, where they are faster: out of the machine's memory; 0: Rate
	Op       time.Duration // of each read besides its bytes
	Sync     time.Duration // of each sync besides what it writes
	CPU      DiskCPU
	Together bool    // that of syncs at one time is one: the file system commits them together, and only bytes queue
	Spread   float64 // of a sync's time: the standard deviation of its logarithm; with Together
}

func (c DiskConfig) withDefaults() DiskConfig {
	if c.Rate == 0 {
		c.Rate = 1.5e9
	}
	if c.Op == 0 {
		c.Op = 20 * time.Microsecond
	}
	if c.Sync == 0 {
		c.Sync = 200 * time.Microsecond
	}
	return c
}

// DiskCPU is what a disk's work costs a core of the machine: a file system's share of it, and copies.
type DiskCPU struct {
	Create time.Duration // of a file
	KiB    time.Duration // of what is written
	Sync   time.Duration
}

// disk is a node's file system in memory. A crash takes it back to what was synced, and of the rest a part that the seed
// chooses (crash.go). Its operations take no time where they happen, since callers may hold a lock: they are charged to the task
// (sched.Spend), after what others had the disk do before.
// What goes wrong with it besides is in diskfault.go. Left out: a cache of pages (each read is charged as if it came from
// the disk). Reads and writes share one rate and one queue.
type disk struct {
	vfs.FS
	w      *World
	mem    *vfs.MemFS
	rng    *rand.Rand
	cfg    DiskConfig
	n      *Node
	shared bool // with other nodes of the machine

	faults diskFaults
	// renames and creations that no sync of a directory confirmed, in their order: the last maxRenames of them. Of older ones a crash
	// treats the two names as if one was removed and another made.
	renames []renamed
}

// renamed is one rename or, without from, the creation of a file: it is another than what had that name before.
type renamed struct{ from, to string }

// A bound, since files may be renamed for hours in a directory that nobody syncs.
const maxRenames = 1000

func newDisk(n *Node, cfg DiskConfig, shared bool) *disk {
	d := &disk{w: n.w, n: n, shared: shared, cfg: cfg.withDefaults(), rng: n.w.stream("disk of " + n.name), mem: vfs.NewCrashableMem()}
	d.FS = d.mem
	return d
}

// use charges the running task with one operation.
// The queue is one number: an operation begins when the disk is free, also when a task whose clock runs ahead
// asked first. A crash frees it, unless other nodes share it.
func (d *disk) use(fixed time.Duration, bytes int, rate float64) {
	now, free := int64(d.w.Sched.Elapsed()), &d.n.on.diskFree
	*free = max(*free, now) + d.faults.slowed(float64(fixed)+float64(bytes)/rate*1e9)
	d.w.Sched.Spend(time.Duration(*free - now))
}

// work charges the running task with a core's work, where it cannot wait: under a lock. The core is taken from now on, also for
// a task whose own time is ahead: else it would stand still for others until then.
func (d *disk) work(cpu time.Duration) {
	if cpu > 0 {
		d.w.Sched.Spend(max(cpu, d.n.core(d.w.Sched.Reached(), cpu)-d.ahead()))
	}
}

// ahead is how far the running task's time is ahead of the world's.
func (d *disk) ahead() time.Duration { return d.w.Sched.Elapsed() - d.w.Sched.Reached() }

func (d *disk) written(n int) { d.work(d.cfg.CPU.KiB * time.Duration(n) / 1024) }

// sync charges for what a handle wrote, and confirms names.
func (d *disk) sync(f *diskFile) {
	d.work(d.cfg.CPU.Sync)
	if d.cfg.Together {
		bytes := time.Duration(d.faults.slowed(float64(f.unsynced) / d.cfg.Rate * 1e9))
		d.w.Sched.Spend(max(bytes, d.n.on.disk(d.w.Sched.Reached(), bytes)-d.ahead()))
		d.w.Sched.Spend(time.Duration(d.faults.slowed(float64(Spread(d.rng, d.cfg.Sync, d.cfg.Spread)))))
	} else {
		d.use(d.cfg.Sync, f.unsynced, d.cfg.Rate)
	}
	f.unsynced = 0
	f.confirm()
}

// wrap makes the operations on an open file count and charge. Opening itself costs nothing: names are in memory on
// a machine that runs.
func (d *disk) wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &diskFile{File: f, d: d}, nil
}

// path is a name as crash.go writes it.
func (d *disk) path(name string) string { return strings.TrimPrefix(d.PathJoin("/", name), "/") }

// List implements vfs.FS: in the order of the names, since a map's would not follow from the seed.
// It costs no time, and neither do the other operations on names.
func (d *disk) List(dir string) ([]string, error) {
	all, err := d.FS.List(dir)
	slices.Sort(all)
	return all, err
}

// Rename implements vfs.FS.
// It is atomic for those who look, and durable once a directory of it was synced: see confirm and crash.go.
func (d *disk) Rename(oldname, newname string) error {
	err := d.FS.Rename(oldname, newname)
	if err == nil {
		d.note(renamed{d.path(oldname), d.path(newname)})
	}
	return err
}

func (d *disk) note(r renamed) {
	d.renames = append(d.renames, r)
	d.renames = d.renames[max(0, len(d.renames)-maxRenames):]
}

// Create implements vfs.FS.
func (d *disk) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.wrap(d.FS.Create(name, category))
	if err == nil {
		d.work(d.cfg.CPU.Create)
		d.note(renamed{to: d.path(name)})
	}
	return f, err
}

// Open implements vfs.FS.
func (d *disk) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return d.wrap(d.FS.Open(name, opts...))
}

// OpenReadWrite implements vfs.FS.
func (d *disk) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return d.wrap(d.FS.OpenReadWrite(name, category, opts...))
}

// OpenDir implements vfs.FS.
func (d *disk) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &diskFile{File: f, d: d, directory: d.path(name), isDirectory: true}, nil
}

// ReuseForWrite implements vfs.FS.
func (d *disk) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.wrap(d.FS.ReuseForWrite(oldname, newname, category))
	if err == nil {
		d.note(renamed{d.path(oldname), d.path(newname)})
	}
	return f, err
}

// Unwrap implements vfs.FS.
func (d *disk) Unwrap() vfs.FS { return d.FS }

// diskFile charges what is done with one open file.
// A handle that is used after a crash acts on the tree before it, which nobody sees any more: its task is dead.
type diskFile struct {
	vfs.File
	d        *disk
	unsynced int

	directory   string // its path when it was opened
	isDirectory bool
}

// Read implements vfs.File.
func (f *diskFile) Read(p []byte) (int, error) {
	if err := f.d.faults.reading(); err != nil {
		return 0, err
	}
	n, err := f.File.Read(p)
	f.d.use(f.d.cfg.Op, n, cmp.Or(f.d.cfg.ReadRate, f.d.cfg.Rate))
	f.d.faults.read(p[:n])
	return n, err
}

// ReadAt implements vfs.File.
func (f *diskFile) ReadAt(p []byte, offset int64) (int, error) {
	if err := f.d.faults.reading(); err != nil {
		return 0, err
	}
	n, err := f.File.ReadAt(p, offset)
	f.d.use(f.d.cfg.Op, n, cmp.Or(f.d.cfg.ReadRate, f.d.cfg.Rate))
	f.d.faults.read(p[:n])
	return n, err
}

// Write implements vfs.File: into memory; the disk works when it is synced.
func (f *diskFile) Write(p []byte) (int, error) {
	p, err := f.d.faults.writing(p)
	if err != nil {
		return 0, err
	}
	n, err := f.File.Write(p)
	f.unsynced += n
	f.d.written(n)
	return n, err
}

// WriteAt implements vfs.File.
func (f *diskFile) WriteAt(p []byte, offset int64) (int, error) {
	p, err := f.d.faults.writing(p)
	if err != nil {
		return 0, err
	}
	n, err := f.File.WriteAt(p, offset)
	f.unsynced += n
	f.d.written(n)
	return n, err
}

// Sync implements vfs.File.
// The charge is for what this handle wrote since its last sync, while what others wrote to the file is synced with
// it for nothing. It takes effect at once and is paid for after, so that a crash during the time that it takes
// finds the content synced: callers lose the acknowledgement, never the reverse.
func (f *diskFile) Sync() error {
	if err := f.d.faults.syncing(); err != nil {
		return err
	}
	f.d.sync(f)
	return f.File.Sync()
}

// confirm notes that renames from or into a directory are synced with it. When there are any, then so are all others, and
// both directories of each with the way to them: the journal of a file system writes them in one transaction, else a
// file could be lost between two names.
func (f *diskFile) confirm() {
	d := f.d
	here := func(r renamed) bool {
		return d.parent(r.to) == f.directory || r.from != "" && d.parent(r.from) == f.directory
	}
	if !f.isDirectory || !slices.ContainsFunc(d.renames, here) {
		return
	}
	if !slices.ContainsFunc(d.renames, func(r renamed) bool { return r.from != "" && here(r) }) { // only creations
		d.renames = slices.DeleteFunc(d.renames, here)
		return
	}
	for _, r := range d.renames {
		d.commit(d.parent(r.to))
		if r.from != "" {
			d.commit(d.parent(r.from))
		}
	}
	d.renames = nil
}

func (d *disk) parent(path string) string { return d.path(d.PathDir(path)) }

// commit syncs a directory and those above it, in memory: it takes no time of its own.
func (d *disk) commit(dir string) {
	for {
		if f, err := d.FS.OpenDir(dir); err == nil { // else it was removed meanwhile
			_ = f.Sync() // in memory
			_ = f.Close()
		}
		if dir == "" {
			return
		}
		dir = d.parent(dir)
	}
}

// SyncData implements vfs.File.
func (f *diskFile) SyncData() error {
	if err := f.d.faults.syncing(); err != nil {
		return err
	}
	f.d.sync(f)
	return f.File.SyncData()
}
