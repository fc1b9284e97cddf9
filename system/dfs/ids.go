package dfs

import "fmt"

// InodeID names an inode for ever; ids are not used again. The root is RootID.
type InodeID uint64

// RootID is the root directory's inode.
const RootID InodeID = 1

// FileVersion names one immutable content of a file (contract C4): what caches key by.
// Caches compare it for equality only: what they hold of another version is of no use, whichever is newer.
type FileVersion struct {
	Inode   InodeID
	Version uint32
}

// String is "inode.version".
func (f FileVersion) String() string { return fmt.Sprintf("%d.%d", uint64(f.Inode), f.Version) }

// BlockID is one block of a file version: bytes [Index*blockSize, (Index+1)*blockSize).
// The last block of a file ends with the file. The block size is the file's own, and not part of the id.
type BlockID struct {
	File  FileVersion
	Index uint32
}

// String is "inode.version/index".
func (b BlockID) String() string { return fmt.Sprintf("%v/%d", b.File, b.Index) }

// MountID names an entry of the mount table for ever.
type MountID uint64

// WorkerID names a worker across restarts; it lies beside its data.
type WorkerID string

// SessionID names a client's session with the master (contract C2).
type SessionID uint64

// Sizes.
const (
	PageSizeBytes         = 1 << 20
	DefaultBlockSizeBytes = 64 << 20
)
