package scenario

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// mostTrials are printed; the JSON has the others.
const mostTrials = 20

// printTrials tells what users saw of each fault.
func (r *Report) printTrials(w io.Writer) error {
	if len(r.Trials) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "fault\tat\tfor\tfailed operations\tuntil\tworst operation\tserving again\tblock map whole\tblocks\t")
	for i, f := range r.Trials {
		if i == mostTrials {
			fmt.Fprintf(t, "and %d more\t\t\t\t\t\t\t\t\t\n", len(r.Trials)-i)
			break
		}
		fmt.Fprintf(t, "%s\t%v\t%v\t%d\t%s\t%v\t%s\t%s\t%s\t\n", f.Kind, f.At, f.For, f.Failed, known(f.LastFailure), short(f.Worst),
			known(f.Serving), known(f.Complete), count(f.Blocks))
	}
	return t.Flush()
}

func known(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return short(d).String()
}

func count(n int64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

// printTotals tells what the machines did. Caches and under store are left out of runs that do not use them.
func (r *Report) printTotals(w io.Writer) {
	t := r.Totals
	fmt.Fprintf(w, "\noperations %.1f a second\n", t.PerSecond)
	if t.Hits+t.Misses > 0 {
		fmt.Fprintf(w, "cache hits %.1f %% of %d pages\n", 100*t.HitRatio, t.Hits+t.Misses)
	}
	fmt.Fprintf(w, "busiest master %.3f cores, at most %.2f; longest wait for a core %v\n", t.MasterCores, t.MasterPeak, short(t.MasterQueue))
	if t.StoreAsked > 0 {
		fmt.Fprintf(w, "under store %d requests, %d refused; %.1f MB read, %.1f MB written\n", t.StoreAsked, t.StoreRefused,
			float64(t.StoreRead)/1e6, float64(t.StoreWritten)/1e6)
	}
}
