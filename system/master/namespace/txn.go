package namespace

import (
	"encoding/binary"

	"github.com/forebay/forebay/system/master/inodestore"
)

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
