package cli

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/host/hosttest"
	"github.com/forebay/forebay/system/node"
)

// shell runs commands against an embedded cluster.
type shell struct {
	t       *testing.T
	environ []string
}

// newShell starts a cluster of one master and two workers, for tests that need one of their own.
func newShell(t *testing.T) *shell {
	t.Helper()
	s, stop := startShell(t, t.TempDir())
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// startShell starts a cluster with its state in dir, on ports that are free. The caller stops it.
func startShell(t *testing.T, dir string) (*shell, func() error) {
	t.Helper()
	h := host.NewReal()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var last error
	for range 20 {
		port, err := hosttest.FreePorts(clusterPorts)
		if err != nil {
			t.Fatal(err)
		}
		c, err := node.StartCluster(h, node.UpConfig{Dir: dir, Masters: 1, Workers: 2, Port: port, Capacity: "256MiB"})
		if err != nil {
			last = err // a port was taken
			continue
		}
		stop := func() error {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			return c.Stop(ctx)
		}
		if err := c.Ready(ctx); err != nil {
			_ = stop()
			t.Fatal(err)
		}
		return &shell{t: t, environ: []string{"FOREBAY_MASTERS=" + strings.Join(c.Masters(), ","), "FOREBAY_CLIENT_USER=root"}}, stop
	}
	t.Fatal(last)
	return nil, nil
}

// clusterPorts is how many ports from the first on an embedded cluster may use.
const clusterPorts = 82

// fails runs a command that must end with the code, and returns its output and errors.
func (s *shell) fails(code int, args ...string) (out, errs string) {
	s.t.Helper()
	got, out, errs := forebay(s.t, s.environ, args...)
	if got != code {
		s.t.Fatalf("forebay %q: code %d, want %d\n%s%s", args, got, code, out, errs)
	}
	return out, errs
}

// ok runs a command that must succeed, and returns its output.
func (s *shell) ok(args ...string) string {
	s.t.Helper()
	out, _ := s.fails(exitOK, args...)
	return out
}

// prints runs a command that must succeed and print the parts.
func (s *shell) prints(parts []string, args ...string) {
	s.t.Helper()
	out := s.ok(args...)
	for _, part := range parts {
		if !strings.Contains(out, part) {
			s.t.Errorf("forebay %q does not print %q:\n%s", args, part, out)
		}
	}
}

// waits runs a command until it prints the part, for 20 s at most. That nobody answers yet is what it waits out, too; every other
// failure is one.
func (s *shell) waits(part string, args ...string) {
	s.t.Helper()
	code, out, errs := 0, "", ""
	for range 400 {
		code, out, errs = forebay(s.t, s.environ, args...)
		switch {
		case code == exitOK && strings.Contains(out, part):
			return
		case code != exitOK && code != exitUnavailable:
			s.t.Fatalf("forebay %q: code %d\n%s", args, code, errs)
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.t.Fatalf("forebay %q does not come to print %q: code %d\n%s%s", args, part, code, out, errs)
}

func localTree(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, size := range map[string]int{"a.txt": 5, "sub/b.bin": 3 << 20, "sub/deep/empty": 0, "line\nbreak": 7} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.Repeat("x", size)), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func sameTree(t *testing.T, a, b string) {
	t.Helper()
	read := func(dir string) map[string]string {
		all := make(map[string]string)
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			info, _ := d.Info()
			all[path[len(dir):]] = fmt.Sprintf("%v %x", info.Mode(), sha256.Sum256(data))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if x, y := fmt.Sprint(read(a)), fmt.Sprint(read(b)); x != y {
		t.Errorf("the trees differ:\n%s\n%s", x, y)
	}
}

// TestTransfers: trees go in, around and out unchanged; nothing is overwritten unless it is asked for.
func TestTransfers(t *testing.T) {
	s := newShell(t)
	dir := localTree(t)
	s.fails(exitWrongState, "fs", "put", dir, "/in")
	for _, w := range []string{"MUST_CACHE", "CACHE_THROUGH", "THROUGH", "ASYNC_THROUGH"} {
		in, around, out := "/in-"+w, "/around-"+w, filepath.Join(t.TempDir(), "out")
		s.ok("fs", "put", "-r", "-w", w, dir, in)
		s.ok("fs", "cp", "-r", "-w", w, in, around)
		s.ok("fs", "get", "-r", "-j", "2", around, out)
		sameTree(t, dir, out)
	}
	file := filepath.Join(dir, "a.txt")
	s.fails(exitExists, "fs", "put", file, "/in-THROUGH/a.txt")
	s.ok("fs", "put", "-f", file, "/in-THROUGH/a.txt")
	s.fails(exitExists, "fs", "get", "/in-THROUGH/a.txt", file)
	s.ok("fs", "get", "-f", "/in-THROUGH/a.txt", file)
	s.fails(exitNotFound, "fs", "get", "/none", filepath.Join(dir, "none"))
	s.fails(exitNotFound, "fs", "put", filepath.Join(dir, "none"), "/none")
	left, err := filepath.Glob(filepath.Join(dir, ".forebay-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files are left: %v, %v", left, err)
	}
	s.fails(exitUsage, "fs", "cp", "-r", "/in-THROUGH", "/in-THROUGH/sub")
}

// TestReading: the commands that print content and what is known of it.
func TestReading(t *testing.T) {
	s := newShell(t)
	dir := localTree(t)
	s.ok("fs", "put", "-r", dir, "/t")
	if got := s.ok("fs", "cat", "/t/a.txt", "/t/a.txt"); got != "xxxxxxxxxx" {
		t.Errorf("cat: %q", got)
	}
	if h, l := s.ok("fs", "head", "-c", "3", "/t/a.txt"), s.ok("fs", "tail", "-c", "2MiB", "/t/sub/b.bin"); h != "xxx" || len(l) != 2<<20 {
		t.Errorf("head %q, tail of %d bytes", h, len(l))
	}
	s.prints([]string{fmt.Sprintf("%x", sha256.Sum256([]byte("xxxxx"))), "/t/a.txt"}, "fs", "checksum", "/t/a.txt")
	s.prints([]string{"-rw-r-----", `/t/line\nbreak`, "/t/sub"}, "fs", "ls", "/t")
	s.prints([]string{"/t/sub/deep/empty"}, "fs", "ls", "-R", "/t")
	var infos []fileInfo
	if err := json.Unmarshal([]byte(s.ok("--json", "fs", "ls", "-R", "/t")), &infos); err != nil || len(infos) != 6 || infos[1].Path != "/t/line\nbreak" {
		t.Errorf("ls --json: %v, %+v", err, infos)
	}
	s.prints([]string{"length", "3145728", "blockSize"}, "fs", "stat", "/t/sub/b.bin")
	s.prints([]string{"3145740", "/t"}, "fs", "du", "/t")
	s.prints([]string{"3 dirs", "4 files", "3145740 bytes"}, "fs", "count", "/t")
	var blocks []struct{ Workers []dfs.WorkerID }
	if err := json.Unmarshal([]byte(s.ok("--json", "fs", "location", "/t/sub/b.bin")), &blocks); err != nil || len(blocks) != 1 || len(blocks[0].Workers) == 0 {
		t.Errorf("location: %v, %+v", err, blocks)
	}
	for args, code := range map[string]int{
		"/t": 0, "-d /t": 0, "-f /t": 1, "-s /t": 0, "-z /t": 1, "-f /t/a.txt": 0, "-s /t/a.txt": 0, "-z /t/a.txt": 1, "-e /t/none": 1,
		"-z /t/sub/deep/empty": 0, "-d /t/a.txt/x": 1,
	} {
		s.fails(code, append([]string{"fs", "test"}, strings.Fields(args)...)...)
	}
	_, errs := s.fails(exitNotFound, "fs", "cat", "/t/none", "/t/a.txt")
	if strings.Count(errs, "\n") != 1 {
		t.Errorf("cat of a missing file: %q", errs)
	}
}

// TestChanging: the commands that change names and attributes.
func TestChanging(t *testing.T) {
	s := newShell(t)
	s.ok("fs", "mkdir", "-p", "/a/b")
	s.fails(exitExists, "fs", "mkdir", "/a/b")
	s.ok("fs", "touch", "/a/f", "/a/g")
	s.ok("fs", "touch", "/a/f")
	s.fails(exitExists, "fs", "mv", "/a/f", "/a/g")
	s.ok("fs", "mv", "-f", "/a/f", "/a/g")
	s.ok("fs", "mv", "/a/g", "/a/b")
	s.ok("fs", "test", "-z", "/a/b/g")
	s.ok("fs", "chmod", "-R", "750", "/a")
	s.ok("fs", "chown", "daemon:daemon", "/a/b/g")
	s.ok("fs", "chgrp", "daemon", "/a/b")
	s.ok("fs", "setTtl", "--action", "free", "72h", "/a/b/g")
	s.ok("fs", "pin", "/a/b/g")
	s.prints([]string{"0750", "daemon", "72h0m0s", "FREE", "true"}, "fs", "stat", "/a/b/g")
	s.ok("fs", "unpin", "/a/b/g")
	s.ok("fs", "setfattr", "-n", "user.k", "-v", "v\n", "/a/b/g")
	s.prints([]string{`user.k="v\n"`}, "fs", "getfattr", "/a/b/g")
	s.ok("fs", "setfattr", "-x", "user.k", "/a/b/g")
	s.fails(exitNotFound, "fs", "getfattr", "-n", "user.k", "/a/b/g")
	s.fails(exitWrongState, "fs", "rm", "/a")
	s.fails(exitPermission, "--user", "eve", "fs", "rm", "-r", "/a")
	s.ok("fs", "rm", "-r", "/a")
	s.fails(exitNotFound, "fs", "rm", "/a")
	s.ok("fs", "rm", "-f", "/a")
}

// TestCacheAndMounts: mounting, loading, freeing and persisting.
func TestCacheAndMounts(t *testing.T) {
	s := newShell(t)
	dir := localTree(t)
	s.ok("fs", "mount", "--read-only", "/m", "file://"+dir)
	s.prints([]string{"/m", "file://" + dir, "true"}, "fs", "mounts")
	s.prints([]string{"/m: ", "4 files loaded"}, "fs", "load", "-j", "2", "/m")
	s.waits(" PERSISTED 100%", "fs", "ls", "/m/sub/b.bin") // workers report what they cached in their next heartbeat
	s.fails(exitPermission, "fs", "touch", "/m/new")
	s.ok("fs", "free", "-r", "/m")
	if got := s.ok("fs", "cat", "/m/a.txt"); got != "xxxxx" {
		t.Errorf("after free: %q", got)
	}
	s.ok("fs", "unmount", "/m")
	s.fails(exitNotFound, "fs", "stat", "/m/a.txt")
	s.ok("fs", "put", "-w", "MUST_CACHE", filepath.Join(dir, "a.txt"), "/p")
	s.ok("fs", "persist", "/p")
	s.waits(" PERSISTED", "fs", "ls", "/p")
}

// TestAdmin: what operators see of a healthy cluster.
func TestAdmin(t *testing.T) {
	s := newShell(t)
	s.prints([]string{"leader, serving", "WORKER", "live"}, "admin", "report")
	s.prints([]string{"no problems"}, "admin", "doctor")
	s.prints([]string{"m1", "true"}, "admin", "journal", "quorum")
	s.prints([]string{"checkpoint at index"}, "admin", "journal", "checkpoint")
	var report map[string]any
	if err := json.Unmarshal([]byte(s.ok("--json", "admin", "report")), &report); err != nil {
		t.Error(err)
	}
	s.fails(exitUsage, "admin", "journal", "quorum", "add", "m2")
}
