package lab

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/forebay/forebay/sim/scenario"
)

func simCommand() *cobra.Command {
	sim := &cobra.Command{
		Use:   "sim",
		Short: "run production code in virtual time: the same seed, the same history",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	sim.AddCommand(simRunCommand(), simScenariosCommand())
	return sim
}

// overrides are the flags that stand in for keys of a scenario.
type overrides struct {
	workers, clients int
	duration         time.Duration
	rate             float64
}

func (o overrides) apply(s *scenario.Scenario) {
	if o.workers > 0 {
		s.Workers = o.workers
	}
	if o.clients > 0 {
		s.Clients = o.clients
	}
	if o.duration > 0 {
		s.Duration = o.duration
	}
	if o.rate > 0 {
		s.Rate = o.rate
	}
}

func simRunCommand() *cobra.Command {
	var name string
	var o scenario.Options
	var over overrides
	var trace, asJSON, quiet bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "run one scenario",
		Long: `Runs a scenario: a cluster of production code on simulated machines, under a load and faults that a file describes. Every
read is checked. The last lines give what it took and the history, which is equal for equal runs.`,
		Example: `  forebay-lab sim run --scenario mixed --seed 7
  forebay-lab sim run --scenario my.yaml --workers 300 --clients 3000 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := scenario.Load(name)
			if err != nil {
				return err
			}
			over.apply(s)
			if !quiet {
				o.Progress = cmd.ErrOrStderr()
			}
			if trace {
				o.Trace = cmd.ErrOrStderr()
			}
			report, err := scenario.Run(cmd.Context(), s, o)
			if report != nil {
				if asJSON {
					err = firstError(err, writeJSON(cmd.OutOrStdout(), report))
				} else {
					err = firstError(err, report.Print(cmd.OutOrStdout()))
				}
			}
			if err == nil && report.ViolationCount > 0 {
				err = fmt.Errorf("sim: %d violations; the seed brings them back: --scenario %s --seed %d", report.ViolationCount, name, o.Seed)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&name, "scenario", "mixed", "a `file`, or the name of one that comes with it (see sim scenarios)")
	f.Uint64Var(&o.Seed, "seed", 1, "of everything random")
	f.IntVar(&over.workers, "workers", 0, "instead of the scenario's")
	f.IntVar(&over.clients, "clients", 0, "instead of the scenario's")
	f.DurationVar(&over.duration, "duration", 0, "simulated time, instead of the scenario's")
	f.Float64Var(&over.rate, "rate", 0, "operations a second and client, instead of the scenario's")
	f.BoolVar(&trace, "trace", false, "tell every turn of every task on standard error")
	f.BoolVar(&quiet, "quiet", false, "no progress")
	f.BoolVar(&asJSON, "json", false, "print the report as JSON")
	return cmd
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func simScenariosCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "scenarios",
		Short:   "list the scenarios that come with the simulator",
		Example: "  forebay-lab sim scenarios",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range scenario.Names() {
				s, err := scenario.Load(name)
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%-18s %s\n", name, s.Description)
			}
			return nil
		},
	}
}
