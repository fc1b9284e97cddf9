package world

import (
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// DiskConfig is a disk's speed. Zero values mean the defaults, a data centre's NVMe disk.
type DiskConfig struct {
	Rate float64       // bytes a second, reads and writes
	Op   time.Duration // of each read or write besides its bytes
	Sync time.Duration // of each sync besides what it writes
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

// disk is a node's file system in memory. A crash takes it back to what was synced, and of the rest a part that the seed
// chooses (crash.go). Its operations take no time where they happen, since callers may hold a lock: they are charged to the task
// (sched.Spend), after what others had the disk do before.
// What goes wrong with it besides is in diskfault.go. Left out: a cache of pages (each read is charged as if it came from
// the disk). Reads and writes share one rate and one queue.
type disk struct {
	vfs.FS
	w    *World
	mem  *vfs.MemFS
	rng  *rand.Rand
	cfg  DiskConfig
	free int64 // when it has done all that was asked

	faults diskFaults
	// renames and creations that no sync of a directory confirmed, in their order: the last maxRenames of them. Of older ones a crash
	// treats the two names as if one was removed and another made.
	renames []renamed
}

// renamed is one rename or, without from, the creation of a file: it is another than what had that name before.
type renamed struct{ from, to string }

// A bound, since files may be renamed for hours in a directory that nobody syncs.
const maxRenames = 1000

func newDisk(w *World, name string, cfg DiskConfig) *disk {
	d := &disk{w: w, cfg: cfg.withDefaults(), rng: w.stream("disk of " + name), mem: vfs.NewCrashableMem()}
	d.FS = d.mem
	return d
}

// use charges the running task with one operation.
// The queue is one number: an operation begins when the disk is free, also when a task whose clock runs ahead
// asked first. A crash frees it.
func (d *disk) use(fixed time.Duration, bytes int) {
	now := int64(d.w.Sched.Elapsed())
	d.free = max(d.free, now) + d.faults.slowed(float64(fixed)+float64(bytes)/d.cfg.Rate*1e9)
	d.w.Sched.Spend(time.Duration(d.free - now))
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
	f.d.use(f.d.cfg.Op, n)
	f.d.faults.read(p[:n])
	return n, err
}

// ReadAt implements vfs.File.
func (f *diskFile) ReadAt(p []byte, offset int64) (int, error) {
	if err := f.d.faults.reading(); err != nil {
		return 0, err
	}
	n, err := f.File.ReadAt(p, offset)
	f.d.use(f.d.cfg.Op, n)
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
	f.d.use(f.d.cfg.Sync, f.unsynced)
	f.unsynced = 0
	f.confirm()
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
	f.d.use(f.d.cfg.Sync, f.unsynced)
	f.unsynced = 0
	f.confirm()
	return f.File.SyncData()
}
