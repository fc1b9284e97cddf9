package lab

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/forebay/forebay/bench/fidelity"
	"github.com/forebay/forebay/bench/record"
)

// fidelityCommand prints the comparison, whatever it shows: a model that is far off is a result, and no error.
func fidelityCommand() *cobra.Command {
	cfg := fidelity.Config{Seed: 1}
	var from, out string
	asJSON := false
	cmd := &cobra.Command{
		Use:   "fidelity",
		Short: "compare the simulator with real processes on workloads that no calibration used",
		Long: `Runs the same workloads, by the same driver, on processes of this machine and in the simulator, and prints throughput, median and
99th percentile of both with their errors. Without --model it calibrates first: machines drift, and a model of another hour
is that much worse.`,
		Example: `  forebay-lab fidelity --out results
  forebay-lab fidelity --model model.json --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFidelity("fidelity", cfg); err != nil {
				return err
			}
			m, err := loadModel(from)
			if err != nil {
				return err
			}
			raw := &bytes.Buffer{}
			cfg.Progress, cfg.Raw = cmd.ErrOrStderr(), raw
			report, err := fidelity.Both(cmd.Context(), cfg, m)
			if err != nil {
				return err
			}
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), report)
			} else {
				_, err = io.WriteString(cmd.OutOrStdout(), report.Table())
			}
			if err == nil && out != "" {
				var dir string
				dir, err = writeFidelity(out, report, raw.Bytes())
				fmt.Fprintln(cmd.ErrOrStderr(), "fidelity: written to", dir)
			}
			return err
		},
	}
	fidelityFlags(cmd, &cfg)
	f := cmd.Flags()
	f.StringVar(&from, "model", "", "`file` that calibrate wrote (default: calibrate first)")
	f.StringVar(&out, "out", "", "folder to write the manifest, model, raw data and table into, as fidelity/<time> (default: print only)")
	f.Uint64Var(&cfg.Seed, "seed", 1, "of the simulator")
	f.BoolVar(&asJSON, "json", false, "print the report as JSON")
	return cmd
}

// writeFidelity writes what a comparison was made from, and the comparison.
func writeFidelity(dir string, r *fidelity.Report, raw []byte) (string, error) {
	manifest := record.New("fidelity", io.Discard).Manifest
	to := filepath.Join(dir, "fidelity", manifest.Time.Format("20060102-150405"))
	if err := os.MkdirAll(to, 0o755); err != nil {
		return "", err
	}
	indented := func(v any) []byte {
		text, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			panic(err) // plain data
		}
		return append(text, '\n')
	}
	model, err := r.Model.Encode()
	if err != nil {
		return "", err
	}
	for name, text := range map[string][]byte{
		"manifest.json": indented(manifest), "report.json": indented(r), "model.json": model,
		"table.md": []byte(r.Table()), "raw.csv": append([]byte(fidelity.RawHeader), raw...),
	} {
		if err := os.WriteFile(filepath.Join(to, name), text, 0o644); err != nil {
			return "", err
		}
	}
	return to, nil
}
