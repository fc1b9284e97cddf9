package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/forebay/forebay/system/config"
	"github.com/forebay/forebay/system/dfs"
)

// forebay runs the command line as a process would, without one.
func forebay(t *testing.T, environ []string, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = Main(context.Background(), args, Streams{In: strings.NewReader(""), Out: &o, Err: &e}, environ)
	return code, o.String(), e.String()
}

// TestExitCodes: every kind has a documented code, a kind from a newer cluster has the general one, and what scripts
// rely on does not move.
func TestExitCodes(t *testing.T) {
	seen := make(map[dfs.Kind]bool)
	for _, m := range exitMeanings {
		for _, k := range m.kinds {
			if seen[k] {
				t.Errorf("%v has two codes", k)
			}
			seen[k] = true
		}
	}
	for k := dfs.Unknown; !strings.HasPrefix(k.String(), "kind "); k++ {
		if !seen[k] {
			t.Errorf("%v has no code", k)
		}
	}
	for kind, want := range map[dfs.Kind]int{
		dfs.Unknown: 1, dfs.InvalidArgument: 2, dfs.NotFound: 3, dfs.AlreadyExists: 4, dfs.PermissionDenied: 5,
		dfs.Unavailable: 6, dfs.DataLost: 7, dfs.NotEmpty: 8, dfs.NoSpace: 9, dfs.UnderStore: 10, dfs.UnsupportedFeature: 11,
		dfs.Canceled: 130, 999: 1,
	} {
		if got := exitCode(fmt.Errorf("outer: %w", printed{dfs.Errorf(kind, "x", "/", "")})); got != want {
			t.Errorf("%v: code %d, want %d", kind, got, want)
		}
	}
	if got := exitCode(errors.New("plain")); got != 1 {
		t.Errorf("an error without a kind: code %d, want 1", got)
	}
}

// TestUsageErrors: mistakes on the command line end with code 2 and one line that says what is wrong.
func TestUsageErrors(t *testing.T) {
	for _, args := range [][]string{
		{"bogus"}, {"fs", "ls"}, {"fs", "ls", "--bogus", "/"}, {"fs", "ls", "relative"}, {"fs", "ls", "/a/../b"}, {"-o", "xml", "fs", "ls", "/"},
		{"fs", "chmod", "9", "/a"}, {"fs", "setTtl", "soon", "/a"}, {"fs", "setfattr", "/a"}, {"fs", "head", "-c", "much", "/a"},
		{"fs", "put", "-w", "SOMETIMES", "x", "/y"}, {"-m", "nowhere", "fs", "ls", "/"}, {"fs", "mount", "-O", "novalue", "/a", "file:///b"},
		{"fs", "checksum", "-a", "md5", "/a"}, {"fs", "chown", ":", "/a"},
	} {
		code, _, errs := forebay(t, nil, args...)
		if code != exitUsage || strings.Count(errs, "\n") != 1 || !strings.HasPrefix(errs, "forebay: ") {
			t.Errorf("%q: code %d, %q", args, code, errs)
		}
	}
}

// TestUnavailable: without a cluster, commands end in time with code 6 and a remedy.
func TestUnavailable(t *testing.T) {
	for _, args := range [][]string{
		{"fs", "ls", "/"}, {"fs", "stat", "/a"}, {"fs", "mkdir", "/a"}, {"fs", "test", "/a"}, {"admin", "report"}, {"admin", "journal", "quorum"},
		{"admin", "journal", "checkpoint"},
	} {
		code, _, errs := forebay(t, nil, append([]string{"-m", "127.0.0.1:1", "--timeout", "100ms"}, args...)...)
		if code != exitUnavailable || !strings.Contains(errs, "check that the server runs") {
			t.Errorf("%q: code %d, %q", args, code, errs)
		}
	}
	code, out, _ := forebay(t, nil, "-m", "127.0.0.1:1", "--timeout", "100ms", "admin", "doctor")
	if code != exitError || !strings.Contains(out, "no master serves") {
		t.Errorf("doctor: code %d, %q", code, out)
	}
}

// TestHelp: every command has a one-line summary and, unless it only groups others, runs; those of fs have an example.
func TestHelp(t *testing.T) {
	a := &app{}
	for _, cmd := range a.fsCommand().Commands() {
		if cmd.Short == "" || cmd.Example == "" || !cmd.Runnable() {
			t.Errorf("%s: summary %q, example %q", cmd.Name(), cmd.Short, cmd.Example)
		}
	}
	code, out, _ := forebay(t, nil, "help", "exit-codes")
	for _, m := range exitMeanings {
		if !strings.Contains(out, m.meaning) {
			t.Errorf("help exit-codes (code %d) does not say %q", code, m.meaning)
		}
	}
	if code, out, _ := forebay(t, nil, "completion", "bash"); code != 0 || !strings.Contains(out, "forebay") {
		t.Errorf("completion: code %d", code)
	}
}

// TestConfigShow: the origin of each key is told, in both forms.
func TestConfigShow(t *testing.T) {
	code, out, errs := forebay(t, []string{"FOREBAY_CLIENT_TIMEOUT=7s"}, "--user", "ann", "config", "show", "--origin", "--json")
	var all []config.Setting
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 {
		t.Fatalf("code %d, %v, %s", code, err, errs)
	}
	got := make(map[string]config.Setting)
	for _, s := range all {
		got[s.Key] = s
	}
	if s := got["client.timeout"]; s.Value != "7s" || s.Origin != "environment FOREBAY_CLIENT_TIMEOUT" {
		t.Errorf("got %+v", s)
	}
	if s := got["client.user"]; s.Value != "ann" || s.Origin != "flag --user" {
		t.Errorf("got %+v", s)
	}
	_, table, _ := forebay(t, nil, "config", "show", "--origin")
	if !strings.Contains(table, "ORIGIN") || !strings.Contains(table, "master.address") {
		t.Errorf("got %s", table)
	}
	if code, out, _ := forebay(t, nil, "version"); code != 0 || !strings.HasPrefix(out, "forebay ") {
		t.Errorf("version: code %d, %q", code, out)
	}
}

// TestEscape: what would break a line or a terminal is printed escaped, and nothing else is touched.
func TestEscape(t *testing.T) {
	for text, want := range map[string]string{
		"plain name": "plain name", "日本 é": "日本 é", "a\nb": `a\nb`, "\x1b[31mred": `\x1b[31mred`, "tab\t": `tab\t`, "bad\xff": `bad\ufffd`,
	} {
		if got := escape(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// TestSizesAndModes: figures as people read them.
func TestSizesAndModes(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 1023: "1023B", 1536: "1.5KiB", 1 << 40: "1.0TiB"} {
		if got := bytesText(n, true); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
	if got := modeText(&dfs.FileStatus{Type: dfs.TypeDirectory, Mode: 0o1755}); got != "drwxr-xr-t" {
		t.Errorf("got %s", got)
	}
	if got := modeText(&dfs.FileStatus{Mode: 0o640}); got != "-rw-r-----" {
		t.Errorf("got %s", got)
	}
}
