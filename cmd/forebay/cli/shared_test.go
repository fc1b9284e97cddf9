package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/forebay/forebay/system/host"
)

// one is a cluster that many tests share: a start costs half a second. Each test works below a directory of its own name.
var one struct {
	once  sync.Once
	shell *shell
	stop  func()
	tests atomic.Int64
}

// TestMain ends the shared cluster, for which no test's end is the time.
func TestMain(m *testing.M) {
	code := m.Run()
	if one.stop != nil {
		one.stop()
	}
	os.Exit(code)
}

// shared is the shared cluster and a directory in it that is the test's own.
func shared(t *testing.T) (s *shell, dir string) {
	t.Helper()
	one.once.Do(func() {
		state, err := os.MkdirTemp("", "forebay-cli-test-")
		if err != nil {
			t.Fatal(err)
		}
		var stop func() error
		one.shell, stop = startShell(t, state)
		one.stop = func() {
			_ = stop() // clusters whose end is tested are others
			_ = os.RemoveAll(state)
		}
	})
	if one.shell == nil {
		t.Fatal("the shared cluster did not start")
	}
	s = &shell{t: t, environ: one.shell.environ}
	dir = fmt.Sprintf("/%s-%d", strings.ReplaceAll(t.Name(), "/", "_"), one.tests.Add(1)) // a test may be run many times
	s.ok("fs", "mkdir", dir)
	return s, dir
}

// step is one command line of a table: AT stands for the test's directory in the namespace, LOCAL for one on the disk.
type step struct {
	line string // split at spaces
	in   string // standard input
	code int
	out  string // exactly, when not empty
	has  string // a part of the output
	errs string // a part of the errors; no errors may be printed when it is empty
}

// play runs steps one after the other. A step that is not as it should be is told of and the next one is run.
func (s *shell) play(at, local string, steps []step) {
	s.t.Helper()
	fill := strings.NewReplacer("AT", at, "LOCAL", local)
	for _, st := range steps {
		args := strings.Fields(st.line)
		for i := range args {
			args[i] = fill.Replace(args[i])
		}
		code, out, errs := s.with(context.Background(), strings.NewReader(st.in), args...)
		if code != st.code {
			s.t.Errorf("%s: code %d, want %d\n%s%s", st.line, code, st.code, out, errs)
		}
		if want := fill.Replace(st.out); want != "" && out != want {
			s.t.Errorf("%s: %q, want %q", st.line, out, want)
		}
		if want := fill.Replace(st.has); !strings.Contains(out, want) {
			s.t.Errorf("%s: %q does not have %q", st.line, out, want)
		}
		if want := fill.Replace(st.errs); want == "" && errs != "" || !strings.Contains(errs, want) {
			s.t.Errorf("%s: errors %q, want %q", st.line, errs, want)
		}
	}
}

// object runs a command with --json and returns the object that it prints.
func (s *shell) object(args ...string) map[string]any {
	s.t.Helper()
	var got map[string]any
	if out := s.ok(append([]string{"--json"}, args...)...); json.Unmarshal([]byte(out), &got) != nil {
		s.t.Fatalf("%q: no object: %s", args, out)
	}
	return got
}

// array runs a command with --json and returns the objects of the array that it prints.
func (s *shell) array(args ...string) []map[string]any {
	s.t.Helper()
	var got []map[string]any
	if out := s.ok(append([]string{"--json"}, args...)...); json.Unmarshal([]byte(out), &got) != nil {
		s.t.Fatalf("%q: no array: %s", args, out)
	}
	return got
}

// local writes files below dir.
func local(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// contents reads a tree: what each path holds, "dir" for directories and "-> target" for links.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		switch {
		case err != nil || name == ".":
			return err
		case d.IsDir():
			all[name] = "dir"
		case d.Type()&os.ModeSymlink != 0:
			to, err := os.Readlink(path)
			all[name] = "-> " + to
			return err
		default:
			b, err := os.ReadFile(path)
			all[name] = string(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// stuck is a writer that fails after some bytes, as a full disk or a closed pipe does.
type stuck struct {
	bytes.Buffer
	room int
}

func (w *stuck) Write(p []byte) (int, error) {
	if w.Len()+len(p) > w.room {
		return 0, os.ErrClosed
	}
	return w.Buffer.Write(p)
}

// testApp is a command that runs nowhere, with its errors in errs.
func testApp(errs io.Writer) *app {
	return &app{Streams: Streams{In: strings.NewReader(""), Out: io.Discard, Err: errs}, out: bufio.NewWriter(io.Discard), h: host.NewReal()}
}
