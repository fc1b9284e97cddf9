package lab

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/forebay/forebay/sim/replay"
	"github.com/forebay/forebay/sim/saved"
	"github.com/forebay/forebay/sim/scenario"
	"github.com/forebay/forebay/sim/shrink"
)

// shrinkTarget is what is to be made small: a saved run, or the scenario and seed that were named.
type shrinkTarget struct {
	name string // of a scenario
	seed uint64
	set  bool   // whether a seed was given
	out  string // the file for the result
}

// load reads it, and says where the result goes when nobody did.
func (s *shrinkTarget) load(args []string) (*scenario.Scenario, error) {
	switch {
	case len(args) == 1 && (s.set || s.name != ""):
		return nil, errors.New("a saved run has its seed and its scenario: give --seed and --scenario only without a file")
	case len(args) == 1:
		run, err := saved.Load(args[0])
		if err != nil {
			return nil, err
		}
		s.seed = run.Seed
		s.defaultOut(strings.TrimSuffix(strings.TrimSuffix(args[0], ".yaml"), ".json"))
		return replay.Scenario(run)
	case !s.set:
		return nil, errors.New("say what: a file of sim sweep --save, or the --seed of a sweep's scenario, or --scenario with a --seed")
	case s.name == "":
		s.defaultOut(fmt.Sprintf("seed-%d", s.seed))
		return scenario.Swarm(s.seed, nil), nil
	}
	sc, err := scenario.Load(s.name)
	if err == nil {
		s.defaultOut(fmt.Sprintf("%s-%d", sc.Name, s.seed))
	}
	return sc, err
}

func (s *shrinkTarget) defaultOut(base string) {
	if s.out == "" {
		s.out = base + ".small.yaml"
	}
}

// simShrinkCommand writes what it has also when it was interrupted: that fails like the first, too.
func simShrinkCommand() *cobra.Command {
	var target shrinkTarget
	var o shrink.Options
	var quiet bool
	cmd := &cobra.Command{
		Use:   "shrink [FILE]",
		Short: "make a failing run small",
		Long: `Drops from a run that fails what the failure does not need: faults, kinds of operations, clients, workers, files, time. What is
left fails in the same way (the same oracle sees it first) and is written to a file that sim run --scenario, sim replay and sim
shrink take. The seed may be another one then: it is in the file.

It tries many runs, a bounded number of them; the same bounds give the same result. Interrupted, it writes what it has.`,
		Example: `  forebay-lab sim shrink sim-failures/seed-17.yaml
  forebay-lab sim shrink --seed 17 --runs 1000 --out small.yaml
  forebay-lab sim shrink --scenario my.yaml --seed 3`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			target.set = cmd.Flags().Changed("seed")
			s, err := target.load(args)
			if err == nil && (o.Runs < 1 || o.Seeds < 1) {
				err = fmt.Errorf("--runs %d and --seeds %d: want at least 1", o.Runs, o.Seeds)
			}
			if err != nil {
				return fmt.Errorf("sim shrink: %w", err)
			}
			if !quiet {
				o.Progress = cmd.ErrOrStderr()
			}
			r, err := shrink.Shrink(cmd.Context(), s, target.seed, o)
			if r != nil {
				err = firstError(err, writeSmall(cmd, r, target.out))
			}
			if err != nil {
				return fmt.Errorf("sim shrink: %w", err)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.Uint64Var(&target.seed, "seed", 0, "of the run that fails; without --scenario its scenario is the one that sim sweep has for the seed")
	f.StringVar(&target.name, "scenario", "", "a `file`, or the name of one that comes with forebay-lab (see sim scenarios)")
	f.StringVar(&target.out, "out", "", "the `file` for what is left (default: the run's name with .small.yaml)")
	f.IntVar(&o.Runs, "runs", shrink.DefaultRuns, "try at most this many runs")
	f.IntVar(&o.Seeds, "seeds", shrink.DefaultSeeds, "try each change with this many seeds")
	f.BoolVar(&quiet, "quiet", false, "no progress")
	return cmd
}

// writeSmall saves the result and says what it is.
func writeSmall(cmd *cobra.Command, r *shrink.Result, file string) error {
	run, err := replay.Save(cmd.Context(), r.Last)
	if err != nil {
		return err
	}
	if r.Last.Report != nil { // it was run to its end, whatever ended the search
		run.History = r.Last.Report.History
	}
	run.Note = r.Words()
	if err := run.Save(file); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\nseed %d fails with %s: %s\nwritten to %s: see it with sim replay %s\n", r.Words(), r.Last.Seed, r.Last.Failure.Sort, r.Last.Failure.What, file, file)
	return err
}
