// Package ufs is the under store seam: the small interface that every driver (local, s3, mem) implements, and behaviour
// added by wrapping (Retry, Throttle, Metrics, Faults, ReadOnly). It owns no data. Masters use it for metadata, workers
// for data. Package drivers opens a store by its URI; package ufstest holds the conformance suite that every driver runs.
//
// Wrappers compose from the inside out. The usual order is
//
//	driver -> Metrics (each attempt is counted) -> Throttle (each attempt is paid for) -> Retry -> Final -> ReadOnly
//
// Each layer has its place for a reason. Metrics next to the driver sees what the store is really asked, retries
// included. Throttle inside Retry makes a retry wait for its turn like any other call, so that a store in trouble is
// not asked more often than its owner allows. Final outside of Retry changes the kind of what no retry could mend,
// which Retry would else not recognize. ReadOnly outermost refuses without a request.
//
// # Life of a read
//
// A worker opens a range of an object with the fingerprint that its master knows; the driver's reader tells which
// content it has open. A connection that breaks shows as Unavailable from Read; Retry opens the rest of the range anew,
// and refuses to go on (Stale) when the fingerprint is another one by then. Bytes of two contents are never mixed.
//
// # Life of a write
//
// Create, Write in order, Commit or Abort. Nothing is visible before Commit, and Commit is durable when it returns. Who
// calls Create calls Abort in the end, whatever happened in between: it is what gives back the temporary file, the
// upload and its memory. A driver keeps what a failed call did not take, so that Retry can repeat that call alone.
//
// # Failure
//
// Unavailable is the one kind that is worth a repetition, so a driver that gives it to a failure that lasts makes
// callers wait in vain, and one that gives another kind to a hiccup makes writes fail that need not. Every driver maps
// what it hears by a table (errors.go), with UnderStore for what is in no row.
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
	// Names that Forebay cannot hold (not UTF-8) and special files are left out and counted (SkipCounter).
	List(ctx context.Context, dir, after string) iter.Seq2[Entry, error]
	// Open reads length bytes from offset; a range past the end is cut short. ctx covers the reader's whole life.
	Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, error)
	// Create starts a new object, making parents as needed. Nothing is visible before Commit, which replaces what was
	// there. ctx covers the writer's life up to Commit.
	Create(ctx context.Context, path string, mode uint32) (Writer, error)
	// Remove removes an object or an empty directory.
	Remove(ctx context.Context, path string) error
	// Rename moves an object or a whole directory, replacing a target object; a target directory must be empty. Parents
	// of the target are made as needed. A store without renames copies and deletes in steps: a rename that was cut off
	// goes on when it is called again with the same paths.
	Rename(ctx context.Context, from, to string) error
	// Mkdir makes a directory and its parents; one that exists is no error.
	Mkdir(ctx context.Context, path string, mode uint32) error
	// Close releases the store's resources.
	Close() error
}

// Writer receives the content of one object in order. One task uses it.
//
// After an Unavailable error a call may be repeated: Write with what it did not take (p[n:]), Commit as it was. The
// driver settles what the first attempt did, so that a repeated Commit publishes the object once.
type Writer interface {
	io.Writer
	// Commit makes the object visible, durably, and tells its entry.
	Commit(ctx context.Context) (Entry, error)
	// Abort drops what was written. It is safe after Commit, and then does nothing.
	Abort()
}

// AttrSetter is implemented by stores that keep mode and owner. Find it with As, since stores come wrapped.
type AttrSetter interface {
	SetAttr(ctx context.Context, path string, mode *uint32, owner, group *string, modTime *time.Time) error
}

// SkipCounter is implemented by stores that leave entries out of listings. Find it with As.
type SkipCounter interface {
	// Skipped is how many entries were left out since the store was opened.
	Skipped() int64
}

// Fingerprinted is implemented by readers of stores that know which content they read: a reader of pages compares it
// with the one that it expects, at no further request.
type Fingerprinted interface {
	Fingerprint() string
}

// FingerprintOf is the content that r reads, or "" when its store cannot tell.
func FingerprintOf(r io.Reader) string {
	if f, ok := r.(Fingerprinted); ok {
		return f.Fingerprint()
	}
	return ""
}

// As finds the outermost layer of s that implements T.
func As[T any](s Store) (T, bool) {
	for {
		if t, ok := s.(T); ok {
			return t, true
		}
		w, ok := s.(interface{ Unwrap() Store })
		if !ok {
			var none T
			return none, false
		}
		s = w.Unwrap()
	}
}
