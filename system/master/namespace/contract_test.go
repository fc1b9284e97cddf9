package namespace

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
	"github.com/forebay/forebay/system/journal/memjournal"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/inodestore/inodestoretest"
	"github.com/forebay/forebay/system/master/mounttable"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/ufs"
)

func as(user string) Request {
	return Request{Identity: dfs.Identity{User: user, Groups: []string{user}}, Superuser: "root"}
}

// TestChecksAgree: what a Check says is what the mutation says right after it. Package master changes the under store in
// between, so a Check that is milder would leave the store changed for nothing, and one that is stricter would refuse.
func TestChecksAgree(t *testing.T) {
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 3))
		l := newLeader(t)
		l.mount(t, "/a", seed%2 == 0)
		mode := uint32(0o777)
		out, err := l.e.SetAttribute(background, asRoot, "/", &proto.SetAttribute{Mode: &mode}, nil)
		done(t, out, err)
		for step := range 400 {
			r, p, to := as([]string{"root", "ann", "bob"}[rng.IntN(3)]), randomPath(rng), randomPath(rng)
			yes := rng.IntN(2) == 0
			var check, verdict error
			what := ""
			switch rng.IntN(5) {
			case 0:
				what = fmt.Sprintf("mkdir %s %v", p, yes)
				op := &proto.MakeDirectory{Mode: []uint32{0o777, 0o755, 0o1777}[rng.IntN(3)], Recursive: yes}
				_, check = l.e.CheckMakeDirectory(r, p, op)
				_, verdict = l.e.MakeDirectory(background, r, p, op, false)
			case 1:
				what = fmt.Sprintf("rename %s %s %v", p, to, yes)
				_, check = l.e.CheckRename(r, p, to, yes)
				_, verdict = l.e.Rename(background, r, p, to, &proto.Rename{NoReplace: yes}, nil)
			case 2:
				what = fmt.Sprintf("remove %s %v", p, yes)
				op := &proto.Remove{Recursive: yes, File: rng.IntN(3) == 0, CacheOnly: rng.IntN(3) == 0}
				_, check = l.e.CheckRemove(r, p, op)
				_, verdict = l.e.Remove(background, r, p, op, nil)
			case 3:
				what = fmt.Sprintf("set %s", p)
				op := &proto.SetAttribute{Pinned: &yes}
				if yes {
					op.Owner = &r.Identity.User
				}
				_, check = l.e.CheckSetAttribute(r, p, op)
				_, verdict = l.e.SetAttribute(background, r, p, op, nil)
			case 4:
				_, _ = l.e.Create(background, r, p, &proto.CreateFile{Mode: 0o644, Recursive: yes, WriteType: uint32(dfs.WriteMustCache)})
			}
			if dfs.KindOf(check) != dfs.KindOf(verdict) || (check == nil) != (verdict == nil) {
				t.Fatalf("seed %d, step %d, %s by %s: the check says %v, the mutation %v", seed, step, what, r.Identity.User, check, verdict)
			}
		}
	}
}

// TestPermissionTable: which class of bits counts for whom, alone: an owner is not helped by what others may do.
func TestPermissionTable(t *testing.T) {
	n := &inodestore.Inode{Owner: "ann", Group: "staff"}
	member := Request{Identity: dfs.Identity{User: "bob", Groups: []string{"bob", "staff"}}, Superuser: "root"}
	for _, c := range []struct {
		who  Request
		mode uint32
		want uint32
		may  bool
	}{
		{as("ann"), 0o700, permRead | permWrite | permExecute, true}, {as("ann"), 0o077, permRead, false}, {as("ann"), 0o400, permRead, true},
		{as("ann"), 0o400, permRead | permWrite, false}, {member, 0o070, permRead | permWrite | permExecute, true}, {member, 0o707, permRead, false},
		{as("eve"), 0o007, permRead | permWrite | permExecute, true}, {as("eve"), 0o770, permExecute, false}, {as("eve"), 0o001, permExecute, true},
		{as("root"), 0, permRead | permWrite | permExecute, true}, {Request{Identity: dfs.Identity{User: "svc"}, Superuser: "svc"}, 0, permWrite, true},
	} {
		n.Mode = c.mode
		if got := allowed(&c.who, n, c.want); got != c.may {
			t.Errorf("%s with mode %o asks for %d: %v", c.who.Identity.User, c.mode, c.want, got)
		}
		err := Demand(&c.who, n, c.want, "read", "/f")
		if (err == nil) != c.may || err != nil && !dfs.IsKind(err, dfs.PermissionDenied) {
			t.Errorf("%s with mode %o: %v", c.who.Identity.User, c.mode, err)
		}
	}
}

// TestXattrBounds: one value, and all of an inode, at their limits and one byte beyond.
func TestXattrBounds(t *testing.T) {
	l := newLeader(t)
	l.end(t, asRoot, l.begin(t, asRoot, "/f", dfs.WriteMustCache))
	set := func(name string, size int) error {
		out, err := l.e.SetXattr(background, asRoot, "/f", &proto.SetXattr{Name: name, Value: make([]byte, size)})
		if err == nil {
			err = out.Ticket.Wait(background)
		}
		return err
	}
	if err := set("a", maxXattrBytes+1); !dfs.IsKind(err, dfs.InvalidArgument) {
		t.Errorf("a value too large: %v", err)
	}
	if err := set(strings.Repeat("n", dfs.MaxNameBytes+1), 1); !dfs.IsKind(err, dfs.InvalidArgument) {
		t.Errorf("a name too long: %v", err)
	}
	for _, name := range []string{"a", "b", "c"} {
		if err := set(name, maxXattrBytes); err != nil {
			t.Fatal(err)
		}
	}
	rest := maxXattrTotal - 3*(maxXattrBytes+1) - 1
	if err := set("d", rest+1); !dfs.IsKind(err, dfs.NoSpace) {
		t.Errorf("one byte too many in all: %v", err)
	}
	if err := set("d", rest); err != nil {
		t.Errorf("exactly all: %v", err)
	}
	if err := set("d", 1); err != nil { // what is replaced does not count
		t.Errorf("a smaller value in its place: %v", err)
	}
	out, err := l.e.SetXattr(background, asRoot, "/f", &proto.SetXattr{Name: "a", Remove: true})
	done(t, out, err)
	if n := l.peek(t, "/f"); len(n.Xattr) != 3 {
		t.Errorf("%d attributes are left", len(n.Xattr))
	}
}

// TestXattrCopies: a stored inode is immutable, so an attribute's value must not be the caller's memory.
func TestXattrCopies(t *testing.T) {
	l := newLeader(t)
	l.end(t, asRoot, l.begin(t, asRoot, "/f", dfs.WriteMustCache))
	value := []byte("value")
	out, err := l.e.SetXattr(background, asRoot, "/f", &proto.SetXattr{Name: "a", Value: value})
	before := done(t, out, err)
	copy(value, "VALUE")
	out, err = l.e.SetXattr(background, asRoot, "/f", &proto.SetXattr{Name: "b", Value: value})
	done(t, out, err)
	if got := string(l.peek(t, "/f").Xattr["a"]); got != "value" || len(before.Xattr) != 1 {
		t.Errorf("the stored value is %q, the former inode has %d attributes", got, len(before.Xattr))
	}
}

// TestListPages: pages hold what was asked for, and at most maxListBytes, and together they are the directory.
func TestListPages(t *testing.T) {
	l := newLeader(t)
	var last Outcome
	for i := range 120 {
		p := dfs.Path(fmt.Sprintf("/f%03d", i))
		l.begin(t, asRoot, p, dfs.WriteMustCache)
		out, err := l.e.SetXattr(background, asRoot, p, &proto.SetXattr{Name: "x", Value: make([]byte, maxXattrBytes)})
		if last = out; err != nil {
			t.Fatal(err)
		}
	}
	done(t, last, nil)
	page := func(after string, limit int) (names []string, next string) {
		t.Helper()
		err := l.tee.View(func(r inodestore.Reader) error {
			entries, token, err := l.tee.List(r, &asRoot, "/", after, limit)
			for _, n := range entries {
				names = append(names, n.Name)
			}
			next = token
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return names, next
	}
	for _, limit := range []int{0, -1, 1, 7, 119, 120, 121, MaxListEntries + 1} {
		var all []string
		for after, pages := "", 0; ; pages++ {
			names, next := page(after, limit)
			if limit > 0 && len(names) > limit || len(names) > maxListBytes/maxXattrBytes+1 || pages > 121 {
				t.Fatalf("limit %d: a page of %d", limit, len(names))
			}
			all = append(all, names...)
			if after = next; next == "" {
				break
			}
		}
		if len(all) != 120 || !slices.IsSorted(all) || all[0] != "f000" || all[119] != "f119" {
			t.Errorf("limit %d: %d entries in all", limit, len(all))
		}
	}
	if names, next := page("f118", 5); len(names) != 1 || next != "" {
		t.Errorf("the last page: %v, next %q", names, next)
	}
}

// TestWaitApplied: it returns when its index is applied and not before, at once when it is, and leaves nothing behind for
// a caller who gave up.
func TestWaitApplied(t *testing.T) {
	m := newMachine(t, host.NewReal())
	apply := func(index uint64) {
		m.Apply([]journal.Entry{{Index: index, Data: appendEntry(nil, entryHeader{epoch: 1, sequence: index}, nil)}})
	}
	if err := m.WaitApplied(background, 0); err != nil {
		t.Error(err)
	}
	done := map[uint64]chan error{}
	for _, index := range []uint64{3, 1, 2} {
		answer := make(chan error, 1)
		done[index] = answer
		go func() { answer <- m.WaitApplied(background, index) }()
	}
	waiting := func() int {
		m.waitMu.Lock()
		defer m.waitMu.Unlock()
		return len(m.waiting)
	}
	for waiting() < 3 {
		time.Sleep(time.Microsecond)
	}
	gone, cancel := context.WithCancel(background)
	cancel()
	if err := m.WaitApplied(gone, 9); err == nil || waiting() != 3 {
		t.Errorf("a caller who gave up: %v, %d wait", err, waiting())
	}
	for index := uint64(1); index <= 3; index++ {
		apply(index)
		if err := <-done[index]; err != nil || waiting() != int(3-index) {
			t.Errorf("index %d: %v, %d wait", index, err, waiting())
		}
	}
	if err := m.WaitApplied(gone, 3); err != nil {
		t.Errorf("what is applied needs no waiting: %v", err)
	}
}

// disk is a real host with a disk in memory.
func disk(fs vfs.FS) host.Host { return inodestoretest.NewDisk(fs) }

// TestRestore: a machine that takes over a snapshot knows exactly what the one that wrote it knew, wakes who waits for its
// index, and goes on from its position (INV-2).
func TestRestore(t *testing.T) {
	h := disk(vfs.NewMem())
	open := func(dir string) *Machine {
		store, err := inodestore.OpenHeap(h, dir)
		if err != nil {
			t.Fatal(err)
		}
		m, err := NewMachine(h, store)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	from := &tee{Machine: open("/from")}
	e, err := NewEvaluator(h, from.Machine, memjournal.Open(h, from), nil)
	if err != nil {
		t.Fatal(err)
	}
	l := &leader{h: h, tee: from, e: e}
	if err := e.Bootstrap(background, "root", "root", "m1", "a:1"); err != nil {
		t.Fatal(err)
	}
	l.mount(t, "/m", false)
	r := asRoot
	r.Session, r.Sequence = l.session(t, 5), 1
	l.begin(t, r, "/m/f", dfs.WriteAsyncThrough)
	index, err := from.Checkpoint("/snapshot")
	if err != nil {
		t.Fatal(err)
	}
	to := open("/to")
	to.Apply([]journal.Entry{{Index: 1, Data: appendEntry(nil, entryHeader{epoch: 99, sequence: 1}, nil)}}) // its own, older history
	woken := make(chan error, 1)
	go func() { woken <- to.WaitApplied(background, index) }()
	if err := to.Restore("/snapshot"); err != nil {
		t.Fatal(err)
	}
	if err := <-woken; err != nil {
		t.Error(err)
	}
	if got, want := dump(t, to), dump(t, from.Machine); got != want {
		t.Errorf("the state differs: %s", firstDifference(got, want))
	}
	if to.Mounts().At("/m") == nil || !to.HasSession(r.Session) || to.Address("m1") != "a:1" || to.Address("m2") != "" {
		t.Error("mounts, sessions or addresses are missing")
	}
	if a, ok := to.sessions.byID[r.Session].answers[1]; !ok || a.version != 1 {
		t.Errorf("the session's answer is %+v, %v", a, ok)
	}
	taken := len(from.entries)
	l.mkdir(t, "/later")
	for _, entry := range from.entries[taken:] {
		if err := to.Apply([]journal.Entry{entry})[0]; err != nil {
			t.Errorf("the entry after the snapshot: %v", err)
		}
	}
	if err := to.Restore("/nowhere"); err == nil {
		t.Error("restored from nothing")
	}
	if got, want := dump(t, to), dump(t, from.Machine); got != want {
		t.Errorf("after a failed restore: %s", firstDifference(got, want))
	}
	e.Close()
}

// failingStore fails reads while broken, and Apply while full.
type failingStore struct {
	inodestore.Store
	broken, full bool
	unreadable   string // an entry that cannot be read, while all else can
}

var errBroken = errors.New("the disk is broken")

func (s *failingStore) Child(p dfs.InodeID, name string) (*inodestore.Inode, error) {
	if s.broken || s.unreadable != "" && name == s.unreadable {
		return nil, errBroken
	}
	return s.Store.Child(p, name)
}

func (s *failingStore) List(p dfs.InodeID, after string, yield func(*inodestore.Inode) bool) error {
	if s.broken {
		return errBroken
	}
	return s.Store.List(p, after, yield)
}

func (s *failingStore) Record(table inodestore.Table, key []byte) ([]byte, error) {
	if s.broken {
		return nil, errBroken
	}
	return s.Store.Record(table, key)
}

func (s *failingStore) Records(table inodestore.Table, prefix, from []byte, yield func(k, v []byte) bool) error {
	if s.broken {
		return errBroken
	}
	return s.Store.Records(table, prefix, from, yield)
}

func (s *failingStore) Apply(index uint64, fill func(inodestore.Batch)) error {
	if s.full {
		return errBroken
	}
	return s.Store.Apply(index, fill)
}

func newFailing(t *testing.T) (*leader, *failingStore) {
	t.Helper()
	h := host.NewReal()
	store, err := inodestore.OpenHeap(h, "")
	if err != nil {
		t.Fatal(err)
	}
	s := &failingStore{Store: store}
	m, err := NewMachine(h, s)
	if err != nil {
		t.Fatal(err)
	}
	l := &leader{h: h, tee: &tee{Machine: m}}
	if l.e, err = NewEvaluator(h, m, memjournal.Open(h, l.tee), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.e.Close)
	if err := l.e.Bootstrap(background, "root", "root", "m1", "a:1"); err != nil {
		t.Fatal(err)
	}
	return l, s
}

// TestQueueWithUnreadableEntry: an entry of the persist queue that cannot be read, or whose directory cannot, fails the
// page. A shorter page would read as the end of the queue, and an unmount would drop the only copies behind it.
func TestQueueWithUnreadableEntry(t *testing.T) {
	l, s := newFailing(t)
	l.mount(t, "/m", false)
	l.mkdir(t, "/m/dir")
	for _, p := range []dfs.Path{"/m/first", "/m/dir/second", "/m/third"} {
		l.end(t, asRoot, l.begin(t, asRoot, p, dfs.WriteAsyncThrough))
	}
	for _, name := range []string{"first", "second", "third", "dir"} {
		s.unreadable = name
		if queue, err := l.tee.PersistQueue(0, 5); !errors.Is(err, errBroken) {
			t.Errorf("%s cannot be read: %d files, %v", name, len(queue), err)
		}
	}
	s.unreadable = "third"
	if queue, err := l.tee.PersistQueue(0, 2); err != nil || len(queue) != 2 {
		t.Errorf("the page before the entry: %d files, %v", len(queue), err)
	}
	s.unreadable = ""
	if queue, err := l.tee.PersistQueue(0, 5); err != nil || len(queue) != 3 {
		t.Errorf("after the repair: %d files, %v", len(queue), err)
	}
}

// TestBrokenDisk: when the state cannot be read, every operation says so, and none decides as if there were nothing: a
// create would hide a file, a removal would leave what it names.
func TestBrokenDisk(t *testing.T) {
	l, s := newFailing(t)
	l.mount(t, "/m", false)
	l.mkdir(t, "/d")
	session := l.session(t, 1)
	n := l.begin(t, asRoot, "/m/open", dfs.WriteAsyncThrough)
	waits := l.end(t, asRoot, l.begin(t, asRoot, "/m/waits", dfs.WriteAsyncThrough))
	if err := l.e.Settle(background); err != nil {
		t.Fatal(err)
	}
	for tries := 0; !l.e.idleNow() && tries < 1000; tries++ {
		_ = l.h.Sleep(background, time.Millisecond)
	}
	l.e.mu.Lock()
	*l.e.view.absent = *newAbsence()
	l.e.mu.Unlock()
	before := dump(t, l.tee.Machine)
	s.broken = true
	complete := &proto.CompleteFile{Inode: uint64(n.ID), Version: 1}
	for name, op := range map[string]func() error{
		"mkdir": func() error {
			_, err := l.e.MakeDirectory(background, asRoot, "/x", &proto.MakeDirectory{}, false)
			return err
		},
		"create": func() error { _, err := l.e.Create(background, asRoot, "/m/waits", &proto.CreateFile{}); return err },
		"rename": func() error { _, err := l.e.Rename(background, asRoot, "/d", "/e", &proto.Rename{}, nil); return err },
		"remove": func() error { _, err := l.e.Remove(background, asRoot, "/d", &proto.Remove{}, nil); return err },
		"set": func() error {
			_, err := l.e.SetAttribute(background, asRoot, "/d", &proto.SetAttribute{}, nil)
			return err
		},
		"complete": func() error { _, err := l.e.Complete(background, asRoot, complete, nil); return err },
		"abandon": func() error {
			_, err := l.e.Abandon(background, asRoot, &proto.AbandonFile{Inode: complete.Inode, Version: 1})
			return err
		},
		"mount":     func() error { _, err := l.e.Mount(background, asRoot, mounttable.Mount{Path: "/d"}); return err },
		"unmount":   func() error { _, err := l.e.Unmount(background, asRoot, "/m"); return err },
		"persist":   func() error { _, err := l.e.RequestPersist(background, asRoot, "/m/waits"); return err },
		"persisted": func() error { return l.e.SetPersisted(background, nil, "/m/waits", waits.ID, 1, "f") },
		"sync": func() error {
			_, err := l.e.SyncChildren(background, nil, "/m", []SyncEntry{{Entry: ufs.Entry{Name: "n"}}}, true, nil)
			return err
		},
		"close":        func() error { return l.e.CloseSession(background, session) },
		"check mkdir":  func() error { _, err := l.e.CheckMakeDirectory(asRoot, "/x", &proto.MakeDirectory{}); return err },
		"check rename": func() error { _, err := l.e.CheckRename(asRoot, "/d", "/e", false); return err },
		"check remove": func() error { _, err := l.e.CheckRemove(asRoot, "/d", &proto.Remove{}); return err },
		"check set":    func() error { _, err := l.e.CheckSetAttribute(asRoot, "/d", &proto.SetAttribute{}); return err },
		"left":         func() error { return l.e.CheckLeft(asRoot, "/m/x", "complete") },
		"path":         func() error { _, _, err := l.tee.PathOf(n.ID); return err },
		"queue":        func() error { _, err := l.tee.PersistQueue(0, 5); return err },
		"due":          func() error { _, _, err := l.tee.DueTTLs(time.Now(), nil, 5); return err },
		"peek":         func() error { _, _, _, err := l.tee.Peek("/d"); return err },
		"new machine":  func() error { _, err := NewMachine(l.h, s); return err },
		"new leader":   func() error { _, err := NewEvaluator(l.h, l.tee.Machine, nil, nil); return err },
	} {
		if err := op(); !errors.Is(err, errBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if l.tee.Address("m1") != "" {
		t.Error("an address that cannot be read")
	}
	s.broken = false
	if after := dump(t, l.tee.Machine); after != before {
		t.Errorf("something changed: %s", firstDifference(after, before))
	}
	l.end(t, asRoot, n)
	checkRecords(t, l.tee.Machine)
}

// TestApplyCannotFollow: a replica whose disk refuses what the log says has no other way than to stop, with what to do.
func TestApplyCannotFollow(t *testing.T) {
	l, s := newFailing(t)
	l.e.Close()
	s.full = true
	defer func() {
		if text := fmt.Sprint(recover()); !strings.Contains(text, "the disk is broken") || !strings.Contains(text, "repair its disk") {
			t.Errorf("it stopped with %q", text)
		}
	}()
	l.tee.Machine.Apply([]journal.Entry{{Index: 1000, Data: appendEntry(nil, entryHeader{epoch: 5, sequence: 1}, nil)}})
	t.Error("it went on")
}

// TestDamagedRecords: a machine does not open on records that no version wrote.
func TestDamagedRecords(t *testing.T) {
	for name, put := range map[string]func(b inodestore.Batch){
		"mount":   func(b inodestore.Batch) { b.PutRecord(inodestore.TableMount, idKey(5), []byte("{")) },
		"answers": func(b inodestore.Batch) { b.PutRecord(inodestore.TableSession, answersKey(5, 1), []byte{0xff}) },
	} {
		m := newMachine(t, host.NewReal())
		if err := m.store.Apply(1, put); err != nil {
			t.Fatal(err)
		}
		if _, err := NewMachine(m.h, m.store); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	m := newMachine(t, host.NewReal())
	if err := m.store.Apply(1, func(b inodestore.Batch) {
		b.PutRecord(inodestore.TableOpenWrite, idKey(7), []byte{})
		b.PutRecord(inodestore.TableLocation, idKey(8), []byte{})
	}); err != nil {
		t.Fatal(err)
	}
	for id := dfs.InodeID(7); id <= 8; id++ {
		if _, _, err := m.PathOf(id); !dfs.IsKind(err, dfs.Corrupted) {
			t.Errorf("inode %d: %v", id, err)
		}
	}
}

// TestTruncatedEntries: no prefix of an entry is taken for a whole one with other effects.
func TestTruncatedEntries(t *testing.T) {
	n := &inodestore.Inode{ID: 5, Parent: 1, Name: "name", Owner: "o", Length: 7, BlockSize: 1 << 20}
	effects := []effect{{kind: effectPutInode, inode: n}, {kind: effectDeleteInode, parent: 3, name: "x"},
		{kind: effectPutRecord, table: 'l', key: []byte("key"), value: []byte("value")}, {kind: effectDeleteRecord, table: 'l', key: []byte("key")},
		{kind: effectAnswers, answers: &sessionAnswers{session: 9, ackedBelow: 4, answers: []answer{{5, 6, 7, 8}}}}}
	whole := appendEntry(nil, entryHeader{1, 2, 3}, effects)
	ends := map[int]int{} // where an effect ends: how many there are by then
	for i := range len(effects) + 1 {
		ends[len(appendEntry(nil, entryHeader{1, 2, 3}, effects[:i]))] = i
	}
	for cut := range len(whole) + 1 {
		_, got, err := decodeEntry(whole[:cut])
		want, boundary := ends[cut]
		if boundary != (err == nil) || boundary && len(got) != want {
			t.Errorf("%d of %d bytes: %d effects, %v", cut, len(whole), len(got), err)
		}
		if err != nil && !dfs.IsKind(err, dfs.Corrupted) {
			t.Errorf("%d bytes: kind of %v", cut, err)
		}
	}
	for name, b := range map[string][]byte{"an unknown effect": append(whole[:len(whole):len(whole)], 99), "a newer format": {entryFormat + 1}} {
		if _, _, err := decodeEntry(b); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

// held is a journal that keeps proposals back until the test lets them go.
type held struct {
	journal.Journal
	pass     chan struct{}
	proposed chan struct{}
}

func (j *held) Propose(ctx context.Context, data []byte) journal.Pending {
	j.proposed <- struct{}{}
	<-j.pass
	return j.Journal.Propose(ctx, data)
}

// TestFullBatchHoldsCallersUp: when the journal hangs, the open batch grows to its bound and no further; callers wait, give
// up at their deadline, and go on when it is proposed.
func TestFullBatchHoldsCallersUp(t *testing.T) {
	h := host.NewReal()
	m := newMachine(t, h)
	j := &held{Journal: memjournal.Open(h, m), pass: make(chan struct{}, 1), proposed: make(chan struct{}, 100)}
	e, err := NewEvaluator(h, m, j, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	j.pass <- struct{}{}
	if err := e.Bootstrap(background, "root", "root", "m1", "a:1"); err != nil {
		t.Fatal(err)
	}
	<-j.proposed
	if _, err := e.MakeDirectory(background, asRoot, "/first", &proto.MakeDirectory{}, false); err != nil {
		t.Fatal(err)
	}
	<-j.proposed // it hangs from here on
	var last Outcome
	made := 0
	for ; ; made++ {
		short, cancel := context.WithTimeout(background, 20*time.Millisecond)
		out, err := e.MakeDirectory(short, asRoot, dfs.Path(fmt.Sprintf("/d%d", made)), &proto.MakeDirectory{}, false)
		cancel()
		if dfs.IsKind(err, dfs.DeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil || made > maxBatchEffects {
			t.Fatalf("%d made, %v", made, err)
		}
		last = out
	}
	if e.mu.Lock(); len(e.open.effects) < maxBatchEffects || len(e.open.effects) > maxBatchEffects+8 {
		t.Errorf("the open batch has %d effects, its bound is %d", len(e.open.effects), maxBatchEffects)
	}
	e.mu.Unlock()
	goesOn := make(chan error, 1)
	go func() {
		_, err := e.MakeDirectory(background, asRoot, "/goes-on", &proto.MakeDirectory{}, false)
		goesOn <- err
	}()
	close(j.pass)
	if err := <-goesOn; err != nil {
		t.Errorf("a caller who waited: %v", err)
	}
	done(t, last, nil)
}

// TestSettleWaitsForWhatFlies (INV-3): with nothing open and an entry under way, Settle returns after it is applied.
func TestSettleWaitsForWhatFlies(t *testing.T) {
	h := host.NewReal()
	m := newMachine(t, h)
	j := &held{Journal: memjournal.Open(h, m), pass: make(chan struct{}, 1), proposed: make(chan struct{}, 100)}
	e, err := NewEvaluator(h, m, j, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	j.pass <- struct{}{}
	if err := e.Bootstrap(background, "root", "root", "m1", "a:1"); err != nil {
		t.Fatal(err)
	}
	<-j.proposed
	if _, err := e.MakeDirectory(background, asRoot, "/d", &proto.MakeDirectory{}, false); err != nil {
		t.Fatal(err)
	}
	<-j.proposed
	settled := make(chan error, 1)
	go func() { settled <- e.Settle(background) }()
	short, cancel := context.WithTimeout(background, 10*time.Millisecond)
	defer cancel()
	if err := e.Settle(short); err == nil {
		t.Error("settled before the entry was applied")
	}
	out, err := e.MakeDirectory(background, asRoot, "/d", &proto.MakeDirectory{Recursive: true}, false)
	if err != nil || out.Ticket.batch == nil {
		t.Errorf("an answer that rests on a pending entry is given at once: %v", err)
	}
	close(j.pass)
	if err := <-settled; err != nil {
		t.Error(err)
	}
	if n, _, _, _ := m.Peek("/d"); n == nil {
		t.Error("settled, and the directory is not applied")
	}
	done(t, out, nil)
}

// TestSessionEdges: one nonce is one session however often it is asked for, also while the first answer is under way; ends
// may be repeated; and what a session may say of sequences.
func TestSessionEdges(t *testing.T) {
	l := newLeader(t)
	first, a, err := l.e.OpenSession(background, 77, "client")
	if err != nil {
		t.Fatal(err)
	}
	_, b, err := l.e.OpenSession(background, 77, "client") // perhaps before the first is applied
	if err != nil || a != b || first.Wait(background) != nil {
		t.Errorf("sessions %d and %d of one nonce, %v", a, b, err)
	}
	if _, c, err := l.e.OpenSession(background, 77, "client"); err != nil || c != a {
		t.Errorf("and %d later, %v", c, err)
	}
	if got := l.tee.SessionIDs(); len(got) != 1 || got[0] != a {
		t.Errorf("sessions %v", got)
	}
	r := asRoot
	r.Session = a
	if t2, err := l.e.Replay(r); t2 != nil || err != nil {
		t.Errorf("a request without a sequence: %v, %v", t2, err)
	}
	r.Sequence = 1
	out, err := l.e.MakeDirectory(background, r, "/d", &proto.MakeDirectory{}, false)
	n := done(t, out, err)
	again, err := l.e.Replay(r)
	if id, _, _ := again.Answer(); err != nil || !again.Replayed || id != n.ID {
		t.Errorf("the remembered answer names inode %d, %v", id, err)
	}
	for range 2 {
		if err := l.e.CloseSession(background, a); err != nil {
			t.Error(err)
		}
	}
	if _, err := l.e.Replay(r); !dfs.IsKind(err, dfs.SessionExpired) || l.tee.HasSession(a) {
		t.Errorf("after the end: %v", err)
	}
	if _, d, err := l.e.OpenSession(background, 77, "client"); err != nil || d == a {
		t.Errorf("the nonce gave the closed session %d again, %v", d, err)
	}
	stranger := asRoot
	stranger.Sequence = 4 // without a session there is nothing to remember it by
	if _, err := l.e.MakeDirectory(background, stranger, "/e", &proto.MakeDirectory{}, false); !dfs.IsKind(err, dfs.SessionExpired) {
		t.Errorf("a sequence without a session: %v", err)
	}
	l.e.Close()
	if _, err := l.e.Replay(r); !dfs.IsKind(err, dfs.NotLeader) {
		t.Errorf("after the leadership: %v", err)
	}
}
