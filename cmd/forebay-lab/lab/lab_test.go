package lab

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// run runs the command line with nothing but itself.
func run(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var b bytes.Buffer
	cmd := Command()
	cmd.SetArgs(args)
	cmd.SetOut(&b)
	cmd.SetErr(&b)
	err = cmd.ExecuteContext(ctx)
	return b.String(), err
}

// TestMistakes: what cannot work fails, and says so, before anything is started.
func TestMistakes(t *testing.T) {
	none := filepath.Join(t.TempDir(), "forebay")
	for _, args := range [][]string{
		{"demo", "--forebay", none}, {"demo", "extra"}, {"demo", "--files", "many"}, {"demo", "--forebay", none, "--source", none},
		{"crash", "--forebay", none, "--kills", "1"}, {"crash", "--kills", "x"}, {"bench", "--only", "lokups"}, {"bench", "extra"}, {"bogus"},
	} {
		if out, err := run(t, args...); err == nil || err.Error() == "" {
			t.Errorf("%q: no error\n%s", args, out)
		}
	}
	if _, err := run(t, "bench", "--only", "lokups"); err == nil || !strings.Contains(err.Error(), "lookups") {
		t.Errorf("an unknown part: %v", err)
	}
}

// TestHelp: every command that runs something has a summary and an example; those that run processes have the flag that
// names the binary, beside the running one.
func TestHelp(t *testing.T) {
	leaves, binaries := 0, 0
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		if cmd.Short == "" {
			t.Errorf("%s has no summary", cmd.CommandPath())
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s has no description", cmd.CommandPath(), f.Name)
			}
		})
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
		if cmd.HasSubCommands() {
			return
		}
		leaves++
		if cmd.Example == "" {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
		if f := cmd.Flags().Lookup("forebay"); f != nil {
			binaries++
			if filepath.Base(f.DefValue) != "forebay" || !filepath.IsAbs(f.DefValue) {
				t.Errorf("%s: the binary is %v", cmd.CommandPath(), f.DefValue)
			}
		}
	}
	visit(Command())
	if leaves != 11 || binaries != 5 {
		t.Errorf("%d commands, %d of them with a binary; want 11 and 5", leaves, binaries)
	}
}

// TestWriteJSON: a report is one indented value and a newline; what has no JSON is an error.
func TestWriteJSON(t *testing.T) {
	var b bytes.Buffer
	if err := writeJSON(&b, map[string]int{"a": 1}); err != nil || b.String() != "{\n  \"a\": 1\n}\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
	if err := writeJSON(&b, func() {}); err == nil {
		t.Error("a function became JSON")
	}
}
