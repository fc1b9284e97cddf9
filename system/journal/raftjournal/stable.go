package raftjournal

import (
	"context"
	"encoding/binary"
	"runtime"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/forebay/forebay/system/host"
)

// stableStore keeps Raft's term and vote. hashicorp/raft panics when a term cannot be saved; so a save is tried until it
// succeeds. Meanwhile this member stands still, which is what Raft asks of one that cannot write: it neither votes nor
// leads. When the journal is closed meanwhile, Raft's task ends here.
type stableStore struct {
	host   host.Host
	ctx    context.Context // ends with the journal
	meta   *metaFile
	logger hclog.Logger
}

var _ raft.StableStore = (*stableStore)(nil)

const stableRetryInterval = 200 * time.Millisecond

// Set implements raft.StableStore.
// It never returns an error: it returns once the value is synced, or does not return. Only the first failure of a
// row is logged.
func (s *stableStore) Set(key, value []byte) error {
	for attempt := 0; ; attempt++ {
		// The log's own lock is not needed for this: a vote can be saved while the log is being reopened.
		err := s.meta.SetStable(key, value)
		if err == nil {
			return nil
		}
		if attempt == 0 {
			s.logger.Error("term or vote cannot be saved; this member stands still until the disk works", "error", err)
		}
		if s.host.Sleep(s.ctx, stableRetryInterval) != nil {
			runtime.Goexit()
		}
	}
}

// Get implements raft.StableStore.
// nil for a key that was never set.
func (s *stableStore) Get(key []byte) ([]byte, error) { return s.meta.GetStable(key) }

// SetUint64 implements raft.StableStore.
func (s *stableStore) SetUint64(key []byte, value uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

// GetUint64 implements raft.StableStore. 0 when it was never set.
func (s *stableStore) GetUint64(key []byte) (uint64, error) {
	value, err := s.meta.GetStable(key)
	if err != nil || len(value) != 8 {
		return 0, err
	}
	return binary.BigEndian.Uint64(value), nil
}
