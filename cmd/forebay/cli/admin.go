package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	pb "github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

// adminCommand holds the operators' commands. They ask the configured masters themselves, by the Admin service, and need neither
// a leader nor a session: they are for when something is wrong.
func (a *app) adminCommand() *cobra.Command {
	journal := group(&cobra.Command{Use: "journal", Short: "The masters' replicated log"}, a.quorumCommand(), a.checkpointCommand())
	return group(&cobra.Command{Use: "admin", Short: "Operate a cluster"}, a.reportCommand(), a.doctorCommand(), journal)
}

// masterAnswer is what one master said, or why it did not: either report or err is set.
type masterAnswer struct {
	address string
	report  *pb.ReportResponse
	err     error
}

// masterDoor is one configured master, and how long it has to answer.
type masterDoor struct {
	address string
	admin   pb.AdminClient
	timeout time.Duration
}

// withMasters calls use with a door to each configured master. Nothing is asked yet, so none of them needs to be there.
func (a *app) withMasters(use func([]masterDoor) error) error {
	loaded, err := a.load(nil)
	if err != nil {
		return err
	}
	pool := rpc.NewPool(a.h, 0)
	defer func() { _ = pool.Close() }() // it has no state to lose
	var doors []masterDoor
	for _, address := range loaded.Config.Client.Masters {
		conn, err := pool.Get(address)
		if err != nil {
			return err
		}
		doors = append(doors, masterDoor{address, pb.NewAdminClient(conn), loaded.Config.Client.Timeout})
	}
	return use(doors)
}

// eachMaster runs call for each configured master, one after the other, and stops at the first error.
func (a *app) eachMaster(ctx context.Context, call func(ctx context.Context, address string, admin pb.AdminClient) error) error {
	return a.withMasters(func(doors []masterDoor) error {
		for _, m := range doors {
			bounded, cancel := a.h.WithTimeout(ctx, m.timeout)
			err := call(bounded, m.address, m.admin)
			cancel()
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// reports asks every configured master, all at the same time: an operator asks when something is wrong, and several that
// do not answer must not add up. One that does not answer is part of the answer, not an error of the command. The answers
// are in the order of the configuration.
func (a *app) reports(ctx context.Context) (answers []masterAnswer, err error) {
	err = a.withMasters(func(doors []masterDoor) error {
		answers = make([]masterAnswer, len(doors))
		g := host.NewGroup(a.h, 0)
		for i, m := range doors {
			ask := func() error {
				bounded, cancel := a.h.WithTimeout(ctx, m.timeout)
				defer cancel()
				report, err := m.admin.Report(bounded, &pb.ReportRequest{})
				answers[i] = masterAnswer{m.address, report, dfs.Wrap(rpc.FromStatus(err), "ask master", m.address)}
				return nil
			}
			if err := g.Go(ctx, "report", ask); err != nil {
				answers[i] = masterAnswer{address: m.address, err: err}
			}
		}
		return g.Wait(context.WithoutCancel(ctx)) // each ends with its own timeout
	})
	return answers, err
}

// serving is the leader's report, or any there is; the error of one of those asked when there is none. A master that was cut off
// may believe that it leads for a while: of two the first is taken.
func serving(answers []masterAnswer) (*pb.ReportResponse, error) {
	var any *pb.ReportResponse
	var failed error
	for _, m := range answers {
		switch {
		case m.err != nil:
			failed = m.err
		case m.report.Serving:
			return m.report, nil
		default:
			any = m.report
		}
	}
	if any == nil {
		return nil, failed
	}
	return any, nil
}

// reportCommand prints the leader's view; without a leader that of any master which answers, since operators need it most
// then.
func (a *app) reportCommand() *cobra.Command {
	return &cobra.Command{
		Use: "report", Short: "Summarize the cluster", Args: cobra.NoArgs, Example: "  forebay admin report\n  forebay admin report --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			answers, err := a.reports(cmd.Context())
			if err != nil {
				return err
			}
			r, err := serving(answers)
			if err != nil {
				return err
			}
			if a.asJSON() {
				return a.printJSON(r)
			}
			return a.printReport(r)
		},
	}
}

// printReport is for people; scripts take --json, which is the protocol's message.
func (a *app) printReport(r *pb.ReportResponse) error {
	if err := a.table("MASTER\t"+r.Node, func(row func(...any)) { a.masterRows(r, row) }); err != nil {
		return err
	}
	a.printf("\n")
	if err := a.table("WORKER\tADDRESS\tSTATE\tBLOCKS\tUSED\tCAPACITY\tLAST HEARTBEAT", func(row func(...any)) {
		for _, w := range r.Workers {
			var used, capacity int64
			for _, t := range w.Tiers {
				used += t.UsedBytes
				capacity += t.CapacityBytes
			}
			row(w.Id, w.Address, workerState(w), w.Blocks, bytesText(used, true), bytesText(capacity, true),
				a.ago(w.LastHeartbeat))
		}
	}); err != nil {
		return err
	}
	for _, p := range r.Problems {
		a.printf("\nproblem: %s\n", escape(p))
	}
	return nil
}

// masterRows prints journal indexes in the order in which an entry passes them: committed >= applied >= flushed.
func (a *app) masterRows(r *pb.ReportResponse, row func(...any)) {
	state := "follower"
	if r.Serving {
		state = "leader, serving"
	}
	hits := 0.0
	if asked := r.CacheHits + r.CacheMisses; asked > 0 {
		hits = 100 * float64(r.CacheHits) / float64(asked)
	}
	row("state", state)
	row("leader", r.Leader)
	row("version", r.Version)
	row("started", time.Unix(0, r.Started).Local().Format(time.DateTime))
	row("inodes", r.Inodes)
	row("blocks", r.Blocks)
	row("sessions", r.Sessions)
	row("to persist", r.ToPersist)
	row("store", bytesText(r.StoreBytes, true))
	row("cache", fmt.Sprintf("%s, %.1f%% hits", bytesText(r.CacheBytes, true), hits))
	row("journal", fmt.Sprintf("%s, from index %d", bytesText(r.JournalBytes, true), r.FirstLogIndex))
	row("committed / applied / flushed", fmt.Sprintf("%d / %d / %d", r.CommitIndex, r.AppliedIndex, r.FlushedIndex))
	row("mounts", len(r.Mounts))
}

// workerState is LOST when the master has not heard of it for master.worker.lost.timeout; a worker that registers serves
// already, but the master does not know all that it holds.
func workerState(w *pb.WorkerInfo) string {
	switch {
	case !w.Live:
		return "LOST"
	case !w.Registered:
		return "registering"
	}
	return "live"
}

// ago is how long ago a stamp of Unix nanoseconds was.
func (a *app) ago(nanos int64) string {
	if nanos == 0 {
		return "never"
	}
	return a.h.Now().Sub(time.Unix(0, nanos)).Round(100*time.Millisecond).String() + " ago"
}

// doctorCommand's code is 1 for problems of the cluster, as test's is for false; what kept it from asking has its own code.
func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Look for problems: exit code 1 if there are any", Args: cobra.NoArgs,
		Long:    "Ask every master what is wrong, each problem with its remedy. Exit code 1 when there are problems.",
		Example: "  forebay admin doctor",
		RunE: func(cmd *cobra.Command, _ []string) error {
			answers, err := a.reports(cmd.Context())
			if err != nil {
				return err
			}
			if err := cmd.Context().Err(); err != nil { // that masters did not answer is then no problem of theirs
				return dfs.Wrap(err, "look for problems", "")
			}
			problems := diagnose(answers)
			if a.asJSON() {
				if err := a.printJSON(map[string][]string{"problems": problems}); err != nil {
					return err
				}
			} else {
				for _, p := range problems {
					a.printf("%s\n", escape(p))
				}
			}
			if len(problems) > 0 {
				return errFalse
			}
			if !a.asJSON() {
				a.printf("no problems: %d masters answered\n", len(answers))
			}
			return nil
		},
	}
}

// diagnose lists problems, each with the master that told of it. A master that does not answer is one; that none leads is
// another, which the others' own reports cannot tell.
func diagnose(answers []masterAnswer) []string {
	problems := []string{}
	leaders := 0
	for _, m := range answers {
		if m.err != nil {
			problems = append(problems, m.err.Error())
			continue
		}
		if m.report.Serving {
			leaders++
		}
		for _, p := range m.report.Problems {
			problems = append(problems, m.report.Node+": "+p)
		}
	}
	if leaders == 0 {
		problems = append(problems, "no master serves: wait for an election, or see that most masters run and reach each other")
	}
	return problems
}

// checkpointCommand goes on after a master that cannot: each has a log and a disk of its own.
func (a *app) checkpointCommand() *cobra.Command {
	return &cobra.Command{
		Use: "checkpoint", Short: "Take a checkpoint on each named master and trim its log", Args: cobra.NoArgs,
		Example: "  forebay admin journal checkpoint",
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := &listing{a: a}
			defer out.end()
			var failed failures
			err := a.eachMaster(cmd.Context(), func(ctx context.Context, address string, admin pb.AdminClient) error {
				r, err := admin.Checkpoint(ctx, &pb.CheckpointRequest{})
				if err != nil {
					failed.add(a, dfs.Wrap(rpc.FromStatus(err), "checkpoint", address))
					return nil
				}
				return out.add(map[string]any{"master": address, "index": r.Index}, checkpointLine(address, r.Index))
			})
			if err != nil {
				return err
			}
			return failed.result()
		},
	}
}
