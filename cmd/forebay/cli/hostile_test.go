package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/forebay/forebay/system/dfs"
)

// TestUnknownCommands: a command that does not exist is a usage error at every level, with the nearest that does; a
// group alone prints its help.
func TestUnknownCommands(t *testing.T) {
	for _, args := range [][]string{
		{"fs", "lss", "/"}, {"admin", "bogus"}, {"admin", "journal", "bogus"}, {"admin", "journal", "quorum", "bogus"}, {"config", "shwo"},
		{"fs", ""}, {"fs", "a\nb"},
	} {
		code, out, errs := forebay(t, nil, args...)
		if code != exitUsage || out != "" || strings.Count(errs, "\n") != 1 {
			t.Errorf("%q: code %d, %q, %q", args, code, out, errs)
		}
	}
	if _, _, errs := forebay(t, nil, "fs", "lss"); !strings.Contains(errs, "did you mean ls") {
		t.Errorf("no suggestion in %q", errs)
	}
	for _, args := range [][]string{{"fs"}, {"admin"}, {"admin", "journal"}, {"config"}} {
		if code, out, errs := forebay(t, nil, args...); code != 0 || !strings.Contains(out, "Usage:") || errs != "" {
			t.Errorf("%q: code %d, %q, %q", args, code, out, errs)
		}
	}
}

// TestBadGlobalFlags: wrong values of flags that every command has.
func TestBadGlobalFlags(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	if err := os.WriteFile(broken, []byte("client:\n  tiemout: 5s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--timeout", "-1s"}, exitUsage, "negative"},
		{[]string{"--timeout", "soon"}, exitUsage, "soon"},
		{[]string{"--config", broken}, exitUsage, "client.timeout"},
		{[]string{"--config", broken + ".none"}, exitNotFound, "no such file"},
		{[]string{"-m", "host"}, exitUsage, "host:port"},
		{[]string{"-m", "host:70000"}, exitUsage, "host:port"},
	} {
		code, _, errs := forebay(t, nil, append(tt.args, "fs", "ls", "/")...)
		if code != tt.code || !strings.Contains(errs, tt.want) {
			t.Errorf("%q: code %d, %q; want code %d and %q", tt.args, code, errs, tt.code, tt.want)
		}
	}
}

// TestRolesRefuse: the commands that run a role say what is wrong before they run anything.
func TestRolesRefuse(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"up"}, "--dir"},
		{[]string{"up", "--dir", t.TempDir(), "--masters", "2"}, "1, 3 or 5"},
		{[]string{"up", "--dir", t.TempDir(), "--workers", "99"}, "workers"},
		{[]string{"up", "--dir", t.TempDir(), "--capacity", "lots"}, "size"},
		{[]string{"up", "--dir", t.TempDir(), "--log", "loud"}, "debug"},
		{[]string{"master", "--set", "novalue"}, "key=value"},
		{[]string{"master", "--set", "=x"}, "key=value"},
		{[]string{"master", "--set", "master.idd=x"}, "master.id"},
		{[]string{"worker", "--set", "worker.tiers=SSD:/x"}, "worker.tiers"},
		{[]string{"worker", "--set", "worker.watermark.high=NaN"}, "share"},
		{[]string{"worker", "extra"}, "extra"},
	} {
		code, _, errs := forebay(t, nil, tt.args...)
		if code != exitUsage || !strings.Contains(errs, tt.want) {
			t.Errorf("%q: code %d, %q; want a usage error with %q", tt.args, code, errs, tt.want)
		}
	}
}

// TestEveryFlagIsDocumented: each flag of each command has a description, and each command one line that is no sentence.
func TestEveryFlagIsDocumented(t *testing.T) {
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: summary %q", cmd.CommandPath(), cmd.Short)
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s has no description", cmd.CommandPath(), f.Name)
			}
		})
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit((&app{}).root())
}

// with runs a command with a context and an input of its own.
func (s *shell) with(ctx context.Context, in io.Reader, args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = Main(ctx, args, Streams{In: in, Out: &o, Err: &e}, s.environ)
	return code, o.String(), e.String()
}

// endless is an input like a terminal on which nobody types.
type endless struct{ began, never chan struct{} }

func (e endless) Read([]byte) (int, error) {
	close(e.began)
	<-e.never
	return 0, io.EOF
}

// TestInterrupts: Ctrl-C ends a command with code 130, in the middle of a wait for input, between two paths, and of a
// copy; what was begun is dropped.
func TestInterrupts(t *testing.T) {
	s := newShell(t)
	dir := t.TempDir()
	t.Run("waiting for input", func(t *testing.T) {
		ctx, interrupt := context.WithCancel(context.Background())
		in := endless{make(chan struct{}), make(chan struct{})}
		defer close(in.never)
		go func() { <-in.began; interrupt() }()
		if code, _, errs := s.with(ctx, in, "fs", "put", "-", "/typed"); code != exitInterrupted {
			t.Errorf("code %d, %s", code, errs)
		}
		s.fails(exitNotFound, "fs", "stat", "/typed")
	})
	t.Run("before it begins", func(t *testing.T) {
		ctx, interrupt := context.WithCancel(context.Background())
		interrupt()
		for _, args := range [][]string{
			{"fs", "ls", "/"}, {"fs", "mkdir", "/a", "/b"}, {"fs", "du", "/"}, {"fs", "load", "/"}, {"admin", "report"}, {"admin", "doctor"},
			{"fs", "mounts"}, {"fs", "test", "/"}, {"admin", "journal", "quorum"}, {"fs", "get", "-r", "/", dir},
		} {
			if code, _, errs := s.with(ctx, strings.NewReader(""), args...); code != exitInterrupted {
				t.Errorf("%q: code %d, %s", args, code, errs)
			}
		}
		s.fails(exitNotFound, "fs", "stat", "/a")
	})
	t.Run("in a copy", func(t *testing.T) {
		ctx, interrupt := context.WithCancel(context.Background())
		s.ok("fs", "mkdir", "/in")
		code, _, errs := s.with(ctx, &cutReader{n: 3 << 20, cut: interrupt}, "fs", "put", "-w", "THROUGH", "-", "/in/cut")
		if code != exitInterrupted {
			t.Errorf("code %d, %s", code, errs)
		}
		if out := s.ok("fs", "ls", "/in"); out != "" {
			t.Errorf("an interrupted put leaves %s", out)
		}
	})
}

// cutReader gives n bytes, then calls cut, then gives more.
type cutReader struct {
	n   int
	cut func()
}

func (r *cutReader) Read(p []byte) (int, error) {
	if r.n <= 0 {
		r.cut()
	}
	r.n -= len(p)
	return len(p), nil
}

// TestHostileNames: names with control characters, quotes, markup, of the greatest length, and look-alikes of flags go
// in, are listed on one line each, and come out again; JSON has them exactly.
func TestHostileNames(t *testing.T) {
	s := newShell(t)
	names := []string{
		"new\nline", "tab\tstop", "\x1b[31mred", `quote"back\slash`, "<b>&amp;", "-rf", "--help", " lead and trail ", "日本", "%s%d%!",
		strings.Repeat("n", 255), "...", "a:b;c|d`e$f", "\u202egnp.exe",
	}
	dir := t.TempDir()
	for i, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(fmt.Sprint(i)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s.ok("fs", "put", "-r", dir, "/h")
	out := s.ok("fs", "ls", "/h")
	if strings.Count(out, "\n") != len(names) || strings.ContainsAny(out, "\x1b\t\u202e") {
		t.Errorf("a name breaks the listing:\n%q", out)
	}
	var infos []fileInfo
	if err := json.Unmarshal([]byte(s.ok("--json", "fs", "ls", "/h")), &infos); err != nil || len(infos) != len(names) {
		t.Fatalf("%d entries, %v", len(infos), err)
	}
	listed := map[string]bool{}
	for _, info := range infos {
		listed[info.Name] = true
	}
	for i, name := range names {
		if !listed[name] {
			t.Errorf("%q is not listed", name)
		}
		if got := s.ok("fs", "cat", "/h/"+name); got != fmt.Sprint(i) {
			t.Errorf("%q: %q", name, got)
		}
	}
	back := filepath.Join(t.TempDir(), "back")
	s.ok("fs", "get", "-r", "/h", back)
	sameTree(t, dir, back)
	for _, bad := range []string{"/h/" + strings.Repeat("n", 256), "/h/\xff", "/h/..", "/h/../x", "/h/./x", "h", "", "/h/a\x00b", strings.Repeat("/n", 3000)} {
		for _, args := range [][]string{{"fs", "stat", bad}, {"fs", "put", filepath.Join(dir, "..."), bad}, {"fs", "mv", "/h/...", bad}, {"fs", "test", bad}} {
			if _, errs := s.fails(exitUsage, args...); strings.Count(errs, "\n") != 1 {
				t.Errorf("%.60q: %q", args, errs)
			}
		}
	}
	for _, args := range [][]string{
		{"fs", "chown", "\xff", "/h"}, {"fs", "setfattr", "-n", "\xff", "-v", "x", "/h"}, {"fs", "mount", "/m", "file:///\xff"}, {"--user", "\xff", "fs", "mkdir", "/u"},
	} {
		s.fails(exitUsage, args...)
	}
}

// TestTreesGoOn: in a tree, what cannot be copied is told of, once each, and the rest is copied.
func TestTreesGoOn(t *testing.T) {
	s := newShell(t)
	dir := t.TempDir()
	for _, name := range []string{"good/a", "taken/b", "zz/c", "bad\xff/d"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "vanished"), filepath.Join(dir, "good", "dangling")); err != nil {
		t.Fatal(err)
	}
	s.ok("fs", "mkdir", "/t")
	s.ok("fs", "touch", "/t/taken")                                   // a file where a directory must be
	_, errs := s.fails(exitUsage, "fs", "put", "-r", dir+"/.", "/t2") // the first error is that of bad\xff
	if strings.Count(errs, "\n") != 2 {
		t.Errorf("two things cannot be copied: %q", errs)
	}
	s.ok("fs", "test", "-f", "/t2/zz/c")
	s.ok("fs", "test", "-f", "/t2/good/a")
	code, _, errs := forebay(t, s.environ, "fs", "cp", "-r", "/t2", "/t")
	if code != exitOK { // into /t, as /t/t2
		t.Errorf("cp: code %d, %q", code, errs)
	}
	s.ok("fs", "mkdir", "/target")
	s.ok("fs", "mkdir", "/target/t2")
	s.ok("fs", "touch", "/target/t2/taken")
	if _, errs := s.fails(exitWrongStateOrExists(t, s), "fs", "cp", "-r", "/t2", "/target"); strings.Count(errs, "\n") != 1 {
		t.Errorf("cp over a file: %q", errs)
	}
	s.ok("fs", "test", "-f", "/target/t2/zz/c")
	out := t.TempDir()
	if err := os.MkdirAll(filepath.Join(out, "t2"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(out, "t2", "good"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	code, _, errs = forebay(t, s.environ, "fs", "get", "-r", "/t2", out)
	if code == exitOK || strings.Count(errs, "\n") != 1 {
		t.Errorf("get over a file: code %d, %q", code, errs)
	}
	if _, err := os.Stat(filepath.Join(out, "t2", "zz", "c")); err != nil {
		t.Error(err)
	}
}

// exitWrongStateOrExists is the code for a directory that cannot be made since a file has its name.
func exitWrongStateOrExists(t *testing.T, s *shell) int {
	t.Helper()
	code, _, _ := forebay(t, s.environ, "fs", "mkdir", "-p", "/target/t2/taken")
	if code != exitExists && code != exitWrongState {
		t.Errorf("mkdir over a file: code %d", code)
	}
	return code
}

// TestEachErrorOnce: a command that goes on after errors prints each once and ends with the code of the first.
func TestEachErrorOnce(t *testing.T) {
	s := newShell(t)
	s.ok("fs", "mkdir", "/d")
	for _, tt := range []struct {
		code, lines int
		args        []string
	}{
		{exitNotFound, 1, []string{"fs", "load", "/none"}},
		{exitNotFound, 2, []string{"fs", "cat", "/none", "/d"}},
		{exitWrongState, 2, []string{"fs", "cat", "/d", "/none"}},
		{exitNotFound, 1, []string{"fs", "cp", "/none", "/x"}},
		{exitNotFound, 1, []string{"fs", "tail", "-c", "0", "/none"}},
		{exitNotFound, 1, []string{"fs", "unmount", "/none"}},
		{exitWrongState, 1, []string{"fs", "put", "-", "/d"}},
		{exitWrongState, 1, []string{"fs", "get", "/d", filepath.Join(t.TempDir(), "x")}},
		{exitNotFound, 1, []string{"fs", "get", "/none", filepath.Join(t.TempDir(), "x")}},
		{exitWrongState, 1, []string{"fs", "get", "/d", "/d", filepath.Join(t.TempDir(), "x")}},
		{exitNotFound, 2, []string{"--json", "fs", "stat", "/none", "/none"}},
		{exitNotFound, 1, []string{"--json", "fs", "ls", "/none", "/d"}},
		{exitNotFound, 1, []string{"fs", "location", "/none"}},
		{exitNotFound, 1, []string{"fs", "checksum", "/none"}},
	} {
		if _, errs := s.fails(tt.code, tt.args...); strings.Count(errs, "\n") != tt.lines {
			t.Errorf("%q: want %d lines, got %q", tt.args, tt.lines, errs)
		}
	}
}

// TestJSONShapes: the commands that list give one array, those that tell of one thing one object, also when empty.
func TestJSONShapes(t *testing.T) {
	s := newShell(t)
	s.ok("fs", "mkdir", "/d")
	s.ok("fs", "touch", "/d/f")
	array, object := func() any { return &[]map[string]any{} }, func() any { return &map[string]any{} }
	for line, shape := range map[string]func() any{
		"fs ls /d": array, "fs ls /d/f": array, "fs du /d /d": array, "fs count /d": array, "fs checksum /d/f": array, "fs getfattr /d": array,
		"fs location /d/f": array, "fs mounts": array, "fs stat /d": object, "fs free -r /d": object, "fs persist -r /d": object,
		"fs load /d": object, "fs load --metadata-only /d": object, "admin report": object, "admin doctor": object,
		"admin journal quorum": object, "admin journal checkpoint": array, "version": object, "config show": array, "config keys": array,
	} {
		out := s.ok(append([]string{"-o", "json"}, strings.Fields(line)...)...)
		if err := json.Unmarshal([]byte(out), shape()); err != nil {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
	}
	s.ok("fs", "mkdir", "/empty")
	if out := s.ok("--json", "fs", "ls", "/empty"); out != "[]\n" {
		t.Errorf("an empty listing: %q", out)
	}
	s.waits(`"cachedBytes":0`, "--json", "fs", "ls", "/d/f")
}

// TestNoProgressBar: nothing but errors goes to a standard error that is no terminal.
func TestNoProgressBar(t *testing.T) {
	s := newShell(t)
	began := time.Now()
	code, out, errs := s.with(context.Background(), bytes.NewReader(make([]byte, 2<<20)), "fs", "put", "-", "/f")
	if code != 0 || out != "" || errs != "" {
		t.Errorf("code %d, %q, %q after %v", code, out, errs, time.Since(began))
	}
	if _, errs := s.fails(0, "fs", "load", "/f"); errs != "" {
		t.Errorf("load: %q", errs)
	}
	// What only counts without a terminal passes bytes through unchanged.
	p := &progress{}
	p.expect(5)
	p.moved(5)
	p.end()
	if w := (io.Writer)(&bytes.Buffer{}); p.writer(w) != w {
		t.Error("a writer is wrapped for nothing")
	}
}

// TestLocalErrors: errors of local files have kinds, and say that they are local.
func TestLocalErrors(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want dfs.Kind
	}{{os.ErrNotExist, dfs.NotFound}, {os.ErrExist, dfs.AlreadyExists}, {os.ErrPermission, dfs.PermissionDenied}, {io.ErrUnexpectedEOF, dfs.Unknown}} {
		got := localError("get", "x", &os.PathError{Op: "open", Path: "x", Err: tt.err})
		if !dfs.IsKind(got, tt.want) || !strings.Contains(got.Error(), "local file") {
			t.Errorf("%v: got %v", tt.err, got)
		}
	}
	known := dfs.Errorf(dfs.Stale, "read", "/x", "changed")
	if got := localError("get", "x", known); got != error(known) || localError("get", "x", nil) != nil {
		t.Errorf("got %v", got)
	}
}
