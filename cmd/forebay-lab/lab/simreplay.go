package lab

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/forebay/forebay/sim/replay"
	"github.com/forebay/forebay/sim/saved"
	"github.com/forebay/forebay/sim/scenario"
)

// simReplayCommand succeeds when the run is the one of the file, whether that held or failed: what it failed by is told.
func simReplayCommand() *cobra.Command {
	var record recordFlags
	var o scenario.Options
	var anyVersion, quiet bool
	cmd := &cobra.Command{
		Use:   "replay FILE",
		Short: "have a saved run again, with its timeline",
		Long: `Runs again what a file has saved: a trace (sim run --trace), a failing seed (sim sweep --save) or what sim shrink made of one.
It tells what happened, and ends with an error when that is not what happened when the file was written: when the history is
another one, or when forebay-lab is not the version that wrote it.

After a change of the code --any-version runs the same seed and scenario. Whether that is the same run nobody knows: it shows
what the seed does now.`,
		Example: `  forebay-lab sim replay sim-failures/seed-17.yaml --from 20s --node c3
  forebay-lab sim replay mixed-7.json --timeline all.txt --trace again.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			run, err := saved.Load(args[0])
			if err != nil {
				return fmt.Errorf("sim replay: %w", err)
			}
			if o.Record, err = record.recorder(false); err != nil {
				return fmt.Errorf("sim replay: %w", err)
			}
			if !quiet {
				o.Progress = cmd.ErrOrStderr()
			}
			out, err := replay.Run(cmd.Context(), run, o, anyVersion)
			if out.Report != nil {
				err = firstError(err, record.writeOf(cmd, o.Record, out))
				tellFailure(cmd, out)
			}
			if err != nil {
				return fmt.Errorf("sim replay %s: %w", args[0], err)
			}
			same := "the run of the file"
			if anyVersion {
				same = "of this version; the file's is " + run.History
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "history %s: %s\n", out.Report.History, same)
			return err
		},
	}
	record.add(cmd, "-")
	cmd.Flags().BoolVar(&anyVersion, "any-version", false, "run it although another version saved it, and compare nothing")
	cmd.Flags().BoolVar(&quiet, "quiet", false, "no progress")
	return cmd
}

// tellFailure prints by what a run failed.
func tellFailure(cmd *cobra.Command, o scenario.Outcome) {
	w := cmd.OutOrStdout()
	for _, v := range o.Report.Violations {
		fmt.Fprintf(w, "VIOLATION %s\n", v)
	}
	switch {
	case o.Failure == scenario.Failure{}:
		fmt.Fprintln(w, "the run held: no violation")
	case len(o.Report.Violations) == 0:
		fmt.Fprintf(w, "FAILED with a %s: %s\n", o.Failure.Sort, o.Failure.What)
	}
}
