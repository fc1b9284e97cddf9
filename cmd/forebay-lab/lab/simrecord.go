package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/forebay/forebay/sim/replay"
	"github.com/forebay/forebay/sim/saved"
	"github.com/forebay/forebay/sim/scenario"
	"github.com/forebay/forebay/sim/trace"
)

// recordFlags say what of a run is recorded, and where it goes.
type recordFlags struct {
	trace, timeline string
	from, to        time.Duration
	nodes, match    string
	keep            int
}

// add adds the flags to a command. timeline is where it goes when nothing is said.
func (r *recordFlags) add(cmd *cobra.Command, timeline string) {
	f := cmd.Flags()
	f.StringVar(&r.timeline, "timeline", timeline, "write what happened for people, in the order of time, to a `file`; - is standard output")
	f.StringVar(&r.trace, "trace", "", "write what happened to a `file` that opens in Perfetto (ui.perfetto.dev), and from which sim replay has the run again")
	f.DurationVar(&r.from, "from", 0, "of timeline and trace: only what was under way at this time of the run or later")
	f.DurationVar(&r.to, "to", 0, "and at this time or earlier; 0: to the end")
	f.StringVar(&r.nodes, "node", "", "only what is at, from or to these nodes: m1 and so on are masters, w1 workers, c1 clients; a list with commas")
	f.StringVar(&r.match, "grep", "", "only what this regular expression matches, such as a path or a method")
	f.IntVar(&r.keep, "keep", trace.DefaultKeep, "keep this many events, the last ones")
}

// recorder is for what the flags ask for; nil when they ask for nothing.
func (r *recordFlags) recorder(stdoutTaken bool) (*trace.Recorder, error) {
	filter, err := trace.ParseFilter(r.from, r.to, r.nodes, r.match)
	if r.keep < 1 {
		err = errors.Join(err, fmt.Errorf("--keep %d: want at least 1", r.keep))
	}
	if r.timeline == "-" && stdoutTaken {
		err = errors.Join(err, errors.New("--json and --timeline - both write to standard output: give the timeline a file"))
	}
	if r.trace == "" && r.timeline == "" {
		if r.from != 0 || r.to != 0 || r.nodes != "" || r.match != "" {
			err = errors.Join(err, errors.New("--from, --to, --node and --grep choose what goes into --timeline or --trace: give one of them"))
		}
		return nil, err
	}
	for _, path := range []string{r.trace, r.timeline} { // before a long run, and not after it
		if path != "" && path != "-" {
			err = errors.Join(err, toFile(path, nil, func(io.Writer) error { return nil }))
		}
	}
	if err != nil {
		return nil, err
	}
	return trace.New(r.keep, filter), nil
}

// writeOf writes what is asked for of a run that has just ended.
func (r *recordFlags) writeOf(cmd *cobra.Command, recorder *trace.Recorder, o scenario.Outcome) error {
	if recorder == nil {
		return nil
	}
	origin, err := replay.Save(cmd.Context(), o)
	if err != nil {
		return err
	}
	return r.write(cmd.OutOrStdout(), recorder.Record(o.Report.Simulated), origin)
}

// write writes what is asked for. origin is the run that it is the record of.
func (r *recordFlags) write(stdout io.Writer, record trace.Record, origin saved.Run) error {
	if r.trace != "" {
		if err := toFile(r.trace, stdout, func(w io.Writer) error { return trace.Chrome(w, record, origin) }); err != nil {
			return fmt.Errorf("write trace: %w", err)
		}
	}
	if r.timeline == "" {
		return nil
	}
	err := toFile(r.timeline, stdout, func(w io.Writer) error {
		if _, err := fmt.Fprintf(w, "# scenario %s, seed %d, history %s, forebay-lab %s\n", origin.Name, origin.Seed, origin.History, origin.Version); err != nil {
			return err
		}
		return trace.Timeline(w, record)
	})
	if err != nil {
		return fmt.Errorf("write timeline: %w", err)
	}
	return nil
}

// toFile has write fill a file, or standard output for "-". An error leaves the file as far as it is.
func toFile(path string, stdout io.Writer, write func(io.Writer) error) error {
	if path == "-" {
		return write(stdout)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
