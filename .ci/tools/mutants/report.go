package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// campaignReport is the JSON form: what was run, where, and what was found.
type campaignReport struct {
	Command string    `json:"command"`
	Commit  string    `json:"commit"`
	Machine string    `json:"machine"`
	Time    time.Time `json:"time"`
	Killed  int       `json:"killed"`
	Excused int       `json:"explained"`
	Mutants []result  `json:"mutants"`
}

func describe(ctx context.Context, root string, args []string, results []result) campaignReport {
	r := campaignReport{Command: strings.Join(append([]string{"mutants"}, args...), " "), Time: time.Now().UTC().Truncate(time.Second), Mutants: results,
		Machine: fmt.Sprintf("%s/%s, %d CPUs, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())}
	git := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty")
	git.Dir = root
	if text, err := git.Output(); err == nil { // without git there is no commit to name
		r.Commit = strings.TrimSpace(string(text))
	}
	r.Killed, r.Excused = count(results, killed), count(results, excused)
	return r
}

func count(results []result, outcome string) (n int) {
	for _, r := range results {
		if r.Outcome == outcome {
			n++
		}
	}
	return n
}

func writeJSON(path string, r campaignReport) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644) //nolint:gosec // a report, for everybody to read
}

// printTable prints a line for each mutant, what must be looked at in full below it, and the sum.
func printTable(out io.Writer, results []result, took time.Duration) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "mutant\tbreaks\toutcome\tseed\twithin\tseconds\twords")
	for _, r := range results {
		seed := "-"
		if r.Seed > 0 {
			seed = fmt.Sprint(r.Seed)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%.1f\t%s\n", r.Name, r.Contract, r.Outcome, seed, r.Seeds, r.Seconds, shorten(r.Words))
	}
	_ = t.Flush()
	for _, r := range results {
		if r.Outcome == survived || r.Outcome == unfit || r.Outcome == wrongly {
			fmt.Fprintf(out, "%s: %s: %s: %s\n", r.Outcome, r.Name, r.Bug, r.Words)
		}
	}
	fmt.Fprintf(out, "%d mutants in %.0f s: %d killed, %d explained, %d survived, %d killed though explained, %d unfit\n", len(results),
		took.Seconds(), count(results, killed), count(results, excused), count(results, survived), count(results, wrongly), count(results, unfit))
}

// shorten keeps a line of the table on a screen.
func shorten(words string) string {
	const most = 90
	words, _, _ = strings.Cut(words, "\n")
	if r := []rune(words); len(r) > most {
		return string(r[:most-3]) + "..."
	}
	return words
}

// judge is nil when every mutant was killed, or survived for a reason that its file gives.
func judge(results []result) error {
	bad := len(results) - count(results, killed) - count(results, excused)
	if bad > 0 {
		return fmt.Errorf("%d of %d mutants are not as they should be: strengthen an oracle or the load, or correct the file in sim/mutants", bad, len(results))
	}
	return nil
}
