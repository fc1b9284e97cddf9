package raftjournal

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"maps"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft-wal/types"

	"github.com/forebay/forebay/system/dfs"
)

// metaFile keeps raft-wal's list of segments, and Raft's term and vote, in one file of two slots that are written in
// turn, in place. It has all its space from the start, so that a full disk cannot keep a member from voting, or a leader
// from stepping down: hashicorp/raft panics when it cannot save a term.
//
// INV-1: while one slot is being written the other holds the state before it, whole and synced.
type metaFile struct {
	fs fileSystem

	// mu makes one order of what raft-wal's rotation task and Raft's main task write. It is held over the sync: a vote waits
	// for a rotation's write, which is as short.
	mu       sync.Mutex
	path     string
	file     vfs.File
	sequence uint64
	state    metaState
}

// metaState is what a slot holds, as JSON behind a header of sequence, length and CRC32C.
// Both are written with each change of either: one write and one sync, and no order between two files to get
// wrong.
type metaState struct {
	Log    types.PersistentState
	Stable map[string][]byte
}

const (
	metaFileName   = "meta"
	metaSlotBytes  = 1 << 20 // room for the segments of a log of 200 GB
	metaHeaderSize = 8 + 4 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var _ types.MetaStore = (*metaFile)(nil)

// Load implements types.MetaStore. raft-wal calls it at each (re)open of the log.
func (m *metaFile) Load(dir string) (types.PersistentState, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file == nil {
		m.path = m.fs.PathJoin(dir, metaFileName)
		if err := m.open(dir); err != nil {
			return types.PersistentState{}, err
		}
	}
	return m.state.Log, nil
}

// open reads both slots and goes on from the newer one that is whole. m.mu is held.
func (m *metaFile) open(dir string) (err error) {
	if !m.fs.exists(m.path) {
		if err := m.create(dir); err != nil {
			return err
		}
	}
	if m.file, err = m.fs.OpenReadWrite(m.path, vfs.WriteCategoryUnspecified); err != nil {
		return err
	}
	data := make([]byte, 2*metaSlotBytes)
	n, err := m.file.ReadAt(data, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for _, slot := range [][]byte{data[:metaSlotBytes], data[metaSlotBytes:]} {
		if state, sequence, ok := readSlot(slot); ok && sequence > m.sequence {
			m.state, m.sequence = state, sequence
		}
	}
	if m.sequence == 0 {
		err := errors.Join(dfs.Errorf(dfs.Corrupted, "read", m.path, "none of its %d bytes make sense", n), m.file.Close())
		m.file = nil
		return err
	}
	return nil
}

// create makes the file with a first state, under another name until it is whole. Zeros are written rather than allocated:
// a later write in place must need no space, on any file system.
func (m *metaFile) create(dir string) error {
	data := make([]byte, 2*metaSlotBytes)
	slot, err := makeSlot(metaState{}, 1)
	if err != nil {
		return err
	}
	copy(data, slot)
	if err := m.fs.writeFile(m.path+".new", data); err != nil {
		return err
	}
	if err := m.fs.Rename(m.path+".new", m.path); err != nil {
		return err
	}
	return m.fs.syncDir(dir)
}

// makeSlot makes a slot's bytes. The sum covers sequence and length too, so that a header over an older body is found out.
func makeSlot(state metaState, sequence uint64) ([]byte, error) {
	body, err := json.Marshal(state)
	if err != nil {
		return nil, err
	}
	if len(body) > metaSlotBytes-metaHeaderSize {
		return nil, dfs.Errorf(dfs.ResourceExhausted, "write", metaFileName, "the log has too many segments: let it be trimmed")
	}
	slot := binary.BigEndian.AppendUint64(nil, sequence)
	slot = binary.BigEndian.AppendUint32(slot, uint32(len(body)))
	slot = append(slot, 0, 0, 0, 0)
	slot = append(slot, body...)
	binary.BigEndian.PutUint32(slot[12:], slotSum(slot))
	return slot, nil
}

// slotSum sums a slot without the place of the sum.
func slotSum(slot []byte) uint32 {
	return crc32.Update(crc32.Checksum(slot[:12], castagnoli), castagnoli, slot[metaHeaderSize:])
}

// readSlot reads what makeSlot made; anything else is not ok.
func readSlot(slot []byte) (state metaState, sequence uint64, ok bool) {
	if len(slot) < metaHeaderSize {
		return state, 0, false
	}
	size := uint64(binary.BigEndian.Uint32(slot[8:]))
	if size > uint64(len(slot)-metaHeaderSize) {
		return state, 0, false
	}
	slot = slot[:metaHeaderSize+size]
	if binary.BigEndian.Uint32(slot[12:]) != slotSum(slot) || json.Unmarshal(slot[metaHeaderSize:], &state) != nil {
		return state, 0, false
	}
	return state, binary.BigEndian.Uint64(slot), true
}

// write saves state into the slot whose turn it is (INV-1). After a failure the state in memory is the one before, and the
// next write goes to the same slot, so that the good one is never touched. A crash after a failure may show the state that
// failed, whole: for the log that is a step which it was about to take, and for Raft a term or vote that it has not used.
// m.mu is held.
func (m *metaFile) write(state metaState) error {
	slot, err := makeSlot(state, m.sequence+1)
	if err != nil {
		return err
	}
	if _, err := m.file.WriteAt(slot, int64((m.sequence+1)%2*metaSlotBytes)); err != nil {
		return err
	}
	if err := m.file.SyncData(); err != nil {
		return err
	}
	m.sequence++
	m.state = state
	return nil
}

// CommitState implements types.MetaStore.
// It returns when the list is synced. raft-wal calls it from its rotation task and, for a truncation, from Raft's.
func (m *metaFile) CommitState(log types.PersistentState) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.write(metaState{Log: log, Stable: m.state.Stable})
}

// GetStable implements types.MetaStore.
// nil without an error says that the key was never set.
func (m *metaFile) GetStable(key []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.Stable[string(key)], nil
}

// SetStable implements types.MetaStore.
// It returns when the value is synced: Raft gives a vote only then. The value is copied.
func (m *metaFile) SetStable(key, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	stable := maps.Clone(m.state.Stable)
	if stable == nil {
		stable = make(map[string][]byte)
	}
	stable[string(key)] = append([]byte{}, value...)
	return m.write(metaState{Log: m.state.Log, Stable: stable})
}

// Close implements types.MetaStore.
func (m *metaFile) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file == nil {
		return nil
	}
	// Nothing to sync: every write was.
	file := m.file
	m.file = nil // the log closes it once more
	return file.Close()
}
