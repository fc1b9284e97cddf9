package trace

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Filter chooses events. The zero value takes all.
type Filter struct {
	From, To time.Duration  // what was under way at some moment of it; To 0: to the end
	Nodes    []string       // what is at one of them, or a call of or to one; faults and violations are always told
	Match    *regexp.Regexp // on the event's text and outcome, as the timeline has them without its columns; nil: everything
}

// ParseFilter makes a filter of what a person typed, and tells all mistakes at once. nodes is a list with commas, and match a
// regular expression; both may be empty.
func ParseFilter(from, to time.Duration, nodes, match string) (f Filter, err error) {
	f.From, f.To = from, to
	if from < 0 || to < 0 || to > 0 && to < from {
		err = fmt.Errorf("from %v to %v is no span of time: want 0 or more, and the end behind the beginning", from, to)
	}
	for node := range strings.SplitSeq(nodes, ",") {
		if node = strings.TrimSpace(node); node != "" {
			f.Nodes = append(f.Nodes, node)
		}
	}
	if match != "" {
		var bad error
		if f.Match, bad = regexp.Compile(match); bad != nil {
			err = errors.Join(err, fmt.Errorf("%q is no regular expression: %w", match, bad))
		}
	}
	return f, err
}

func (f *Filter) passes(e *Event) bool {
	if e.End() < f.From || f.To > 0 && e.At > f.To {
		return false
	}
	return f.atNode(e) && (f.Match == nil || f.Match.MatchString(e.Text()+": "+e.Outcome))
}

func (f *Filter) atNode(e *Event) bool {
	if len(f.Nodes) == 0 || e.Node == RunNode {
		return true
	}
	for _, n := range f.Nodes {
		if n == e.Node || n == e.Peer {
			return true
		}
	}
	return false
}
