package lab

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"
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

// TestHelp: every command has a summary, an example, and the flag that names the binary, beside the running one.
func TestHelp(t *testing.T) {
	for _, cmd := range Command().Commands() {
		if cmd.Short == "" || cmd.Example == "" {
			t.Errorf("%s: %q, %q", cmd.Name(), cmd.Short, cmd.Example)
		}
		if f := cmd.Flags().Lookup("forebay"); f == nil || filepath.Base(f.DefValue) != "forebay" {
			t.Errorf("%s: the binary is %v", cmd.Name(), f)
		}
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
