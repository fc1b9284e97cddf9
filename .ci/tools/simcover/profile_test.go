package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

const profile = `mode: set
github.com/forebay/forebay/system/master/a.go:1.2,3.4 3 1
github.com/forebay/forebay/system/master/a.go:5.2,6.4 1 0
github.com/forebay/forebay/system/master/namespace/b.go:1.1,2.2 6 0
github.com/forebay/forebay/system/master/namespace/b.go:1.1,2.2 6 9
github.com/forebay/forebay/system/masterly/c.go:1.1,2.2 100 0
github.com/forebay/forebay/system/proto/x.pb.go:1.1,2.2 1000 1
github.com/forebay/forebay/cmd/forebay-lab/main.go:1.1,2.2 1000 1
github.com/forebay/forebay/system/worker/w.go:1.1,2.2 7 1
github.com/forebay/forebay/system/worker/w.go:3.1,4.2 3 0
github.com/forebay/forebay/system/client/c.go:1.1,2.2 10 1
github.com/forebay/forebay/system/client/c.go:1.1,2.2 10 0
`

// TestProfile: statements are summed by package and by group; a block that one run has executed and another not is executed;
// generated code and what is not production code do not count, nor does a package whose name begins like a group's.
func TestProfile(t *testing.T) {
	c, err := parseProfile(profile)
	if err != nil {
		t.Fatal(err)
	}
	if got := c["system/master"]; got != (statements{4, 3}) {
		t.Errorf("master: %+v", got)
	}
	if got := c.sum("system/master"); got != (statements{10, 9}) {
		t.Errorf("master and below: %+v", got)
	}
	if len(c) != 5 {
		t.Errorf("packages: %v", c)
	}
	var out bytes.Buffer
	if err := c.report(&out, 70); err != nil {
		t.Errorf("%v", err)
	}
	for _, want := range []string{"system/master/...: 9 of 10 statements, 90.0%", "system/worker/...: 7 of 10", "never entered: system/masterly", "75.0"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if err := c.report(io.Discard, 71); err == nil || !strings.Contains(err.Error(), "system/worker (70.0%)") || strings.Contains(err.Error(), "master") {
		t.Errorf("71 percent: %v", err)
	}
	if err := (coverage{}).report(io.Discard, 0); err == nil {
		t.Error("a profile without the groups is enough")
	}
}

// TestBadProfile: what no cover tool writes is an error, and not a statement less.
func TestBadProfile(t *testing.T) {
	for _, line := range []string{"github.com/forebay/forebay/system/a.go:1.2,3.4 3", "github.com/forebay/forebay/system/a.go:1.2,3.4 x 1",
		"github.com/forebay/forebay/system/a.go:1.2,3.4 1 -1", "elsewhere/a.go:1.2,3.4 3 1"} {
		if _, err := parseProfile("mode: set\n" + line + "\n"); err == nil {
			t.Errorf("%q is taken", line)
		}
	}
}

// TestArguments: what cannot be is refused before anything is built.
func TestArguments(t *testing.T) {
	for _, args := range [][]string{{"extra"}, {"-seeds", "0"}, {"-least", "101"}, {"-least", "-1"}, {"-bogus"}} {
		if err := command(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
	if got := lastLines("1\n2\n3\n4\n5\n6\n"); got != "2\n3\n4\n5\n6" || lastLines("1") != "1" {
		t.Errorf("%q", got)
	}
}
