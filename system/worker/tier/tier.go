// Package tier is one storage medium of a worker: a directory with a capacity. It owns the accounting of that capacity
// and whether the disk still works, never what is stored; the block store reserves before it writes. A MEM tier is a
// directory too, on tmpfs (/dev/shm) on a machine.
package tier

import (
	"context"
	"errors"
	"math"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/proto"
)

// Watermarks where a configuration names none: eviction begins at the high one and ends at the low one.
const (
	DefaultHigh = 0.95
	DefaultLow  = 0.85
)

// Config describes one tier.
// Two tiers must not share a directory: each takes what it finds there for its own.
type Config struct {
	Name          string // MEM, SSD, HDD
	Dir           string
	CapacityBytes int64
	High, Low     float64 // fractions of the capacity; 0: the defaults
}

// Tier is safe for concurrent use.
//
// INV-1: 0 <= used <= capacity.
// INV-2: bad has at most MaxBadFiles entries.
type Tier struct {
	config    Config
	fs        vfs.FS
	high, low int64 // bytes

	mu     sync.Mutex
	used   int64
	failed error
	frozen error                // why it takes no writes, while it can be read
	bad    map[string]time.Time // files that had an error, to when; INV-2
}

// An error of one file says that a sector is bad, errors of many that the disk is: giving a whole tier up for a sector
// loses what only this worker has on it, and going on with a dead disk makes every request pay for an error first.
const (
	// MaxBadFiles is how many files of a tier may have errors within BadWindow before the tier is given up. On a disk that
	// is dead as many requests fail, which takes no time; a disk that collects them in minutes is about to follow.
	MaxBadFiles = 5
	// BadWindow is how long an error of a file counts.
	BadWindow = 10 * time.Minute
)

// Open makes the directory if it is missing and checks the configuration.
func Open(h host.Host, c Config) (*Tier, error) {
	const op = "open tier"
	if c.High == 0 {
		c.High = DefaultHigh
	}
	if c.Low == 0 {
		c.Low = math.Min(DefaultLow, c.High)
	}
	switch {
	case c.Name == "" || c.Dir == "":
		return nil, dfs.Errorf(dfs.InvalidArgument, op, c.Name, "a tier needs a name and a directory")
	case c.CapacityBytes < dfs.PageSizeBytes:
		return nil, dfs.Errorf(dfs.InvalidArgument, op, c.Name, "a capacity of %d bytes: give at least a page, %d", c.CapacityBytes, dfs.PageSizeBytes)
	case c.Low > c.High || c.High > 1 || c.Low < 0:
		return nil, dfs.Errorf(dfs.InvalidArgument, op, c.Name, "watermarks low %v, high %v: want 0 <= low <= high <= 1", c.Low, c.High)
	}
	if err := h.FS().MkdirAll(c.Dir, 0o755); err != nil {
		return nil, Convert(err, op, c.Dir)
	}
	if parent, err := h.FS().OpenDir(h.FS().PathDir(c.Dir)); err == nil { // so that the directory outlasts a power cut
		_ = parent.Sync()
		_ = parent.Close()
	}
	return &Tier{config: c, fs: h.FS(), high: int64(c.High * float64(c.CapacityBytes)), low: int64(c.Low * float64(c.CapacityBytes))}, nil
}

// Name is MEM, SSD or HDD.
func (t *Tier) Name() string { return t.config.Name }

// Dir is the tier's directory.
func (t *Tier) Dir() string { return t.config.Dir }

// Capacity is in bytes.
func (t *Tier) Capacity() int64 { return t.config.CapacityBytes }

// FS is the file system that the directory lies on.
func (t *Tier) FS() vfs.FS { return t.fs }

// Reserve takes bytes of the capacity, or nothing when they are not there or the disk takes no writes.
// It never waits: the block store does, and decides on what.
func (t *Tier) Reserve(bytes int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refusal() != nil || t.used+bytes > t.config.CapacityBytes {
		return false
	}
	t.used += bytes
	return true
}

// ForceReserve is Reserve for what already lies on the disk, found at a start: a capacity that was made smaller is
// overdrawn until eviction has caught up. It is the one exception to INV-1.
func (t *Tier) ForceReserve(bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.used += bytes
}

// Release gives bytes back.
// Too much of it is a fault of the caller's accounting, which would let the disk overflow later, so it panics at
// once. It works on a failed tier, too.
func (t *Tier) Release(bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.used -= bytes; t.used < 0 {
		panic("tier " + t.config.Name + ": released more than was reserved (INV-1)")
	}
}

// Used is the number of bytes reserved.
func (t *Tier) Used() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.used
}

// OverHigh tells whether eviction should begin, BelowHigh whether bytes more would not make it begin.
func (t *Tier) OverHigh() bool { return t.Used() > t.high }

// BelowHigh tells whether bytes more leave the tier under its high watermark.
func (t *Tier) BelowHigh(bytes int64) bool { return t.Writable() == nil && t.Used()+bytes <= t.high }

// OverLow tells whether eviction that has begun should go on.
// Between the two watermarks a tier is left alone unless an eviction is under way, so that evictions come in batches.
func (t *Tier) OverLow() bool { return t.Used() > t.low }

// Fail marks the disk as failed for good: nothing is reserved on it any more. The first cause is kept.
// first is true for one caller, which sees to what lay on the disk. There is no way back but a restart.
func (t *Tier) Fail(cause error) (first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed != nil {
		return false
	}
	t.failed = cause
	return true
}

// Freeze marks the disk as one that takes no writes: nothing is reserved on it any more, and what it holds is still read.
// That is what a kernel makes of a disk with errors. The first cause is kept.
func (t *Tier) Freeze(cause error) (first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed != nil || t.frozen != nil {
		return false
	}
	t.frozen = cause
	return true
}

// Writable is why the disk takes no writes, failed or frozen; nil while it does.
func (t *Tier) Writable() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.refusal()
}

// refusal is Writable with mu held.
func (t *Tier) refusal() error {
	if t.failed != nil {
		return t.failed
	}
	return t.frozen
}

// BadFile notes an error of a file and tells whether it is one too many: then the caller gives the tier up (Fail). However
// often one file fails, it counts once: clients that ask for a bad page over and over must not cost the others their tier.
func (t *Tier) BadFile(now time.Time, path string) (tooMany bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for other, at := range t.bad {
		if age := now.Sub(at); age > BadWindow {
			delete(t.bad, other)
		}
	}
	if _, known := t.bad[path]; !known && len(t.bad) >= MaxBadFiles {
		return true
	}
	if t.bad == nil {
		t.bad = map[string]time.Time{}
	}
	t.bad[path] = now
	return len(t.bad) >= MaxBadFiles
}

// Failed is why the disk was given up, or nil.
func (t *Tier) Failed() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

// Info is the tier as workers report it.
func (t *Tier) Info() *proto.TierInfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	return &proto.TierInfo{Name: t.config.Name, CapacityBytes: t.config.CapacityBytes, UsedBytes: t.used, Failed: t.refusal() != nil}
}

// Convert makes a dfs.Error of what a disk answered. NoSpace and ReadOnly have their kinds; the rest says that the disk
// is bad (Unavailable: other replicas and the under store may still serve). It returns nil for nil.
// The caller's own errors and contexts pass through. Errors in the table say what the operator can do; op and path say
// where it happened.
func Convert(err error, op, path string) error {
	var already *dfs.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &already):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded): // the caller gave up: no fault of the disk
		return dfs.Wrap(err, op, path)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return &dfs.Error{Kind: dfs.NoSpace, Op: op, Path: path, Err: err,
			Detail: "the disk is full before the tier's capacity is: lower the capacity or free space on the disk"}
	case errors.Is(err, syscall.EFBIG): // an offset that a client chose must not cost the tier
		return &dfs.Error{Kind: dfs.NoSpace, Op: op, Path: path, Err: err, Detail: "the disk's file system cannot hold a file of this length"}
	case errors.Is(err, syscall.EROFS):
		return &dfs.Error{Kind: dfs.ReadOnly, Op: op, Path: path, Err: err, Detail: "the disk is mounted read-only: see the kernel's log"}
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return &dfs.Error{Kind: dfs.ResourceExhausted, Op: op, Path: path, Err: err, Detail: "too many open files: raise the limit (ulimit -n)"}
	}
	return &dfs.Error{Kind: dfs.Unavailable, Op: op, Path: path, Err: err, Detail: err.Error() + ": check the disk"}
}
