// Command mutants plants bugs in the production code, one at a time, and sweeps the simulator over each: an oracle that no
// planted bug ever trips shows nothing. The bugs are files in sim/mutants (see mutant.go); make mutants runs them all.
//
// The checkout is never changed: a mutant is a build of forebay-lab with one file overlaid, in a temporary folder. The program
// ends with an error when the unchanged tree does not pass the seeds, when a mutant survives and its file does not explain why
// no run can show it, when one that is so explained is killed all the same, and when one no longer fits the code or does not
// build.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	root  string
	only  string
	seeds int
	jobs  int
	json  string
	goOn  bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func parseOptions(args []string, help io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("mutants", flag.ContinueOnError)
	f.SetOutput(help)
	f.StringVar(&o.root, "root", ".", "the `folder` of the checkout")
	f.StringVar(&o.only, "only", "", "run the mutants of these `names` alone, divided by commas; a name with * at its end stands for all that begin so")
	f.IntVar(&o.seeds, "seeds", 0, "run so many seeds for each, instead of what its file says")
	f.IntVar(&o.jobs, "jobs", 2, "how many mutants to run at a time, 1 or 2")
	f.BoolVar(&o.goOn, "go-on", false, "leave out the seeds that the unchanged tree fails, for a look at the mutants before those are repaired")
	f.StringVar(&o.json, "json", "", "write what was found to this `file`, as JSON")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("%q: there are flags alone: see -help", f.Arg(0))
	case o.jobs < 1 || o.jobs > 2:
		return o, fmt.Errorf("-jobs %d: want 1 or 2", o.jobs)
	case o.seeds < 0 || o.seeds > maxSeeds:
		return o, fmt.Errorf("-seeds %d: want 1 to %d, or 0 for what each file says", o.seeds, maxSeeds)
	}
	return o, nil
}

// command runs the mutants of a checkout. What was found is printed also when it is an error.
func command(ctx context.Context, args []string, out, progress io.Writer) error {
	o, err := parseOptions(args, progress)
	if err != nil {
		return err
	}
	if o.root, err = filepath.Abs(o.root); err != nil {
		return err
	}
	all, err := load(filepath.Join(o.root, "sim", "mutants"))
	if err != nil {
		return err
	}
	chosen, err := choose(all, o.only)
	if err != nil {
		return err
	}
	if o.seeds > 0 {
		for _, m := range chosen {
			m.Seeds = o.seeds
		}
	}
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	c := &campaign{root: o.root, dir: dir, jobs: o.jobs, progress: progress, build: build, sweep: sweep, goOn: o.goOn}
	began := time.Now()
	results, err := c.run(ctx, chosen)
	if err != nil {
		return err
	}
	printTable(out, results, time.Since(began))
	if o.json != "" {
		if err := writeJSON(o.json, describe(ctx, o.root, args, results)); err != nil {
			return err
		}
	}
	return judge(results)
}

// choose finds the mutants that only names: all for "". A name without a mutant is an error, or a slip of the pen would pass for
// a success.
func choose(all []*mutant, only string) ([]*mutant, error) {
	if only == "" {
		return all, nil
	}
	var chosen []*mutant
	for _, name := range strings.Split(only, ",") {
		before := len(chosen)
		prefix, many := strings.CutSuffix(name, "*")
		for _, m := range all {
			if m.Name == name || many && strings.HasPrefix(m.Name, prefix) {
				chosen = append(chosen, m)
			}
		}
		if len(chosen) == before {
			return nil, fmt.Errorf("-only %s: no file of this name in sim/mutants", name)
		}
	}
	return chosen, nil
}
