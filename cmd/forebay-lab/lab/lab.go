// Package lab is forebay-lab's command tree. Each command runs one experiment of package bench on real processes and
// exits with 0 only when every check of it held. The experiments themselves, their checks included, are in bench (on processes) and
// sim (in virtual time); here are flags, forms of output, and the refusal of flags that would make an experiment of nothing.
//
// Results go to standard output: a table, a report, or with --json one value. What happens meanwhile goes to standard error, but
// for demo, whose story is its result, and crash, whose seed must be on the screen first. After an error there may be a part of a
// report and never a line that says that all held.
package lab

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/forebay/forebay/bench/crash"
	"github.com/forebay/forebay/bench/demo"
)

// Command makes the tree. It prints nothing of errors: its caller does, once, and exits with 1. A context that ends stops
// an experiment, which then is an error: half an experiment shows nothing.
func Command() *cobra.Command {
	root := &cobra.Command{
		Use: "forebay-lab", Short: "demonstrate, break and measure Forebay on real processes",
		SilenceUsage: true, SilenceErrors: true,
	}
	root.AddCommand(demoCommand(), crashCommand(), benchCommand(), simCommand(), calibrateCommand(), fidelityCommand())
	return root
}

// binaryFlag names the forebay binary under test; by default the one beside forebay-lab.
func binaryFlag(cmd *cobra.Command, to *string) {
	beside := "forebay"
	if self, err := os.Executable(); err == nil {
		beside = filepath.Join(filepath.Dir(self), "forebay")
	}
	cmd.Flags().StringVar(to, "forebay", beside, "the forebay binary to run")
}

// writeJSON prints a report for scripts: one indented value and a newline. Durations are whole nanoseconds, and the fields'
// names say so.
func writeJSON(w io.Writer, report any) error {
	b, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, string(b))
	return err
}

// demoCommand tells its story on standard output, or with --json on standard error, so that standard output is the report
// alone. A demo with a check that did not hold prints no report.
func demoCommand() *cobra.Command {
	cfg := demo.Config{}
	asJSON := false
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "show a cluster of 3 masters and 3 workers over real files, with its leader killed on the way",
		Example: `  forebay-lab demo
  forebay-lab demo --source /usr/share --files 5000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Out = cmd.OutOrStdout()
			if asJSON {
				cfg.Out = cmd.ErrOrStderr()
			}
			report, err := demo.Run(cmd.Context(), cfg)
			if err == nil && asJSON {
				err = writeJSON(cmd.OutOrStdout(), report)
			}
			return err
		},
	}
	binaryFlag(cmd, &cfg.Binary)
	cmd.Flags().StringVar(&cfg.Source, "source", "", "directory of real files (default: the Go toolchain's own tree)")
	cmd.Flags().IntVar(&cfg.MaxFiles, "files", 12_000, "read at most this many files")
	cmd.Flags().Int64Var(&cfg.MaxBytes, "bytes", 400<<20, "read at most this many bytes")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON on standard output")
	return cmd
}

// crashCommand prints its seed first, so that a run which hangs, or takes the machine with it, can be repeated. The report
// comes also when a check failed: how far the loop came is part of what one looks for. The line with "0 lost" comes only
// when all held.
func crashCommand() *cobra.Command {
	cfg := crash.Config{}
	cmd := &cobra.Command{
		Use:     "crash",
		Short:   "kill random masters and workers under load and check that nothing acknowledged is lost",
		Example: `  forebay-lab crash --kills 200 --seed 7`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cfg.Kills < 1 { // it would kill nothing and report that nothing was lost
				return fmt.Errorf("crash: %d kills show nothing: want at least 1", cfg.Kills)
			}
			if cfg.Seed == 0 {
				cfg.Seed = uint64(time.Now().UnixNano())
			}
			cfg.Out = cmd.OutOrStdout()
			fmt.Fprintf(cfg.Out, "crash: seed %d\n", cfg.Seed)
			report, err := crash.Run(cmd.Context(), cfg)
			if report != nil {
				if e := writeJSON(cfg.Out, report); err == nil {
					err = e
				}
			}
			if err == nil {
				fmt.Fprintf(cfg.Out, "crash: %d kills, %d acknowledged files, 0 lost, 0 wrong\n", report.Kills, report.Acknowledged)
			}
			return err
		},
	}
	binaryFlag(cmd, &cfg.Binary)
	cmd.Flags().IntVar(&cfg.Kills, "kills", 200, "how many processes to kill, one at a time")
	cmd.Flags().Uint64Var(&cfg.Seed, "seed", 0, "of everything random (default: the time)")
	return cmd
}
