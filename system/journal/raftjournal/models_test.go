package raftjournal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/types"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

// TestOwnEntriesModel does random appends, truncations and forgetting, as a log meets them, and compares with a map: what is
// said to be seen is right (INV-1), and what was noted and neither cut nor forgotten is seen.
func TestOwnEntriesModel(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		var o ownEntries
		log := map[uint64]bool{} // what lies at an index: Raft's own or a command
		var last uint64
		seenFrom := uint64(1)
		for step := range 300 {
			switch r.IntN(8) {
			case 0: // a suffix is overruled
				if from := last - min(last, uint64(r.IntN(10))); from > 0 {
					o.cutFrom(from)
					for i := from; i <= last; i++ {
						delete(log, i)
					}
					last = from - 1
				}
			case 1:
				if index := last - min(last, uint64(r.IntN(10))); index > 0 {
					o.forget(index)
					seenFrom = max(seenFrom, index+1)
				}
			case 2: // a snapshot from the leader
				last += uint64(2 + r.IntN(20))
				seenFrom = last + 1
			default:
				last++
				own := r.IntN(3) == 0
				kind := raft.LogCommand
				if own {
					kind = raft.LogNoop
				}
				if last < seenFrom {
					seenFrom = last // it was cut below what was forgotten, and noted anew
				}
				o.note(&raft.Log{Index: last, Type: kind})
				log[last] = own
			}
			for i := uint64(1); i <= last+3; i++ {
				own, seen := o.known(i)
				was, there := log[i]
				if seen && (!there || own != was) {
					t.Fatalf("seed %d, step %d: entry %d is said to be own=%v; there %v, own %v", seed, step, i, own, there, was)
				}
				if !seen && own {
					t.Fatalf("seed %d, step %d: entry %d was not seen and is known", seed, step, i)
				}
			}
			if n := o.count(); n > len(log) {
				t.Fatalf("seed %d: %d remembered of %d", seed, n, len(log))
			}
		}
	}
}

// TestLogCacheModel compares the cache with a map under appends, gaps and cuts: what it gives is what was added last at the
// index (INV-1), the newest entries that fit are there, and its bytes are those of its entries.
func TestLogCacheModel(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 2))
		c := logCache{limit: 4000}
		log := map[uint64]*raft.Log{}
		next := uint64(1)
		for step := range 200 {
			switch r.IntN(6) {
			case 0:
				from := next - min(next-1, uint64(r.IntN(12)))
				c.cut(from, next-1)
				for i := from; i < next; i++ {
					delete(log, i)
				}
				next = from
			case 1:
				to := uint64(r.IntN(int(next)))
				c.cut(0, to)
				for i := range log {
					if i <= to {
						delete(log, i)
					}
				}
			case 2:
				next += uint64(r.IntN(3))
			default:
				var batch []*raft.Log
				for range 1 + r.IntN(4) {
					batch = append(batch, command(next, r.IntN(800)))
					log[next] = batch[len(batch)-1]
					next++
				}
				c.add(batch)
				var got raft.Log
				if last := batch[len(batch)-1]; logBytes(last) <= c.limit && (!c.get(next-1, &got) || got.Index != next-1) {
					t.Fatalf("seed %d, step %d: the newest entry is not there", seed, step)
				}
			}
			bytes := 0
			for _, l := range c.logs {
				bytes += logBytes(l)
			}
			if bytes != c.bytes || bytes > c.limit {
				t.Fatalf("seed %d, step %d: %d bytes, counted %d, limit %d", seed, step, bytes, c.bytes, c.limit)
			}
			for i := uint64(0); i <= next+1; i++ {
				var got raft.Log
				if c.get(i, &got) && (log[i] == nil || got.Index != i || len(got.Data) != len(log[i].Data)) {
					t.Fatalf("seed %d, step %d: entry %d is another one, or was removed", seed, step, i)
				}
			}
		}
	}
}

// TestMetaFileDamage: with one slot damaged the other is read; with both the file is Corrupted and names itself. A file that
// was cut off counts as damaged.
func TestMetaFileDamage(t *testing.T) {
	build := func() (vfs.FS, *metaFile) {
		fs := vfs.NewMem()
		m := newMeta(t, fs)
		for i := range 2 {
			if err := m.SetStable([]byte("term"), fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
		}
		return fs, m
	}
	spoil := func(fs vfs.FS, offsets ...int64) {
		f, err := fs.OpenReadWrite("/meta", vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range offsets {
			var b [1]byte
			_, _ = f.ReadAt(b[:], at)
			b[0] ^= 0x40
			if _, err := f.WriteAt(b[:], at); err != nil {
				t.Fatal(err)
			}
		}
		_ = f.Close()
	}
	_, sound := build()
	newest := int64(sound.sequence%2) * metaSlotBytes
	older := metaSlotBytes - newest
	for _, place := range []int64{0, 7, 8, 12, metaHeaderSize, metaHeaderSize + 5} {
		fs, _ := build()
		spoil(fs, newest+place)
		m := &metaFile{fs: fileSystem{fs}}
		if _, err := m.Load("/"); err != nil {
			t.Fatalf("byte %d of the newest slot: %v", place, err)
		}
		if got, _ := m.GetStable([]byte("term")); string(got) != "0" {
			t.Errorf("byte %d of the newest slot: term %q", place, got)
		}
		spoil(fs, older+place)
		_, err := (&metaFile{fs: fileSystem{fs}}).Load("/")
		if !dfs.IsKind(err, dfs.Corrupted) || !strings.Contains(err.Error(), "/meta") {
			t.Errorf("byte %d of both: %v", place, err)
		}
	}
}

// TestMetaFileFailures fails each operation of a save in turn: the state in memory is the one before, the next save goes to
// the same slot, and after a restart one of the two is read, or, once a save has succeeded, that one.
func TestMetaFileFailures(t *testing.T) {
	for _, kind := range []errorfs.OpKind{errorfs.OpFileWriteAt, errorfs.OpFileSyncData} {
		var broken atomic.Bool
		memory := vfs.NewMem()
		disk := errorfs.Wrap(memory, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if broken.Load() && op.Kind == kind {
				return syscall.EIO
			}
			return nil
		}))
		m := newMeta(t, disk)
		for i := range 10 {
			before, sequence := m.state, m.sequence
			broken.Store(true)
			for range 3 {
				if err := m.SetStable([]byte("vote"), fmt.Append(nil, "lost", i)); err == nil {
					t.Fatal("a save that failed succeeded")
				}
				if err := m.CommitState(types.PersistentState{NextSegmentID: 1 << 40}); err == nil {
					t.Fatal("a save that failed succeeded")
				}
			}
			if m.sequence != sequence || m.state.Log.NextSegmentID != before.Log.NextSegmentID || string(m.state.Stable["vote"]) != string(before.Stable["vote"]) {
				t.Fatalf("after failures: %+v", m.state)
			}
			broken.Store(false)
			if err := m.SetStable([]byte("vote"), fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
			if got, _ := newMeta(t, memory).GetStable([]byte("vote")); string(got) != fmt.Sprint(i) {
				t.Fatalf("after a restart: %q, want %d", got, i)
			}
		}
		if err := errors.Join(m.Close(), m.Close()); err != nil {
			t.Error(err)
		}
	}
}

// TestStableStore: what was never set is 0 or nothing; a save that fails is tried until it succeeds; when the journal ends
// meanwhile the task that saves ends, and does not come back with an answer.
func TestStableStore(t *testing.T) {
	var broken atomic.Bool
	refused := make(chan struct{}, 1000)
	disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && op.Kind == errorfs.OpFileWriteAt {
			refused <- struct{}{}
			return syscall.ENOSPC
		}
		return nil
	}))
	ctx, cancel := context.WithCancel(t.Context())
	s := &stableStore{host: host.NewReal(), ctx: ctx, meta: newMeta(t, disk), logger: raftLogger(testLoggerNone())}
	if n, err := s.GetUint64([]byte("CurrentTerm")); n != 0 || err != nil {
		t.Errorf("never set: %d, %v", n, err)
	}
	if err := s.Set([]byte("short"), []byte("abc")); err != nil {
		t.Fatal(err)
	}
	if n, err := s.GetUint64([]byte("short")); n != 0 || err != nil {
		t.Errorf("not a number: %d, %v", n, err)
	}
	broken.Store(true)
	saved := make(chan error, 1)
	go func() { saved <- s.SetUint64([]byte("CurrentTerm"), 7) }()
	for range 2 {
		<-refused
	}
	if len(saved) > 0 {
		t.Fatalf("saved on a full disk: %v", <-saved)
	}
	broken.Store(false)
	if err := <-saved; err != nil {
		t.Fatal(err)
	}
	if n, err := s.GetUint64([]byte("CurrentTerm")); n != 7 || err != nil {
		t.Errorf("after it: %d, %v", n, err)
	}
	broken.Store(true)
	ended, returned := make(chan struct{}), false
	go func() {
		defer close(ended)
		_ = s.SetUint64([]byte("CurrentTerm"), 8)
		returned = true
	}()
	cancel()
	<-ended
	if returned {
		t.Error("a save that failed was answered")
	}
}

// TestOpenLogFailures: a log that cannot be opened says what a person can do: a full disk and missing permissions are not
// damage, a file that makes no sense is.
func TestOpenLogFailures(t *testing.T) {
	for _, test := range []struct {
		err  error
		kind dfs.Kind
		word string
	}{
		{syscall.ENOSPC, dfs.NoSpace, "free space"}, {syscall.EDQUOT, dfs.NoSpace, "free space"}, {errors.New("open: permission denied"), dfs.Unavailable, "permission"},
		{syscall.EIO, dfs.Corrupted, "backup"}, {wal.ErrCorrupt, dfs.Corrupted, "backup"},
	} {
		err := openLogError(test.err, "/log")
		if !dfs.IsKind(err, test.kind) || !strings.Contains(err.Error(), test.word) || !strings.Contains(err.Error(), "/log") {
			t.Errorf("%v: %v, want %v with %q", test.err, err, test.kind, test.word)
		}
	}
	for at := 1; ; at++ {
		n, failed := 0, false
		memory := vfs.NewMem()
		disk := errorfs.Wrap(memory, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if n++; n == at && op.Kind != errorfs.OpFileClose && op.Kind != errorfs.OpStat { // absence is no error to Stat's callers
				failed = true
				return syscall.ENOSPC
			}
			return nil
		}))
		s, err := openLog(host.NewReal(), fileSystem{disk}, "/journal/log", 4<<10, raftLogger(testLoggerNone()))
		if err != nil && !dfs.IsKind(err, dfs.NoSpace) {
			t.Errorf("operation %d: %v", at, err)
		}
		if err == nil {
			_ = s.close()
		}
		again, err := openLog(host.NewReal(), fileSystem{memory}, "/journal/log", 4<<10, raftLogger(testLoggerNone()))
		if err != nil {
			t.Fatalf("operation %d: there is room again: %v", at, err)
		}
		if err := again.StoreLogs([]*raft.Log{command(1, 10)}); err != nil {
			t.Errorf("operation %d: %v", at, err)
		}
		_ = again.close()
		if n < at {
			return
		}
		_ = failed
	}
}
