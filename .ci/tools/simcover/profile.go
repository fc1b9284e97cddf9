package main

import (
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// coverage is statements by package, below the module's root.
type coverage map[string]statements

// statements counts those of a package and those of them that were executed.
type statements struct{ all, executed int }

func (s statements) percent() float64 { return 100 * float64(s.executed) / float64(max(s.all, 1)) }

// parseProfile reads lines of "file:from,to statements count". A block of several runs has one line; one that comes twice all the
// same counts once, as executed if any line says so.
func parseProfile(text string) (coverage, error) {
	type block struct {
		statements int
		executed   bool
	}
	blocks := map[string]block{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] == "mode:" {
			continue
		}
		if len(fields) != 3 {
			return nil, fmt.Errorf("profile: line %q: want a place and two numbers", line)
		}
		n, err := strconv.Atoi(fields[1])
		count, err2 := strconv.ParseUint(fields[2], 10, 64)
		if err != nil || err2 != nil || !strings.HasPrefix(fields[0], module) {
			return nil, fmt.Errorf("profile: line %q: want a place of this module and two numbers", line)
		}
		blocks[fields[0]] = block{n, count > 0 || blocks[fields[0]].executed}
	}
	c := coverage{}
	for place, b := range blocks {
		file, _, _ := strings.Cut(strings.TrimPrefix(place, module), ":")
		if !strings.HasPrefix(file, "system/") || strings.HasSuffix(file, ".pb.go") {
			continue
		}
		s := c[path.Dir(file)]
		s.all += b.statements
		if b.executed {
			s.executed += b.statements
		}
		c[path.Dir(file)] = s
	}
	return c, nil
}

// sum is that of a package and of all below it.
func (c coverage) sum(group string) (s statements) {
	for name, one := range c {
		if name == group || strings.HasPrefix(name, group+"/") {
			s.all += one.all
			s.executed += one.executed
		}
	}
	return s
}

// report prints the packages that were executed, then those that were linked and never entered, then the groups.
func (c coverage) report(out io.Writer, least float64) error {
	var idle []string
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "statements\texecuted\tpercent\t package")
	for _, name := range slices.Sorted(maps.Keys(c)) {
		if s := c[name]; s.executed > 0 {
			fmt.Fprintf(t, "%d\t%d\t%.1f\t %s\n", s.all, s.executed, s.percent(), name)
		} else {
			idle = append(idle, name)
		}
	}
	_ = t.Flush()
	fmt.Fprintln(out, "never entered:", strings.Join(idle, " "))
	var low []string
	for _, group := range groups {
		s := c.sum(group)
		fmt.Fprintf(out, "%s/...: %d of %d statements, %.1f%%\n", group, s.executed, s.all, s.percent())
		if s.percent() < least || s.all == 0 {
			low = append(low, fmt.Sprintf("%s (%.1f%%)", group, s.percent()))
		}
	}
	if len(low) > 0 {
		return fmt.Errorf("less than %v%% of the statements are executed in the simulator: %s: widen the load of the sweep", least, strings.Join(low, ", "))
	}
	return nil
}
