package namespace

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/mounttable"
)

// Machine is the replicated state. It implements journal.StateMachine.
type Machine struct {
	h     host.Host
	store inodestore.Store

	// mu guards the applied state: held for writing by Apply and Restore, for reading by View. Nothing waits under it.
	mu       sync.RWMutex
	sessions *sessionTable
	mounts   atomic.Pointer[mounttable.Table]
	epoch    uint64
	sequence uint64

	waitMu  sync.Mutex
	waiting []applyWaiter

	local sync.Map // entryKey -> []effect: proposals of this process, so that applying them decodes nothing
}

type entryKey struct{ epoch, sequence uint64 }

type applyWaiter struct {
	index uint64
	ready host.Event
}

// NewMachine opens the state that store holds.
func NewMachine(h host.Host, store inodestore.Store) (*Machine, error) {
	m := &Machine{h: h, store: store}
	return m, m.reload()
}

// reload derives everything in memory from the store.
func (m *Machine) reload() error {
	sessions := newSessionTable()
	if err := sessions.load(m.store); err != nil {
		return err
	}
	position, err := m.store.Record(inodestore.TableMeta, metaPosition)
	if err != nil {
		return err
	}
	if len(position) == 16 {
		m.epoch, m.sequence = binary.BigEndian.Uint64(position), binary.BigEndian.Uint64(position[8:])
	} else {
		m.epoch, m.sequence = 0, 0
	}
	m.sessions = sessions
	return m.reloadMounts()
}

func (m *Machine) reloadMounts() error {
	var mounts []*mounttable.Mount
	var fault error
	err := m.store.Records(inodestore.TableMount, nil, nil, func(_, value []byte) bool {
		mount, err := mounttable.Decode(value)
		if err != nil {
			fault = err
			return false
		}
		mounts = append(mounts, mount)
		return true
	})
	if err == nil {
		err = fault
	}
	if err == nil {
		m.mounts.Store(mounttable.New(mounts))
	}
	return err
}

// Mounts is the applied mount table.
func (m *Machine) Mounts() *mounttable.Table { return m.mounts.Load() }

// Store gives the store's figures to reports.
func (m *Machine) Store() inodestore.Store { return m.store }

// Sessions is the number of open sessions.
func (m *Machine) Sessions() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.sessions.byID)
}

// Address is what member last announced as its address for clients; "" when it never led.
func (m *Machine) Address(member string) string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	b, err := m.store.Record(inodestore.TableMeta, []byte(metaAddress+member))
	if err != nil {
		return ""
	}
	return string(b)
}

// View calls f with the applied state, which does not change during the call (INV-5). f must not wait.
func (m *Machine) View(f func(inodestore.Reader) error) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return f(m.store)
}

// AppliedIndex implements journal.StateMachine.
func (m *Machine) AppliedIndex() uint64 { return m.store.AppliedIndex() }

// FlushedIndex implements journal.StateMachine.
func (m *Machine) FlushedIndex() uint64 { return m.store.FlushedIndex() }

// Checkpoint implements journal.StateMachine.
func (m *Machine) Checkpoint(dir string) (uint64, error) { return m.store.Checkpoint(dir) }

// Restore implements journal.StateMachine.
func (m *Machine) Restore(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.local.Clear()
	if err := m.store.Replace(dir); err != nil {
		return err
	}
	if err := m.reload(); err != nil {
		return err
	}
	m.wakeApplied(m.store.AppliedIndex())
	return nil
}

// Apply implements journal.StateMachine: one atomic step of the store for the whole group.
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

// admit decodes an entry and holds INV-2.
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

func decodeHeader(b []byte) (entryHeader, error) {
	d := decoder{b: b}
	if format := d.byte(); d.err == nil && format != entryFormat {
		return entryHeader{}, dfs.Errorf(dfs.UnsupportedFeature, "decode journal entry", "",
			"format %d was written by a newer version: upgrade this master", format)
	}
	h := entryHeader{epoch: d.uint64(), sequence: d.uvarint(), timeNs: d.varint()}
	return h, d.err
}

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

// WaitApplied returns once index is applied here.
func (m *Machine) WaitApplied(ctx context.Context, index uint64) error {
	if m.store.AppliedIndex() >= index {
		return nil
	}
	w := applyWaiter{index: index, ready: m.h.NewEvent()}
	m.waitMu.Lock()
	if m.store.AppliedIndex() >= index {
		m.waitMu.Unlock()
		return nil
	}
	m.waiting = append(m.waiting, w)
	m.waitMu.Unlock()
	err := w.ready.Wait(ctx)
	if err != nil {
		m.forgetWaiter(w.ready)
	}
	return err
}

func (m *Machine) forgetWaiter(e host.Event) {
	m.waitMu.Lock()
	defer m.waitMu.Unlock()
	for i := range m.waiting {
		if m.waiting[i].ready == e {
			m.waiting = append(m.waiting[:i], m.waiting[i+1:]...)
			return
		}
	}
}

func (m *Machine) wakeApplied(index uint64) {
	m.waitMu.Lock()
	defer m.waitMu.Unlock()
	kept := m.waiting[:0]
	for _, w := range m.waiting {
		if w.index <= index {
			w.ready.Set()
		} else {
			kept = append(kept, w)
		}
	}
	m.waiting = kept
}
