package namespace

import (
	"maps"
	"slices"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
)

// lateEntry is longer than the pause before a client's first retry.
const lateEntry = 100 * time.Millisecond

var pathLateEntry = host.NewPath("an entry of the journal is proposed late")

// commitLoop proposes one batch after the other; order of proposals is the order of sequences. It waits for a place
// before it closes a batch, not after: while three entries are under way the open batch goes on growing, and that is
// what makes batches large under load. It ends with e.ctx.
// Proposing does not wait for the quorum; await does, in a task of its own for each batch, of which there are at most
// maxInFlight. The effects are kept for this process's own Apply before the entry is proposed, so that they are there
// whenever it comes. The buffer is used again, so what is proposed is a copy.
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
		if pathLateEntry.Taken(e.h) {
			_ = e.h.Sleep(e.ctx, lateEntry) // its end is met by the next wait
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
// order in which their operations were evaluated, which is what INV-2 rests on. The answers of each session become one
// effect, in the order of session ids, so that equal batches have equal entries. ok is false when there is nothing to
// propose or the leadership has ended.
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

// settleLocked takes an applied batch out of the overlay. A retry from here on finds its answer in the session table,
// which Apply has filled before. e.mu is held.
// From here on the applied state tells what the overlay told; nobody can see neither, since both are read under e.mu.
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

// fail ends the leadership: the open batch and every later one is refused by its gap (INV-2), so all that wait are
// told that the outcome is for the next leader to say. Only the first error is kept and told. Claims that are waited
// for are woken too, so that their callers see the end. e.mu is taken, and let go before anybody is woken.
// It is safe to call from any task and any number of times, also while the commit loop runs: that ends with the
// context.
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

// failure is how an evaluator's end reads for its callers. NotLeader sends a client to the leader that the error
// names; everything else (a full disk, a lost quorum) is Unavailable with its reason, since this master may lead again
// in a moment.
func failure(err error) error {
	if dfs.IsKind(err, dfs.NotLeader) {
		return err
	}
	return &dfs.Error{Kind: dfs.Unavailable, Op: "commit", Detail: err.Error() + "; the leadership may change: retry", Err: err}
}
