package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/forebay/forebay/system/dfs"
	pb "github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

// checkpointLine says up to which entry of the journal a master's state is on its disk by itself.
func checkpointLine(address string, index uint64) func(io.Writer) {
	return func(w io.Writer) { fmt.Fprintf(w, "%s: checkpoint at index %d\n", address, index) }
}

// quorumCommand changes one member at a time, which is what keeps a majority of the old quorum in the new one.
func (a *app) quorumCommand() *cobra.Command {
	quorum := &cobra.Command{
		Use: "quorum", Short: "List the masters' quorum, or change it", Args: cobra.NoArgs,
		Example: "  forebay admin journal quorum\n  forebay admin journal quorum add master-4 10.0.0.4:19997\n" +
			"  forebay admin journal quorum remove master-1\n  forebay admin journal quorum transfer any",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.atLeader(cmd.Context(), "list the quorum", func(ctx context.Context, admin pb.AdminClient) (*pb.QuorumResponse, error) {
				return admin.Quorum(ctx, &pb.QuorumRequest{})
			})
		},
	}
	change := func(use, short string, args int, request func([]string) *pb.ChangeQuorumRequest) *cobra.Command {
		return &cobra.Command{
			Use: use, Short: short, Args: cobra.ExactArgs(args),
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.atLeader(cmd.Context(), "change the quorum", func(ctx context.Context, admin pb.AdminClient) (*pb.QuorumResponse, error) {
					return admin.ChangeQuorum(ctx, request(args))
				})
			},
		}
	}
	quorum.AddCommand(
		change("add ID JOURNAL-ADDRESS", "Add a master", 2, func(args []string) *pb.ChangeQuorumRequest {
			return &pb.ChangeQuorumRequest{Change: &pb.ChangeQuorumRequest_Add{
				Add: &pb.QuorumMember{Id: args[0], Address: args[1], Voter: true},
			}}
		}),
		change("remove ID", "Remove a master", 1, func(args []string) *pb.ChangeQuorumRequest {
			return &pb.ChangeQuorumRequest{Change: &pb.ChangeQuorumRequest_Remove{Remove: args[0]}}
		}),
		change("transfer ID|any", "Make another master the leader", 1, func(args []string) *pb.ChangeQuorumRequest {
			return &pb.ChangeQuorumRequest{Change: &pb.ChangeQuorumRequest_Transfer{Transfer: args[0]}}
		}),
	)
	return quorum
}

// atLeader fails with what the last one said when none leads, and at once with what the leader refuses: a change that may have
// been made must not be tried elsewhere. It asks master after master until one of them does not answer that it is not the leader, and prints the quorum.
func (a *app) atLeader(ctx context.Context, op string, call func(context.Context, pb.AdminClient) (*pb.QuorumResponse, error)) error {
	var answer *pb.QuorumResponse
	var failed error
	err := a.eachMaster(ctx, func(ctx context.Context, address string, admin pb.AdminClient) error {
		if answer != nil {
			return nil
		}
		r, err := call(ctx, admin)
		switch err = rpc.FromStatus(err); {
		case err == nil:
			answer = r
		case dfs.IsKind(err, dfs.NotLeader), dfs.IsKind(err, dfs.Unavailable):
			failed = dfs.Wrap(err, op, address)
		default:
			return dfs.Wrap(err, op, address)
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case answer == nil:
		return withHint(failed)
	}
	return a.printQuorum(answer)
}

// withHint adds the leader's address to an error that knows it.
func withHint(err error) error {
	var e *dfs.Error
	if errors.As(err, &e) && e.Leader != "" {
		hinted := *e
		hinted.Detail += "; the leader is " + e.Leader + ": name it with -m"
		return &hinted
	}
	return err
}

// printQuorum prints members by their journal addresses, which is what add takes; clients use the leader's other one.
func (a *app) printQuorum(q *pb.QuorumResponse) error {
	if a.asJSON() {
		return a.printJSON(q)
	}
	a.printf("term %d, leader for clients %s\n", q.Term, q.Leader)
	return a.table("ID\tJOURNAL ADDRESS\tVOTER\tLEADER", func(row func(...any)) {
		for _, m := range q.Members {
			row(m.Id, m.Address, m.Voter, m.Leader)
		}
	})
}
