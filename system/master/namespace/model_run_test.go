package namespace

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
	"github.com/forebay/forebay/system/journal/memjournal"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/mounttable"
	"github.com/forebay/forebay/system/proto"
)

// lossy is a journal whose leader dies: after spare entries, one may still be applied with its answer lost, and the rest
// never happened.
type lossy struct {
	journal.Journal

	mu        sync.Mutex
	spare     int // negative: no end
	lastTaken bool
}

var errDied = dfs.Errorf(dfs.NotLeader, "propose", "", "the leader died")

type deadPending struct{ applied journal.Pending }

func (p deadPending) Wait(ctx context.Context) (uint64, error) {
	if p.applied != nil {
		_, _ = p.applied.Wait(ctx)
	}
	return 0, errDied
}

func (j *lossy) Propose(ctx context.Context, data []byte) journal.Pending {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.spare != 0 {
		j.spare--
		return j.Journal.Propose(ctx, data)
	}
	if j.lastTaken {
		return deadPending{}
	}
	j.lastTaken = true
	return deadPending{j.Journal.Propose(ctx, data)}
}

func (j *lossy) dieAfter(entries int, answerLost bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.spare, j.lastTaken = entries, !answerLost
}

// trial runs random mutations against the namespace and the model, several in flight at a time, with leaders that die
// and retries of what was in doubt. Since retries come in the order of the first tries and a lost entry takes all later
// ones with it (INV-2), the model, which hears of each mutation once, stays the judge of every answer.
type trial struct {
	t        *testing.T
	rng      *rand.Rand
	h        host.Host
	store    inodestore.Store
	m        *Machine
	j        *lossy
	e        *Evaluator
	model    *model
	mounted  bool // a store is mounted at the root, so that files wait to be persisted, or are
	sessions [3]clientSession
	inodes   map[int]dfs.InodeID // by the model's ids; a create that was lost and repeated gets another inode
	begun    []begunVersion
	flying   []*inFlight
	trace    []string
	deaths   int
	replays  int
}

type clientSession struct {
	id       dfs.SessionID
	nonce    uint64
	sequence uint64
}

type begunVersion struct {
	node    *node
	version uint32
	session int
}

// inFlight is a mutation whose answer was not waited for. send evaluates it, the first time and again.
type inFlight struct {
	name     string
	session  int
	sequence uint64
	ticket   *Ticket
	send     func() (*Ticket, error)
	learn    func(*Ticket)
}

func newTrial(t *testing.T, seed uint64) *trial {
	h := host.NewReal()
	store, err := inodestore.OpenHeap(h, "")
	if err != nil {
		t.Fatal(err)
	}
	tr := &trial{t: t, rng: rand.New(rand.NewPCG(seed, 77)), h: h, store: store, model: newModel(), inodes: map[int]dfs.InodeID{}}
	tr.lead()
	if tr.mounted = seed%2 == 0; tr.mounted {
		tr.sure(func() error {
			out, err := tr.e.Mount(background, Request{Identity: dfs.Identity{User: "root"}, Superuser: "root"}, mounttable.Mount{Path: "/", URI: "mem://a"})
			if dfs.IsKind(err, dfs.AlreadyExists) {
				return nil
			}
			if err == nil {
				err = out.Ticket.Wait(background)
			}
			return err
		})
	}
	for i := range tr.sessions {
		tr.openSession(i)
	}
	return tr
}

func (tr *trial) fatalf(format string, args ...any) {
	tr.t.Helper()
	tail := tr.trace[max(0, len(tr.trace)-25):]
	tr.t.Fatalf("%s\nlast operations:\n  %s", fmt.Sprintf(format, args...), strings.Join(tail, "\n  "))
}

func (tr *trial) note(format string, args ...any) {
	tr.trace = append(tr.trace, fmt.Sprintf(format, args...))
}

func (tr *trial) must(err error) {
	tr.t.Helper()
	if err != nil {
		tr.fatalf("%v", err)
	}
}

// lead starts a machine from the store alone, and a leader that will die at a random entry.
func (tr *trial) lead() {
	m, err := NewMachine(tr.h, tr.store)
	tr.must(err)
	tr.m, tr.j = m, &lossy{Journal: memjournal.Open(tr.h, m), spare: -1}
	tr.e, err = NewEvaluator(tr.h, m, tr.j, nil)
	tr.must(err)
	tr.must(tr.e.Bootstrap(background, "root", "root", "m1", "a:1"))
	tr.j.dieAfter(20+tr.rng.IntN(200), tr.rng.IntN(2) == 0)
}

// failover ends the leadership and repeats at the next leader, in order, what nobody had an answer to.
func (tr *trial) failover() {
	tr.deaths++
	tr.e.Close()
	tr.must(tr.j.Journal.Close())
	tr.lead()
	tr.note("FAILOVER, %d in doubt", len(tr.flying))
	for _, f := range tr.flying {
		t, err := f.send()
		if err != nil {
			tr.fatalf("the retry of %s at the next leader: %v", f.name, err)
		}
		if t.Replayed {
			tr.replays++
		}
		f.ticket = t
		f.learn(t)
	}
}

// drain waits for every answer, through as many leaders as it takes.
func (tr *trial) drain() {
	for len(tr.flying) > 0 {
		f := tr.flying[0]
		if err := f.ticket.Wait(background); err != nil {
			tr.failover()
			continue
		}
		tr.flying = tr.flying[1:]
	}
}

// sure runs something of the leader's own until it succeeds, after all that is in flight.
func (tr *trial) sure(what func() error) {
	for {
		tr.drain()
		if what() == nil {
			return
		}
		tr.failover()
	}
}

func (tr *trial) openSession(i int) {
	s := &tr.sessions[i]
	*s = clientSession{nonce: tr.rng.Uint64() | 1}
	tr.sure(func() error {
		t, id, err := tr.e.OpenSession(background, s.nonce, "trial")
		if err == nil {
			err = t.Wait(background)
		}
		s.id = id
		return err
	})
}

func (tr *trial) closeSession(i int) {
	old := tr.sessions[i]
	tr.sure(func() error { return tr.e.CloseSession(background, old.id) })
	tr.model.closeSession(i)
	_, err := tr.e.MakeDirectory(background, Request{Identity: dfs.Identity{User: "root"}, Session: old.id, Sequence: old.sequence + 1}, "/zombie", &proto.MakeDirectory{}, false)
	if !dfs.IsKind(err, dfs.SessionExpired) {
		tr.fatalf("a mutation of a closed session: %v", err)
	}
	tr.openSession(i)
}

func (tr *trial) collect() {
	tr.sure(func() error {
		for {
			n, err := tr.e.CollectGarbage(background, 1+tr.rng.IntN(5), func(*inodestore.Inode) {})
			if err != nil || n == 0 {
				return err
			}
		}
	})
}

// mutate evaluates one mutation and compares its verdict with the model's.
func (tr *trial) mutate(name, user string, session int, want dfs.Kind, op func(Request) (Outcome, error), learn func(*Ticket)) {
	s := &tr.sessions[session]
	s.sequence++
	sequence := s.sequence
	send := func() (*Ticket, error) {
		r := Request{Identity: dfs.Identity{User: user, Groups: []string{user}}, Superuser: "root", Session: s.id, Sequence: sequence, AckedBelow: sequence}
		for _, f := range tr.flying {
			if f.session == session {
				r.AckedBelow = min(r.AckedBelow, f.sequence)
			}
		}
		out, err := op(r)
		return out.Ticket, err
	}
	tr.note("%s by %s in session %d: want %v", name, user, session, want)
	ticket, err := send()
	for err != nil && dfs.IsKind(err, dfs.NotLeader) {
		tr.failover()
		ticket, err = send()
	}
	if got := dfs.KindOf(err); err != nil && got != want || err == nil && want != 0 {
		tr.fatalf("%s by %s: %v, the model says %v", name, user, err, want)
	}
	if err != nil {
		return
	}
	if learn == nil {
		learn = func(*Ticket) {}
	}
	learn(ticket)
	f := &inFlight{name, session, sequence, ticket, send, learn}
	tr.flying = append(tr.flying, f)
	if tr.rng.IntN(10) == 0 { // the client's first message was only slow
		tr.again(f)
	}
}

func (tr *trial) again(f *inFlight) {
	again, err := f.send()
	if dfs.IsKind(err, dfs.NotLeader) {
		return
	}
	if err != nil || !again.Replayed || again.answer != f.ticket.answer {
		tr.fatalf("%s sent twice: %v, %+v, the first answer was %+v", f.name, err, again, f.ticket.answer)
	}
}

func (tr *trial) step() {
	user := []string{"root", "ann", "bob"}[tr.rng.IntN(3)]
	session := tr.rng.IntN(len(tr.sessions))
	p := randomPath(tr.rng)
	switch tr.rng.IntN(15) {
	case 0, 1:
		recursive, mode := tr.rng.IntN(2) == 0, []uint32{0o755, 0o777, 0o1777, 0o700}[tr.rng.IntN(4)]
		want := tr.model.mkdir(user, p, mode, recursive)
		tr.mutate("mkdir "+string(p), user, session, want, func(r Request) (Outcome, error) {
			return tr.e.MakeDirectory(background, r, p, &proto.MakeDirectory{Mode: mode, Recursive: recursive}, false)
		}, nil)
	case 2, 3, 4:
		tr.create(user, session, p)
	case 5, 6, 7:
		tr.endWrite(user, session)
	case 8, 9:
		to, noReplace := randomPath(tr.rng), tr.rng.IntN(4) == 0
		want := tr.model.rename(user, p, to, noReplace)
		tr.mutate(fmt.Sprintf("rename %s %s", p, to), user, session, want, func(r Request) (Outcome, error) {
			return tr.e.Rename(background, r, p, to, &proto.Rename{NoReplace: noReplace}, nil)
		}, nil)
	case 10:
		recursive := tr.rng.IntN(3) == 0
		want := tr.model.remove(user, p, recursive)
		tr.mutate("remove "+string(p), user, session, want, func(r Request) (Outcome, error) {
			return tr.e.Remove(background, r, p, &proto.Remove{Recursive: recursive}, nil)
		}, nil)
		if want == 0 && recursive {
			tr.collect() // until then writers reach their files below by id, which the model does not tell of
		}
	case 11, 12:
		tr.change(user, session, p)
	case 13:
		if tr.rng.IntN(8) == 0 {
			tr.closeSession(session)
		}
	case 14:
		tr.persistOne()
	}
}

func (tr *trial) create(user string, session int, p dfs.Path) {
	overwrite, recursive := tr.rng.IntN(2) == 0, tr.rng.IntN(3) == 0
	w := dfs.WriteMustCache
	if tr.mounted {
		w = []dfs.WriteType{dfs.WriteMustCache, dfs.WriteAsyncThrough, dfs.WriteThrough, dfs.WriteCacheThrough}[tr.rng.IntN(4)]
	}
	n, version, want := tr.model.create(user, session, p, overwrite, recursive)
	learn := func(t *Ticket) {
		id, v, _ := t.Answer()
		if v != version {
			tr.fatalf("create %s gave version %d, the model says %d", p, v, version)
		}
		tr.inodes[n.id] = id
	}
	tr.mutate("create "+string(p), user, session, want, func(r Request) (Outcome, error) {
		return tr.e.Create(background, r, p, &proto.CreateFile{Mode: 0o644, Overwrite: overwrite, Recursive: recursive, WriteType: uint32(w)})
	}, learn)
	if want == 0 {
		tr.begun = append(tr.begun, begunVersion{n, version, session})
	}
}

// endWrite completes or abandons a version that was begun at some time, mostly in the session that began it.
func (tr *trial) endWrite(user string, session int) {
	if len(tr.begun) == 0 {
		return
	}
	i := len(tr.begun) - 1 - tr.rng.IntN(min(4, len(tr.begun)))
	b := tr.begun[i]
	if tr.rng.IntN(10) > 0 {
		session, user = b.session, b.node.owner
	}
	if tr.rng.IntN(4) == 0 {
		want := tr.model.abandon(user, session, b.node, b.version)
		tr.mutate(fmt.Sprintf("abandon node %d v%d", b.node.id, b.version), user, session, want, func(r Request) (Outcome, error) {
			return tr.e.Abandon(background, r, &proto.AbandonFile{Inode: uint64(tr.inodes[b.node.id]), Version: b.version})
		}, nil)
		return
	}
	length := int64(tr.rng.IntN(1000))
	want := tr.model.complete(user, session, b.node, b.version, length)
	tr.mutate(fmt.Sprintf("complete node %d v%d", b.node.id, b.version), user, session, want, func(r Request) (Outcome, error) {
		return tr.e.Complete(background, r, &proto.CompleteFile{Inode: uint64(tr.inodes[b.node.id]), Version: b.version, Length: length}, nil)
	}, nil)
}

func (tr *trial) change(user string, session int, p dfs.Path) {
	op := &proto.SetAttribute{}
	var want dfs.Kind
	switch tr.rng.IntN(4) {
	case 0:
		mode := []uint32{0o644, 0o600, 0o755, 0o777, 0o1777, 0o711}[tr.rng.IntN(6)]
		op.Mode, want = &mode, tr.model.chmod(user, p, mode)
	case 1:
		owner := []string{"root", "ann", "bob"}[tr.rng.IntN(3)]
		op.Owner, want = &owner, tr.model.chown(user, p, owner)
	case 2:
		pinned := tr.rng.IntN(2) == 0
		op.Pinned, want = &pinned, tr.model.keep(user, p, false)
	case 3:
		ttl := int64(tr.rng.IntN(2)) * int64(time.Hour)
		op.Ttl, want = &ttl, tr.model.keep(user, p, ttl > 0)
	}
	tr.mutate("set "+string(p), user, session, want, func(r Request) (Outcome, error) {
		return tr.e.SetAttribute(background, r, p, op, nil)
	}, nil)
}

// persistOne reports one file of the queue as persisted, which changes nothing that the model knows of. The queue is
// applied state, and what is proposed may have moved or replaced the file since.
func (tr *trial) persistOne() {
	queue, err := tr.m.PersistQueue(0, 3)
	tr.must(err)
	if len(queue) == 0 {
		return
	}
	f := queue[tr.rng.IntN(len(queue))]
	err = tr.e.SetPersisted(background, nil, f.Path, f.Inode.ID, f.Inode.Version, "f")
	if err != nil && !dfs.IsKind(err, dfs.Stale) && !dfs.IsKind(err, dfs.NotLeader) {
		tr.fatalf("set persisted %s: %v", f.Path, err)
	}
	tr.note("persisted %s v%d: %v", f.Path, f.Inode.Version, err)
}

// tree is the applied state in the model's words.
func (tr *trial) tree() string {
	var b strings.Builder
	var walk func(id dfs.InodeID, path string)
	walk = func(id dfs.InodeID, path string) {
		tr.must(tr.store.List(id, "", func(n *inodestore.Inode) bool {
			fmt.Fprintf(&b, "%s/%s dir=%v v%d/%d len=%d mode=%o %s:%s writing=%v\n", path, n.Name, n.IsDir(), n.Version, n.LastVersion, n.Length, n.Mode, n.Owner, n.Group, n.Writing)
			if n.IsDir() {
				walk(n.ID, path+"/"+n.Name)
			}
			return true
		}))
	}
	walk(dfs.RootID, "")
	return b.String()
}

// checkRecords: every record that goes along with inodes has its inode, and every inode the records that it needs.
func checkRecords(t *testing.T, m *Machine) {
	t.Helper()
	root, _ := m.store.Child(0, "")
	located := map[dfs.InodeID]*inodestore.Inode{dfs.RootID: root} // which has a record once it was changed
	var walk func(id dfs.InodeID)
	walk = func(id dfs.InodeID) {
		_ = m.store.List(id, "", func(n *inodestore.Inode) bool {
			located[n.ID] = n
			if needsLocation(n) {
				value, _ := m.store.Record(inodestore.TableLocation, idKey(uint64(n.ID)))
				if l, err := decodeLocation(value); err != nil || l.parent != n.Parent || l.name != n.Name {
					t.Errorf("inode %d %q: its location says %v, %v", n.ID, n.Name, l, err)
				}
			}
			if _, found, err := openWriteOf(m.store.Record, n.ID); found != n.Writing || err != nil {
				t.Errorf("inode %d %q: being written is %v, it has an open write: %v, %v", n.ID, n.Name, n.Writing, found, err)
			}
			if n.IsDir() {
				walk(n.ID)
			}
			return true
		})
	}
	walk(dfs.RootID)
	for table, fits := range map[inodestore.Table]func(n *inodestore.Inode, key []byte) bool{
		inodestore.TableLocation: func(n *inodestore.Inode, _ []byte) bool { return needsLocation(n) },
		inodestore.TablePersist:  func(n *inodestore.Inode, _ []byte) bool { return n.Persist == dfs.ToBePersisted },
		inodestore.TableOpenWrite: func(n *inodestore.Inode, key []byte) bool {
			open, found, err := openWriteOf(m.store.Record, n.ID)
			return err == nil && found && n.Writing && open.version == n.LastVersion && open.location == location{n.Parent, n.Name}
		},
		inodestore.TableGarbage: func(*inodestore.Inode, []byte) bool { return false },
	} {
		_ = m.store.Records(table, nil, nil, func(key, _ []byte) bool {
			if n := located[dfs.InodeID(keyID(key))]; n == nil || !fits(n, key) {
				t.Errorf("table %c: record %x is of inode %+v", table, key, n)
			}
			return true
		})
	}
	_ = m.store.Records(inodestore.TableTTL, nil, nil, func(key, _ []byte) bool {
		if n := located[dfs.InodeID(keyID(key[8:]))]; n == nil || string(ttlKey(expiry(n), n.ID)) != string(key) {
			t.Errorf("TTL record %x is of inode %+v", key, n)
		}
		return true
	})
}

// TestModel: every answer and the final tree are the model's, whatever fails on the way.
func TestModel(t *testing.T) {
	deaths, replays := 0, 0
	for seed := range uint64(30) {
		tr := newTrial(t, seed)
		for range 2500 {
			tr.step()
			if tr.rng.IntN(12) == 0 || len(tr.flying) > 40 {
				tr.drain()
			}
			if tr.rng.IntN(500) == 0 {
				tr.failover()
			}
		}
		tr.collect()
		if got, want := tr.tree(), tr.model.String(); got != want {
			tr.fatalf("seed %d: the tree differs: %s", seed, firstDifference(got, want))
		}
		checkRecords(t, tr.m)
		deaths, replays = deaths+tr.deaths, replays+tr.replays
		tr.e.Close()
		tr.must(tr.j.Journal.Close())
	}
	if deaths < 20 || replays == 0 { // how many answers are lost depends on the machine's pace
		t.Errorf("%d leaders died and %d answers were given again: the test does not do what it says", deaths, replays)
	}
}
