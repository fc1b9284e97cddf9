package blockstore_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/host/hosttest"
	"github.com/forebay/forebay/system/worker/blockstore"
)

// virtualNode is a host in virtual time whose disk can crash.
type virtualNode struct {
	*hosttest.Virtual
	fs vfs.FS
}

func (n virtualNode) FS() vfs.FS { return n.fs }

const modelBlock = 64 << 10 // blocks, and so pages, of the model's files: 48 fill both tiers

// modelFile is what the model knows of one file. Its content is a function of its inode.
type modelFile struct {
	ref   *blockstore.Ref
	owned bool // only this store has it: every page must be held
	pins  map[int64]bool
}

// model is a plain map beside the store: which pages must be readable. What may be readable is decided by the bytes.
type model struct {
	*testing.T
	h        virtualNode
	r        *rand.Rand
	s        *blockstore.Store
	files    map[dfs.InodeID]*modelFile
	reported map[dfs.BlockID]bool // what a master would know, from the changes alone
	config   blockstore.Config
}

func (m *model) fail(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (m *model) open() {
	var err error
	if m.s, err = blockstore.Open(context.Background(), m.h, m.config); err != nil {
		m.fail("open: %v", err)
	}
	m.reported = map[dfs.BlockID]bool{}
	m.s.TakeChanges()
	m.scan(func(id dfs.BlockID) { m.reported[id] = true })
}

// scan lists what is held, in batches of an odd size.
func (m *model) scan(visit func(dfs.BlockID)) {
	var cursor blockstore.Cursor
	for more := true; more; {
		var batch []blockstore.Held
		batch, cursor, more = m.s.HeldBatch(cursor, 7)
		for _, h := range batch {
			for _, index := range h.Blocks {
				visit(dfs.BlockID{File: h.File, Index: index})
			}
		}
	}
}

// pick is a random file, made when it is new.
func (m *model) pick() *modelFile {
	inode := dfs.InodeID(1 + m.r.IntN(20))
	if m.files[inode] == nil {
		r := ref(inode, 1+m.r.Int64N(4*modelBlock), modelBlock)
		r.Persisted = m.r.IntN(3) > 0 // as far as readers are told
		m.files[inode] = &modelFile{ref: r, pins: map[int64]bool{}}
	}
	return m.files[inode]
}

// held lists the pages of a file that are readable, checking their bytes.
func (m *model) held(f *modelFile) map[int64]bool {
	pages := map[int64]bool{}
	for at := int64(0); at < f.ref.Length; at += modelBlock {
		start, end := f.ref.PageSpan(at)
		p := make([]byte, end-start)
		_, hit, err := m.s.Read(context.Background(), f.ref, start, p)
		if err != nil {
			m.fail("read %v at %d: %v", f.ref.File, at, err)
		}
		if hit && !bytes.Equal(p, content(f.ref.File.Inode, start, end-start)) {
			m.fail("wrong bytes of %v at %d", f.ref.File, at)
		}
		if hit {
			pages[at] = true
		}
	}
	return pages
}

// check reads a file and compares it with what must be there.
func (m *model) check(f *modelFile) {
	held := m.held(f)
	for at := int64(0); at < f.ref.Length; at += modelBlock {
		if (f.owned || f.pins[at]) && !held[at] {
			m.fail("%v at %d is gone: owned %v, pinned %v", f.ref.File, at, f.owned, f.pins[at])
		}
	}
}

func (m *model) write(f *modelFile) {
	w, err := m.s.NewWriter(*f.ref)
	if err != nil {
		m.fail("writer: %v", err)
	}
	defer w.Abort()
	f.owned, f.pins = false, map[int64]bool{} // a write takes the place of what was there, whatever becomes of it
	for at := int64(0); at < f.ref.Length; at += 50_000 {
		if w.Append(context.Background(), at, content(f.ref.File.Inode, at, min(50_000, f.ref.Length-at))) != nil {
			return // no room
		}
	}
	if m.r.IntN(4) == 0 {
		return // the client died
	}
	if _, err := w.Commit(context.Background(), f.ref.Persisted); err != nil {
		m.fail("commit: %v", err)
	}
	f.owned = !f.ref.Persisted
}

func (m *model) step() {
	f := m.pick()
	inode := f.ref.File.Inode
	ctx := context.Background()
	switch op := m.r.IntN(16); op {
	case 0, 1, 2, 3:
		if f.ref.Persisted {
			start, end := f.ref.PageSpan(m.r.Int64N(f.ref.Length))
			m.s.Fill(ctx, f.ref, start, content(inode, start, end-start))
		}
	case 4, 5:
		m.write(f)
	case 6:
		m.s.Free(inode, 0)
		if n := len(m.held(f)); n > 0 {
			m.fail("%d pages of %v after Free", n, f.ref.File)
		}
		delete(m.files, inode)
	case 7:
		if err := m.s.SetPinned(ctx, inode, 0, true); err != nil {
			m.fail("pin: %v", err)
		}
		if held := m.held(f); len(held) > 0 {
			f.pins = held
			f.ref.Pinned = true
		}
	case 8, 9:
		if err := m.s.SetPinned(ctx, inode, 0, false); err != nil {
			m.fail("unpin: %v", err)
		}
		f.pins, f.ref.Pinned = map[int64]bool{}, false
	case 10:
		if err := m.s.SetPersisted(ctx, inode, 0); err != nil {
			m.fail("persisted: %v", err)
		}
		f.owned, f.ref.Persisted = false, true
	case 11:
		m.s.Promote(f.ref, m.r.Int64N(f.ref.Length))
	case 12:
		if got, err := m.s.Check(ctx, f.ref.File); err != nil || got.BadPages > 0 {
			m.fail("check: %+v, %v", got, err)
		}
	case 13:
		_ = m.h.Sleep(ctx, time.Duration(m.r.IntN(1500))*time.Millisecond)
	default:
		m.check(f)
	}
}

// settle compares all files, the accounting, and what a master knows with what is held.
func (m *model) settle() {
	_ = m.h.Sleep(context.Background(), 3*time.Second)
	for inode := range dfs.InodeID(21) {
		if f := m.files[inode]; f != nil {
			m.check(f)
		}
	}
	added, removed, overflow := m.s.TakeChanges()
	if overflow {
		m.fail("overflow")
	}
	for _, change := range []struct {
		held []blockstore.Held
		in   bool
	}{{removed, false}, {added, true}} {
		for _, h := range change.held {
			for _, index := range h.Blocks {
				id := dfs.BlockID{File: h.File, Index: index}
				if delete(m.reported, id); change.in {
					m.reported[id] = true
				}
			}
		}
	}
	count := 0
	m.scan(func(id dfs.BlockID) {
		if count++; !m.reported[id] {
			m.fail("block %v is held and was not reported", id)
		}
	})
	if count != len(m.reported) {
		m.fail("%d blocks reported, %d held", len(m.reported), count)
	}
	for _, ti := range m.s.Tiers() {
		if ti.UsedBytes > ti.CapacityBytes || ti.Failed {
			m.fail("tier %v", ti)
		}
	}
	if bad := m.s.Counters.BadPages.Load(); bad > 0 {
		m.fail("%d bad pages", bad)
	}
}

// restart closes the store, or crashes it, and opens what is left.
func (m *model) restart(crash bool) {
	if crash {
		fs := m.h.fs.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: m.r.IntN(101), RNG: m.r})
		m.s.Close()
		m.h.fs = fs
	} else {
		m.s.Close()
	}
	m.open()
	for inode := range dfs.InodeID(21) { // what headers may have lost, a master says again
		f := m.files[inode]
		if f == nil {
			m.s.Free(inode, 0) // a crash may bring back what was freed
			continue
		}
		if crash {
			f.pins, f.ref.Pinned = map[int64]bool{}, false
			if m.s.SetPinned(context.Background(), inode, 0, false) != nil || f.ref.Persisted && m.s.SetPersisted(context.Background(), inode, 0) != nil {
				m.fail("headers")
			}
		}
		if crash && !f.owned { // torn pages of cached data: found, dropped, and not served
			_, _ = m.s.Check(context.Background(), f.ref.File)
		}
		m.check(f)
	}
	if lost := m.s.Counters.LostPages.Load(); lost > 0 && !crash {
		m.fail("%d pages lost", lost)
	}
	m.s.Counters.BadPages.Store(0)
}

func (m *model) run(steps int) {
	m.open()
	defer func() { m.s.Close() }()
	for i := range steps {
		m.step()
		switch {
		case i%40 == 39:
			m.settle()
		case i%97 == 96:
			m.restart(i%2 == 0)
		}
	}
	for inode := range m.files {
		m.s.Free(inode, 0)
	}
	for _, ti := range m.s.Tiers() {
		if ti.UsedBytes != 0 {
			m.fail("%d bytes used on %s after everything was freed", ti.UsedBytes, ti.Name)
		}
	}
	if left := files(m.h.fs); len(left) > 0 {
		m.fail("left on the disks: %v", left)
	}
}

// TestModel runs random work against the model, with tiers that are far too small for it, restarts and crashes.
func TestModel(t *testing.T) {
	seeds := uint64(4) // 80 were run when the model was written
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		for _, policy := range []string{"lru", "s3-fifo"} {
			m := &model{T: t, h: virtualNode{hosttest.NewVirtual(seed), vfs.NewCrashableMem()}, r: rand.New(rand.NewPCG(seed, 99)),
				files: map[dfs.InodeID]*modelFile{}, config: tiers(1, 2)}
			m.config.Policy = policy
			err := m.h.Run(func() {
				defer func() {
					if r := recover(); r != nil {
						t.Errorf("seed %d, %s: %v", seed, policy, r)
					}
				}()
				m.run(400)
			})
			if err != nil && !t.Failed() {
				t.Errorf("seed %d: %v", seed, err)
			}
			if t.Failed() {
				return
			}
		}
	}
}

// TestTogether has everything happen to four files at once, on the machine's clock, for the race detector: no page is
// ever bad, and when all is freed nothing is left in the accounting or on the disks.
func TestTogether(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, host.Host(newNode(fs)), tiers(1, 2))
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	bg := t.Context()
	var wg sync.WaitGroup
	for g := range uint64(6) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(g, 5))
			for ctx.Err() == nil {
				rf := ref(dfs.InodeID(1+r.IntN(4)), 5*modelBlock+77, modelBlock)
				start, end := rf.PageSpan(r.Int64N(rf.Length))
				switch r.IntN(12) {
				case 0, 1, 2:
					s.Fill(bg, rf, start, content(rf.File.Inode, start, end-start))
				case 3, 4:
					p := make([]byte, end-start)
					if _, hit, err := s.Read(bg, rf, start, p); err != nil || hit && !bytes.Equal(p, content(rf.File.Inode, start, end-start)) {
						t.Errorf("read: %v, %v", hit, err)
					}
				case 5:
					if w, err := s.NewWriter(*rf); err == nil {
						short, done := context.WithTimeout(bg, time.Duration(r.IntN(3000))*time.Microsecond)
						if w.Append(short, start, content(rf.File.Inode, start, end-start)) == nil && r.IntN(2) == 0 {
							_, _ = w.Commit(short, true)
						}
						done()
						w.Abort()
					}
				case 6:
					s.Free(rf.File.Inode, 0)
				case 7:
					_ = s.SetPinned(bg, rf.File.Inode, 0, r.IntN(2) == 0)
				case 8:
					_ = s.SetPersisted(bg, rf.File.Inode, 0)
				case 9:
					s.Promote(rf, start)
				case 10:
					_, _ = s.Check(bg, rf.File)
				case 11:
					s.HeldBatch(blockstore.Cursor{}, 3)
					s.TakeChanges()
				}
			}
		})
	}
	wg.Wait()
	for inode := range dfs.InodeID(5) {
		s.Free(inode, 0)
	}
	for _, ti := range s.Tiers() {
		for range 1000 { // a block that was being moved goes when its move ends
			if ti.UsedBytes == 0 {
				break
			}
			time.Sleep(5 * time.Millisecond)
			for _, now := range s.Tiers() {
				if now.Name == ti.Name {
					ti = now
				}
			}
		}
		if ti.UsedBytes != 0 || ti.Failed {
			t.Errorf("after everything was freed: %v", ti)
		}
	}
	if left := files(fs); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if bad := s.Counters.BadPages.Load(); bad > 0 {
		t.Errorf("%d bad pages", bad)
	}
}
