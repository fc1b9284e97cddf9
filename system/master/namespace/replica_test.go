package namespace

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
	"github.com/forebay/forebay/system/journal/memjournal"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/proto"
)

// tee is a leader's machine that keeps every entry it applied, for replicas to apply after it.
type tee struct {
	*Machine
	mu      sync.Mutex
	entries []journal.Entry
}

func (t *tee) Apply(entries []journal.Entry) []error {
	t.mu.Lock()
	for _, e := range entries {
		t.entries = append(t.entries, journal.Entry{Index: e.Index, Data: bytes.Clone(e.Data)})
	}
	t.mu.Unlock()
	return t.Machine.Apply(entries)
}

// leader is an evaluator on a fresh namespace.
type leader struct {
	h   host.Host
	tee *tee
	e   *Evaluator
}

func newLeader(t testing.TB) *leader {
	t.Helper()
	h := host.NewReal()
	l := &leader{h: h, tee: &tee{Machine: newMachine(t, h)}}
	e, err := NewEvaluator(h, l.tee.Machine, memjournal.Open(h, l.tee), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	if err := e.Bootstrap(context.Background(), "root", "root", "m1", "a:1"); err != nil {
		t.Fatal(err)
	}
	l.e = e
	return l
}

func newMachine(t testing.TB, h host.Host) *Machine {
	t.Helper()
	store, err := inodestore.OpenHeap(h, "")
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewMachine(h, store)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// dump is the whole state as text.
func dump(t testing.TB, m *Machine) string {
	t.Helper()
	var b strings.Builder
	var walk func(id dfs.InodeID, path string)
	walk = func(id dfs.InodeID, path string) {
		err := m.store.List(id, "", func(n *inodestore.Inode) bool {
			fmt.Fprintf(&b, "%s/%s %d v%d/%d %v len=%d mode=%o %s xattr=%v writing=%v\n", path, n.Name, n.ID, n.Version, n.LastVersion, n.Persist,
				n.Length, n.Mode, n.Owner, slices.Sorted(maps.Keys(n.Xattr)), n.Writing)
			if n.IsDir() {
				walk(n.ID, path+"/"+n.Name)
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	walk(dfs.RootID, "")
	for _, table := range []inodestore.Table{inodestore.TableMeta, inodestore.TableLocation, inodestore.TableSession, inodestore.TableTTL,
		inodestore.TablePersist, inodestore.TableOpenWrite, inodestore.TableGarbage, inodestore.TableIntent} {
		if err := m.store.Records(table, nil, nil, func(k, v []byte) bool { fmt.Fprintf(&b, "%c %x=%x\n", table, k, v); return true }); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// mutateRandomly runs one random operation of a session.
func (l *leader) mutateRandomly(rng *rand.Rand, r Request) error {
	names := []string{"a", "b", "c"}
	path := func() dfs.Path {
		p := dfs.Root
		for range 1 + rng.IntN(3) {
			p = p.Join(names[rng.IntN(len(names))])
		}
		return p
	}
	ctx := context.Background()
	var out Outcome
	var err error
	switch rng.IntN(8) {
	case 0, 1:
		out, err = l.e.MakeDirectory(ctx, r, path(), &proto.MakeDirectory{Mode: 0o755, Recursive: rng.IntN(2) == 0}, false)
	case 2, 3:
		w := []dfs.WriteType{dfs.WriteMustCache}[0]
		out, err = l.e.Create(ctx, r, path(), &proto.CreateFile{Mode: 0o644, Overwrite: rng.IntN(2) == 0, WriteType: uint32(w)})
		if err == nil && rng.IntN(3) > 0 {
			id, v, _ := out.Ticket.Answer()
			_, err = l.e.Complete(ctx, Request{Identity: r.Identity}, &proto.CompleteFile{Inode: uint64(id), Version: v, Length: int64(rng.IntN(100))}, nil)
		}
	case 4:
		out, err = l.e.Rename(ctx, r, path(), path(), &proto.Rename{}, nil)
	case 5:
		out, err = l.e.Remove(ctx, r, path(), &proto.Remove{Recursive: rng.IntN(2) == 0}, nil)
	case 6:
		ttl := int64(rng.IntN(2)) * 1e12
		pinned := rng.IntN(2) == 0
		out, err = l.e.SetAttribute(ctx, r, path(), &proto.SetAttribute{Ttl: &ttl, Pinned: &pinned}, nil)
	case 7:
		_, err = l.e.CollectGarbage(ctx, 3, func(*inodestore.Inode) {})
		return err
	}
	if err != nil {
		return nil // refused, which is fine
	}
	if rng.IntN(4) == 0 {
		return out.Ticket.Wait(ctx)
	}
	return nil // many proposals in flight is what the overlay is for
}

// TestReplicasConverge: a follower that applies the entries by decoding them, in other groups, ends with the leader's
// state, and so does a restart in the middle.
func TestReplicasConverge(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 9))
		l := newLeader(t)
		ticket, session, err := l.e.OpenSession(context.Background(), 1, "test")
		if err != nil || ticket.Wait(context.Background()) != nil {
			t.Fatal(err)
		}
		for i := range 400 {
			r := Request{Identity: dfs.Identity{User: "root"}, Superuser: "root", Session: session, Sequence: uint64(i + 1), AckedBelow: uint64(max(1, i-20))}
			if err := l.mutateRandomly(rng, r); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, i, err)
			}
		}
		if err := l.e.Settle(context.Background()); err != nil {
			t.Fatal(err)
		}
		for tries := 0; !l.e.idleNow(); tries++ { // applied is one thing, noticed by the task of each entry another
			if tries > 1000 {
				t.Fatalf("seed %d: the overlay does not empty although everything is applied", seed)
			}
			_ = l.h.Sleep(context.Background(), time.Millisecond)
		}
		want := dump(t, l.tee.Machine)
		follower := newMachine(t, l.h)
		for entries := l.tee.entries; len(entries) > 0; {
			n := 1 + rng.IntN(min(5, len(entries)))
			for _, err := range follower.Apply(entries[:n]) {
				if err != nil {
					t.Fatalf("seed %d: the follower refused an entry: %v", seed, err)
				}
			}
			entries = entries[n:]
			if rng.IntN(10) == 0 { // a restart: everything in memory comes from the store
				if follower, err = NewMachine(l.h, follower.store); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := dump(t, follower); got != want {
			t.Fatalf("seed %d: the follower differs:\n%s", seed, firstDifference(got, want))
		}
		if got, want := len(follower.sessions.byID[session].answers), len(l.tee.sessions.byID[session].answers); got != want {
			t.Errorf("seed %d: the follower remembers %d answers, the leader %d", seed, got, want)
		}
	}
}

func (e *Evaluator) idleNow() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.idleLocked()
}

func firstDifference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d\n got  %s\n want %s", i, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(a), len(b))
}

// TestGapIsRefused: an entry whose predecessor was lost changes nothing (INV-2).
func TestGapIsRefused(t *testing.T) {
	m := newMachine(t, host.NewReal())
	entry := func(index, epoch, sequence uint64) journal.Entry {
		e := effect{kind: effectPutRecord, table: inodestore.TableMeta, key: []byte("k"), value: binary.BigEndian.AppendUint64(nil, index)}
		return journal.Entry{Index: index, Data: appendEntry(nil, entryHeader{epoch: epoch, sequence: sequence}, []effect{e})}
	}
	for _, c := range []struct {
		entry journal.Entry
		ok    bool
	}{
		{entry(1, 7, 1), true}, {entry(2, 7, 2), true}, {entry(3, 7, 4), false}, {entry(4, 7, 2), false}, {entry(5, 7, 3), true},
		{entry(6, 8, 2), false}, {entry(7, 8, 1), true}, {entry(8, 7, 4), false}, {entry(9, 8, 2), true},
	} {
		err := m.Apply([]journal.Entry{c.entry})[0]
		if (err == nil) != c.ok || err != nil && !dfs.IsKind(err, dfs.NotLeader) {
			t.Errorf("entry %d: %v, want accepted %v", c.entry.Index, err, c.ok)
		}
		value, _ := m.store.Record(inodestore.TableMeta, []byte("k"))
		if got := binary.BigEndian.Uint64(value) == c.entry.Index; got != c.ok {
			t.Errorf("entry %d: took effect %v, want %v", c.entry.Index, got, c.ok)
		}
		if m.AppliedIndex() != c.entry.Index {
			t.Errorf("applied index %d after entry %d", m.AppliedIndex(), c.entry.Index)
		}
	}
	if errs := m.Apply([]journal.Entry{entry(5, 9, 1)}); errs[0] != nil || m.AppliedIndex() != 9 {
		t.Errorf("an entry that was applied before: %v", errs)
	}
	if errs := m.Apply([]journal.Entry{{Index: 10, Data: []byte{99}}}); !dfs.IsKind(errs[0], dfs.UnsupportedFeature) {
		t.Errorf("an entry of a newer format: %v", errs)
	}
}

func FuzzDecodeEntry(f *testing.F) {
	n := &inodestore.Inode{ID: 5, Parent: 1, Name: "n", Owner: "o", Length: 7, BlockSize: 1 << 20, Fingerprint: strings.Repeat("f", 200)}
	f.Add(appendEntry(nil, entryHeader{1, 2, 3}, []effect{
		{kind: effectPutInode, inode: n}, {kind: effectDeleteInode, parent: 3, name: "x"},
		{kind: effectPutRecord, table: 'l', key: []byte("k"), value: []byte("v")}, {kind: effectDeleteRecord, table: 'l', key: []byte("k")},
		{kind: effectAnswers, answers: &sessionAnswers{session: 9, ackedBelow: 4, answers: []answer{{5, 6, 7, 8}}}},
	}))
	f.Add([]byte{})
	f.Add([]byte{entryFormat})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, effects, err := decodeEntry(b)
		if err != nil {
			return
		}
		again, effects2, err := decodeEntry(appendEntry(nil, h, effects))
		if err != nil || again != h || len(effects2) != len(effects) {
			t.Fatalf("not a fixed point: %v, %d and %d effects", err, len(effects), len(effects2))
		}
	})
}

// TestLargeInodeInEntry: values beyond the two-byte length come back whole.
func TestLargeInodeInEntry(t *testing.T) {
	for _, size := range []int{0, 100, 1 << 14, 1<<14 + 1, 200_000} {
		n := &inodestore.Inode{ID: 5, Parent: 1, Name: "n", Xattr: map[string][]byte{"user.x": bytes.Repeat([]byte{7}, size)}}
		_, effects, err := decodeEntry(appendEntry(nil, entryHeader{1, 1, 1}, []effect{{kind: effectPutInode, inode: n}, {kind: effectDeleteInode, name: "after"}}))
		if err != nil || len(effects) != 2 || len(effects[0].inode.Xattr["user.x"]) != size || effects[1].name != "after" {
			t.Errorf("xattr of %d bytes: %v, %d effects", size, err, len(effects))
		}
	}
}

// TestAbsenceNeverHidesAName: names of new and of learnt directories against the plain lookup.
func TestAbsenceNeverHidesAName(t *testing.T) {
	l := newLeader(t)
	ctx := context.Background()
	r := Request{Identity: dfs.Identity{User: "root"}, Superuser: "root"}
	must := func(out Outcome, err error) *inodestore.Inode {
		t.Helper()
		if err != nil || out.Ticket.Wait(ctx) != nil {
			t.Fatal(err)
		}
		return out.Inode
	}
	must(l.e.MakeDirectory(ctx, r, "/d", &proto.MakeDirectory{}, false))
	for i := range 50 {
		must(l.e.Create(ctx, r, dfs.Path(fmt.Sprintf("/d/%d", i)), &proto.CreateFile{WriteType: uint32(dfs.WriteMustCache)}))
	}
	l.e.mu.Lock()
	*l.e.view.absent = *newAbsence() // as after a failover: nothing is known of the directory
	l.e.mu.Unlock()
	for i := range 300 {
		name := dfs.Path(fmt.Sprintf("/d/%d", i%100))
		_, err := l.e.Create(ctx, r, name, &proto.CreateFile{WriteType: uint32(dfs.WriteMustCache)})
		exists := i%100 < 50 || i >= 100
		if exists != dfs.IsKind(err, dfs.AlreadyExists) {
			t.Fatalf("step %d, %s: exists %v, create says %v", i, name, exists, err)
		}
	}
	for i := range 2 * learnAfterMisses {
		if _, err := l.e.CheckRemove(r, dfs.Path(fmt.Sprintf("/d/absent-%d", i)), &proto.Remove{}); !dfs.IsKind(err, dfs.NotFound) {
			t.Fatal(err)
		}
	}
	dir := must(l.e.SetAttribute(ctx, r, "/d", &proto.SetAttribute{}, nil))
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	s := l.e.view.absent.dirs[dir.ID]
	if s == nil || len(s.hashes) != 100 {
		t.Fatalf("the busy directory's names were not learnt: %+v", s)
	}
	for i := range 100 {
		if l.e.view.absent.absent(dir.ID, fmt.Sprint(i)) {
			t.Errorf("name %d is called absent", i)
		}
	}
	if !l.e.view.absent.absent(dir.ID, "never") {
		t.Error("a name that never was is not called absent")
	}
}

// TestClaimsExclude: what a claim covers waits, what it does not goes on, and the holder itself is not stopped.
func TestClaimsExclude(t *testing.T) {
	l := newLeader(t)
	ctx := context.Background()
	r := Request{Identity: dfs.Identity{User: "root"}, Superuser: "root"}
	claim, err := l.e.Claim(ctx, "/a/b")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.e.MakeDirectory(ctx, r, "/free", &proto.MakeDirectory{}, false); err != nil {
		t.Errorf("a path beside the claim: %v", err)
	}
	for _, p := range []dfs.Path{"/a", "/a/b", "/a/b/c", "/"} {
		short, cancel := context.WithTimeout(ctx, 2e6)
		if _, err := l.e.MakeDirectory(short, r, p, &proto.MakeDirectory{}, false); err == nil {
			t.Errorf("%s was changed under a claim of another", p)
		}
		if _, err := l.e.Claim(short, p, "/elsewhere"); err == nil {
			t.Errorf("%s was claimed twice", p)
		}
		cancel()
	}
	own := r
	own.Claim = claim
	if _, err := l.e.MakeDirectory(ctx, own, "/a", &proto.MakeDirectory{}, false); err != nil {
		t.Errorf("the holder itself: %v", err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := l.e.MakeDirectory(ctx, r, "/a/b", &proto.MakeDirectory{}, false)
		done <- err
	}()
	claim.Release()
	if err := <-done; err != nil {
		t.Errorf("after the release: %v", err)
	}
}

// TestFailedCommitEndsTheLeadership: when the journal loses an entry, everybody who waits is told, and nothing more is
// evaluated.
func TestFailedCommitEndsTheLeadership(t *testing.T) {
	l := newLeader(t)
	ctx := context.Background()
	r := Request{Identity: dfs.Identity{User: "root"}, Superuser: "root"}
	l.e.fail(dfs.Errorf(dfs.NoSpace, "append to the journal", "/disk", "no space left"))
	_, err := l.e.MakeDirectory(ctx, r, "/d", &proto.MakeDirectory{}, false)
	if !dfs.IsKind(err, dfs.Unavailable) || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("after a lost entry: %v", err)
	}
	if _, err := l.e.Claim(ctx, "/x"); err == nil {
		t.Error("a claim was given after the end")
	}
	if err := l.e.Settle(ctx); err == nil {
		t.Error("settled after the end")
	}
}

func TestSessionBounds(t *testing.T) {
	l := newLeader(t)
	ctx := context.Background()
	ticket, id, err := l.e.OpenSession(ctx, 3, strings.Repeat("x", 1000))
	if err != nil || ticket.Wait(ctx) != nil {
		t.Fatal(err)
	}
	r := Request{Identity: dfs.Identity{User: "root"}, Superuser: "root", Session: id}
	var last Outcome
	for i := range maxAnswersPerSession + 1 {
		r.Sequence = uint64(i + 1)
		if last, err = l.e.MakeDirectory(ctx, r, dfs.Path(fmt.Sprintf("/%d", i)), &proto.MakeDirectory{}, false); err != nil {
			break
		}
		if i%512 == 511 {
			if err := last.Ticket.Wait(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !dfs.IsKind(err, dfs.ResourceExhausted) {
		t.Errorf("a session that acknowledges nothing: %v", err)
	}
	r.AckedBelow, r.Sequence = r.Sequence-1, r.Sequence-1
	r.Sequence++
	out, err := l.e.MakeDirectory(ctx, Request{Identity: r.Identity, Superuser: "root"}, "/other", &proto.MakeDirectory{}, false)
	if err != nil || out.Ticket.Wait(ctx) != nil {
		t.Errorf("others go on: %v", err)
	}
	_, err = l.e.MakeDirectory(ctx, Request{Identity: r.Identity, Session: 12345, Sequence: 1}, "/x", &proto.MakeDirectory{}, false)
	if !dfs.IsKind(err, dfs.SessionExpired) {
		t.Errorf("an unknown session: %v", err)
	}
}
