// Package inodestoretest holds the tests that every driver of inodestore passes. It owns no data; the drivers' tests
// call Run, and Compare for two drivers at once.
package inodestoretest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/inodestore"
)

// Driver is what is tested.
type Driver struct {
	// Open opens the store in dir on h's disk.
	Open func(h host.Host, dir string) (inodestore.Store, error)
	// Exclusive tells that a second Open of the same directory is refused.
	Exclusive bool
}

// Disk is the real host with another disk.
type Disk struct {
	host.Host
	fs vfs.FS
}

// NewDisk makes a host on fs.
func NewDisk(fs vfs.FS) Disk { return Disk{host.NewReal(), fs} }

// FS implements host.Host.
func (d Disk) FS() vfs.FS { return d.fs }

// dir is where the stores of the suite live on their disks.
const dir = "/master/inodes"

// newDisk makes an in-memory disk that can crash, with the parent of dir on it.
func newDisk(t testing.TB) (Disk, *vfs.MemFS) {
	t.Helper()
	fs := vfs.NewCrashableMem()
	must(t, fs.MkdirAll("/master", 0o755))
	syncDirs(t, fs, "/", "/master")
	return NewDisk(fs), fs
}

func syncDirs(t testing.TB, fs vfs.FS, dirs ...string) {
	t.Helper()
	for _, name := range dirs {
		d, err := fs.OpenDir(name)
		must(t, err)
		must(t, errors.Join(d.Sync(), d.Close()))
	}
}

func open(t testing.TB, d Driver, h host.Host) inodestore.Store {
	t.Helper()
	s, err := d.Open(h, dir)
	must(t, err)
	return s
}

// fresh is a new store on a new disk, closed at the end of the test.
func fresh(t testing.TB, d Driver) inodestore.Store {
	t.Helper()
	h, _ := newDisk(t)
	s := open(t, d, h)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// File is an inode as most files have it.
func File(parent, id dfs.InodeID, name string) *inodestore.Inode {
	return &inodestore.Inode{ID: id, Parent: parent, Name: name, Mode: 0o644, Owner: "alice", Group: "staff",
		Length: int64(id) * 10, BlockSize: dfs.DefaultBlockSizeBytes, ModTime: time.Unix(1_700_000_000, 0).UTC(),
		Version: 1, LastVersion: 1, Persist: dfs.Persisted}
}

func apply(t testing.TB, s inodestore.Store, index uint64, fill func(inodestore.Batch)) {
	t.Helper()
	must(t, s.Apply(index, fill))
}

func put(t testing.TB, s inodestore.Store, index uint64, inodes ...*inodestore.Inode) {
	t.Helper()
	apply(t, s, index, func(b inodestore.Batch) {
		for _, n := range inodes {
			b.PutInode(n)
		}
	})
}

func wantChild(t testing.TB, s inodestore.Reader, parent dfs.InodeID, name string, want *inodestore.Inode) {
	t.Helper()
	for range 2 { // the second answer may come from a cache
		got, err := s.Child(parent, name)
		must(t, err)
		if why := Difference(got, want); why != "" {
			t.Fatalf("child %q of %d: %s", name, parent, why)
		}
	}
}

func names(t testing.TB, s inodestore.Reader, parent dfs.InodeID, after string, most int) (found []string) {
	t.Helper()
	must(t, s.List(parent, after, func(n *inodestore.Inode) bool {
		if n.Parent != parent {
			t.Fatalf("listing %d gave an entry of %d", parent, n.Parent)
		}
		found = append(found, n.Name)
		return len(found) < most
	}))
	return found
}

func wantRecord(t testing.TB, s inodestore.Reader, table inodestore.Table, key string, want any) {
	t.Helper()
	got, err := s.Record(table, []byte(key))
	must(t, err)
	if want == nil {
		if got != nil {
			t.Fatalf("record %q: got %q, want none", key, got)
		}
		return
	}
	if got == nil || string(got) != want {
		t.Fatalf("record %q: got %q (nil: %v), want %q", key, got, got == nil, want)
	}
}

func wantIndexes(t testing.TB, s inodestore.Store, applied, flushed uint64) {
	t.Helper()
	if a, f := s.AppliedIndex(), s.FlushedIndex(); a != applied || f != flushed {
		t.Fatalf("applied %d, flushed %d; want %d, %d", a, f, applied, flushed)
	}
}

// Difference says how two inodes differ; "" when they are the same.
func Difference(got, want *inodestore.Inode) string {
	if got == nil || want == nil {
		if got == want {
			return ""
		}
		return fmt.Sprintf("got %+v, want %+v", got, want)
	}
	a, b := *got, *want
	if !a.ModTime.Equal(b.ModTime) {
		return fmt.Sprintf("time: got %v, want %v", a.ModTime, b.ModTime)
	}
	a.ModTime, b.ModTime = time.Time{}, time.Time{}
	if x, y := fmt.Sprintf("%+v", a), fmt.Sprintf("%+v", b); x != y { // fmt sorts maps
		return fmt.Sprintf("got %s, want %s", x, y)
	}
	return ""
}
