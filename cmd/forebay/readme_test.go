package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/forebay/forebay/system/host/hosttest"
)

// asForebay makes this test binary be the forebay command, so that the walkthrough runs in real processes without a build.
const asForebay = "README_TEST_IS_FOREBAY"

func TestMain(m *testing.M) {
	if os.Getenv(asForebay) != "" {
		main()
	}
	os.Exit(m.Run())
}

// readme is one run of the walkthrough, in a folder of its own.
type readme struct {
	t       *testing.T
	dir     string // stands for /tmp/forebay
	environ []string
	results map[string]string // the output of each line, the last run of it
	up      *exec.Cmd
	said    *bytes.Buffer // what up printed
}

const readmeDir = "/tmp/forebay"

func newReadme(t *testing.T) *readme {
	t.Helper()
	port, err := hosttest.FreePorts(64)
	if err != nil {
		t.Fatal(err)
	}
	r := &readme{t: t, dir: filepath.Join(t.TempDir(), "forebay"), results: make(map[string]string)}
	bin := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r.file(filepath.Join(bin, "forebay"), 0o755, fmt.Sprintf("#!/bin/sh\nexec '%s' \"$@\"\n", self))
	// The ports are the only thing that the reader's cluster has and ours cannot: a second start takes them from here.
	layout, _ := json.Marshal(map[string]any{"masters": 1, "workers": 1, "port": port, "capacity": "4GiB"})
	r.file(filepath.Join(r.dir, "cluster.json"), 0o644, string(layout))
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "FOREBAY_") && !strings.HasPrefix(entry, "PATH=") {
			r.environ = append(r.environ, entry)
		}
	}
	r.environ = append(r.environ, "PATH="+bin+":"+os.Getenv("PATH"), asForebay+"=1", fmt.Sprintf("FOREBAY_MASTERS=127.0.0.1:%d", port))
	return r
}

func (r *readme) file(path string, mode os.FileMode, text string) {
	r.t.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte(text), mode)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// walkthrough is the command lines of the README's section, in order.
func walkthrough(t *testing.T) (lines []string) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## Walkthrough\n")
	if !ok {
		t.Fatal("README.md has no section Walkthrough")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.SplitSeq(section, "\n") {
		if command, indented := strings.CutPrefix(line, "    "); indented {
			lines = append(lines, command)
		}
	}
	return lines
}

func (r *readme) command(ctx context.Context, line string) *exec.Cmd {
	c := exec.CommandContext(ctx, "sh", "-c", strings.ReplaceAll(line, readmeDir, r.dir))
	c.Dir, c.Env = "../..", r.environ
	return c
}

// run runs a line and returns its output and exit code.
func (r *readme) run(line string) (out string, code int) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	text, err := r.command(ctx, line).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		r.t.Fatal(err)
	}
	r.results[line] = string(text)
	return string(text), code
}

// ok runs a line that must succeed.
func (r *readme) ok(line string) string {
	r.t.Helper()
	out, code := r.run(line)
	if code != 0 {
		r.t.Fatalf("%s: exit code %d\n%s", line, code, out)
	}
	return out
}

// until runs a line until its output is as it should be; the README promises it within a second on an idle machine.
func (r *readme) until(line string, right func(out string) bool) {
	r.t.Helper()
	for range 150 {
		if right(r.ok(line)) {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	r.t.Fatalf("%s does not come right:\n%s", line, r.results[line])
}

// start runs the line of `forebay up` until it says that it is up.
func (r *readme) start(line string) {
	r.t.Helper()
	r.said = &bytes.Buffer{}
	r.up = r.command(context.Background(), "exec "+line)
	out, err := r.up.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	r.up.Stderr = os.Stderr
	if err := r.up.Start(); err != nil {
		r.t.Fatal(err)
	}
	stuck := time.AfterFunc(time.Minute, func() { _ = r.up.Process.Kill() })
	defer stuck.Stop()
	part := make([]byte, 4096)
	for !strings.Contains(r.said.String(), "Ctrl-C stops it") {
		n, err := out.Read(part)
		r.said.Write(part[:n])
		if err != nil {
			r.t.Fatalf("%s ended early: %v\n%s", line, err, r.said)
		}
	}
	go func() { // so that its farewell does not block it
		for err == nil {
			_, err = out.Read(part)
		}
	}()
}

// interrupt is Ctrl-C in the first terminal.
func (r *readme) interrupt() {
	r.t.Helper()
	if r.up == nil {
		return
	}
	stuck := time.AfterFunc(time.Minute, func() { _ = r.up.Process.Kill() })
	defer stuck.Stop()
	_ = r.up.Process.Signal(syscall.SIGINT)
	if err := r.up.Wait(); err != nil {
		r.t.Errorf("after Ctrl-C: %v", err)
	}
	r.up = nil
}

// cached is the figures of a line of du: all bytes, and those cached.
func cached(out string) (all, in string) {
	f := strings.Fields(out)
	if len(f) != 4 || f[2] != "cached" {
		return "", "not du's form: " + out
	}
	return f[0], f[1]
}

func allCached(out string) bool { all, in := cached(out); return all == in && all != "0" }

// contains is a check that a line prints the parts.
func contains(parts ...string) func(r *readme, line string) {
	return func(r *readme, line string) {
		out := r.ok(line)
		for _, part := range parts {
			if !strings.Contains(out, part) {
				r.t.Errorf("%s does not print %q:\n%s", line, part, out)
			}
		}
	}
}

// TestWalkthrough runs the README's walkthrough word for word, with another folder and other ports, and holds it to what
// the README says of each line. A line that it does not know fails it: the README cannot change without this test.
func TestWalkthrough(t *testing.T) {
	r := newReadme(t)
	defer r.interrupt()
	const upLine, du = "forebay up --dir " + readmeDir, "forebay fs du /go/src/net"
	seen := map[string]int{}
	checks := map[string]func(r *readme, line string){
		"make build":                       func(*readme, string) {}, // this test binary is the command
		"export PATH=$PWD/.bin:$PATH":      func(*readme, string) {},
		upLine:                             (*readme).checkUp,
		"forebay fs put README.md /readme": contains(),
		"forebay fs ls /":                  (*readme).checkList,
		"forebay fs mount /go $(go env GOROOT) --read-only": func(r *readme, line string) {
			r.ok(line)
			if out := r.ok("forebay --json fs mounts"); !strings.Contains(out, `"readOnly": true`) {
				t.Fatalf("the mount is not read-only: stop before anything is removed\n%s", out)
			}
		},
		du: func(r *readme, line string) {
			if seen[line] > 1 {
				r.until(line, allCached)
			} else if all, in := cached(r.ok(line)); all == "0" || in != "0" {
				t.Errorf("before load: %s of %s bytes are cached, want none", in, all)
			}
		},
		"forebay fs load /go/src/net":               func(r *readme, line string) { contains("/go/src/net: ", "files loaded")(r, line) },
		"forebay fs checksum /go/src/net/net.go":    contains("/go/src/net/net.go"),
		"sha256sum $(go env GOROOT)/src/net/net.go": (*readme).checkSum,
		"forebay fs rm /go/VERSION":                 (*readme).checkRefused,
		"forebay admin report":                      contains("leader, serving", "live"),
		"forebay admin doctor":                      contains("no problems"),
		"forebay config show --origin":              contains("ORIGIN", "master.address", "environment FOREBAY_MASTERS"),
	}
	for _, line := range walkthrough(t) {
		check, known := checks[line]
		if !known {
			t.Fatalf("the README has a line that this test does not know: %s", line)
		}
		seen[line]++
		check(r, line)
	}
	for line := range checks {
		if seen[line] == 0 {
			t.Errorf("the README lacks the line: %s", line)
		}
	}
	if t.Failed() {
		return
	}
	// "Stop it with Ctrl-C and start it again: ls shows the same files, du the same cached bytes."
	r.until("forebay fs ls /", func(out string) bool { return strings.Contains(out, "PERSISTED 100%") })
	files, bytes := r.results["forebay fs ls /"], r.results[du]
	r.interrupt()
	r.start(upLine)
	r.until("forebay fs ls /", func(out string) bool { return out == files })
	r.until(du, func(out string) bool { return out == bytes })
}

// checkUp: "it prints where its state and its under store lie".
func (r *readme) checkUp(line string) {
	r.start(line)
	for _, part := range []string{r.dir, filepath.Join(r.dir, "under")} {
		if !strings.Contains(r.said.String(), part) {
			r.t.Errorf("up does not say %q:\n%s", part, r.said)
		}
	}
}

// checkList: "lists /readme as PERSISTED: the under store has it, and ls /tmp/forebay/under shows the file".
func (r *readme) checkList(line string) {
	contains("PERSISTED", "/readme")(r, line)
	contains("readme")(r, "ls "+readmeDir+"/under")
	if out, code := r.run("cmp README.md " + readmeDir + "/under/readme"); code != 0 {
		r.t.Errorf("the under store's file is another one: %s", out)
	}
}

// checkSum: the original's checksum is the one that Forebay gave.
func (r *readme) checkSum(line string) {
	want, _, _ := strings.Cut(r.ok(line), " ")
	got, _, _ := strings.Cut(r.results["forebay fs checksum /go/src/net/net.go"], " ")
	if len(want) != 64 || got != want {
		r.t.Errorf("the checksum is %q, the original's %q", got, want)
	}
}

// checkRefused: "writing to a read-only mount is refused, with exit code 5 (forebay help exit-codes lists them all)".
func (r *readme) checkRefused(line string) {
	out, code := r.run(line)
	if code != 5 || !strings.Contains(out, "read-only") {
		r.t.Errorf("%s: exit code %d, %s", line, code, out)
	}
	r.ok("test -e $(go env GOROOT)/VERSION")
	contains("5", "read-only")(r, "forebay help exit-codes")
}
