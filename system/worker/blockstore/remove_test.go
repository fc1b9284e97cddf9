package blockstore

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/forebay/forebay/system/dfs"
)

// removing holds the first removal below a directory still.
type removing struct {
	vfs.FS
	prefix string
	once   sync.Once
	inside chan struct{}
	goOn   chan struct{}
}

func newRemoving(prefix string) *removing {
	return &removing{FS: vfs.NewMem(), prefix: prefix, inside: make(chan struct{}), goOn: make(chan struct{})}
}

func (r *removing) Remove(name string) error {
	if strings.HasPrefix(name, r.prefix) {
		r.once.Do(func() { close(r.inside); <-r.goOn })
	}
	return r.FS.Remove(name)
}

func (r *removing) left() (n int) {
	for _, root := range []string{"/MEM", "/SSD"} {
		subs, _ := r.List(root)
		for _, sub := range subs {
			names, _ := r.List(root + "/" + sub)
			n += len(names)
		}
	}
	return n
}

// TestFreedAtTheEndOfAMove frees a block whose move is done but for its old place. Before this test nobody cleaned it up:
// its room on the new tier, and its files, were lost until a restart, which brought the block back.
func TestFreedAtTheEndOfAMove(t *testing.T) {
	fs := newRemoving("/MEM")
	s := openInside(t, fs, 16<<20, 64<<20)
	ref := smallRef(1, dfs.PageSizeBytes)
	if !s.Fill(t.Context(), ref, 0, pages(1)) {
		t.Fatal("not filled")
	}
	done := make(chan bool)
	go func() { done <- s.evictOne(0) }()
	<-fs.inside
	s.Free(1, 0)
	close(fs.goOn)
	<-done
	if a, b := s.tiers[0].Used(), s.tiers[1].Used(); a != 0 || b != 0 || fs.left() != 0 || s.files.Len() != 0 {
		t.Errorf("%d and %d bytes used, %d files on the disks, %d in memory", a, b, fs.left(), s.files.Len())
	}
}

// TestMadeAnewWhileRemoved makes a file's pair anew while the end of a header's rewrite removes it. Before this test the
// file could be forgotten meanwhile: the new pair, made under another lock, then lost its names to the removal, and with
// them data that was acknowledged.
func TestMadeAnewWhileRemoved(t *testing.T) {
	fs := newRemoving("/MEM")
	s := openInside(t, fs, 16<<20)
	ref := smallRef(1, dfs.PageSizeBytes)
	if !s.Fill(t.Context(), ref, 0, pages(1)) {
		t.Fatal("not filled")
	}
	f := s.fileOf(1)
	s.mu.Lock()
	s.keep(f, f.backings[0]) // as mark does
	s.mu.Unlock()
	s.Free(1, 0)
	var wg sync.WaitGroup
	wg.Go(func() { s.unkeep(f, 0) })
	<-fs.inside
	if s.Has(ref, 0) {
		t.Error("held after Free")
	}
	wg.Go(func() {
		w, err := s.NewWriter(*ref)
		if err != nil {
			t.Error(err)
			return
		}
		defer w.Abort()
		if err := w.Append(t.Context(), 0, pages(1)); err != nil {
			t.Error(err)
		}
		if _, err := w.Commit(t.Context(), false); err != nil {
			t.Error(err)
		}
	})
	time.Sleep(20 * time.Millisecond) // the write gets as far as it can
	close(fs.goOn)
	wg.Wait()
	if !s.Has(ref, 0) || fs.left() != 2 {
		t.Errorf("held %v, %d files on the disk, want 2", s.Has(ref, 0), fs.left())
	}
}
