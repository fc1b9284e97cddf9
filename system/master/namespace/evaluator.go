package namespace

import (
	"context"
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

// Evaluator is the leader's half, for one leadership. It checks requests one at a time in memory, gathers their
// effects in the open batch, and a task proposes batches with at most maxInFlight under way: while they are synced,
// the next grows. That is the whole of group commit; nobody waits for company. What an operation has checked stays
// true until its effects apply, because every change goes through this one evaluator and its overlay, and nothing else
// proposes (INV-6).
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

// pendingKey names a mutation whose entry is not applied yet, so that a retry that comes meanwhile is answered from
// memory. The session's own table takes over when the entry is applied.
type pendingKey struct {
	session  dfs.SessionID
	sequence uint64
}

// pendingAnswer is an answer and the batch that it waits for.
type pendingAnswer struct {
	answer answer
	batch  *batch
}

// NewEvaluator starts evaluating for a leadership that has passed its Barrier. onFatal is called once when an entry is
// lost: the leadership is over for this evaluator.
// It proposes nothing by itself; Bootstrap's entry is the first. The epoch is random, so that two leaderships of one
// term (a failed one and its successor) do not share one. Close it, also after an error of Bootstrap.
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

// newBatch starts the next batch of this epoch. e.mu is held, or nobody else knows e yet.
func (e *Evaluator) newBatch() *batch {
	e.sequence++
	room := 0 // as many as the last batch had: growing step by step copies everything several times
	if e.open != nil {
		room = len(e.open.effects)
	}
	return &batch{sequence: e.sequence, effects: make([]effect, 0, room), answers: map[dfs.SessionID]*sessionAnswers{}, done: e.h.NewEvent()}
}
