package master

import (
	"context"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/journal"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

// Quorum implements proto.AdminServer.
// Any member answers, from the membership that its own journal has applied; the leader named may be former by a
// moment.
func (m *Master) Quorum(ctx context.Context, _ *proto.QuorumRequest) (*proto.QuorumResponse, error) {
	return m.quorum(ctx)
}

func (m *Master) quorum(ctx context.Context) (*proto.QuorumResponse, error) {
	members, err := m.journal.Members(ctx)
	if err != nil {
		return nil, rpc.ToStatus(dfs.Wrap(err, "list the quorum", ""))
	}
	out := &proto.QuorumResponse{Term: m.journal.Status().Term, Leader: m.leaderAddress()}
	for _, member := range members {
		out.Members = append(out.Members, &proto.QuorumMember{Id: member.ID, Address: member.Address, Voter: member.Voter, Leader: member.Leader})
	}
	return out, nil
}

// ChangeQuorum implements proto.AdminServer.
// It returns once the change is committed, with the membership after it. The error's kind says what to do:
// InvalidArgument to ask otherwise, Unavailable to look at the members and ask again, which does no harm. A master
// that is added must be running, or at once after, since it counts for the majority from then on.
func (m *Master) ChangeQuorum(ctx context.Context, req *proto.ChangeQuorumRequest) (*proto.QuorumResponse, error) {
	if m.leader.Load() == nil {
		return nil, rpc.ToStatus(m.notLeader("change the quorum"))
	}
	if err := m.changeQuorum(ctx, req); err != nil {
		return nil, rpc.ToStatus(dfs.Wrap(err, "change the quorum", ""))
	}
	return m.quorum(ctx)
}

// changeQuorum does one change. The journal's own errors say what it refuses, such as removing a member that is not
// there.
// One member at a time is what the journal changes safely; replacing a master is an add and then a remove.
func (m *Master) changeQuorum(ctx context.Context, req *proto.ChangeQuorumRequest) error {
	switch change := req.Change.(type) {
	case *proto.ChangeQuorumRequest_Add:
		if change.Add.GetId() == "" || change.Add.GetAddress() == "" {
			return dfs.Errorf(dfs.InvalidArgument, "add a master", "", "give its id and its journal address")
		}
		return m.journal.Add(ctx, journal.Member{ID: change.Add.Id, Address: change.Add.Address, Voter: true})
	case *proto.ChangeQuorumRequest_Remove:
		return m.journal.Remove(ctx, change.Remove)
	case *proto.ChangeQuorumRequest_Transfer:
		return m.transfer(ctx, change.Transfer)
	}
	return dfs.Errorf(dfs.InvalidArgument, "change the quorum", "", "say what to add, remove or transfer")
}

// Pace of a transfer: a member that was just added is not up to date yet, loses its election, and is asked again.
const (
	transferSettle = time.Second
	transferPoll   = 20 * time.Millisecond
)

// transfer hands leadership over and makes sure that it went there.
// It asks again for as long as ctx lasts and this master leads, since the journal refuses with Unavailable while the
// target lags. "any", or no name, leaves the choice to the journal. Other refusals, such as a target that is no
// member, are told at once.
func (m *Master) transfer(ctx context.Context, id string) error {
	target := id
	if id == "any" {
		target = ""
	}
	for {
		err := m.journal.Transfer(ctx, target)
		if err != nil && !dfs.IsKind(err, dfs.Unavailable) {
			return err
		}
		if m.transferred(ctx, target) {
			return nil
		}
		if ctx.Err() != nil || m.journal.Leader() != m.cfg.ID {
			return dfs.Errorf(dfs.Unavailable, "transfer leadership", id, "it did not take over in time: see whether it is up and has caught up ('forebay admin report')")
		}
	}
}

// transferred waits for a moment until another member leads: target, or any.
// It polls, since the journal tells only its own member of changes.
func (m *Master) transferred(ctx context.Context, target string) bool {
	ctx, cancel := m.h.WithTimeout(ctx, transferSettle)
	defer cancel()
	for {
		if l := m.journal.Leader(); l != "" && l != m.cfg.ID && (target == "" || l == target) {
			return true
		}
		if m.h.Sleep(ctx, transferPoll) != nil {
			return false
		}
	}
}
