package lab

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/forebay/forebay/bench/record"
	"github.com/forebay/forebay/sim/plot"
	"github.com/forebay/forebay/sim/scenario"
)

// simResultsCommand makes what results/sim-* holds. A scenario that breaks a promise has no results: its figures would be of a
// cluster that is wrong. The others are still made, so that one does not cost the rest.
func simResultsCommand() *cobra.Command {
	var out string
	var names []string
	var blocks int
	var seed uint64
	cmd := &cobra.Command{
		Use:   "results",
		Short: "run scenarios and write their reports, raw data and plots",
		Long: `Runs scenarios, one after the other, and writes a folder sim-NAME for each: report.json and manifest.json, the raw data
as CSV, and plots of throughput, latencies, hits, the master and the network over simulated time. With --blocks the folder's
name has them, too.`,
		Example: `  forebay-lab sim results --out results
  forebay-lab sim results --scenario registration-storm --blocks 1000000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(names) == 0 {
				names = scenario.Names()
			}
			var err error
			for _, name := range names {
				err = firstError(err, simResult(cmd, out, name, blocks, seed))
				if cmd.Context().Err() != nil {
					break
				}
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&out, "out", "results", "the `folder` that the results' folders are in")
	f.StringSliceVar(&names, "scenario", nil, "the `names` of scenarios, or files; all that come with it when none is given")
	f.IntVar(&blocks, "blocks", 0, "that workers report besides those that they hold, instead of the scenario's")
	f.Uint64Var(&seed, "seed", 1, "of everything random")
	return cmd
}

// simResult makes one scenario's.
func simResult(cmd *cobra.Command, out, name string, blocks int, seed uint64) error {
	s, err := scenario.Load(name)
	if err != nil {
		return err
	}
	dir := "sim-" + s.Name
	if blocks != 0 {
		s.Blocks = blocks
		dir += fmt.Sprintf("-%d", blocks)
	}
	manifest := record.New(dir, io.Discard).Manifest
	manifest.Notes = []string{fmt.Sprintf("seed %d; all times but wallNs are simulated", seed)}
	report, err := scenario.Run(cmd.Context(), s, scenario.Options{Seed: seed})
	if err != nil {
		return fmt.Errorf("results of %s: %w", name, err)
	}
	if report.ViolationCount > 0 {
		return fmt.Errorf("results of %s: not written: %d violations, the first: %s", name, report.ViolationCount, report.Violations[0])
	}
	dir = filepath.Join(out, dir)
	if err := plot.Write(dir, report); err != nil {
		return fmt.Errorf("results of %s: %w", name, err)
	}
	text, err := json.MarshalIndent(manifest, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "manifest.json"), append(text, '\n'), 0o644)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %v simulated in %v, history %s\n", dir, report.Simulated, report.Wall.Round(time.Millisecond), report.History)
	return err
}
