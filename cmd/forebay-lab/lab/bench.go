package lab

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/forebay/forebay/bench/data"
	"github.com/forebay/forebay/bench/metadata"
	"github.com/forebay/forebay/bench/record"
)

// part is one group of measurements. It adds rows to the configuration's record, and returns an error when any answer was
// wrong or any operation failed: then none of its figures may be used, and the command writes none.
type part struct {
	name string
	run  func(metadata.Config) error
}

// leastFiles gives every caller of every measurement at least one operation.
const leastFiles = 2_000

// benchCommand prints the table on standard output and everything else on standard error. It runs nothing when its flags
// could only measure nothing, which would end as a table without figures and exit code 0.
func benchCommand() *cobra.Command {
	var binary, out, match string
	var runs, files int
	var only []string
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "measure metadata and data, and write a table with raw data",
		Long: `Measures in process (hot lookups, durable creates, the journal alone) and through gRPC on processes of their own (status
and creates unary, coalesced and batched; cold and warm reads; writes by type). Quote ratios: the machine's figures drift.`,
		Example: `  forebay-lab bench --out results
  forebay-lab bench --only lookups,creates --runs 5
  forebay-lab bench --only network --match 'create coalesced'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			parts := []part{
				{"lookups", metadata.Lookups},
				{"journal", func(c metadata.Config) error { return metadata.Journal(cmd.Context(), c) }},
				{"creates", func(c metadata.Config) error { return metadata.Creates(cmd.Context(), c) }},
				{"network", func(c metadata.Config) error { return metadata.Network(cmd.Context(), c) }},
				{"data", func(c metadata.Config) error {
					return data.Run(cmd.Context(), data.Config{Binary: c.Binary, Runs: c.Runs, Rec: c.Rec})
				}},
			}
			for _, name := range only { // else a slip of the finger would measure nothing and call it a success
				if !slices.ContainsFunc(parts, func(p part) bool { return p.name == name }) {
					return fmt.Errorf("bench: there is no part %q: want lookups, journal, creates, network or data", name)
				}
			}
			if runs < 1 || files < leastFiles {
				return fmt.Errorf("bench: %d runs of %d files measure nothing: want at least 1 of %d", runs, files, leastFiles)
			}
			rec := record.New("first-slice", cmd.ErrOrStderr())
			for _, p := range parts {
				if len(only) > 0 && !slices.Contains(only, p.name) || match != "" && p.name == "data" {
					continue
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "bench: %s\n", p.name)
				if err := p.run(metadata.Config{Binary: binary, Runs: runs, Files: files, Match: match, Rec: rec}); err != nil {
					return err
				}
			}
			if rec.Empty() {
				return fmt.Errorf("bench: no measurement of these parts has %q in its name", match)
			}
			fmt.Fprint(cmd.OutOrStdout(), rec.Table())
			if out == "" {
				return nil
			}
			dir, err := rec.Write(out)
			fmt.Fprintln(cmd.ErrOrStderr(), "bench: written to", dir)
			return err
		},
	}
	binaryFlag(cmd, &binary)
	cmd.Flags().StringVar(&out, "out", "", "folder to write the manifest, raw data and table into (default: print only)")
	cmd.Flags().IntVar(&runs, "runs", 3, "counted runs of each measurement, after one to warm up")
	cmd.Flags().IntVar(&files, "files", 400_000, "files of the hot set and of each run of creates")
	cmd.Flags().StringSliceVar(&only, "only", nil, "parts to run: lookups, journal, creates, network, data (default: all)")
	cmd.Flags().StringVar(&match, "match", "", "metadata measurements whose name contains this, such as 'create coalesced'")
	return cmd
}
