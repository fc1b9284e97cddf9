package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/forebay/forebay/bench/fidelity"
	"github.com/forebay/forebay/sim/model"
)

// fidelityFlags are what both commands ask for.
func fidelityFlags(cmd *cobra.Command, cfg *fidelity.Config) {
	binaryFlag(cmd, &cfg.Binary)
	f := cmd.Flags()
	f.IntVar(&cfg.Quiet.Slices, "slices", fidelity.DefaultQuiet.Slices, "of each workload, in which other processes were quiet")
	f.DurationVar(&cfg.Quiet.Budget, "budget", fidelity.DefaultQuiet.Budget, "for each workload; then the quietest slices must do")
	f.BoolVar(&cfg.Quick, "quick", false, "few operations and a short search: to see that it works, for no figures")
}

// checkFidelity refuses what would measure nothing.
func checkFidelity(what string, cfg fidelity.Config) error {
	if cfg.Quiet.Slices < 1 || cfg.Quiet.Budget <= 0 {
		return fmt.Errorf("%s: %d slices in %v measure nothing: want at least 1, and more than no time", what, cfg.Quiet.Slices, cfg.Quiet.Budget)
	}
	return nil
}

// calibrateCommand prints the model, or writes it to a file, which then is whole: it is written beside and renamed.
func calibrateCommand() *cobra.Command {
	cfg := fidelity.Config{}
	out := ""
	cmd := &cobra.Command{
		Use:   "calibrate",
		Short: "measure this machine's processes and write a model for the simulator",
		Long: `Measures one master, a worker and a client as processes of this machine: CPU time of operations, messages and bytes, and the
waits for network and disk. The model is JSON, which fidelity reads with --model; docs/fidelity.md says what it holds.`,
		Example: "  forebay-lab calibrate --out model.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFidelity("calibrate", cfg); err != nil {
				return err
			}
			cfg.Progress = cmd.ErrOrStderr()
			began := time.Now()
			m, _, err := fidelity.Calibrate(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "calibrate: took %v\n", time.Since(began).Round(time.Second))
			text, err := m.Encode()
			if err == nil && out != "" {
				return replaceFile(out, text)
			}
			if err == nil {
				_, err = cmd.OutOrStdout().Write(text)
			}
			return err
		},
	}
	fidelityFlags(cmd, &cfg)
	cmd.Flags().StringVar(&out, "out", "", "`file` to write the model to (default: print it)")
	return cmd
}

// replaceFile writes a file as a whole, or leaves what was there.
func replaceFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename it is not there
	_, err = f.Write(text)
	if e := f.Chmod(0o644); err == nil {
		err = e
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}

// loadModel reads the model that a flag names; nil without one.
func loadModel(path string) (*model.Model, error) {
	if path == "" {
		return nil, nil
	}
	return model.Load(path)
}
