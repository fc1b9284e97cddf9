// Package inodestore keeps the master's state: inodes clustered by directory, and small records of other tables. It owns
// their encoding and their durability (the applied index travels in the same batch as its effects); it knows nothing of
// paths, permissions or the journal. Two drivers pass one conformance suite: pebble with a bounded cache of hot inodes
// in front, and heap, a B-tree for comparison and for the simulator. The namespace is its caller.
//
// # Keys
//
// An inode's key is its parent's id and its name, so a directory is one range, in the order of listings, and looking a
// path up costs one read for each name. Records lie in tables, each a range of its own. Both drivers have the same
// keys and the same encoding; the heap driver has them in its file alone.
//
// # What survives a crash
//
// Neither driver logs: the journal is the log. A crash takes the state back to some applied index as a whole, never to
// half an entry, and never behind FlushedIndex; the journal replays from there. So Apply waits for no disk, and the
// caller may trim the journal up to FlushedIndex and no further. Pebble gets there by flushing memtables in order,
// heap by writing its one file anew and renaming it into place.
//
// # Errors
//
// A disk that refuses keeps its kind (NoSpace, with what to do); a state that cannot be decoded is Corrupted and says
// how the member is rebuilt. Reads never take a failure for absence.
//
// # Concurrency
//
// Apply, Flush, Checkpoint, Replace and Close have one caller or callers that keep out of each other's way, as Store
// says; readers come at any time from any task. A reader never waits for a disk write of Apply, and Apply never for a
// reader. Inodes are shared between readers, caches and trees without copies, which is why they are immutable.
package inodestore

import (
	"time"

	"github.com/forebay/forebay/system/dfs"
)

// Inode is one file or directory. A *Inode is immutable once it was stored: change a copy.
type Inode struct {
	ID     dfs.InodeID
	Parent dfs.InodeID
	Name   string

	Type      dfs.FileType
	Mode      uint32
	Owner     string
	Group     string
	Length    int64
	BlockSize int64
	ModTime   time.Time

	Version     uint32 // of the readable content; 0: never completed
	LastVersion uint32 // highest ever given out; versions are not used again
	Writing     bool   // LastVersion is being written
	Persist     dfs.PersistState
	Fingerprint string
	MountID     dfs.MountID // of the mount that begins at this directory; 0 otherwise
	Pinned      bool
	Loaded      bool // a directory whose under store children were all loaded once

	ReplicationMin     int32
	ReplicationMax     int32
	ReplicationDurable int32
	TTL                time.Duration
	TTLAction          dfs.TTLAction
	Xattr              map[string][]byte
}

// Completed tells whether the file has a readable content.
func (n *Inode) Completed() bool { return n.Type == dfs.TypeDirectory || n.Version > 0 }

// IsDir tells whether this is a directory.
func (n *Inode) IsDir() bool { return n.Type == dfs.TypeDirectory }

// Table names a set of records that are not inodes. Values are persistent: append only.
type Table byte

// The tables.
const (
	TableMeta      Table = 'm' // applied index and journal position, id counters, cluster id
	TableLocation  Table = 'l' // inode id -> parent id, name: every directory; files that are unpersisted, pinned or have a TTL
	TableSession   Table = 's' // session id [first sequence] -> session, answers
	TableMount     Table = 'M' // mount id -> mount
	TableTTL       Table = 't' // expiry ‖ inode id -> nothing
	TablePersist   Table = 'p' // inode id -> what is to be persisted
	TableOpenWrite Table = 'w' // inode id -> version, session, write type, parent id, name
	TableIntent    Table = 'I' // session id ‖ sequence -> nothing: a mutation that may have changed an under store
	TableGarbage   Table = 'g' // inode id of a removed directory -> what is left to remove below it
)

// Reader reads the applied state. Methods are safe for concurrent use with each other and with Apply, but a sequence of
// calls sees one state only under the caller's own lock.
type Reader interface {
	// Child finds an entry of a directory; nil, nil when there is none.
	Child(parent dfs.InodeID, name string) (*Inode, error)
	// List calls yield for the entries of a directory with names greater than after, ascending, until it returns false.
	List(parent dfs.InodeID, after string, yield func(*Inode) bool) error
	// Record reads one record; nil, nil when there is none (an empty value is not nil).
	Record(t Table, key []byte) ([]byte, error)
	// Records calls yield for the records of a table with key >= from and the given prefix, ascending, until it returns
	// false. Key and value are valid only during the call.
	Records(t Table, prefix, from []byte, yield func(key, value []byte) bool) error
}

// Batch is a set of blind effects, applied together.
type Batch interface {
	PutInode(n *Inode) // at (n.Parent, n.Name)
	DeleteInode(parent dfs.InodeID, name string)
	PutRecord(t Table, key, value []byte)
	DeleteRecord(t Table, key []byte)
}

// Store is the whole of a master's durable state.
type Store interface {
	Reader
	// Apply writes what fill puts in the batch, together with index as the applied index, in one atomic step. It is
	// readable when Apply returns and durable once FlushedIndex reaches index. Calls are serial.
	Apply(index uint64, fill func(Batch)) error
	AppliedIndex() uint64
	FlushedIndex() uint64
	// Flush makes everything applied durable.
	Flush() error
	// Checkpoint flushes and writes a consistent, synced copy into the new directory dir. It may run beside Apply.
	Checkpoint(dir string) (uint64, error)
	// Replace swaps the state for a checkpoint in dir, which it consumes. Readers may go on meanwhile and see either state;
	// Apply, Flush and Checkpoint may not. When it fails the present state stays.
	Replace(dir string) error
	// Stats may be called at any time before Close.
	Stats() Stats
	// Close flushes. Nothing may be called meanwhile or afterwards.
	Close() error
}

// Stats is for reports and metrics.
type Stats struct {
	Inodes      int64 // exact in heap, estimated in pebble
	DiskBytes   int64
	CacheBytes  int64
	CacheHits   int64
	CacheMisses int64
}
