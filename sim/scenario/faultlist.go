package scenario

import (
	"fmt"
	"slices"
	"strings"
)

// ParseFaults reads a list of kinds of faults, as commands have it: all, none, or names with commas between them. nil stands for
// all of which swarms are made.
func ParseFaults(text string) ([]string, error) {
	switch text {
	case "all":
		return nil, nil
	case "none":
		return []string{}, nil
	}
	kinds := strings.Split(text, ",")
	for _, kind := range kinds {
		if !slices.Contains(faultNames(), kind) {
			return nil, fmt.Errorf("faults: %q is no kind of fault: want all, none, or some of %s", kind, strings.Join(faultNames(), ", "))
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(kinds))), nil
}
