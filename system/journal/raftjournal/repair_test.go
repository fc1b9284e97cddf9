package raftjournal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/segment"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal/journaltest"
)

// step is a place where a disk fails. fails says whether a call fails there, and of a write how much is done anyway.
type step struct {
	name  string
	fails func(op, path string, data []byte) (fails bool, written int)
}

const (
	opWrite, opSync, opCreate, opPreallocate = "write", "sync", "create", "preallocate"
)

func isSegment(path string) bool { return strings.HasSuffix(path, ".wal") }

// seals tells whether a batch ends its segment.
func seals(batch []byte) bool {
	at := 0
	if len(batch) > segmentHeaderBytes && batch[0] > segment.FrameCommit {
		at = segmentHeaderBytes
	}
	for at+frameHeaderBytes <= len(batch) {
		if batch[at] == segment.FrameIndex {
			return true
		}
		size := 0
		if batch[at] == segment.FrameEntry {
			size = int(binary.LittleEndian.Uint32(batch[at+4:])+7) / 8 * 8
		}
		at += frameHeaderBytes + size
	}
	return false
}

func writeStep(name string, applies func(path string, data []byte) bool, written func(size int) int) step {
	return step{name, func(op, path string, data []byte) (bool, int) {
		return op == opWrite && applies(path, data), written(len(data))
	}}
}

func opStep(name, failing string, applies func(path string) bool) step {
	return step{name, func(op, path string, _ []byte) (bool, int) { return op == failing && applies(path), 0 }}
}

func isMeta(path string) bool { return strings.HasSuffix(path, metaFileName) }

func steps() []step {
	none := func(int) int { return 0 }
	half := func(size int) int { return size / 2 / 8 * 8 }
	noCommit := func(size int) int { return size - frameHeaderBytes }
	all := func(size int) int { return size }
	anyBatch := func(path string, _ []byte) bool { return isSegment(path) }
	sealing := func(path string, data []byte) bool { return isSegment(path) && seals(data) }
	meta := func(path string, _ []byte) bool { return isMeta(path) }
	return []step{
		writeStep("append", anyBatch, none),
		writeStep("append torn", anyBatch, half),
		writeStep("append written", anyBatch, all),
		opStep("append's sync", opSync, isSegment),
		writeStep("seal", sealing, none),
		writeStep("seal torn", sealing, half),
		writeStep("seal without its commit", sealing, noCommit), // what a master on a full disk met: the batch was larger than the file
		writeStep("seal written", sealing, all),
		opStep("next segment", opCreate, isSegment),
		opStep("next segment's space", opPreallocate, isSegment),
		writeStep("list of segments", meta, none),
		writeStep("list of segments torn", meta, half),
		opStep("list of segments' sync", opSync, isMeta),
	}
}

// stepDisk fails at a step while one is set.
type stepDisk struct {
	vfs.FS
	step  atomic.Pointer[step]
	opens atomic.Int64 // of segments for writing
}

func (d *stepDisk) fails(op, path string, data []byte) (bool, int) {
	s := d.step.Load()
	if s == nil {
		return false, 0
	}
	return s.fails(op, path, data)
}

func (d *stepDisk) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if _, err := d.Stat(name); err != nil {
		if fails, _ := d.fails(opCreate, name, nil); fails {
			return nil, syscall.ENOSPC
		}
	}
	if isSegment(name) {
		d.opens.Add(1)
	}
	f, err := d.FS.OpenReadWrite(name, c, opts...)
	return stepFile{f, d, name}, err
}

type stepFile struct {
	vfs.File
	disk *stepDisk
	name string
}

// Fd hides the real file, so that Preallocate below is asked.
func (f stepFile) Fd() uintptr { return vfs.InvalidFd }

func (f stepFile) WriteAt(p []byte, offset int64) (int, error) {
	fails, written := f.disk.fails(opWrite, f.name, p)
	if !fails {
		return f.File.WriteAt(p, offset)
	}
	n, err := f.File.WriteAt(p[:written], offset)
	return n, errors.Join(syscall.ENOSPC, err)
}

func (f stepFile) SyncData() error {
	if fails, _ := f.disk.fails(opSync, f.name, nil); fails {
		return syscall.ENOSPC
	}
	return f.File.SyncData()
}

func (f stepFile) Preallocate(offset, length int64) error {
	if fails, _ := f.disk.fails(opPreallocate, f.name, nil); fails {
		return syscall.ENOSPC
	}
	return f.File.Preallocate(offset, length)
}

// entry is a command whose data tells it from another try at the same index.
func entry(index uint64, try int) *raft.Log {
	data := fmt.Appendf(nil, "%d/%d %s", index, try, strings.Repeat("x", 300))
	return &raft.Log{Index: index, Type: raft.LogCommand, Data: data, Extensions: checksum(data)}
}

// model is a log under test and what must be in it.
type model struct {
	t    *testing.T
	log  *logStore
	want []*raft.Log // acknowledged, consecutive
	next uint64
	try  int
}

func openModel(t *testing.T, fs vfs.FS) *model {
	m := &model{t: t, next: 1}
	m.reopen(fs)
	return m
}

func (m *model) reopen(fs vfs.FS) {
	m.t.Helper()
	s, err := openLog(host.NewReal(), fileSystem{fs}, "/log", 4<<10, raftLogger(testLogger()))
	if err != nil {
		m.t.Fatal(err)
	}
	m.log = s
}

// store appends a batch of count entries; what was acknowledged must stay.
func (m *model) store(count int) error {
	m.try++
	var batch []*raft.Log
	for i := range count {
		batch = append(batch, entry(m.next+uint64(i), m.try))
	}
	err := m.log.StoreLogs(batch)
	if err == nil {
		m.want = append(m.want, batch...)
		m.next += uint64(count)
	}
	return err
}

// check compares what is on the disk; extra tells that a refused batch may have come behind it, as after a crash.
func (m *model) check(extra bool) {
	m.t.Helper()
	m.log.cache.cut(0, m.next)
	last, err := m.log.LastIndex()
	if err != nil || last < m.next-1 || last > m.next-1 && !extra {
		m.t.Fatalf("the log ends at %d (%v), %d was acknowledged", last, err, m.next-1)
	}
	for _, want := range m.want {
		var got raft.Log
		if err := m.log.GetLog(want.Index, &got); err != nil || string(got.Data) != string(want.Data) {
			m.t.Fatalf("entry %d: %.20q, want %.20q (%v)", want.Index, got.Data, want.Data, err)
		}
	}
}

// rotate appends through several segments.
func (m *model) rotate() {
	m.t.Helper()
	for range 40 {
		if err := m.store(1 + m.try%3); err != nil {
			m.t.Fatal(err)
		}
	}
}

func wantNoSpace(t *testing.T, err error, dir string) {
	t.Helper()
	if !dfs.IsKind(err, dfs.NoSpace) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "free space") {
		t.Fatalf("on a full disk: %v; want no space, naming %s and the remedy", err, dir)
	}
}

// TestRepair: wherever a write fails, each try says that the disk is full, tries do not become a hot loop, and as soon as
// there is room all goes on with what was acknowledged, and nothing else. A crash instead of room heals, too.
func TestRepair(t *testing.T) {
	for _, s := range steps() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			memory := vfs.NewCrashableMem()
			disk := &stepDisk{FS: memory}
			m := openModel(t, disk)
			for round := range 2 {
				if err := m.store(1 + round); err != nil {
					t.Fatal(err)
				}
				disk.step.Store(&s)
				var err error
				for i := 0; err == nil; i++ {
					if err = m.store(1 + i%3); i > 100 {
						t.Fatal("it does not fail")
					}
				}
				wantNoSpace(t, err, "/log")
				opens, began := disk.opens.Load(), time.Now()
				for range 100 {
					wantNoSpace(t, m.store(3), "/log") // 3: the batches that failed before were others
				}
				if n := disk.opens.Load() - opens; n > 4*(1+int64(time.Since(began)/repairInterval)) {
					t.Errorf("%d opens in %v", n, time.Since(began))
				}
				crashed := *m
				rng := rand.New(rand.NewPCG(3, uint64(round)))
				crashed.reopen(memory.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng}))
				crashed.check(true)
				if crashed.next, err = crashed.log.LastIndex(); err != nil {
					t.Fatal(err)
				}
				crashed.next++
				crashed.rotate()
				disk.step.Store(nil)
				time.Sleep(repairInterval)
				if err := m.store(2); err != nil {
					t.Fatalf("there is room again: %v", err)
				}
				m.check(false)
				m.rotate()
				m.check(false)
			}
			if err := m.log.close(); err != nil {
				t.Fatal(err)
			}
			m.reopen(memory)
			m.check(false)
		})
	}
}

// TestSealWithoutRotation: a log that is closed, or crashes, between the batch that fills a segment and the rotation goes
// on after the restart. raft-wal alone never does.
func TestSealWithoutRotation(t *testing.T) {
	disk := &stepDisk{FS: vfs.NewMem()}
	m := openModel(t, disk)
	noList := writeStep("", func(path string, _ []byte) bool { return isMeta(path) }, func(int) int { return 0 })
	disk.step.Store(&noList)
	for m.store(1) == nil { // until the segment is sealed and cannot be listed
	}
	_ = m.log.close() // as it is: a crash leaves the same
	disk.step.Store(nil)
	m.reopen(disk)
	m.check(false)
	m.rotate()
	m.check(false)
}

// TestDeletionFails: INV-2 of logStore, at each step of the deletion of a suffix, a prefix and everything.
func TestDeletionFails(t *testing.T) {
	for _, s := range steps() {
		for name, cut := range map[string][2]uint64{"suffix": {15, 40}, "short suffix": {40, 40}, "prefix": {1, 20}, "all": {1, 40}} {
			t.Run(s.name+" "+name, func(t *testing.T) {
				t.Parallel()
				disk := &stepDisk{FS: vfs.NewMem()}
				m := openModel(t, disk)
				for range 40 {
					if err := m.store(1); err != nil {
						t.Fatal(err)
					}
				}
				disk.step.Store(&s)
				err := m.log.DeleteRange(cut[0], cut[1])
				if err != nil {
					wantNoSpace(t, err, "/log")
					wantNoSpace(t, m.log.DeleteRange(cut[0], cut[1]), "/log")
					disk.step.Store(nil)
					time.Sleep(repairInterval)
					m.log.tryRepair()
					m.check(false)
					if err := m.log.DeleteRange(cut[0], cut[1]); err != nil {
						t.Fatal(err)
					}
				}
				disk.step.Store(nil)
				if name == "prefix" {
					m.want = m.want[20:]
				} else {
					m.want, m.next = m.want[:cut[0]-1], cut[0]
				}
				m.check(false)
				m.rotate()
				m.check(false)
			})
		}
	}
}

// TestGapBehindSnapshot: Raft goes on behind a snapshot even if the log before it could not be removed; a gap that no
// snapshot covers is refused.
func TestGapBehindSnapshot(t *testing.T) {
	m := openModel(t, vfs.NewMem())
	m.rotate()
	m.next += 100
	if err := m.store(1); err == nil {
		t.Fatal("a gap was taken")
	}
	time.Sleep(repairInterval)
	m.log.covered = func() uint64 { return m.next - 1 }
	m.want = nil
	if err := m.store(1); err != nil {
		t.Fatal(err)
	}
	m.check(false)
}

// stepMembers makes members on disks of their own that fail at steps.
func stepMembers(t *testing.T, count int) (js []*Journal, disks []*stepDisk, sms []*journaltest.Recorder) {
	c := newCluster(t, count, nil)
	for i := range count {
		config := c.config(i)
		if count == 1 {
			config.Timing = Timing{Heartbeat: 50 * time.Millisecond, Election: 50 * time.Millisecond, Lease: 50 * time.Millisecond}
		}
		disk := &stepDisk{FS: vfs.NewMem()}
		config.Host, config.Dir = diskHost{host.NewReal(), disk}, "/journal"
		sm := journaltest.NewRecorder(config.Host)
		js, disks, sms = append(js, mustOpen(t, config, sm)), append(disks, disk), append(sms, sm)
	}
	return js, disks, sms
}

// leading waits for a leader and gives it.
func leading(t *testing.T, js []*Journal) int {
	t.Helper()
	for ctx := patient(t); ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		for i, j := range js {
			if j.raft.State() == raft.Leader && j.VerifyLeader(ctx) == nil && j.Barrier(ctx) == nil {
				return i
			}
		}
	}
	t.Fatal("nobody leads")
	return 0
}

// TestFullDiskHeals runs members whose disks all fail at a step, under several writers. Every proposal is answered,
// barriers and checks of leadership are answered, and when there is room again they go on by themselves with all that was
// acknowledged, in the same order at each.
func TestFullDiskHeals(t *testing.T) {
	for _, members := range []int{1, 3} {
		for _, s := range steps() {
			t.Run(fmt.Sprint(members, " ", s.name), func(t *testing.T) {
				t.Parallel()
				testFullDiskHeals(t, members, s)
			})
		}
	}
}

func testFullDiskHeals(t *testing.T, members int, s step) {
	js, disks, sms := stepMembers(t, members)
	leader := js[leading(t, js)]
	for _, d := range disks {
		d.step.Store(&s)
	}
	votes := strings.HasPrefix(s.name, "list of segments") // terms cannot be saved either: members stand still (stable.go)
	var mu sync.Mutex
	acknowledged := make(map[string]bool)
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := range 400 {
				data := fmt.Sprintf("w%d-%d %s", w, i, strings.Repeat("x", 200))
				ctx := patient(t)
				_, err := leader.Propose(ctx, []byte(data)).Wait(ctx)
				if err == nil {
					mu.Lock()
					acknowledged[data] = true
					mu.Unlock()
					continue
				}
				if ctx.Err() != nil {
					t.Errorf("no answer: %v", err)
				}
				if !dfs.IsKind(err, dfs.NoSpace) && !dfs.IsKind(err, dfs.NotLeader) || strings.Contains(err.Error(), "sealed") {
					t.Errorf("refused with %v", err)
				}
				return
			}
			t.Error("the disk never failed")
		})
	}
	if votes {
		time.AfterFunc(500*time.Millisecond, func() { disks[0].step.Store(nil); disks[len(disks)-1].step.Store(nil) })
	}
	writers.Wait()
	if !votes {
		for range 3 {
			for _, j := range js {
				verify, barrier := j.VerifyLeader(patient(t)), j.Barrier(patient(t))
				if members == 1 {
					wantNoSpace(t, barrier, "/journal")
					if verify != nil { // it may lead for a moment, until its first entry is refused
						wantNoSpace(t, verify, "/journal")
					}
				}
			}
		}
	}
	for _, d := range disks {
		d.step.Store(nil)
	}
	leader = js[leading(t, js)]
	if err := propose(t, leader, "after"); err != nil {
		t.Fatal(err)
	}
	index := leader.CommitIndex()
	for i, sm := range sms {
		for ctx := patient(t); sm.AppliedIndex() < index; time.Sleep(time.Millisecond) {
			if ctx.Err() != nil {
				t.Fatalf("member %d does not follow: %+v", i, js[i].Status())
			}
		}
		have := make(map[string]bool)
		for _, e := range sm.Entries() {
			have[string(e.Data)] = true
		}
		for data := range acknowledged {
			if !have[data] {
				t.Fatalf("member %d lost %.10q", i, data)
			}
		}
		if v := sm.Violations(); len(v) > 0 {
			t.Error(v)
		}
	}
}
