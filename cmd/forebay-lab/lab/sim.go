package lab

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/forebay/forebay/sim/replay"
	"github.com/forebay/forebay/sim/scenario"
)

// simCommand groups the simulator's commands. Alone it prints its help.
func simCommand() *cobra.Command {
	sim := &cobra.Command{
		Use:   "sim",
		Short: "run production code in virtual time: the same seed, the same history",
		Args:  cobra.NoArgs, // an unknown command is an error, not a reason for help and exit code 0
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	sim.AddCommand(simRunCommand(), simSweepCommand(), simReplayCommand(), simShrinkCommand(), simScenariosCommand(), simResultsCommand())
	return sim
}

// overrides are the flags that stand in for keys of a scenario. A flag that was not given is 0, which no key may be; what
// else a key may not be (less than 0, more than the simulator's bounds) is the scenario's own check to say, when it is run.
type overrides struct {
	workers, clients, blocks int
	duration                 time.Duration
	rate                     float64
}

// apply changes s and returns the flags that did, as they would be typed: an outcome is that of a seed and of these.
func (o overrides) apply(s *scenario.Scenario) (typed string) {
	return override(&s.Workers, "workers", o.workers) + override(&s.Clients, "clients", o.clients) +
		override(&s.Blocks, "blocks", o.blocks) + override(&s.Duration, "duration", o.duration) + override(&s.Rate, "rate", o.rate)
}

// override sets one key, unless its flag was not given.
func override[T comparable](key *T, flag string, value T) (typed string) {
	var absent T
	if value == absent {
		return ""
	}
	*key = value
	return fmt.Sprintf(" --%s %v", flag, value)
}

// simRunCommand prints the report also of a run that failed: what happened up to then is what one needs. Progress and trace
// go to standard error, so that standard output is the report and nothing else. A broken promise is an error, whose text is
// the command that shows it again.
func simRunCommand() *cobra.Command {
	var name string
	var o scenario.Options
	var over overrides
	var record recordFlags
	var turns, asJSON, quiet bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "run one scenario",
		Long: `Runs a scenario: a cluster of production code on simulated machines, under a load and faults that a file describes. Every
read is checked. The last lines give what it took and the history, which is equal for equal runs.

What happened can be written down: --timeline tells it for people, --trace in a form that opens in Perfetto and that sim replay
reads, --trace-turns every turn of every task. None of them changes the history.`,
		Example: `  forebay-lab sim run --scenario mixed --seed 7
  forebay-lab sim run --scenario my.yaml --workers 300 --clients 3000 --json
  forebay-lab sim run --scenario leader-death --seed 3 --timeline - --from 19s --to 25s --node c3
  forebay-lab sim run --scenario mixed --seed 7 --quiet --trace mixed-7.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := scenario.Load(name)
			if err != nil {
				return err
			}
			typed := over.apply(s)
			if o.Record, err = record.recorder(asJSON); err != nil {
				return fmt.Errorf("sim run: %w", err)
			}
			if !quiet {
				o.Progress = cmd.ErrOrStderr()
			}
			if turns {
				o.Trace = cmd.ErrOrStderr()
			}
			report, err := scenario.Run(cmd.Context(), s, o)
			if report != nil {
				err = firstError(err, record.writeOf(cmd, o.Record, scenario.Outcome{Seed: o.Seed, Scenario: s, Report: report, Failure: scenario.FailureOf(report, err)}))
				if asJSON {
					err = firstError(err, writeJSON(cmd.OutOrStdout(), report))
				} else {
					err = firstError(err, report.Print(cmd.OutOrStdout()))
				}
			}
			if err == nil && report.ViolationCount > 0 {
				err = fmt.Errorf("sim: %d violations; the seed brings them back: sim run --scenario %s --seed %d%s", report.ViolationCount, name, o.Seed, typed)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&name, "scenario", "mixed", "a `file`, or the name of one that comes with it (see sim scenarios)")
	f.Uint64Var(&o.Seed, "seed", 1, "of everything random")
	f.IntVar(&over.workers, "workers", 0, "instead of the scenario's")
	f.IntVar(&over.clients, "clients", 0, "instead of the scenario's")
	f.IntVar(&over.blocks, "blocks", 0, "that workers report besides those that they hold, instead of the scenario's")
	f.DurationVar(&over.duration, "duration", 0, "simulated time, instead of the scenario's")
	f.Float64Var(&over.rate, "rate", 0, "operations a second and client, instead of the scenario's")
	f.BoolVar(&turns, "trace-turns", false, "tell every turn of every task on standard error")
	f.BoolVar(&quiet, "quiet", false, "no progress")
	f.BoolVar(&asJSON, "json", false, "print the report as JSON")
	record.add(cmd, "")
	return cmd
}

// firstError keeps what went wrong first: an output that could not be written must not hide why the run failed.
func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// simScenariosCommand reads each scenario as a run would, so that one which cannot be run is not offered.
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

// simSweepCommand prints what the sweep showed before it judges: the figures of a sweep that failed, or was interrupted, are
// those of the seeds that were run. Three things end it with an error, in this order: it could not go on, a seed failed, or
// something was reached by no seed.
func simSweepCommand() *cobra.Command {
	var opts scenario.SweepOptions
	var faults string
	var save string
	var asJSON, few bool
	cmd := &cobra.Command{
		Use:   "sweep",
		Short: "run many seeds of small clusters with faults",
		Long: `Runs a small cluster for each seed, with a part of the operations and of the faults that the seed chooses. It ends with an
error when a promise was broken, and when something was reached by no seed: a sweep that never kills a leader shows nothing
about it.

Seeds that fail are saved, a file each, for sim replay and sim shrink.`,
		Example: `  forebay-lab sim sweep --seeds 2000 --faults all
  forebay-lab sim sweep --faults kill-leader,cut-zone`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			kinds, err := scenario.ParseFaults(faults)
			if err != nil {
				return err
			}
			opts.Kinds = kinds
			var unsaved error
			told := func(o scenario.Outcome) {
				if o.Failure != (scenario.Failure{}) {
					fmt.Fprintf(cmd.ErrOrStderr(), "sim: seed %d: %s\n", o.Seed, o.Failure.What)
					unsaved = firstError(unsaved, saveFailure(cmd.Context(), save, o))
				} else if n := o.Seed - opts.First + 1; n%50 == 0 {
					fmt.Fprintf(cmd.ErrOrStderr(), "sim: %d of %d seeds\n", n, opts.Count)
				}
			}
			w, err := scenario.RunSweep(cmd.Context(), opts, told)
			if asJSON {
				err = firstError(err, writeJSON(out, w))
			} else {
				for _, name := range slices.Sorted(maps.Keys(w.Sometimes)) {
					fmt.Fprintf(out, "sometimes %-70s %d seeds\n", name, w.Sometimes[name])
				}
				fmt.Fprintf(out, "seeds %d, operations %d, faults %d\nsimulated %.0f s in %.1f s: %.1f times real time\nfailed seeds %d\n", w.Seeds,
					w.Operations, w.Faults, w.Simulated.Seconds(), w.Wall.Seconds(), w.Simulated.Seconds()/max(w.Wall.Seconds(), 1e-9), len(w.Failed))
			}
			switch err = firstError(err, unsaved); {
			case err != nil:
				return err
			case len(w.Failed) > 0 && save != "":
				file := failureFile(save, w.Failed[0])
				return fmt.Errorf("sim: %d seeds failed, the first is %d: see it with sim replay %s, make it small with sim shrink %s", len(w.Failed), w.Failed[0], file, file)
			case len(w.Failed) > 0:
				return fmt.Errorf("sim: %d seeds failed, the first is %d: run it again with sim sweep --first %d --seeds 1", len(w.Failed), w.Failed[0], w.Failed[0])
			case len(w.Missed(opts)) > 0 && !few:
				return fmt.Errorf("sim: no seed reached %v: run more seeds", w.Missed(opts))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.IntVar(&opts.Count, "seeds", 200, "how many")
	f.Uint64Var(&opts.First, "first", 1, "the first seed")
	f.IntVar(&opts.Jobs, "jobs", runtime.GOMAXPROCS(0), "seeds at a time")
	f.StringVar(&faults, "faults", "all", "all, none, or `kinds` with commas between them")
	f.BoolVar(&few, "few", false, "take it for no error that something was reached by no seed, as it is when they are few")
	f.StringVar(&save, "save", "sim-failures", "the `directory` for seeds that fail; empty: none are saved")
	f.BoolVar(&asJSON, "json", false, "print the outcome as JSON")
	return cmd
}

// failureFile is where a failing seed is saved.
func failureFile(dir string, seed uint64) string {
	return filepath.Join(dir, fmt.Sprintf("seed-%d.yaml", seed))
}

// saveFailure saves one, unless there is no directory for them.
func saveFailure(ctx context.Context, dir string, o scenario.Outcome) error {
	if dir == "" {
		return nil
	}
	run, err := replay.Save(ctx, o)
	if err == nil {
		err = run.Save(failureFile(dir, o.Seed))
	}
	if err != nil {
		return fmt.Errorf("save seed %d: %w", o.Seed, err)
	}
	return nil
}
