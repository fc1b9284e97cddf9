package world

import (
	"math/rand/v2"
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
type disk struct {
	vfs.FS
	w    *World
	mem  *vfs.MemFS
	rng  *rand.Rand
	cfg  DiskConfig
	free int64 // when it has done all that was asked
}

func newDisk(w *World, name string, cfg DiskConfig) *disk {
	d := &disk{w: w, cfg: cfg.withDefaults(), rng: w.stream("disk of " + name), mem: vfs.NewCrashableMem()}
	d.FS = d.mem
	return d
}

// use charges the running task with one operation.
func (d *disk) use(fixed time.Duration, bytes int) {
	now := int64(d.w.Sched.Elapsed())
	d.free = max(d.free, now) + int64(fixed) + int64(float64(bytes)/d.cfg.Rate*1e9)
	d.w.Sched.Spend(time.Duration(d.free - now))
}

func (d *disk) wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &diskFile{File: f, d: d}, nil
}

// Create implements vfs.FS.
func (d *disk) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return d.wrap(d.FS.Create(name, category))
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
func (d *disk) OpenDir(name string) (vfs.File, error) { return d.wrap(d.FS.OpenDir(name)) }

// ReuseForWrite implements vfs.FS.
func (d *disk) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return d.wrap(d.FS.ReuseForWrite(oldname, newname, category))
}

// Unwrap implements vfs.FS.
func (d *disk) Unwrap() vfs.FS { return d.FS }

// diskFile charges what is done with one open file.
type diskFile struct {
	vfs.File
	d        *disk
	unsynced int
}

// Read implements vfs.File.
func (f *diskFile) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	f.d.use(f.d.cfg.Op, n)
	return n, err
}

// ReadAt implements vfs.File.
func (f *diskFile) ReadAt(p []byte, offset int64) (int, error) {
	n, err := f.File.ReadAt(p, offset)
	f.d.use(f.d.cfg.Op, n)
	return n, err
}

// Write implements vfs.File: into memory; the disk works when it is synced.
func (f *diskFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.unsynced += n
	return n, err
}

// WriteAt implements vfs.File.
func (f *diskFile) WriteAt(p []byte, offset int64) (int, error) {
	n, err := f.File.WriteAt(p, offset)
	f.unsynced += n
	return n, err
}

// Sync implements vfs.File.
func (f *diskFile) Sync() error {
	f.d.use(f.d.cfg.Sync, f.unsynced)
	f.unsynced = 0
	return f.File.Sync()
}

// SyncData implements vfs.File.
func (f *diskFile) SyncData() error {
	f.d.use(f.d.cfg.Sync, f.unsynced)
	f.unsynced = 0
	return f.File.SyncData()
}
