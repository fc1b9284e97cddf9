package master

import (
	"context"
	"fmt"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

// maxProblems bounds the files that a report names.
const maxProblems = 100

// Report implements proto.AdminServer.
// It is answered by followers too, since each master's disk and journal are its own matter; what only a leader knows
// (workers, what waits to be persisted, its problems) is left out there. Nothing in it is proved: it is for people.
// ToPersist stops counting at maxPersisting.
func (m *Master) Report(context.Context, *proto.ReportRequest) (*proto.ReportResponse, error) {
	j, store := m.journal.Status(), m.machine.Store()
	stats := store.Stats()
	out := &proto.ReportResponse{
		Node: m.cfg.ID, Leader: m.leaderAddress(), AppliedIndex: store.AppliedIndex(), FlushedIndex: store.FlushedIndex(),
		CommitIndex: j.CommitIndex, FirstLogIndex: j.FirstLogIndex, Inodes: stats.Inodes, Sessions: int64(m.machine.Sessions()),
		Blocks: m.blocks.Len(), StoreBytes: stats.DiskBytes, JournalBytes: j.LogBytes, CacheBytes: stats.CacheBytes,
		CacheHits: stats.CacheHits, CacheMisses: stats.CacheMisses, Mounts: m.mounts(nil, false),
		Started: m.started.UnixNano(), Version: m.cfg.Version,
	}
	if j.Fault != nil {
		out.Problems = append(out.Problems, "the journal cannot be written: "+j.Fault.Error())
	}
	if l := m.leader.Load(); l != nil {
		out.Serving, out.Workers = true, m.workerInfos()
		queue, err := m.machine.PersistQueue(0, maxPersisting)
		if err != nil {
			return nil, rpc.ToStatus(err)
		}
		out.ToPersist = int64(len(queue))
		out.Problems = append(append(out.Problems, l.problems()...), l.persist.problems(maxProblems)...)
	} else if out.Leader == "" {
		out.Problems = append(out.Problems, "no leader is known: are a majority of the masters up and reachable from here?")
	}
	return out, nil
}

// leaderAddress is where clients reach the leader; "" when none is known, or when it has not led before and its first
// entry has not come here yet.
func (m *Master) leaderAddress() string {
	if m.leader.Load() != nil {
		return m.cfg.Address
	}
	if id := m.journal.Leader(); id != "" {
		return m.machine.Address(id)
	}
	return ""
}

// problems is what a doctor would say of the cluster's state, each with its remedy.
// Order is the registry's, by worker id, so that two reports can be compared. An empty list means that nothing is
// known to be wrong.
func (l *leadership) problems() []string {
	var out []string
	workers := l.m.workers.List()
	live := 0
	for _, w := range workers {
		if !w.Live {
			out = append(out, fmt.Sprintf("worker %s at %s was lost: start it again, or ignore this if it was taken away", w.Id, w.Address))
			continue
		}
		live++
		if !w.Registered {
			out = append(out, fmt.Sprintf("worker %s at %s is still registering: its blocks are not all known yet", w.Id, w.Address))
		}
		for _, t := range w.Tiers {
			if t.Failed {
				out = append(out, fmt.Sprintf("worker %s: its %s tier has failed: replace the disk and restart the worker", w.Id, t.Name))
			}
		}
	}
	if live == 0 {
		out = append(out, "no worker is live: data cannot be read or written; start 'forebay worker'")
	}
	return out
}

// Checkpoint implements proto.AdminServer.
// Each master makes its own; nothing is agreed on, so a follower can be asked. The answer's index is what the newest
// snapshot stands for; the journal trims its own log.
func (m *Master) Checkpoint(ctx context.Context, _ *proto.CheckpointRequest) (*proto.CheckpointResponse, error) {
	index, err := m.journal.Snapshot(ctx)
	if err != nil {
		return nil, rpc.ToStatus(dfs.Wrap(err, "checkpoint", m.cfg.ID))
	}
	return &proto.CheckpointResponse{Index: index}, nil
}
