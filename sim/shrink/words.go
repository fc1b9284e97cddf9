package shrink

import (
	"fmt"
	"strings"
	"time"
)

// Words is a sentence of what is left of what there was, and of what that took.
func (r *Result) Words() string {
	a, b := r.First.Scenario, r.Last.Scenario
	var parts []string
	count := func(what string, was, is int) {
		if was != is {
			parts = append(parts, fmt.Sprintf("%d of %d %s", is, was, what))
		}
	}
	count("faults", len(a.Faults), len(b.Faults))
	count("groups", len(a.Groups), len(b.Groups))
	count("paths", len(a.Paths), len(b.Paths))
	count("kinds of operations", len(a.Mix), len(b.Mix))
	count("write types", len(a.WriteTypes), len(b.WriteTypes))
	count("clients", a.Clients, b.Clients)
	count("workers", a.Workers, b.Workers)
	count("masters", a.Masters, b.Masters)
	count("files", a.Files, b.Files)
	length := func(what string, was, is time.Duration) {
		if was != is {
			parts = append(parts, fmt.Sprintf("%v of %v of %s", is, was, what))
		}
	}
	length("load", a.Duration, b.Duration)
	length("settling", a.Settle, b.Settle)
	left := "nothing could be dropped"
	if len(parts) > 0 {
		left = "left are " + strings.Join(parts, ", ")
	}
	end := "nothing more can be dropped"
	if !r.Done {
		end = "the search was not done"
	}
	return fmt.Sprintf("%s; %d runs, and %s.", left, r.Runs, end)
}
