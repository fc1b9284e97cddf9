package namespace

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/mounttable"
)

// Machine is the replicated state. It implements journal.StateMachine. Its readers see the state of one applied index;
// what is proposed beyond it is the Evaluator's to know.
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

// entryKey names an entry by its epoch and its sequence there, which no two entries of any leader share.
type entryKey struct{ epoch, sequence uint64 }

// NewMachine opens the state that store holds. It fails with Corrupted on records that no version wrote. The store
// stays the caller's to close.
func NewMachine(h host.Host, store inodestore.Store) (*Machine, error) {
	m := &Machine{h: h, store: store}
	return m, m.reload()
}

// reload derives everything in memory from the store. m.mu is held for writing, or nobody else knows m yet.
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

// reloadMounts makes the mount table anew from its records. Readers take the table without a lock, so one that began
// before sees the former table whole. The order of locks is reload's.
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

// Restore implements journal.StateMachine. Waiters for an index that the checkpoint has are woken. When the store
// refuses, the present state stays and the error is the journal's to handle. Proposals of this process that are not
// applied yet are forgotten: what becomes of them lies in the checkpoint.
// An error after Replace leaves a store that is newer than what memory holds: the journal applies nothing here before
// a restore has succeeded.
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
