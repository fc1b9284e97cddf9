package inodestore_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/inodestore/inodestoretest"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func openHeap(d host.Host) (inodestore.Store, error) { return inodestore.OpenHeap(d, "/s") }

func openPebble(d host.Host) (inodestore.Store, error) {
	return inodestore.OpenPebble(d, "/s", inodestore.Options{Logger: quiet, InodeCacheBytes: -1})
}

var faultDrivers = map[string]func(host.Host) (inodestore.Store, error){"heap": openHeap, "pebble": openPebble}

// fault is a disk that fails the operations that match, while it is on.
type fault struct {
	mu    sync.Mutex
	match func(op errorfs.Op) bool // nil: off
	err   error
	hits  int
}

func (f *fault) String() string { return "fault" }

func (f *fault) MaybeError(op errorfs.Op) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.match == nil || !f.match(op) {
		return nil
	}
	f.hits++
	return f.err
}

func (f *fault) set(err error, match func(op errorfs.Op) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.match, f.err, f.hits = match, err, 0
}

func faultyDisk() (host.Host, *fault, *vfs.MemFS) {
	fs, f := vfs.NewMem(), &fault{}
	return inodestoretest.NewDisk(errorfs.Wrap(fs, f)), f, fs
}

func putFile(t *testing.T, s inodestore.Store, index uint64, name string) {
	t.Helper()
	if err := s.Apply(index, func(b inodestore.Batch) { b.PutInode(inodestoretest.File(1, dfs.InodeID(index+1), name)) }); err != nil {
		t.Fatal(err)
	}
}

func has(t *testing.T, s inodestore.Store, name string) bool {
	t.Helper()
	n, err := s.Child(1, name)
	if err != nil {
		t.Fatal(err)
	}
	return n != nil
}

// steps lists the distinct writing operations of one action, so that each can be failed in turn.
func steps(f *fault, action func()) []string {
	var seen []string
	f.set(nil, func(op errorfs.Op) bool {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			seen = append(seen, fmt.Sprint(op.Kind, " ", op.Path))
		}
		return false
	})
	action()
	f.set(nil, nil)
	return seen
}

// TestHeapFlushFailsAtEveryStep: whatever step of a flush the disk refuses, the flush says so, promises nothing, and
// leaves the file of the last flush for a restart; once the disk works, the next flush has everything.
func TestHeapFlushFailsAtEveryStep(t *testing.T) {
	probe, f, _ := faultyDisk()
	s, err := openHeap(probe)
	if err != nil {
		t.Fatal(err)
	}
	putFile(t, s, 1, "a")
	n := len(steps(f, func() { _ = s.Flush() }))
	if n < 4 {
		t.Fatalf("a flush has %d steps", n)
	}
	for i := range n {
		disk, f, _ := faultyDisk()
		s, err := openHeap(disk)
		if err != nil {
			t.Fatal(err)
		}
		putFile(t, s, 1, "first")
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
		putFile(t, s, 2, "second")
		step := -1
		f.set(syscall.ENOSPC, func(op errorfs.Op) bool {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				step++
			}
			return step == i
		})
		err = s.Flush()
		f.set(nil, nil)
		if err == nil {
			continue // closing a file, or an operation whose failure loses nothing
		}
		if !dfs.IsKind(err, dfs.NoSpace) || s.FlushedIndex() != 1 {
			t.Errorf("step %d: %v, flushed %d", i, err, s.FlushedIndex())
		}
		again, err := openHeap(disk) // as after a crash: what is on the disk now
		if err != nil {
			t.Fatalf("step %d: the store cannot be opened: %v", i, err)
		}
		if !has(t, again, "first") || again.AppliedIndex() == 1 && has(t, again, "second") {
			t.Errorf("step %d: at index %d the store lacks what was flushed, or has half", i, again.AppliedIndex())
		}
		if err := s.Flush(); err != nil || s.FlushedIndex() != 2 {
			t.Errorf("step %d: the next flush: %v, flushed %d", i, err, s.FlushedIndex())
		}
	}
}

// TestCheckpointFails: a full disk fails a checkpoint with its kind, and the store goes on.
func TestCheckpointFails(t *testing.T) {
	for name, open := range faultDrivers {
		t.Run(name, func(t *testing.T) {
			disk, f, _ := faultyDisk()
			s, err := open(disk)
			if err != nil {
				t.Fatal(err)
			}
			putFile(t, s, 1, "a")
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
			f.set(syscall.ENOSPC, func(op errorfs.Op) bool {
				return op.Kind.ReadOrWrite() == errorfs.OpIsWrite && strings.HasPrefix(op.Path, "/copy")
			})
			if _, err := s.Checkpoint("/copy"); !dfs.IsKind(err, dfs.NoSpace) || !strings.Contains(err.Error(), "free space") {
				t.Errorf("%v", err)
			}
			f.set(nil, nil)
			putFile(t, s, 2, "b")
			if index, err := s.Checkpoint("/second"); err != nil || index != 2 {
				t.Errorf("once there is space: %d, %v", index, err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// hits counts how often each fault was met, by any driver.
type hits map[string]int

// all fails the test when a fault was never met: then its case shows nothing.
func (h hits) all(t *testing.T, want int) {
	t.Helper()
	for name, n := range h {
		if n == 0 {
			t.Errorf("%s was never met", name)
		}
	}
	if len(h) != want {
		t.Errorf("%d faults of %d were tried", len(h), want)
	}
}

// TestReplaceFails: a Replace that fails at any renaming or syncing step leaves the present state, which goes on and can
// be replaced later.
func TestReplaceFails(t *testing.T) {
	kinds := map[string]func(op errorfs.Op) bool{
		"renaming": func(op errorfs.Op) bool { return op.Kind == errorfs.OpRename },
		"naming the new one": func(op errorfs.Op) bool {
			return op.Kind == errorfs.OpCreate && strings.Contains(op.Path, "CURRENT.new")
		},
	}
	met := hits{}
	defer met.all(t, len(kinds))
	for name, open := range faultDrivers {
		for what, match := range kinds {
			t.Run(name+"/"+what, func(t *testing.T) {
				disk, f, _ := faultyDisk()
				s, err := open(disk)
				if err != nil {
					t.Fatal(err)
				}
				putFile(t, s, 1, "old")
				if _, err := s.Checkpoint("/copy"); err != nil {
					t.Fatal(err)
				}
				putFile(t, s, 2, "newer")
				f.set(syscall.EIO, match)
				err = s.Replace("/copy")
				hits := f.hits
				f.set(nil, nil)
				if met[what] += hits; hits == 0 { // the other driver does that
					return
				}
				if err == nil || s.AppliedIndex() != 2 || !has(t, s, "newer") {
					t.Errorf("%v, index %d, newer there: %v", err, s.AppliedIndex(), has(t, s, "newer"))
				}
				putFile(t, s, 3, "after")
				if _, err := s.Checkpoint("/copy2"); err != nil {
					t.Fatal(err)
				}
				putFile(t, s, 4, "dropped")
				if err := s.Replace("/copy2"); err != nil {
					t.Fatalf("the next replace: %v", err)
				}
				if s.AppliedIndex() != 3 || has(t, s, "dropped") || !has(t, s, "after") {
					t.Errorf("index %d after the next replace", s.AppliedIndex())
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				again, err := open(disk)
				if err != nil || again.AppliedIndex() != 3 || !has(t, again, "after") {
					t.Fatalf("after a restart: %v", err)
				}
				_ = again.Close()
			})
		}
	}
}

// TestReadsFail: a disk that cannot be read is an error of its operation, never an absent entry.
func TestReadsFail(t *testing.T) {
	disk, f, _ := faultyDisk()
	s, err := openPebble(disk)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(2000) {
		putFile(t, s, i+1, fmt.Sprintf("name-%06d", i*7919%2000))
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = openPebble(disk); err != nil { // nothing is in its caches
		t.Fatal(err)
	}
	broken := errors.New("the disk is broken")
	f.set(broken, func(op errorfs.Op) bool {
		return op.Kind.ReadOrWrite() == errorfs.OpIsRead && strings.HasSuffix(op.Path, ".sst")
	})
	if n, err := s.Child(1, "name-000007"); err == nil {
		t.Errorf("child: %v and no error", n)
	}
	if err := s.List(1, "", func(*inodestore.Inode) bool { return true }); err == nil {
		t.Error("list: no error")
	}
	if b, err := s.Record(inodestore.TableMeta, []byte("k")); err == nil && b != nil {
		t.Error("record: made up")
	}
	if got := s.FlushedIndex(); got != 0 && got != 2000 {
		t.Errorf("flushed index %d", got)
	}
	f.set(nil, nil)
	if !has(t, s, "name-000007") {
		t.Error("the failure was remembered as absence")
	}
	_ = s.Close()
}

// TestOpenFails: each thing that keeps a store from opening, with its kind.
func TestOpenFails(t *testing.T) {
	met := hits{}
	defer met.all(t, 3)
	for name, c := range map[string]struct {
		err  error
		op   errorfs.OpKind
		path string
		want dfs.Kind
	}{
		"no space":      {syscall.ENOSPC, errorfs.OpMkdirAll, "/s", dfs.NoSpace},
		"unreadable":    {syscall.EIO, errorfs.OpOpen, "/s/state", 0},
		"no generation": {syscall.EIO, errorfs.OpOpen, "/s/CURRENT", 0},
	} {
		for driver, open := range faultDrivers {
			t.Run(name+"/"+driver, func(t *testing.T) {
				disk, f, _ := faultyDisk()
				s, err := open(disk)
				if err != nil {
					t.Fatal(err)
				}
				putFile(t, s, 1, "a")
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				f.set(c.err, func(op errorfs.Op) bool { return op.Kind == c.op && op.Path == c.path })
				s, err = open(disk)
				hits := f.hits
				f.set(nil, nil)
				if met[name] += hits; hits == 0 { // the other driver does that
					_ = s.Close()
					return
				}
				if err == nil {
					t.Fatal("opened")
				}
				if c.want == dfs.NoSpace && !dfs.IsKind(err, c.want) {
					t.Errorf("%v", err)
				}
				again, err := open(disk)
				if err != nil || !has(t, again, "a") {
					t.Fatalf("once the disk works: %v", err)
				}
				_ = again.Close()
			})
		}
	}
}

// TestCheckpointBesideApply: a checkpoint that is taken while entries are applied stands for exactly the index that it
// tells: all effects up to it, and none after.
func TestCheckpointBesideApply(t *testing.T) {
	for name, open := range faultDrivers {
		t.Run(name, func(t *testing.T) {
			disk, _, _ := faultyDisk()
			s, err := open(disk)
			if err != nil {
				t.Fatal(err)
			}
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				for i := uint64(1); ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					if err := s.Apply(i, func(b inodestore.Batch) {
						b.PutInode(inodestoretest.File(1, dfs.InodeID(i+1), fmt.Sprintf("%09d", i)))
						b.PutRecord(inodestore.TableMeta, []byte("last"), fmt.Appendf(nil, "%d", i))
					}); err != nil {
						t.Error(err)
						return
					}
				}
			}()
			for s.AppliedIndex() < 50 {
				_ = disk.Sleep(t.Context(), 1)
			}
			type copied struct {
				dir   string
				index uint64
			}
			var copies []copied
			for i := range 4 {
				dir := fmt.Sprintf("/copy%d", i)
				index, err := s.Checkpoint(dir)
				if err != nil {
					t.Fatal(err)
				}
				copies = append(copies, copied{dir, index})
			}
			close(stop)
			<-stopped
			for _, c := range copies {
				if err := s.Replace(c.dir); err != nil {
					t.Fatal(err)
				}
				n, last := uint64(0), ""
				if err := s.List(1, "", func(f *inodestore.Inode) bool { n++; last = f.Name; return true }); err != nil {
					t.Fatal(err)
				}
				record, _ := s.Record(inodestore.TableMeta, []byte("last"))
				if s.AppliedIndex() != c.index || n != c.index || last != fmt.Sprintf("%09d", c.index) || string(record) != fmt.Sprint(c.index) {
					t.Errorf("a copy of index %d: index %d, %d files, the last %s, record %s", c.index, s.AppliedIndex(), n, last, record)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
