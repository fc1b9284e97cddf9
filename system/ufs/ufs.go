// Package ufs is the under store seam: the small interface that every driver (local, s3, mem) implements, its registry by
// URI scheme, and behaviour added by wrapping (retry, throttle, metrics, faults). It owns no data. Masters use it for
// metadata, workers for data. Package ufstest holds the conformance suite that every driver runs.
package ufs

import (
	"context"
	"io"
	"iter"
	"time"
)

// Entry is one object or directory of an under store.
type Entry struct {
	Name    string // last component
	Dir     bool
	Size    int64 // bytes; 0 for directories
	ModTime time.Time
	Mode    uint32 // permission bits; 0 when the store has none
	Owner   string // "" when the store has none
	Group   string
	// Fingerprint changes whenever the content may have changed (etag, or size, mtime and inode). Directories have none.
	Fingerprint string
}

// Store is one under store, rooted where it was opened. Paths are relative to that root, separated by "/", without a
// leading or trailing slash; "" is the root itself. Names are passed as they are: a driver must never let a path leave
// its root.
//
// Errors are dfs.Errors: NotFound, AlreadyExists, NotDirectory, IsDirectory, NotEmpty, PermissionDenied, ReadOnly,
// NoSpace, Unavailable (worth a retry), UnsupportedFeature, UnderStore for the rest. Every method may be called
// concurrently. Methods do not retry on their own; wrap with Retry.
type Store interface {
	// Stat tells about one path. A store without directories answers for a prefix with objects below it, and for "".
	Stat(ctx context.Context, path string) (Entry, error)
	// List yields the direct children of dir whose name is greater than after, in ascending byte order of their names,
	// at constant memory where the store allows. It ends at the first error. A missing directory yields NotFound.
	List(ctx context.Context, dir, after string) iter.Seq2[Entry, error]
	// Open reads length bytes from offset; a range past the end is cut short.
	Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, error)
	// Create starts a new object, making parents as needed. Nothing is visible before Commit, which replaces what was there.
	Create(ctx context.Context, path string, mode uint32) (Writer, error)
	// Remove removes an object or an empty directory.
	Remove(ctx context.Context, path string) error
	// Rename moves an object or a whole directory, replacing a target object. Parents of the target are made as needed.
	Rename(ctx context.Context, from, to string) error
	// Mkdir makes a directory and its parents; one that exists is no error.
	Mkdir(ctx context.Context, path string, mode uint32) error
	// Close releases the store's resources.
	Close() error
}

// Writer receives the content of one object in order.
type Writer interface {
	io.Writer
	// Commit makes the object visible, durably, and tells its entry.
	Commit(ctx context.Context) (Entry, error)
	// Abort drops what was written. It is safe after Commit, and then does nothing.
	Abort()
}

// AttrSetter is implemented by stores that keep mode and owner.
type AttrSetter interface {
	SetAttr(ctx context.Context, path string, mode *uint32, owner, group *string, modTime *time.Time) error
}
