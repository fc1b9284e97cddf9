package inodestore

import (
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/sstable/block"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options tune the pebble driver. The zero value serves a master of some tens of millions of files.
type Options struct {
	// InodeCacheBytes bounds the cache of decoded hot inodes. 0: 256 MiB; negative: no cache.
	InodeCacheBytes int64
	// BlockCacheBytes bounds the cache of table blocks. 0: 256 MiB.
	BlockCacheBytes int64
	// MemTableBytes is the size at which a memtable is flushed; up to four exist. 0: 64 MiB. What is in memtables is what
	// a restart replays from the journal.
	MemTableBytes uint64
	// LastLevelFilterBits are the bits an entry of a Bloom filter on the last level, where nearly all inodes of a large
	// store are. 0: 10, which cost 1.25 bytes an inode and answer 99% of the questions for absent names, which every
	// create asks, without reading a block. Negative: none, for the smallest store.
	LastLevelFilterBits int
	// CompactionTasks bounds concurrent compactions. 0: 1.
	CompactionTasks int
	// Logger hears of Pebble's errors. nil: slog.Default().
	Logger *slog.Logger
}

// withDefaults fills in what was left at zero. Negative caches and filters mean none, and stay.
func (o Options) withDefaults() Options {
	if o.InodeCacheBytes == 0 {
		o.InodeCacheBytes = 256 << 20
	}
	if o.BlockCacheBytes == 0 {
		o.BlockCacheBytes = 256 << 20
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = 64 << 20
	}
	if o.LastLevelFilterBits == 0 {
		o.LastLevelFilterBits = 10
	}
	if o.CompactionTasks <= 0 {
		o.CompactionTasks = 1
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

const (
	// formatVersion is pinned: raising it is a one-way step for a store on disk.
	formatVersion  = pebble.FormatTableFormatV6
	blockBytes     = 16 << 10
	tableBytes     = 128 << 20
	upperFilterBit = 10
)

// pebble are the database's options (DESIGN section 5).
// The write-ahead log is off: the journal is the log (INV-1 of pebbleStore). Four memtables bound what a restart
// replays; when all are full, Apply waits for the disk. L0StopWritesThreshold is far above the point where compactions
// begin, so that only a disk which cannot keep up at all stops writes.
func (o Options) pebble(fs vfs.FS, cache *pebble.Cache) *pebble.Options {
	po := &pebble.Options{
		FS:                          fs,
		Cache:                       cache,
		Comparer:                    pebble.DefaultComparer,
		FormatMajorVersion:          formatVersion,
		DisableWAL:                  true,
		MemTableSize:                o.MemTableBytes,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       64,
		MaxOpenFiles:                4096,
		CompactionConcurrencyRange:  func() (int, int) { return 1, o.CompactionTasks },
		Logger:                      pebbleLogger{o.Logger},
	}
	po.TargetFileSizes[0] = tableBytes / 8
	for i := range po.TargetFileSizes[1:] {
		po.TargetFileSizes[i+1] = tableBytes
	}
	for i := range po.Levels {
		o.level(&po.Levels[i], i, len(po.Levels)-1)
	}
	// Pebble tries again after a background error by itself; what it cannot survive comes to pebbleLogger.Fatalf.
	po.EventListener = &pebble.EventListener{
		BackgroundError: func(err error) { o.Logger.Error("inode store: background error", "err", err) },
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			o.Logger.Error("inode store: corrupted table", "path", info.Path, "err", info.Details)
		},
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
			o.Logger.Warn("inode store: writes wait for the disk", "reason", info.Reason)
		},
	}
	po.EventListener.EnsureDefaults(silentLogger{})
	return po
}

// level: Snappy where tables are rewritten soon, ZSTD where the bytes stay.
// The last two levels hold nearly all bytes of a large store.
func (o Options) level(l *pebble.LevelOptions, i, last int) {
	l.BlockSize = blockBytes
	l.IndexBlockSize = 4 * blockBytes
	profile := sstable.SnappyCompression
	if i >= last-1 {
		profile = sstable.ZstdCompression
	}
	l.Compression = func() *block.CompressionProfile { return profile }
	l.FilterPolicy = bloom.FilterPolicy(upperFilterBit)
	if i == last {
		l.FilterPolicy = pebble.NoFilterPolicy
		if o.LastLevelFilterBits > 0 {
			l.FilterPolicy = bloom.FilterPolicy(o.LastLevelFilterBits)
		}
	}
}
