package blockstore

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/worker/tier"
)

// Config is what a store is made of. Zero fields take the defaults.
type Config struct {
	Tiers        []tier.Config // the fastest first
	Policy       string        // see eviction.New
	MaxOpenFiles int           // backing pairs kept open; 1024 (two descriptors each)
	// WriteWait is how long a write waits for the evictor when nothing is free, FillWait a cache fill; 5 s and 100 ms. A
	// fill that finds no room is not kept, a write is refused.
	WriteWait, FillWait time.Duration
	// DemoteBytesPerSecond bounds moves to a lower tier; what would exceed it is dropped instead. 256 MiB.
	DemoteBytesPerSecond int64
	// ScrubBytesPerSecond is the pace of the background check of everything held. 8 MiB; negative: none.
	ScrubBytesPerSecond int64
	// MaxChanges bounds the changes kept for the next report; past it everything is reported anew. 100,000 blocks.
	MaxChanges int
	Logger     *slog.Logger
}

func (c *Config) setDefaults() {
	setDefault(&c.MaxOpenFiles, 1024)
	setDefault(&c.WriteWait, 5*time.Second)
	setDefault(&c.FillWait, 100*time.Millisecond)
	setDefault(&c.DemoteBytesPerSecond, 256<<20)
	setDefault(&c.ScrubBytesPerSecond, 8<<20)
	setDefault(&c.MaxChanges, 100_000)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// setDefault sets what is zero, so zero cannot be configured: where none is meant, a negative number says it.
func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Ref names a file version and says what its owner knows of it.
type Ref struct {
	File      dfs.FileVersion
	Length    int64 // bytes; ignored by Writer
	BlockSize int64
	Persisted bool // the under store has it
	Pinned    bool
	Name      string // for messages: where it lies in the namespace or under store
}

func (r *Ref) geometry() geometry { return geometry{r.BlockSize, r.Length} }

// Check tells whether the reference can be used at all: it comes from the network.
func (r *Ref) Check(op string) error {
	if r.File.Inode == 0 || !r.geometry().valid() {
		return dfs.Errorf(dfs.InvalidArgument, op, r.describe(), "block size %d, length %d: the reference is broken; stat the file again", r.BlockSize, r.Length)
	}
	return nil
}

// describe is how messages name the file: by its path if the reference has it.
func (r *Ref) describe() string {
	if r.Name != "" {
		return r.Name
	}
	return r.File.String()
}

// PageSpan is the range [start, end) of the page that holds offset. Pages do not cross blocks, and end with the file.
func (r *Ref) PageSpan(offset int64) (start, end int64) {
	g := r.geometry()
	return g.span(g.locate(offset))
}

// Counters count what a store did since it was opened.
type Counters struct {
	Hits, Misses    atomic.Int64 // pages asked for
	Filled          atomic.Int64 // pages
	FillsRefused    atomic.Int64 // pages that found no room
	EvictedBlocks   atomic.Int64
	EvictedBytes    atomic.Int64
	DemotedBlocks   atomic.Int64
	PromotedBlocks  atomic.Int64
	BadPages        atomic.Int64 // whose checksum failed
	LostPages       atomic.Int64 // of BadPages, those that only this worker had
	ScrubbedPages   atomic.Int64
	RecoveredBlocks atomic.Int64
}
