package namespace

import (
	"encoding/binary"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/journal"
	"github.com/forebay/forebay/system/master/inodestore"
)

// Apply implements journal.StateMachine: one atomic step of the store for the whole group. answers has an error for
// each entry that was refused (INV-2) or that this version cannot read; such an entry has no effect, nor have
// those after it in its epoch. Entries at or below the applied index are passed over: a journal may hand over again what a crash
// left in doubt.
// It is called by the journal alone, one call at a time. Readers wait while the batch goes into the store's memory; no
// disk is waited for, unless the store has to (see inodestore's Apply). A refused entry still moves the applied index,
// or a replay would refuse it again and again.
func (m *Machine) Apply(entries []journal.Entry) []error {
	if len(entries) == 0 {
		return nil
	}
	answers := make([]error, len(entries))
	var accepted [][]effect
	applied := m.store.AppliedIndex()
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, entry := range entries {
		if entry.Index <= applied {
			continue
		}
		effects, err := m.admit(entry)
		if err != nil {
			answers[i] = err
			continue
		}
		accepted = append(accepted, effects)
	}
	last := entries[len(entries)-1].Index
	if last <= applied {
		return answers
	}
	mountsChanged := false
	err := m.store.Apply(last, func(b inodestore.Batch) {
		for _, effects := range accepted {
			mountsChanged = m.applyEffects(b, effects) || mountsChanged
		}
		position := binary.BigEndian.AppendUint64(nil, m.epoch)
		b.PutRecord(inodestore.TableMeta, metaPosition, binary.BigEndian.AppendUint64(position, m.sequence))
	})
	if err == nil && mountsChanged {
		err = m.reloadMounts()
	}
	if err != nil {
		// The log says that this entry took effect, and this replica cannot follow: it must not go on and serve.
		panic(dfs.Wrap(err, "apply journal entry to the inode store", "").Error() + ": this master stops; repair its disk, or delete its data so that it joins anew")
	}
	m.wakeApplied(last)
	return answers
}

// admit decodes an entry and holds INV-2. The effects of an entry that this process proposed are taken from memory:
// decoding them again would cost as much as the rest of applying. m.mu is held for writing.
// An epoch begins with its entry 1, whatever came before: a leader that took over without having seen the last entries
// of the former one refuses nothing of its own. The epoch that it replaces can never go on, since its sequence would
// have to be 1 again.
func (m *Machine) admit(entry journal.Entry) ([]effect, error) {
	h, err := decodeHeader(entry.Data)
	if err != nil {
		return nil, err
	}
	inOrder := h.epoch == m.epoch && h.sequence == m.sequence+1 || h.epoch != m.epoch && h.sequence == 1
	local, ours := m.local.LoadAndDelete(entryKey{h.epoch, h.sequence})
	if !inOrder {
		return nil, dfs.Errorf(dfs.NotLeader, "apply journal entry", "",
			"entry %d of epoch %x follows one that was lost: retry at the leader", h.sequence, h.epoch)
	}
	var effects []effect
	if ours {
		effects = local.([]effect)
	} else if _, effects, err = decodeEntry(entry.Data); err != nil {
		return nil, err
	}
	m.epoch, m.sequence = h.epoch, h.sequence
	return effects, nil
}

// applyEffects puts effects into the store's batch, in their order, and keeps the session table in step. It tells
// whether the mount table has to be derived anew, which can only be done once the batch is in the store.
// m.mu is held for writing.
func (m *Machine) applyEffects(b inodestore.Batch, effects []effect) (mountsChanged bool) {
	for i := range effects {
		e := &effects[i]
		switch e.kind {
		case effectPutInode:
			b.PutInode(e.inode)
		case effectDeleteInode:
			b.DeleteInode(e.parent, e.name)
		case effectPutRecord:
			b.PutRecord(e.table, e.key, e.value)
		case effectDeleteRecord:
			b.DeleteRecord(e.table, e.key)
		case effectAnswers:
			m.sessions.applyAnswers(b, e.answers)
		}
		mountsChanged = mountsChanged || e.table == inodestore.TableMount
		if e.table == inodestore.TableSession {
			m.observeSession(b, e)
		}
	}
	return mountsChanged
}

// observeSession follows a set or a deletion of a session's head record. A session's end deletes its answer records
// too: nothing refers to them any more.
// A head record that is set again for a session that is there begins it anew, which no Evaluator proposes.
func (m *Machine) observeSession(b inodestore.Batch, e *effect) {
	id := dfs.SessionID(keyID(e.key))
	if s := m.sessions.byID[id]; s != nil && e.value == nil {
		for _, r := range s.records {
			b.DeleteRecord(inodestore.TableSession, answersKey(id, r.key))
		}
	}
	if err := m.sessions.observe(e.key, e.value); err != nil {
		panic(err) // only well-formed session heads are proposed
	}
}
