package namespace

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"sync"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
	"github.com/forebay/forebay/system/master/inodestore"
)

// Bounds of the group commit.
const (
	maxBatchEffects    = 16384   // an entry is closed beyond this
	maxBatchBytes      = 4 << 20 // and beyond this: attributes can be 256 KiB of one inode
	maxInFlight        = 3       // entries proposed and not yet applied (DESIGN section 14)
	idReservation      = 100_000
	initialEntryBuffer = 64 << 10
)

// Evaluator is the leader's half, for one leadership. It checks requests one at a time in memory, gathers their effects
// in the open batch, and a task proposes batches with at most maxInFlight under way: while they are synced, the next
// grows. That is the whole of group commit; nobody waits for company.
type Evaluator struct {
	h       host.Host
	m       *Machine
	j       journal.Journal
	epoch   uint64
	ctx     context.Context // ends with the leadership
	cancel  context.CancelFunc
	slots   *host.Semaphore
	onFatal func(error)
	stopped host.Event // set when nothing more will be proposed

	mu        sync.Mutex // guards everything below; nothing waits under it
	view      *overlay
	open      *batch
	sequence  uint64
	nextID    uint64
	reserved  uint64
	lastTime  int64
	failed    error
	pending   map[pendingKey]pendingAnswer
	nonces    map[uint64]dfs.SessionID // proposed and not yet applied
	wake      host.Event               // set when the open batch has something
	scratch   []effect                 // of the next txn, so that gathering effects allocates nothing
	flying    map[uint64]*batch        // closed and not yet applied, by sequence
	claims    []*Claim
	claimWait host.Event // set when any claim is released; nil while nobody waits
}

type pendingKey struct {
	session  dfs.SessionID
	sequence uint64
}

type pendingAnswer struct {
	answer answer
	batch  *batch
}

// batch is one entry in the making.
type batch struct {
	sequence uint64
	bytes    int // about what the effects take
	effects  []effect
	answers  map[dfs.SessionID]*sessionAnswers
	nonces   []uint64
	after    []func() // the leader's soft state, once applied
	done     host.Event
	err      error // valid once done
}

// NewEvaluator starts evaluating for a leadership that has passed its Barrier. onFatal is called once when an entry is
// lost: the leadership is over for this evaluator.
func NewEvaluator(h host.Host, m *Machine, j journal.Journal, onFatal func(error)) (*Evaluator, error) {
	e := &Evaluator{
		h: h, m: m, j: j, epoch: h.Rand().Uint64() | 1, onFatal: onFatal,
		slots: host.NewSemaphore(h, maxInFlight), view: newOverlay(m.store),
		pending: map[pendingKey]pendingAnswer{}, nonces: map[uint64]dfs.SessionID{}, wake: h.NewEvent(),
		flying: map[uint64]*batch{}, stopped: h.NewEvent(),
	}
	next, err := m.store.Record(inodestore.TableMeta, metaNextID)
	if err != nil {
		return nil, err
	}
	e.nextID = max(keyID(next), uint64(dfs.RootID)+1)
	e.reserved = e.nextID
	e.open = e.newBatch()
	e.ctx, e.cancel = h.WithCancel(context.Background())
	h.Go("group-commit", e.commitLoop)
	return e, nil
}

// Close ends evaluation; what is under way ends as the journal decides. It returns once nothing more will be proposed
// (INV-6): the next evaluator's Barrier then stands behind every proposal of this one, and sees what became of it.
func (e *Evaluator) Close() {
	e.mu.Lock()
	e.onFatal = nil // an end that was asked for is nobody's news
	e.mu.Unlock()
	e.fail(dfs.Errorf(dfs.NotLeader, "evaluate", "", "this master no longer leads: ask the leader"))
	_ = e.stopped.Wait(context.Background()) // the loop's context has ended: it waits for nothing that could hang
}

func (e *Evaluator) newBatch() *batch {
	e.sequence++
	room := 0 // as many as the last batch had: growing step by step copies everything several times
	if e.open != nil {
		room = len(e.open.effects)
	}
	return &batch{sequence: e.sequence, effects: make([]effect, 0, room), answers: map[dfs.SessionID]*sessionAnswers{}, done: e.h.NewEvent()}
}

// commitLoop proposes one batch after the other; order of proposals is the order of sequences.
func (e *Evaluator) commitLoop() {
	defer e.stopped.Set()
	buf := make([]byte, 0, initialEntryBuffer)
	for {
		e.mu.Lock()
		wake := e.wake
		e.mu.Unlock()
		if wake.Wait(e.ctx) != nil || e.slots.Acquire(e.ctx, 1) != nil {
			return
		}
		b, header, ok := e.closeBatch()
		if !ok {
			e.slots.Release(1)
			continue
		}
		buf = appendEntry(buf[:0], header, b.effects)
		e.m.local.Store(entryKey{e.epoch, b.sequence}, b.effects)
		pending := e.j.Propose(e.ctx, append([]byte(nil), buf...))
		e.h.Go("await-commit", func() { e.await(b, pending) })
	}
}

// closeBatch takes the open batch and starts the next. Both happen under the lock, so the sequences of batches are the
// order in which their operations were evaluated, which is what INV-2 rests on.
func (e *Evaluator) closeBatch() (*batch, entryHeader, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := e.open
	e.wake = e.h.NewEvent()
	if e.failed != nil || len(b.effects) == 0 && len(b.answers) == 0 {
		return nil, entryHeader{}, false
	}
	for _, id := range slices.Sorted(maps.Keys(b.answers)) {
		b.effects = append(b.effects, effect{kind: effectAnswers, answers: b.answers[id]})
	}
	e.flying[b.sequence] = b
	e.open = e.newBatch()
	e.lastTime = max(e.lastTime, e.h.Now().UnixNano())
	return b, entryHeader{epoch: e.epoch, sequence: b.sequence, timeNs: e.lastTime}, true
}

// await answers a batch. Batches may be noticed out of order, since each has its own task; they are applied in order, and
// the overlay lets go of a value only by the entry that proposed it last, so the order of noticing does not matter. What a
// batch does to the leader's soft state (after) comes before its callers are woken: they see it done.
func (e *Evaluator) await(b *batch, pending journal.Pending) {
	_, err := pending.Wait(e.ctx)
	e.slots.Release(1)
	if err != nil {
		e.m.local.Delete(entryKey{e.epoch, b.sequence})
		e.fail(err)
		return
	}
	e.mu.Lock()
	if e.flying[b.sequence] == nil { // fail was first, and has answered
		e.mu.Unlock()
		return
	}
	delete(e.flying, b.sequence)
	e.settleLocked(b)
	e.mu.Unlock()
	for _, f := range b.after {
		f()
	}
	b.done.Set()
}

// settleLocked takes an applied batch out of the overlay.
func (e *Evaluator) settleLocked(b *batch) {
	for i := range b.effects {
		e.view.forget(&b.effects[i], b.sequence)
	}
	for id, s := range b.answers {
		for _, a := range s.answers {
			delete(e.pending, pendingKey{id, a.sequence})
		}
	}
	for _, nonce := range b.nonces {
		delete(e.nonces, nonce)
	}
}

// fail ends the leadership: the open batch and every later one is refused by its gap (INV-2), so all that wait are told
// that the outcome is for the next leader to say.
func (e *Evaluator) fail(err error) {
	e.mu.Lock()
	first := e.failed == nil
	if first {
		e.failed = failure(err)
	}
	var doomed []*batch // in order, so that a simulation wakes those that wait in the same order each time
	for _, sequence := range slices.Sorted(maps.Keys(e.flying)) {
		doomed = append(doomed, e.flying[sequence])
	}
	doomed = append(doomed, e.open)
	for _, b := range doomed {
		b.err = e.failed
	}
	clear(e.flying)
	waiting, tell := e.claimWait, e.onFatal
	e.claimWait = nil
	e.mu.Unlock()
	e.cancel()
	for _, b := range doomed {
		b.done.Set()
	}
	if waiting != nil {
		waiting.Set()
	}
	if first && tell != nil {
		tell(err)
	}
}

func failure(err error) error {
	if dfs.IsKind(err, dfs.NotLeader) {
		return err
	}
	return &dfs.Error{Kind: dfs.Unavailable, Op: "commit", Detail: err.Error() + "; the leadership may change: retry", Err: err}
}

// Ticket is a mutation that was evaluated: its answer holds once Wait returns nil.
type Ticket struct {
	// Replayed tells that this mutation had been evaluated before and its first answer is given again.
	Replayed bool
	batch    *batch
	answer   answer
}

// Wait returns once the mutation is applied, or why it may not have been.
func (t *Ticket) Wait(ctx context.Context) error {
	if t.batch == nil {
		return nil
	}
	return t.batch.wait(ctx)
}

func (b *batch) wait(ctx context.Context) error {
	if err := b.done.Wait(ctx); err != nil {
		return err
	}
	return b.err
}

// Settle waits until everything evaluated so far is applied: what an error answer must do that may stem from a pending
// proposal (INV-3).
func (e *Evaluator) Settle(ctx context.Context) error {
	e.mu.Lock()
	b := e.open
	empty := len(b.effects) == 0 && len(b.answers) == 0
	idle := empty && e.idleLocked()
	if empty && !idle {
		// Nothing is open, but earlier entries are under way: an empty one behind them marks the end.
		b.effects = append(b.effects, e.markEffect())
		e.wake.Set()
	}
	failed := e.failed
	e.mu.Unlock()
	if failed != nil {
		return failed
	}
	if idle {
		return nil
	}
	return b.wait(ctx)
}

// idleLocked tells whether nothing is proposed and not yet applied.
func (e *Evaluator) idleLocked() bool {
	return len(e.view.dirs) == 0 && len(e.view.records) == 0 && len(e.flying) == 0
}

// markEffect changes nothing: it gives an entry something to carry.
func (e *Evaluator) markEffect() effect {
	return effect{kind: effectPutRecord, table: inodestore.TableMeta, key: metaNextID, value: idKey(e.reserved)}
}

// Settle's mark and commit's mark end in the same kind of entry: without any effect there would be no entry to wait for,
// and an answer must not be given before what it rests on is applied.

// txn gathers one operation's effects; they join the open batch together or not at all.
type txn struct {
	e       *Evaluator
	effects []effect
	after   []func()
	answer  answer
}

func (t *txn) putInode(n *inodestore.Inode) {
	t.effects = append(t.effects, effect{kind: effectPutInode, inode: n})
}

func (t *txn) deleteInode(n *inodestore.Inode) {
	t.effects = append(t.effects, effect{kind: effectDeleteInode, parent: n.Parent, name: n.Name})
}

func (t *txn) putRecord(table inodestore.Table, key, value []byte) {
	t.effects = append(t.effects, effect{kind: effectPutRecord, table: table, key: key, value: value})
}

func (t *txn) deleteRecord(table inodestore.Table, key []byte) {
	t.effects = append(t.effects, effect{kind: effectDeleteRecord, table: table, key: key})
}

// then runs f on the leader once the effects are applied.
func (t *txn) then(f func()) { t.after = append(t.after, f) }

// newID gives out the next inode, session or mount id, reserving a range in the log first.
func (t *txn) newID() uint64 {
	e := t.e
	if e.nextID >= e.reserved {
		e.reserved = e.nextID + idReservation
		t.putRecord(inodestore.TableMeta, metaNextID, binary.BigEndian.AppendUint64(nil, e.reserved))
	}
	id := e.nextID
	e.nextID++
	return id
}

// commit joins the open batch. Evaluator.mu is held.
func (t *txn) commit(r Request) *Ticket {
	e := t.e
	b := e.open
	for i := range t.effects {
		e.view.note(&t.effects[i], b.sequence)
		b.bytes += t.effects[i].size()
	}
	b.effects = append(b.effects, t.effects...)
	clear(t.effects)
	e.scratch = t.effects[:0]
	b.after = append(b.after, t.after...)
	t.answer.sequence = r.Sequence
	if r.Session != 0 && r.Sequence != 0 {
		s := b.answers[r.Session]
		if s == nil {
			s = &sessionAnswers{session: r.Session}
			b.answers[r.Session] = s
		}
		// A client cannot have the answer of what it asks now: a larger claim would drop this answer at once, and a
		// restarted replica would not know that it did.
		s.ackedBelow = max(s.ackedBelow, min(r.AckedBelow, r.Sequence))
		s.answers = append(s.answers, t.answer)
		e.pending[pendingKey{r.Session, r.Sequence}] = pendingAnswer{t.answer, b}
	}
	if len(b.effects) == 0 && len(b.answers) == 0 {
		if e.idleLocked() {
			return &Ticket{answer: t.answer} // nothing to do, and nothing pending that it could rest on
		}
		b.effects = append(b.effects, e.markEffect())
	}
	e.wake.Set()
	return &Ticket{batch: b, answer: t.answer}
}
