package raftjournal

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
	"github.com/forebay/forebay/system/journal/journaltest"
)

// diskHost is the real host on another disk.
type diskHost struct {
	host.Host
	fs vfs.FS
}

func (h diskHost) FS() vfs.FS { return h.fs }

// lone is the configuration of a member alone on fs.
func lone(fs vfs.FS) Config {
	return Config{Host: diskHost{host.NewReal(), fs}, ID: "m", Dir: "/journal", Logger: testLogger(),
		Peers:        []journal.Member{{ID: "m", Address: "127.0.0.1:1"}},
		Timing:       Timing{Heartbeat: 50 * time.Millisecond, Election: 50 * time.Millisecond, Lease: 50 * time.Millisecond},
		SegmentBytes: 8 << 10, TrailingLogs: 3}
}

func mustOpen(t *testing.T, c Config, sm journal.StateMachine) *Journal {
	t.Helper()
	j, err := Open(c, sm)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.stop(nil) })
	return j
}

// patient bounds a test's waits.
func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// lead waits until j leads.
func lead(t *testing.T, j *Journal) {
	t.Helper()
	for ctx := patient(t); ; {
		if term, err := j.Leadership(ctx); err != nil {
			t.Fatal(err)
		} else if term > 0 && j.Barrier(ctx) == nil {
			return
		}
	}
}

func propose(t *testing.T, j *Journal, data string) error {
	t.Helper()
	_, err := j.Propose(patient(t), []byte(data)).Wait(patient(t))
	return err
}

func wantEntries(t *testing.T, sm *journaltest.Recorder, prefix string, count int) {
	t.Helper()
	got := sm.Entries()
	for i := range count {
		if i >= len(got) || string(got[i].Data) != fmt.Sprintf("%s%d", prefix, i) {
			t.Fatalf("entry %d of %d is missing or another one; there are %d", i, count, len(got))
		}
	}
}

// TestCrash: whatever a crash of the machine leaves of what was not synced, each acknowledged entry is there afterwards,
// while segments rotate and snapshots trim the log.
func TestCrash(t *testing.T) {
	fs := vfs.NewCrashableMem()
	c := lone(fs)
	c.SnapshotEntries, c.Timing.TrimInterval = 40, 5*time.Millisecond
	sm := journaltest.NewRecorder(c.Host)
	j := mustOpen(t, c, sm)
	lead(t, j)
	rng := rand.New(rand.NewPCG(8, 9))
	for i := range 400 {
		p := j.Propose(patient(t), fmt.Appendf(nil, "e%d", i))
		if i%10 != 9 {
			if _, err := p.Wait(patient(t)); err != nil {
				t.Fatal(err)
			}
			continue
		}
		// One is under way, and maybe a snapshot, too.
		clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		if _, err := p.Wait(patient(t)); err != nil {
			t.Fatal(err)
		}
		after := lone(clone)
		restarted := journaltest.NewRecorder(after.Host) // its state is lost, so that all must come from here
		k := mustOpen(t, after, restarted)
		lead(t, k)
		wantEntries(t, restarted, "e", i)
		if err := propose(t, k, "after"); err != nil {
			t.Fatal(err)
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if v := sm.Violations(); len(v) > 0 {
		t.Error(v)
	}
	if st := j.Status(); st.FirstLogIndex < 100 {
		t.Errorf("the log was not trimmed: %+v", st)
	}
}

// faultyFS fails writes with an error, like a disk that is full or broken.
type faultyFS struct {
	vfs.FS
	log  atomic.Bool // writes to log segments fail, and no file can be made
	meta atomic.Bool // writes to the file of terms and votes fail
	how  string      // what a failing write does: "nothing", "torn" (half of it is there), "unsynced" (all of it is)
}

func (f *faultyFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if f.log.Load() {
		return nil, syscall.ENOSPC
	}
	return f.FS.Create(name, c)
}

func (f *faultyFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	fails := &f.log
	if strings.HasSuffix(name, metaFileName) {
		fails = &f.meta
	} else if _, err := f.Stat(name); err != nil && f.log.Load() {
		return nil, syscall.ENOSPC
	}
	file, err := f.FS.OpenReadWrite(name, c, opts...)
	return faultyFile{file, f, fails}, err
}

type faultyFile struct {
	vfs.File
	fs    *faultyFS
	fails *atomic.Bool
}

func (f faultyFile) WriteAt(p []byte, offset int64) (int, error) {
	if !f.fails.Load() {
		return f.File.WriteAt(p, offset)
	}
	switch f.fs.how {
	case "torn":
		_, _ = f.File.WriteAt(p[:len(p)/2], offset)
	case "unsynced":
		return f.File.WriteAt(p, offset)
	}
	return 0, syscall.ENOSPC
}

func (f faultyFile) SyncData() error {
	if f.fails.Load() {
		return syscall.ENOSPC
	}
	return f.File.SyncData()
}

// TestDiskFull: proposals fail with a clear kind while the disk is full, nothing panics, and all heals when there is space;
// what was refused is not there afterwards, what was acknowledged is.
func TestDiskFull(t *testing.T) {
	for _, how := range []string{"nothing", "torn", "unsynced"} {
		for _, entryBytes := range []int{10, 3000} { // the second fills a segment often, so that it fails in a rotation
			t.Run(fmt.Sprint(how, entryBytes), func(t *testing.T) { testDiskFull(t, how, entryBytes) })
		}
	}
}

func testDiskFull(t *testing.T, how string, entryBytes int) {
	fs := &faultyFS{FS: vfs.NewMem(), how: how}
	c := lone(fs)
	sm := journaltest.NewRecorder(c.Host)
	j := mustOpen(t, c, sm)
	lead(t, j)
	var acknowledged []string
	next := func() error {
		data := fmt.Sprintf("%0*d", entryBytes, len(acknowledged))
		err := propose(t, j, data)
		if err == nil {
			acknowledged = append(acknowledged, data)
		}
		return err
	}
	for round := range 4 {
		for range 5 {
			if err := next(); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		fs.log.Store(true)
		for next() == nil { // a segment that has its space goes on until it is full
		}
		for range 3 {
			if err := next(); !dfs.IsKind(err, dfs.NoSpace) || !strings.Contains(err.Error(), "free space") {
				t.Fatalf("on a full disk: %v", err)
			}
		}
		fs.log.Store(false)
		lead(t, j)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	again := journaltest.NewRecorder(c.Host)
	k := mustOpen(t, c, again)
	lead(t, k)
	for name, sm := range map[string]*journaltest.Recorder{"before": sm, "after a restart": again} {
		got := sm.Entries()
		if len(got) != len(acknowledged) {
			t.Fatalf("%s: %d entries, %d were acknowledged", name, len(got), len(acknowledged))
		}
		for i, e := range got {
			if string(e.Data) != acknowledged[i] {
				t.Fatalf("%s: entry %d is another one", name, i)
			}
		}
	}
}

// TestVoteCannotBeSaved: a member whose term cannot be saved stands still, does not panic, and goes on afterwards; it can
// also be closed meanwhile.
func TestVoteCannotBeSaved(t *testing.T) {
	fs := &faultyFS{FS: vfs.NewMem()}
	c := lone(fs)
	j := mustOpen(t, c, journaltest.NewRecorder(c.Host))
	lead(t, j)
	fs.meta.Store(true)
	fs.log.Store(true)
	if err := propose(t, j, "x"); !dfs.IsKind(err, dfs.NoSpace) { // it steps down, and has to save the next term
		t.Fatalf("on a full disk: %v", err)
	}
	ctx, cancel := context.WithTimeout(patient(t), 300*time.Millisecond)
	defer cancel()
	if term, err := j.Leadership(ctx); err != nil || term != 0 {
		t.Fatalf("leadership: %d, %v", term, err)
	}
	fs.log.Store(false)
	fs.meta.Store(false)
	lead(t, j)
	if err := propose(t, j, "y"); err != nil {
		t.Fatal(err)
	}
	fs.meta.Store(true)
	fs.log.Store(true)
	_ = propose(t, j, "z")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// damagedLog makes a log of some entries on the real disk, closes it, and lets edit change its newest segment.
func damagedLog(t *testing.T, edit func(data []byte) []byte) (Config, *journaltest.Recorder) {
	c := lone(nil)
	c.Host, c.Dir, c.SegmentBytes = host.NewReal(), t.TempDir(), 64<<10
	sm := journaltest.NewRecorder(c.Host)
	j := mustOpen(t, c, sm)
	lead(t, j)
	for i := range 20 {
		if err := propose(t, j, fmt.Sprintf("entry number %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	segments, err := filepath.Glob(filepath.Join(c.Dir, "log", "*.wal"))
	if err != nil || len(segments) == 0 {
		t.Fatal(segments, err)
	}
	name := segments[len(segments)-1]
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, edit(data), 0o644); err != nil {
		t.Fatal(err)
	}
	return c, sm
}

func wantCorrupted(t *testing.T, err error, dir string) {
	t.Helper()
	if !dfs.IsKind(err, dfs.Corrupted) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "add it again") {
		t.Fatalf("got %v; want corrupted, naming %s and the remedy", err, dir)
	}
}

// A byte that changed within an entry is found at the start.
func TestDamagedEntry(t *testing.T) {
	c, _ := damagedLog(t, func(data []byte) []byte {
		at := strings.Index(string(data), "number 7")
		data[at] ^= 1
		return data
	})
	_, err := Open(c, journaltest.NewRecorder(c.Host))
	wantCorrupted(t, err, c.Dir)
	if _, err := Open(c, journaltest.NewRecorder(c.Host)); !dfs.IsKind(err, dfs.Corrupted) {
		t.Fatalf("a second try, which needs the lock of the first: %v", err)
	}
}

// What a torn write left behind the last acknowledged entry is dropped.
func TestTornTail(t *testing.T) {
	c, _ := damagedLog(t, func(data []byte) []byte {
		end := strings.LastIndex(string(data), "number 19")
		for end++; end < len(data) && string(data[end:end+16]) != strings.Repeat("\x00", 16); end++ {
		}
		end = (end + 7) / 8 * 8
		copy(data[end:], "\x01\x00\x00\x00\x20\x00\x00\x00half of an ent") // an entry's header, and less than it says
		return data
	})
	sm := journaltest.NewRecorder(c.Host)
	j := mustOpen(t, c, sm)
	lead(t, j)
	wantEntries(t, sm, "entry number ", 20)
	if err := propose(t, j, "more"); err != nil {
		t.Fatal(err)
	}
}

// A segment that lost its end took acknowledged entries with it. A state that knows of them tells.
func TestCutTail(t *testing.T) {
	c, sm := damagedLog(t, func(data []byte) []byte {
		return data[:strings.Index(string(data), "number 12")]
	})
	_, err := Open(c, sm)
	wantCorrupted(t, err, c.Dir)
}

// An entry that becomes unreadable while the member runs stops this member, with the reason in every answer.
func TestUnreadableWhileRunning(t *testing.T) {
	c := lone(vfs.NewMem())
	j := mustOpen(t, c, journaltest.NewRecorder(c.Host))
	lead(t, j)
	if err := propose(t, j, "the entry"); err != nil {
		t.Fatal(err)
	}
	index := j.CommitIndex()
	j.log.cache.cut(0, index)
	fs := fileSystem{c.Host.FS()}
	names, err := fs.List("/journal/log")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".wal") {
			flip(t, fs, "/journal/log/"+name, "the entry")
		}
	}
	done := make(chan struct{})
	go func() { // as one of Raft's tasks would
		defer close(done)
		var l raft.Log
		t.Errorf("read a damaged entry: %v", logReader{j.log, j}.GetLog(index, &l))
	}()
	<-done
	<-waitStopped(j)
	wantCorrupted(t, propose(t, j, "more"), c.Dir)
	wantCorrupted(t, j.Barrier(patient(t)), c.Dir)
	for {
		if term, err := j.Leadership(patient(t)); err != nil {
			wantCorrupted(t, err, c.Dir)
			break
		} else if term > 0 {
			continue
		}
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

func waitStopped(j *Journal) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = j.stopped.Wait(background)
	}()
	return done
}

// flip changes one bit of text in a file.
func flip(t *testing.T, fs fileSystem, name, text string) {
	t.Helper()
	data, err := fs.readFile(name)
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(data), text)
	if at < 0 {
		return
	}
	f, err := fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{data[at] ^ 1}, int64(at)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestInUse(t *testing.T) {
	c := lone(nil)
	c.Host, c.Dir = host.NewReal(), t.TempDir()
	j := mustOpen(t, c, journaltest.NewRecorder(c.Host))
	if _, err := Open(c, journaltest.NewRecorder(c.Host)); !dfs.IsKind(err, dfs.Unavailable) || !strings.Contains(err.Error(), c.Dir) {
		t.Errorf("the directory is in use: %v", err)
	}
	other := c
	other.Dir, other.BindAddr = t.TempDir(), string(j.transport.LocalAddr())
	if _, err := Open(other, journaltest.NewRecorder(c.Host)); !dfs.IsKind(err, dfs.Unavailable) || !strings.Contains(err.Error(), other.BindAddr) {
		t.Errorf("the address is in use: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, c, journaltest.NewRecorder(c.Host))
}

func TestConfigIsChecked(t *testing.T) {
	good := lone(vfs.NewMem())
	for name, change := range map[string]func(*Config){
		"no host":       func(c *Config) { c.Host = nil },
		"no id":         func(c *Config) { c.ID = "" },
		"no directory":  func(c *Config) { c.Dir = "" },
		"not of quorum": func(c *Config) { c.ID = "other" },
	} {
		c := good
		change(&c)
		if _, err := Open(c, nil); !dfs.IsKind(err, dfs.InvalidArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTrimsByItself: a lone member's log stays bounded in entries and in bytes without anyone asking.
func TestTrimsByItself(t *testing.T) {
	for name, tune := range map[string]func(*Config){
		"entries": func(c *Config) { c.SnapshotEntries = 50 },
		"bytes":   func(c *Config) { c.SnapshotBytes, c.TrailingLogs, c.TrailingBytes = 20<<10, 1<<20, 4<<10 },
	} {
		t.Run(name, func(t *testing.T) {
			c := lone(vfs.NewMem())
			c.Timing.TrimInterval = 2 * time.Millisecond
			tune(&c)
			sm := journaltest.NewRecorder(c.Host)
			j := mustOpen(t, c, sm)
			lead(t, j)
			for i := range 1000 {
				if err := propose(t, j, fmt.Sprintf("e%d", i)); err != nil {
					t.Fatal(err)
				}
			}
			for ctx := patient(t); ctx.Err() == nil; time.Sleep(time.Millisecond) {
				names, err := c.Host.FS().List("/journal/snapshots")
				if err != nil {
					t.Fatal(err)
				}
				if st := j.Status(); len(names) == 1 && st.FirstLogIndex > 700 && st.LogBytes < 2*metaSlotBytes+64<<10 && sm.FlushedIndex() >= st.SnapshotIndex-1 {
					return
				}
			}
			t.Errorf("the log was not trimmed: %+v, flushed %d", j.Status(), sm.FlushedIndex())
		})
	}
}

// The files of a snapshot stay as they are while a state machine that was restored from it goes on: they share links.
func TestSnapshotIsNotConsumed(t *testing.T) {
	c := lone(vfs.NewMem())
	sm := journaltest.NewRecorder(c.Host)
	j := mustOpen(t, c, sm)
	lead(t, j)
	if err := propose(t, j, "e0"); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Snapshot(patient(t)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := j.fsm.restore(j.snapshots, j.snapshots.newest()); err != nil {
			t.Fatal(err)
		}
	}
	wantEntries(t, sm, "e", 1)
	names, err := c.Host.FS().List("/journal/snapshots")
	if err != nil || len(names) != 1 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

func TestEntryTooLarge(t *testing.T) {
	c := lone(vfs.NewMem())
	j := mustOpen(t, c, journaltest.NewRecorder(c.Host))
	lead(t, j)
	if err := propose(t, j, strings.Repeat("x", MaxEntryBytes+1)); !dfs.IsKind(err, dfs.InvalidArgument) {
		t.Errorf("too large: %v", err)
	}
	if err := propose(t, j, strings.Repeat("x", MaxEntryBytes)); err != nil {
		t.Errorf("as large as may be: %v", err)
	}
}

var _ io.Closer = (*Journal)(nil)
