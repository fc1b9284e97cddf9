package blockstore

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/worker/tier"
)

// Tests of moments between two steps of the store, which only a test inside the package can hold still.

type memNode struct {
	*host.Real
	fs vfs.FS
}

func (n memNode) FS() vfs.FS { return n.fs }

func openInside(t *testing.T, fs vfs.FS, capacities ...int64) *Store {
	t.Helper()
	c := Config{WriteWait: 5 * time.Second, FillWait: 20 * time.Millisecond, ScrubBytesPerSecond: -1}
	for i, capacity := range capacities {
		name := []string{"MEM", "SSD"}[i]
		c.Tiers = append(c.Tiers, tier.Config{Name: name, Dir: "/" + name, CapacityBytes: capacity})
	}
	s, err := Open(t.Context(), memNode{host.NewReal(), fs}, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func pages(n int) []byte { return make([]byte, n*dfs.PageSizeBytes) }

func smallRef(inode dfs.InodeID, length int64) *Ref {
	return &Ref{File: dfs.FileVersion{Inode: inode, Version: 1}, Length: length, BlockSize: 4 * dfs.PageSizeBytes, Persisted: true}
}

func (s *Store) fileOf(inode dfs.InodeID) *file {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, _ := s.files.Get(&file{id: dfs.FileVersion{Inode: inode, Version: 1}})
	return f
}

// TestCancelledCommitKeepsTheTier: a client gives up while its commit waits for the file's lock. That says nothing of the
// disk; before this test, the whole tier was given up, with all that only this worker had.
func TestCancelledCommitKeepsTheTier(t *testing.T) {
	for _, persisted := range []bool{true, false} {
		s := openInside(t, vfs.NewMem(), 16<<20)
		ref := smallRef(1, dfs.PageSizeBytes)
		w, err := s.NewWriter(*ref)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Append(t.Context(), 0, pages(1)); err != nil {
			t.Fatal(err)
		}
		f := s.fileOf(1)
		if err := f.lock.Lock(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		_, err = w.Commit(ctx, persisted)
		cancel()
		f.lock.Unlock()
		if !dfs.IsKind(err, dfs.DeadlineExceeded) {
			t.Errorf("the commit: %v", err)
		}
		if failed := s.tiers[0].Failed(); failed != nil {
			t.Errorf("the tier was given up: %v", failed)
		}
		w.Abort()
		if used := s.tiers[0].Used(); used != 0 {
			t.Errorf("%d bytes used after the abort", used)
		}
	}
}

// TestFailedCommitDoesNotPersist: a commit that says "persisted" and fails must not let go of what was there before.
func TestFailedCommitDoesNotPersist(t *testing.T) {
	s := openInside(t, vfs.NewMem(), 16<<20)
	ref := *smallRef(1, 8*dfs.PageSizeBytes)
	write := func(ctx context.Context, offset int64, persisted bool, unlock func()) error {
		w, err := s.NewWriter(ref)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Abort()
		if err := w.Append(t.Context(), offset, pages(1)); err != nil {
			t.Fatal(err)
		}
		_, err = w.Commit(ctx, persisted)
		unlock()
		return err
	}
	if err := write(t.Context(), 0, false, func() {}); err != nil {
		t.Fatal(err)
	}
	f := s.fileOf(1)
	_ = f.lock.Lock(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := write(ctx, 4*dfs.PageSizeBytes, true, f.lock.Unlock)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil || f.persisted {
		t.Errorf("commit: %v, persisted: %v", err, f.persisted)
	}
}

// TestRoomFreedBeforeTheWait: room that came free between a reservation that failed and the wait for room is seen. Before
// this test, the write waited until something else was evicted, and was refused when nothing was.
func TestRoomFreedBeforeTheWait(t *testing.T) {
	s := openInside(t, vfs.NewMem(), 4<<20)
	if !s.tiers[0].Reserve(4 << 20) {
		t.Fatal("no room in an empty tier")
	}
	if _, ok := s.reserve(nil, 1<<20); ok {
		t.Fatal("room in a full tier")
	}
	s.tiers[0].Release(2 << 20) // here: by another task
	done := make(chan bool, 1)
	go func() { done <- s.waitRoom(t.Context(), 0, 1<<20, time.Minute) }()
	select {
	case ok := <-done:
		if !ok {
			t.Error("no room")
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits though there is room")
	}
	s.tiers[0].Release(2 << 20)
}

// TestLeaveTogether: a block's eviction and the end of a header's rewrite leave a pair at the same time: one of them
// removes it. Before this test, each could leave it to the other.
func TestLeaveTogether(t *testing.T) {
	fs := vfs.NewMem()
	s := openInside(t, fs, 64<<20)
	for inode := dfs.InodeID(1); inode <= 300; inode++ {
		ref := smallRef(inode, 1000)
		if !s.Fill(t.Context(), ref, 0, make([]byte, 1000)) {
			t.Fatal("not filled")
		}
		var wg sync.WaitGroup
		wg.Go(func() { s.Free(inode, 0) })
		for range 3 {
			wg.Go(func() { _ = s.SetPinned(t.Context(), inode, 0, true) })
		}
		wg.Wait()
	}
	if n := s.files.Len(); n != 0 {
		t.Errorf("%d files in memory", n)
	}
	subs, _ := fs.List("/MEM")
	for _, sub := range subs {
		if names, _ := fs.List("/MEM/" + sub); len(names) > 0 {
			t.Errorf("left in %s: %v", sub, names)
		}
	}
}

// refusing makes a write wait, and then fail as a full disk does, so that a test can act in the middle of a move.
type refusing struct {
	vfs.FS
	mu     sync.Mutex
	prefix string
	inside chan struct{} // closed when the write has come
	goOn   chan struct{}
}

func (r *refusing) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := r.FS.OpenReadWrite(name, c, o...)
	return refusingFile{f, r, name}, err
}

type refusingFile struct {
	vfs.File
	r    *refusing
	name string
}

func (f refusingFile) WriteAt(p []byte, at int64) (int, error) {
	f.r.mu.Lock()
	hit := f.r.prefix != "" && len(f.name) > len(f.r.prefix) && f.name[:len(f.r.prefix)] == f.r.prefix && len(p) > 1<<10
	f.r.mu.Unlock()
	if hit {
		close(f.r.inside)
		<-f.r.goOn
		return 0, syscall.ENOSPC
	}
	return f.File.WriteAt(p, at)
}

// TestPinnedDuringDemotion pins a file while one of its blocks is being moved down; the move fails. The block must stay:
// before this test it was dropped, since the victim was chosen before it was pinned (INV-4).
func TestPinnedDuringDemotion(t *testing.T) {
	fs := &refusing{FS: vfs.NewMem(), inside: make(chan struct{}), goOn: make(chan struct{})}
	s := openInside(t, fs, 16<<20, 64<<20)
	ref := smallRef(1, dfs.PageSizeBytes)
	if !s.Fill(t.Context(), ref, 0, pages(1)) {
		t.Fatal("not filled")
	}
	fs.mu.Lock()
	fs.prefix = "/SSD"
	fs.mu.Unlock()
	done := make(chan bool)
	go func() { done <- s.evictOne(0) }()
	<-fs.inside
	if err := s.SetPinned(t.Context(), 1, 0, true); err != nil {
		t.Error(err)
	}
	close(fs.goOn)
	<-done
	if !s.Has(ref, 0) || s.Counters.EvictedBlocks.Load() != 0 {
		t.Error("a pinned block was evicted")
	}
}

// TestMoveToFullDisk: the same without the pin. The block is dropped, and nothing is left on the tier that refused it.
func TestMoveToFullDisk(t *testing.T) {
	fs := &refusing{FS: vfs.NewMem(), prefix: "/SSD", inside: make(chan struct{}), goOn: make(chan struct{})}
	s := openInside(t, fs, 16<<20, 64<<20)
	ref := smallRef(1, dfs.PageSizeBytes)
	s.Fill(t.Context(), ref, 0, pages(1))
	close(fs.goOn)
	if !s.evictOne(0) || s.Has(ref, 0) || s.Counters.EvictedBlocks.Load() != 1 || s.Counters.DemotedBlocks.Load() != 0 {
		t.Error("the block was not dropped")
	}
	if a, b := s.tiers[0].Used(), s.tiers[1].Used(); a != 0 || b != 0 || s.tiers[1].Failed() != nil {
		t.Errorf("%d and %d bytes used; the lower tier: %v", a, b, s.tiers[1].Failed())
	}
}

// TestAbortPunches: what an aborted write leaves in a file that has other blocks is erased, although the file had no
// length yet. eraseBlock has to ask what was written, not how long the file is.
func TestAbortPunches(t *testing.T) {
	punched := &punchFS{FS: vfs.NewMem()}
	s := openInside(t, punched, 64<<20)
	ref := *smallRef(1, 0)
	first, err := s.NewWriter(ref)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Abort()
	if err := errors.Join(first.Append(t.Context(), 0, pages(1))); err != nil {
		t.Fatal(err)
	}
	second, err := s.NewWriter(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Append(t.Context(), 8*dfs.PageSizeBytes, pages(3)); err != nil {
		t.Fatal(err)
	}
	second.Abort()
	punched.mu.Lock()
	defer punched.mu.Unlock()
	if len(punched.holes) != 1 || punched.holes[0] != [2]int64{8 << 20, 3 << 20} {
		t.Errorf("holes: %v", punched.holes)
	}
}

// punchFS notes the holes that are asked for.
type punchFS struct {
	vfs.FS
	mu    sync.Mutex
	holes [][2]int64
}

func (p *punchFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := p.FS.OpenReadWrite(name, c, o...)
	return punchFile{f, p}, err
}

type punchFile struct {
	vfs.File
	p *punchFS
}

func (f punchFile) PunchHole(offset, length int64) error {
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	f.p.holes = append(f.p.holes, [2]int64{offset, length})
	return nil
}

// TestStrays: a crash in the middle of a move leaves a block on two tiers. The slower copy's records and space go, its
// pair's other blocks stay.
func TestStrays(t *testing.T) {
	fs := &punchFS{FS: vfs.NewMem()}
	ref := smallRef(1, 8*dfs.PageSizeBytes)
	fillBoth := func(s *Store) {
		for at := int64(0); at < ref.Length; at += dfs.PageSizeBytes {
			s.Fill(context.Background(), ref, at, pages(1))
		}
	}
	s := openInside(t, fs, 64<<20, 64<<20)
	fillBoth(s)
	s.mu.Lock()
	f, _ := s.files.Get(&file{id: ref.File})
	b := f.blocks[1]
	s.backingOf(f, 1).blocks += 2 // as if blocks 0 and 1 were being moved
	s.mu.Unlock()
	for _, b := range []*block{f.blocks[0], b} {
		if err := s.copyBlock(t.Context(), held{f, b}, 1, true); err != nil {
			t.Fatal(err)
		}
	}
	s.mu.Lock()
	f.busy = map[uint32]*busy{0: {done: s.h.NewEvent()}}
	s.mu.Unlock()
	s.eraseBlock(f, f.blocks[0], 0) // block 0's move got to its end, block 1's did not
	s.Close()
	again := openInside(t, fs, 64<<20, 64<<20)
	if a, b := again.TierOf(ref, 0), again.TierOf(ref, 4*dfs.PageSizeBytes); a != 1 || b != 0 {
		t.Errorf("block 0 on tier %d, block 1 on tier %d", a, b)
	}
	if a, b := again.tiers[0].Used(), again.tiers[1].Used(); a != 4<<20 || b != 4<<20 {
		t.Errorf("%d and %d bytes used", a, b)
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if last := fs.holes[len(fs.holes)-1]; last != [2]int64{4 << 20, 4 << 20} {
		t.Errorf("the stray's space was not given back: %v", fs.holes)
	}
	again.Free(1, 0)
	if a, b := again.tiers[0].Used(), again.tiers[1].Used(); a != 0 || b != 0 {
		t.Errorf("%d and %d bytes used after Free", a, b)
	}
}

// TestExtend checks what a file's length may become, by what is held.
func TestExtend(t *testing.T) {
	const page = dfs.PageSizeBytes
	for _, test := range []struct {
		name     string
		old      int64
		held     []int // pages of block 0, with old as their end
		length   int64
		ok       bool
		becomes  int64
		reported bool // that the block is not complete any more
	}{
		{"same", 2 * page, []int{0, 1}, 2 * page, true, 2 * page, false},
		{"unsaid", 2 * page, []int{0, 1}, 0, true, 2 * page, false},
		{"nothing held, shorter", 2 * page, nil, page, true, page, false},
		{"shorter", 2 * page, []int{0, 1}, page, false, 2 * page, false},
		{"longer behind full pages", 2 * page, []int{0, 1}, 3 * page, true, 3 * page, true},
		{"longer, not complete before", 2 * page, []int{1}, 3 * page, true, 3 * page, false},
		{"longer behind a short page", page + 5, []int{0, 1}, 3 * page, false, page + 5, false},
		{"longer behind a short page that is not held", page + 5, []int{0}, 3 * page, true, 3 * page, false},
		{"longer behind a full block", 4 * page, []int{0, 1, 2, 3}, 5 * page, true, 5 * page, false},
	} {
		s := openInside(t, vfs.NewMem(), 64<<20)
		ref := smallRef(1, test.old)
		for _, p := range test.held {
			start, end := ref.PageSpan(int64(p) * page)
			if !s.Fill(t.Context(), ref, start, make([]byte, end-start)) {
				t.Fatal(test.name)
			}
		}
		s.TakeChanges()
		s.mu.Lock()
		f := s.hold(smallRef(1, 0), true)
		if len(test.held) == 0 {
			f.geometry.length = test.old
		}
		ok := s.extend(f, test.length)
		became := f.geometry.length
		s.release(f)
		s.mu.Unlock()
		_, removed, _ := s.TakeChanges()
		if ok != test.ok || became != test.becomes || (len(removed) > 0) != test.reported {
			t.Errorf("%s: %v, length %d, removed %v", test.name, ok, became, removed)
		}
	}
}
