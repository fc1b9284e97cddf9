package dfs

import (
	"fmt"
	"strings"
	"time"
)

// FileType is what an inode is.
type FileType uint8

// The file types.
const (
	TypeFile FileType = iota
	TypeDirectory
)

// ReadType says what a read does to the cache.
type ReadType uint8

// The read types, with Alluxio's meanings.
const (
	ReadCache        ReadType = iota // keep what was fetched on the worker
	ReadCachePromote                 // keep it, and move it to the top tier
	ReadNoCache                      // leave the cache as it is
)

// WriteType says where a write must be before it is acknowledged.
type WriteType uint8

// The write types, with Alluxio's meanings.
const (
	WriteCacheThrough WriteType = iota // worker and under store, both before the answer
	WriteMustCache                     // workers only: lost with them
	WriteThrough                       // under store only
	WriteAsyncThrough                  // workers now (replication.durable of them), under store in the background
)

// PersistState says where a file's bytes are.
type PersistState uint8

// The persistence states.
const (
	NotPersisted  PersistState = iota // workers only
	ToBePersisted                     // ASYNC_THROUGH, on its way
	Persisted                         // the under store has it
)

// TTLAction is what happens when a TTL runs out.
type TTLAction uint8

// The TTL actions.
const (
	TTLDelete TTLAction = iota // remove it, from the under store too
	TTLFree                    // drop cached copies only
)

var (
	readTypeNames  = []string{"CACHE", "CACHE_PROMOTE", "NO_CACHE"}
	writeTypeNames = []string{"CACHE_THROUGH", "MUST_CACHE", "THROUGH", "ASYNC_THROUGH"}
	persistNames   = []string{"NOT_PERSISTED", "TO_BE_PERSISTED", "PERSISTED"}
	ttlNames       = []string{"DELETE", "FREE"}
)

// String is the read type's name in configuration.
func (t ReadType) String() string { return nameAt(readTypeNames, int(t)) }

// String is the write type's name in configuration.
func (t WriteType) String() string { return nameAt(writeTypeNames, int(t)) }

// String is the state's name.
func (s PersistState) String() string { return nameAt(persistNames, int(s)) }

// String is the action's name.
func (a TTLAction) String() string { return nameAt(ttlNames, int(a)) }

// ParseReadType reads a read type's name, in any case.
func ParseReadType(s string) (ReadType, error) {
	i, err := indexOf(readTypeNames, s, "read type")
	return ReadType(i), err
}

// ParseWriteType reads a write type's name, in any case.
func ParseWriteType(s string) (WriteType, error) {
	i, err := indexOf(writeTypeNames, s, "write type")
	return WriteType(i), err
}

// ParseTTLAction reads a TTL action's name, in any case.
func ParseTTLAction(s string) (TTLAction, error) {
	i, err := indexOf(ttlNames, s, "TTL action")
	return TTLAction(i), err
}

// nameAt is a value's name; a number that a newer build gave stays a number.
func nameAt(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("type %d", i)
}

// indexOf finds a name in any case. InvalidArgument lists what there is.
func indexOf(names []string, s, what string) (int, error) {
	for i, n := range names {
		if strings.EqualFold(n, s) {
			return i, nil
		}
	}
	return 0, Errorf(InvalidArgument, "parse "+what, s, "want one of %s", strings.Join(names, ", "))
}

// FileStatus is what status and list answer.
//
// ID and Version name the content, Path says by which way it was asked for. Length is final once Completed is
// set.
type FileStatus struct {
	ID        InodeID
	Path      Path
	Name      string
	Type      FileType
	Length    int64 // bytes; for a directory the number of known entries is not kept: 0
	BlockSize int64 // bytes
	Version   uint32
	Completed bool
	Mode      uint32 // permission bits, 0o7777
	Owner     string
	Group     string
	ModTime   time.Time

	Persist    PersistState
	MountID    MountID
	MountPoint bool   // a mount begins here
	UfsPath    string // the path inside the mount's under store
	Pinned     bool

	ReplicationMin     int32
	ReplicationMax     int32 // 0: no limit
	ReplicationDurable int32
	TTL                time.Duration // 0: none
	TTLAction          TTLAction
	Xattr              map[string][]byte
	Fingerprint        string // the under store's, of the content that this version is
	CachedBytes        int64  // known to be on workers; only when asked for
}

// File is the cache key of this content.
func (s *FileStatus) File() FileVersion { return FileVersion{s.ID, s.Version} }

// IsDir tells whether this is a directory.
func (s *FileStatus) IsDir() bool { return s.Type == TypeDirectory }

// Blocks is the number of blocks that Length spans.
// The last one may be short. A file without a block size, as a directory is, has none.
func (s *FileStatus) Blocks() uint32 {
	if s.BlockSize <= 0 {
		return 0
	}
	return uint32((s.Length + s.BlockSize - 1) / s.BlockSize)
}
