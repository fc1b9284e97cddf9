package namespace

import (
	"encoding/binary"

	"github.com/forebay/forebay/system/master/inodestore"
)

// txn gathers one operation's effects; they join the open batch together or not at all. Evaluator.mu is held for the
// whole life of one. Reads go to e.view, which does not have the txn's own effects yet: an operation that touches an
// inode twice has to carry the changed copy along.
type txn struct {
	e       *Evaluator
	effects []effect
	after   []func()
	answer  answer
}

// putInode sets n at its parent and name. n must not be changed afterwards: the overlay, the store and readers share
// it.
func (t *txn) putInode(n *inodestore.Inode) {
	t.effects = append(t.effects, effect{kind: effectPutInode, inode: n})
}

// deleteInode takes n out of its place. Its records are the caller's to delete; drop does both.
func (t *txn) deleteInode(n *inodestore.Inode) {
	t.effects = append(t.effects, effect{kind: effectDeleteInode, parent: n.Parent, name: n.Name})
}

// putRecord sets a record. Key and value must not be changed afterwards; a nil value would read as a deletion, so an
// empty one is []byte{}.
func (t *txn) putRecord(table inodestore.Table, key, value []byte) {
	t.effects = append(t.effects, effect{kind: effectPutRecord, table: table, key: key, value: value})
}

// deleteRecord deletes a record, which need not be there.
func (t *txn) deleteRecord(table inodestore.Table, key []byte) {
	t.effects = append(t.effects, effect{kind: effectDeleteRecord, table: table, key: key})
}

// then runs f on the leader once the effects are applied. f runs before the callers are answered, in batches' order of
// being noticed, without any lock of the evaluator. It does not run when the leadership ends first, so only soft state
// may rest on it.
func (t *txn) then(f func()) { t.after = append(t.after, f) }

// newID gives out the next inode, session or mount id, reserving a range in the log first. Ids are never used again,
// also when the operation that took one fails: gaps cost nothing, and a worker may know the id already.
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
// Nothing of an operation can fail from here on. An operation without effects that has a sequence is logged for its
// answer alone.
func (t *txn) commit(r Request) *Ticket {
	e := t.e
	b := e.open
	if r.Intended {
		t.deleteRecord(inodestore.TableIntent, intentKey(r.Session, r.Sequence))
	}
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
