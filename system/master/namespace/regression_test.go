package namespace

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/mounttable"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/ufs"
)

var asRoot = Request{Identity: dfs.Identity{User: "root"}, Superuser: "root"}

// done waits for a mutation that must succeed.
func done(t *testing.T, out Outcome, err error) *inodestore.Inode {
	t.Helper()
	if err == nil {
		err = out.Ticket.Wait(background)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Inode
}

func (l *leader) begin(t *testing.T, r Request, p dfs.Path, w dfs.WriteType) *inodestore.Inode {
	t.Helper()
	out, err := l.e.Create(background, r, p, &proto.CreateFile{Mode: 0o644, WriteType: uint32(w), Overwrite: true})
	return done(t, out, err)
}

func (l *leader) end(t *testing.T, r Request, n *inodestore.Inode) *inodestore.Inode {
	t.Helper()
	out, err := l.e.Complete(background, r, &proto.CompleteFile{Inode: uint64(n.ID), Version: n.LastVersion, Fingerprint: "f"}, nil)
	return done(t, out, err)
}

func (l *leader) mkdir(t *testing.T, p dfs.Path) *inodestore.Inode {
	t.Helper()
	out, err := l.e.MakeDirectory(background, asRoot, p, &proto.MakeDirectory{Mode: 0o755, Recursive: true}, false)
	return done(t, out, err)
}

func (l *leader) mount(t *testing.T, p dfs.Path, readOnly bool) {
	t.Helper()
	out, err := l.e.Mount(background, asRoot, mounttable.Mount{Path: p, URI: "mem://a", ReadOnly: readOnly})
	done(t, out, err)
}

func (l *leader) session(t *testing.T, nonce uint64) dfs.SessionID {
	t.Helper()
	ticket, id, err := l.e.OpenSession(background, nonce, "test")
	if err != nil || ticket.Wait(background) != nil {
		t.Fatal(err)
	}
	return id
}

func (l *leader) peek(t *testing.T, p dfs.Path) *inodestore.Inode {
	t.Helper()
	n, _, _, err := l.tee.Peek(p)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (l *leader) collect(t *testing.T) {
	t.Helper()
	for {
		n, err := l.e.CollectGarbage(background, 2, func(*inodestore.Inode) {})
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
	}
}

// TestFullSessionGetsOut: a session at its bound gets its old answers, and gets out by acknowledging with the very
// request that the bound would refuse.
func TestFullSessionGetsOut(t *testing.T) {
	l := newLeader(t)
	r := asRoot
	r.Session = l.session(t, 4)
	l.mkdir(t, "/d")
	var last Outcome
	for i := range maxAnswersPerSession {
		r.Sequence = uint64(i + 1)
		out, err := l.e.MakeDirectory(background, r, "/d", &proto.MakeDirectory{Recursive: true}, false)
		if err != nil {
			t.Fatal(err)
		}
		last = out
	}
	done(t, last, nil)
	r.Sequence = 17
	if out, err := l.e.MakeDirectory(background, r, "/d", &proto.MakeDirectory{Recursive: true}, false); err != nil || !out.Ticket.Replayed {
		t.Errorf("the answer of a full session: %+v, %v", out.Ticket, err)
	}
	r.Sequence = maxAnswersPerSession + 1
	_, err := l.e.MakeDirectory(background, r, "/e", &proto.MakeDirectory{}, false)
	if !dfs.IsKind(err, dfs.ResourceExhausted) {
		t.Errorf("one too many: %v", err)
	}
	r.AckedBelow = maxAnswersPerSession
	out, err := l.e.MakeDirectory(background, r, "/e", &proto.MakeDirectory{}, false)
	done(t, out, err)
	r.Sequence = 17
	if _, err := l.e.MakeDirectory(background, r, "/e", &proto.MakeDirectory{}, false); !dfs.IsKind(err, dfs.InvalidArgument) {
		t.Errorf("a mutation that was acknowledged long ago: %v", err)
	}
}

// TestAcknowledgingTooMuch: a client that acknowledges what it has not asked loses nothing of its own.
func TestAcknowledgingTooMuch(t *testing.T) {
	l := newLeader(t)
	r := asRoot
	r.Session, r.Sequence, r.AckedBelow = l.session(t, 4), 1, math.MaxUint64
	out, err := l.e.MakeDirectory(background, r, "/d", &proto.MakeDirectory{}, false)
	done(t, out, err)
	again, err := l.e.MakeDirectory(background, r, "/d", &proto.MakeDirectory{}, false)
	if err != nil || !again.Ticket.Replayed {
		t.Errorf("the retry: %v", err)
	}
}

// TestIDsStayReserved (INV-7): an operation that fails after it took the first id of a new range must not leave the range
// in use and unlogged.
func TestIDsStayReserved(t *testing.T) {
	l := newLeader(t)
	l.e.mu.Lock()
	l.e.nextID = l.e.reserved
	l.e.mu.Unlock()
	_, err := l.e.do(background, asRoot, nil, func(tx *txn) error {
		tx.newID()
		return dfs.Errorf(dfs.NotEmpty, "test", "", "refused after all")
	})
	if !dfs.IsKind(err, dfs.NotEmpty) {
		t.Fatal(err)
	}
	n := l.mkdir(t, "/d")
	logged, _ := l.tee.store.Record(inodestore.TableMeta, metaNextID)
	if uint64(n.ID) >= keyID(logged) {
		t.Errorf("inode %d was given out, and a failover would start again at %d", n.ID, keyID(logged))
	}
}

// TestMkdirMarksItsParents: directories that mkdir -p made in the store count as persisted, or their removal would leave
// them there to come back.
func TestMkdirMarksItsParents(t *testing.T) {
	l := newLeader(t)
	l.mount(t, "/m", false)
	out, err := l.e.MakeDirectory(background, asRoot, "/m/kept", &proto.MakeDirectory{}, false)
	done(t, out, err)
	out, err = l.e.MakeDirectory(background, asRoot, "/m/kept/a/b/c", &proto.MakeDirectory{Recursive: true}, true)
	done(t, out, err)
	for _, p := range []dfs.Path{"/m/kept", "/m/kept/a", "/m/kept/a/b", "/m/kept/a/b/c"} {
		if n := l.peek(t, p); n == nil || n.Persist != dfs.Persisted {
			t.Errorf("%s: %+v", p, n)
		}
	}
}

// TestRepliesNameTheInode: a replay rebuilds the reply from the inode's id, so answers that change nothing carry it too.
func TestRepliesNameTheInode(t *testing.T) {
	l := newLeader(t)
	d := l.mkdir(t, "/d")
	out, err := l.e.MakeDirectory(background, asRoot, "/d", &proto.MakeDirectory{Recursive: true}, false)
	done(t, out, err)
	if id, _, _ := out.Ticket.Answer(); id != d.ID {
		t.Errorf("mkdir of what exists answers inode %d, want %d", id, d.ID)
	}
	out, err = l.e.Rename(background, asRoot, "/d", "/d", &proto.Rename{}, nil)
	done(t, out, err)
	if id, _, _ := out.Ticket.Answer(); id != d.ID {
		t.Errorf("renaming to itself answers inode %d, want %d", id, d.ID)
	}
}

// TestGarbageTakesLateRecords: what a writer proposes about a file below a removed directory goes with the file, also
// when it is not applied yet when the collector comes by.
func TestGarbageTakesLateRecords(t *testing.T) {
	l := newLeader(t)
	l.mount(t, "/m", false)
	l.mkdir(t, "/m/d")
	var begun []*inodestore.Inode
	for i := range 20 {
		begun = append(begun, l.begin(t, asRoot, dfs.Path(fmt.Sprintf("/m/d/%d", i)), dfs.WriteAsyncThrough))
	}
	out, err := l.e.Remove(background, asRoot, "/m/d", &proto.Remove{Recursive: true}, nil)
	done(t, out, err)
	for i, n := range begun { // evaluated and not waited for, the collector right behind
		op := &proto.CompleteFile{Inode: uint64(n.ID), Version: n.LastVersion}
		if i%2 == 0 {
			_, err = l.e.Complete(background, asRoot, op, nil)
		} else {
			_, err = l.e.Abandon(background, asRoot, &proto.AbandonFile{Inode: op.Inode, Version: op.Version})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	l.collect(t)
	checkRecords(t, l.tee.Machine)
	if queue, _ := l.tee.PersistQueue(0, 10); len(queue) > 0 {
		t.Errorf("the queue holds %v of removed files", queue)
	}
}

// TestCloseSessionTakesPendingWrites: writes that are proposed and not applied end with their session, and after the end
// is proposed no new one begins.
func TestCloseSessionTakesPendingWrites(t *testing.T) {
	l := newLeader(t)
	r := asRoot
	for round := range 20 {
		r.Session, r.Sequence = l.session(t, uint64(round+10)), 0
		for i := range 5 {
			r.Sequence++
			if _, err := l.e.Create(background, r, dfs.Path(fmt.Sprintf("/f%d-%d", round, i)), &proto.CreateFile{WriteType: uint32(dfs.WriteMustCache)}); err != nil {
				t.Fatal(err)
			}
		}
		closed := make(chan error, 1)
		go func() { closed <- l.e.CloseSession(background, r.Session) }()
		for { // until it is refused
			r.Sequence++
			_, err := l.e.Create(background, r, dfs.Path(fmt.Sprintf("/late%d-%d", round, r.Sequence)), &proto.CreateFile{WriteType: uint32(dfs.WriteMustCache)})
			if dfs.IsKind(err, dfs.SessionExpired) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := <-closed; err != nil {
			t.Fatal(err)
		}
	}
	left := 0
	_ = l.tee.store.Records(inodestore.TableOpenWrite, nil, nil, func(_, _ []byte) bool { left++; return true })
	if left > 0 {
		t.Errorf("%d writes of closed sessions go on for ever", left)
	}
	checkRecords(t, l.tee.Machine)
}

// TestWritesBelongToTheirSession: others can neither publish nor drop what a session is writing.
func TestWritesBelongToTheirSession(t *testing.T) {
	l := newLeader(t)
	ann := Request{Identity: dfs.Identity{User: "ann"}, Superuser: "root", Session: l.session(t, 1), Sequence: 1}
	mode := uint32(0o777)
	out, err := l.e.SetAttribute(background, asRoot, "/", &proto.SetAttribute{Mode: &mode}, nil)
	done(t, out, err)
	n := l.begin(t, ann, "/f", dfs.WriteMustCache)
	complete := &proto.CompleteFile{Inode: uint64(n.ID), Version: 1, Length: 3}
	other, thief, nobody := ann, ann, asRoot
	other.Session, other.Sequence = l.session(t, 2), 1
	thief.Identity.User, thief.Sequence = "bob", 2 // session ids are no secret
	for name, r := range map[string]Request{"another session": other, "another user": thief, "no session": nobody} {
		if _, err := l.e.Complete(background, r, complete, nil); !dfs.IsKind(err, dfs.PermissionDenied) {
			t.Errorf("complete by %s: %v", name, err)
		}
		if _, err := l.e.Abandon(background, r, &proto.AbandonFile{Inode: complete.Inode, Version: 1}); !dfs.IsKind(err, dfs.PermissionDenied) {
			t.Errorf("abandon by %s: %v", name, err)
		}
	}
	unknown := ann
	unknown.Session, unknown.Sequence = 4711, 0
	if _, err := l.e.Create(background, unknown, "/g", &proto.CreateFile{WriteType: uint32(dfs.WriteMustCache)}); !dfs.IsKind(err, dfs.SessionExpired) {
		t.Errorf("a write in a session that does not exist: %v", err)
	}
	ann.Sequence = 2
	l.end(t, ann, n)
}

// TestHostileNumbers: each is refused before it is narrowed to a type where it means something else.
func TestHostileNumbers(t *testing.T) {
	l := newLeader(t)
	l.mount(t, "/m", false)
	for name, op := range map[string]*proto.CreateFile{
		"write type 200":       {WriteType: 200},
		"write type 257":       {WriteType: 257},
		"TTL action 256":       {TtlAction: 256},
		"negative TTL":         {Ttl: -1},
		"negative min":         {ReplicationMin: -1},
		"negative durable":     {ReplicationDurable: -1},
		"min over max":         {ReplicationMin: 3, ReplicationMax: 2},
		"block of 1 byte":      {BlockSize: 1},
		"negative block":       {BlockSize: -1 << 20},
		"block of 5 GiB":       {BlockSize: 5 << 30},
		"block of half a page": {BlockSize: 1<<20 + 1<<19},
	} {
		if _, err := l.e.Create(background, asRoot, "/m/f", op); !dfs.IsKind(err, dfs.InvalidArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	n := l.begin(t, asRoot, "/m/f", dfs.WriteMustCache)
	for _, length := range []int64{-1, math.MinInt64, math.MaxInt64, n.BlockSize * MaxFileBlocks} {
		_, err := l.e.Complete(background, asRoot, &proto.CompleteFile{Inode: uint64(n.ID), Version: 1, Length: length}, nil)
		if !dfs.IsKind(err, dfs.InvalidArgument) {
			t.Errorf("length %d: %v", length, err)
		}
	}
	l.end(t, asRoot, n)
	action, ttl, low, mode := uint32(256), int64(-5), int32(-1), uint32(0o10000)
	for name, op := range map[string]*proto.SetAttribute{"action": {TtlAction: &action}, "ttl": {Ttl: &ttl}, "min": {ReplicationMin: &low}, "mode": {Mode: &mode}} {
		if _, err := l.e.SetAttribute(background, asRoot, "/m/f", op, nil); !dfs.IsKind(err, dfs.InvalidArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	year := int64(365 * 24 * time.Hour)
	if _, err := l.e.SetAttribute(background, asRoot, "/m", &proto.SetAttribute{Ttl: &year}, nil); !dfs.IsKind(err, dfs.InvalidArgument) {
		t.Errorf("a TTL on a directory: %v", err)
	}
}

// TestTTLKeysSort: expiries at both ends of time come in their order, and none wraps round.
func TestTTLKeysSort(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	times := []time.Time{time.Unix(math.MinInt64/2, 0), time.Unix(0, math.MinInt64), time.Unix(-1, 0), time.Unix(0, 1), now,
		time.Unix(0, math.MaxInt64), time.Unix(0, math.MaxInt64).Add(math.MaxInt64), time.Unix(math.MaxInt64/2, 0)}
	for i := range times[1:] {
		if a, b := ttlKey(times[i], 1), ttlKey(times[i+1], 1); string(a) > string(b) {
			t.Errorf("%v comes after %v", times[i], times[i+1])
		}
	}
	l := newLeader(t)
	for i, at := range []int64{math.MinInt64, -1, 1, math.MaxInt64} {
		p := dfs.Path(fmt.Sprintf("/f%d", i))
		l.end(t, asRoot, l.begin(t, asRoot, p, dfs.WriteMustCache))
		ttl := int64(math.MaxInt64)
		if at < 2 {
			ttl = 5
		}
		out, err := l.e.SetAttribute(background, asRoot, p, &proto.SetAttribute{ModTime: &at, Ttl: &ttl}, nil)
		done(t, out, err)
	}
	due, next, err := l.tee.DueTTLs(time.Now(), nil, 2)
	if err != nil || len(due) != 2 || next == nil {
		t.Fatalf("first page %v, next %x, %v", due, next, err)
	}
	more, next, err := l.tee.DueTTLs(time.Now(), next, 2)
	if err != nil || len(more) != 1 || next != nil {
		t.Errorf("second page %v, next %x, %v", more, next, err)
	}
	checkRecords(t, l.tee.Machine)
}

// TestOnlyIf: upkeep that decided on an old list does nothing to what has the path now.
func TestOnlyIf(t *testing.T) {
	l := newLeader(t)
	old := l.end(t, asRoot, l.begin(t, asRoot, "/f", dfs.WriteMustCache))
	out, err := l.e.Remove(background, asRoot, "/f", &proto.Remove{}, nil)
	done(t, out, err)
	l.end(t, asRoot, l.begin(t, asRoot, "/f", dfs.WriteMustCache))
	r := asRoot
	r.OnlyIf = func(n *inodestore.Inode) bool { return n.ID == old.ID }
	if _, err := l.e.Remove(background, r, "/f", &proto.Remove{}, nil); !dfs.IsKind(err, dfs.Stale) {
		t.Errorf("remove: %v", err)
	}
	if _, err := l.e.CheckRemove(r, "/f", &proto.Remove{}); !dfs.IsKind(err, dfs.Stale) {
		t.Errorf("check: %v", err)
	}
	if _, err := l.e.SetAttribute(background, r, "/f", &proto.SetAttribute{}, nil); !dfs.IsKind(err, dfs.Stale) {
		t.Errorf("set attribute: %v", err)
	}
}

// TestGoneDirectoryKeepsWhatWaits (contract C3): a directory that vanished from the store keeps files that only Forebay
// has, and goes once they are gone.
func TestGoneDirectoryKeepsWhatWaits(t *testing.T) {
	l := newLeader(t)
	l.mount(t, "/m", false)
	sync := func(dir dfs.Path, entries ...SyncEntry) int {
		t.Helper()
		n, err := l.e.SyncChildren(background, nil, dir, entries, true, nil)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	sync("/m", SyncEntry{Entry: ufs.Entry{Name: "d", Dir: true}})
	l.end(t, asRoot, l.begin(t, asRoot, "/m/d/waits", dfs.WriteAsyncThrough))
	gone := SyncEntry{Entry: ufs.Entry{Name: "d"}, Gone: true}
	sync("/m", gone)
	if n := l.peek(t, "/m/d"); n == nil || n.Persist != dfs.NotPersisted || l.peek(t, "/m/d/waits") == nil {
		t.Fatalf("the directory was %+v, and its file must not be lost", n)
	}
	asFile := SyncEntry{Entry: ufs.Entry{Name: "d", Size: 5, Fingerprint: "x"}}
	if n := sync("/m", gone, asFile); n != 0 || l.peek(t, "/m/d/waits") == nil {
		t.Errorf("%d changes although a file waits below", n)
	}
	if queue, err := l.tee.PersistQueue(0, 9); err != nil || len(queue) != 1 {
		t.Errorf("queue %v, %v", queue, err)
	}
	if _, err := l.e.SyncChildren(background, nil, "/m/d/waits", []SyncEntry{asFile}, false, nil); !dfs.IsKind(err, dfs.NotDirectory) {
		t.Errorf("children below a file: %v", err)
	}
}

// TestClosedEvaluatorProposesNothing (INV-6): when Close returns, the next evaluator's Barrier can count on it.
func TestClosedEvaluatorProposesNothing(t *testing.T) {
	l := newLeader(t)
	for i := range 50 {
		_, _ = l.e.MakeDirectory(background, asRoot, dfs.Path(fmt.Sprintf("/%d", i)), &proto.MakeDirectory{}, false)
	}
	l.e.Close()
	if !l.e.stopped.IsSet() {
		t.Error("the commit loop still runs")
	}
	if _, err := l.e.MakeDirectory(background, asRoot, "/late", &proto.MakeDirectory{}, false); !dfs.IsKind(err, dfs.NotLeader) {
		t.Errorf("after the end: %v", err)
	}
}

// TestClaimWaitersShareAnEvent: callers that give up leave nothing behind while a claim is held for long.
func TestClaimWaitersShareAnEvent(t *testing.T) {
	l := newLeader(t)
	claim, err := l.e.Claim(background, "/a")
	if err != nil {
		t.Fatal(err)
	}
	defer claim.Release()
	gone, cancel := context.WithCancel(background)
	cancel()
	if _, err := l.e.Claim(gone, "/a"); err == nil {
		t.Fatal("claimed twice")
	}
	first := l.e.claimWait
	for range 100 {
		if _, err := l.e.Claim(gone, "/a/b"); err == nil {
			t.Fatal("claimed twice")
		}
	}
	if l.e.claimWait != first {
		t.Error("each waiter has its own event")
	}
}

// TestEntriesAreBoundedInBytes: large attributes close an entry long before their number does.
func TestEntriesAreBoundedInBytes(t *testing.T) {
	l := newLeader(t)
	var last Outcome
	for i := range 400 {
		p := dfs.Path(fmt.Sprintf("/f%d", i))
		l.begin(t, asRoot, p, dfs.WriteMustCache)
		out, err := l.e.SetXattr(background, asRoot, p, &proto.SetXattr{Name: "user.x", Value: make([]byte, maxXattrBytes)})
		if err != nil {
			t.Fatal(err)
		}
		last = out
	}
	done(t, last, nil)
	for _, e := range l.tee.entries {
		if len(e.Data) > maxBatchBytes+2*maxXattrBytes {
			t.Errorf("entry %d has %d bytes", e.Index, len(e.Data))
		}
	}
}

// TestAbsenceIsBounded: directories with no names count too.
func TestAbsenceIsBounded(t *testing.T) {
	a := newAbsence()
	for i := range maxNames/dirWeight + 10 {
		a.made(dfs.InodeID(i))
		if i > 100 && i%1000 != 0 {
			a.dirs[dfs.InodeID(i)].hashes = nil // as those that were only asked: cheaper for the test
		}
	}
	if a.total > maxNames || len(a.dirs) > maxNames/dirWeight {
		t.Errorf("%d directories, %d in all", len(a.dirs), a.total)
	}
	a.drop(5)
	a.made(7)
	a.put(7, "x")
	if a.absent(7, "x") || !a.absent(7, "y") {
		t.Error("wrong after the bound was met")
	}
}

func TestSizesFromStoresAreTamed(t *testing.T) {
	l := newLeader(t)
	l.mount(t, "/m", false)
	_, err := l.e.SyncChildren(background, nil, "/m", []SyncEntry{
		{Entry: ufs.Entry{Name: "huge", Size: 1 << 50, Fingerprint: "a"}}, {Entry: ufs.Entry{Name: "negative", Size: -7, Fingerprint: "b"}},
	}, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := l.peek(t, "/m/huge"); n.Length/n.BlockSize >= MaxFileBlocks {
		t.Errorf("%d bytes in blocks of %d", n.Length, n.BlockSize)
	}
	if n := l.peek(t, "/m/negative"); n.Length != 0 {
		t.Errorf("length %d", n.Length)
	}
}

// TestApplyOfNothing: a journal may hand over an empty group.
func TestApplyOfNothing(t *testing.T) {
	l := newLeader(t)
	if errs := l.tee.Machine.Apply(nil); len(errs) != 0 {
		t.Errorf("%v", errs)
	}
}

// FuzzDecodeRecords: the small records never panic, and what they give is written as it was read.
func FuzzDecodeRecords(f *testing.F) {
	f.Add(location{7, "name"}.encode())
	f.Add(openWrite{location{7, "name"}, 2, 9, dfs.WriteThrough}.encode())
	f.Add(appendAnswers(nil, &sessionAnswers{session: 1, ackedBelow: 3, answers: []answer{{1, 2, 3, -4}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := decodeLocation(b); err == nil {
			if again, err := decodeLocation(l.encode()); err != nil || again != l {
				t.Errorf("location %+v became %+v, %v", l, again, err)
			}
		}
		if w, err := decodeOpenWrite(b); err == nil {
			if again, err := decodeOpenWrite(w.encode()); err != nil || again != w {
				t.Errorf("open write %+v became %+v, %v", w, again, err)
			}
		}
		if a, err := decodeAnswers(1, b); err == nil {
			again, err := decodeAnswers(1, appendAnswers(nil, a))
			if err != nil || len(again.answers) != len(a.answers) || again.ackedBelow != a.ackedBelow {
				t.Errorf("answers %+v became %+v, %v", a, again, err)
			}
		}
		_, _ = mounttable.Decode(b)
	})
}
