package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/forebay/forebay/system/config"
)

// These tests run a script in the place of forebay: what this package does with processes does not depend on which they are.

// stub writes a script that notes its process and then runs the rest.
func stub(t *testing.T, rest string) (binary, dir string) {
	t.Helper()
	dir = t.TempDir()
	binary = filepath.Join(dir, "stub")
	text := fmt.Sprintf("#!/bin/sh\necho \"$$\" > '%s/'\"$(basename \"$3\" .yaml)\".pid\necho \"life of $1\"\n%s\n", dir, rest)
	if err := os.WriteFile(binary, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return binary, dir
}

const sleeps = "exec sleep 1000"

// running starts a cluster of stubs and waits until each has noted its process.
func running(t *testing.T, rest string, masters, workers int) *Cluster {
	t.Helper()
	binary, dir := stub(t, rest)
	c, err := Start(Config{Binary: binary, Dir: dir, Masters: masters, Workers: workers, Capacity: "1MiB"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	for _, n := range c.Nodes("") {
		n.pid(t)
	}
	return c
}

// pid waits until the stub has said it, and forgets it for the next life.
func (n *Node) pid(t *testing.T) int {
	t.Helper()
	path := filepath.Join(n.cluster.cfg.Dir, n.Name+".pid")
	for range 2000 {
		b, err := os.ReadFile(path)
		if text, whole := strings.CutSuffix(string(b), "\n"); err == nil && whole {
			pid, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			_ = os.Rename(path, path+".seen")
			return pid
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%s does not start:\n%s", n.Name, n.Log(10))
	return 0
}

// exists tells whether there is a process, reaped or not.
func exists(pid int) bool { return syscall.Kill(pid, 0) == nil }

// TestLives: a process is killed, reaped, started again and stopped; its log keeps all its lives.
func TestLives(t *testing.T) {
	binary, dir := stub(t, sleeps)
	c, err := Start(Config{Binary: binary, Dir: dir, Masters: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	n := c.Nodes("")[0]
	for life, end := range []func(){n.Kill, n.Stop, func() { _ = c.Close() }} {
		pid := n.pid(t)
		if !n.Running() || n.ended() || !exists(pid) {
			t.Fatalf("life %d: it does not run", life)
		}
		end()
		if n.Running() || n.ended() || exists(pid) || n.CPU() != 0 {
			t.Errorf("life %d: it runs on, or is taken for one that ended by itself", life)
		}
		end() // a second time there is nothing to do
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
	}
	n.pid(t)
	if log := n.Log(100); strings.Count(log, "life of master") != 4 {
		t.Errorf("the log of four lives:\n%s", log)
	}
}

// TestStopIsClean: Stop lets a process end as it wants to, and Kill does not.
func TestStopIsClean(t *testing.T) {
	c := running(t, "trap 'echo last words; exit 0' TERM\nwhile :; do sleep 0.01; done", 2, 0)
	stopped, killed := c.Nodes("")[0], c.Nodes("")[1]
	stopped.Stop()
	killed.Kill()
	if log := stopped.Log(1); log != "last words" {
		t.Errorf("the log of what was stopped ends with %q", log)
	}
	if log := killed.Log(1); log != "life of master" {
		t.Errorf("the log of what was killed ends with %q", log)
	}
}

// TestReadyNotices: a process that ended by itself ends the wait at once with its last words; one that was killed is not
// waited for, and the end of the context names the folder of the logs.
func TestReadyNotices(t *testing.T) {
	c := running(t, "case $1 in worker) echo 'no disk'; exit 4;; esac\n"+sleeps, 1, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.Ready(ctx); err == nil || !strings.Contains(err.Error(), "w1 ended by itself") || !strings.Contains(err.Error(), "no disk") {
		t.Errorf("%v", err)
	}
	c.Nodes("worker")[0].Kill()
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Ready(soon); err == nil || strings.Contains(err.Error(), "by itself") || !strings.Contains(err.Error(), c.cfg.Dir) {
		t.Errorf("a killed worker: %v", err)
	}
	if c.Leader(soon) != nil {
		t.Error("a sleeping shell leads")
	}
}

// TestStartUndoes: when one process cannot be started, those before it do not run on.
func TestStartUndoes(t *testing.T) {
	binary, dir := stub(t, sleeps)
	if err := os.Mkdir(filepath.Join(dir, "w1.log"), 0o755); err != nil { // where its log should be
		t.Fatal(err)
	}
	c, err := Start(Config{Binary: binary, Dir: dir, Masters: 3, Workers: 1, Capacity: "1MiB"})
	if err == nil || c != nil || !strings.Contains(err.Error(), "w1.log") {
		t.Fatalf("%v, %v", c, err)
	}
	for _, name := range []string{"m1", "m2", "m3"} {
		if b, err := os.ReadFile(filepath.Join(dir, name+".pid")); err == nil { // it may have been killed before it said
			if pid, _ := strconv.Atoi(strings.TrimSpace(string(b))); exists(pid) {
				t.Errorf("%s runs on as %d", name, pid)
			}
		}
	}
	if _, err := Start(Config{Binary: binary + ".none", Dir: t.TempDir(), Masters: 1}); err == nil || !strings.Contains(err.Error(), "start m1") {
		t.Errorf("no binary: %v", err)
	}
}

// TestPlan: each process's configuration is one that forebay takes, private, with ports and folders of its own; masters know
// each other, and workers all of them.
func TestPlan(t *testing.T) {
	c := running(t, sleeps, 3, 2)
	if got := len(c.Nodes("")); got != 5 || len(c.Nodes("master")) != 3 || len(c.Nodes("worker")) != 2 || len(c.Nodes("bogus")) != 0 {
		t.Fatalf("%d nodes", got)
	}
	seen := map[string]string{}
	own := func(node, what string) {
		if other, taken := seen[what]; taken || what == "" {
			t.Errorf("%s and %s have %q", node, other, what)
		}
		seen[what] = node
	}
	for _, n := range c.Nodes("") {
		info, err := os.Stat(n.config)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", n.Name, info.Mode(), err)
		}
		loaded, err := config.Load(config.Sources{File: n.config})
		if err != nil {
			t.Fatal(err)
		}
		m, w := loaded.Config.Master, loaded.Config.Worker
		if n.Role == "worker" {
			own(n.Name, w.Address)
			own(n.Name, w.Dir)
			if fmt.Sprint(w.Masters) != fmt.Sprint(c.Masters()) || w.Address != n.Address {
				t.Errorf("%s at %s knows %v", n.Name, w.Address, w.Masters)
			}
			continue
		}
		for _, what := range []string{m.ID, m.Address, m.Journal.Address, m.Journal.Dir, m.Metadata.Dir} {
			own(n.Name, what)
		}
		if len(m.Peers) != 3 || m.Address != n.Address {
			t.Errorf("%s at %s has peers %v", n.Name, m.Address, m.Peers)
		}
	}
}

// TestLog: the last lines, all when there are fewer, and words when there are none.
func TestLog(t *testing.T) {
	n := &Node{log: filepath.Join(t.TempDir(), "log")}
	if got := n.Log(3); !strings.Contains(got, "no such file") {
		t.Errorf("no log: %q", got)
	}
	if err := os.WriteFile(n.log, []byte("a\nb\nc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for lines, want := range map[int]string{0: "", 1: "c", 2: "b\nc", 3: "a\nb\nc", 4: "a\nb\nc"} {
		if got := n.Log(lines); got != want {
			t.Errorf("%d lines: %q, want %q", lines, got, want)
		}
	}
}

// TestStatCPU: the times are found whatever the process is called, and odd text is no time.
func TestStatCPU(t *testing.T) {
	const rest = " S 1 1 1 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 100 1000 10"
	for text, want := range map[string]time.Duration{
		"7 (forebay)" + rest: 3 * time.Second, "7 (two words)" + rest: 3 * time.Second, "7 (odd) name)" + rest: 3 * time.Second,
		"7 (a) b) c" + ")" + rest: 3 * time.Second, "": 0, "7 (forebay) S 1": 0, "no parenthesis": 0, "7 (x) S 1 1 1 0 -1 4194560 100 0 0 0 x y 0 0": 0,
	} {
		if got := statCPU(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	if got := processCPU(1 << 30); got != 0 {
		t.Errorf("a process that does not exist used %v", got)
	}
}

// TestCPUGrows: both clocks see work of this process, in about the same measure, and never go back.
func TestCPUGrows(t *testing.T) {
	own, proc := OwnCPU(), processCPU(os.Getpid())
	for sum := 0; OwnCPU()-own < 200*time.Millisecond; sum++ {
	}
	if d := processCPU(os.Getpid()) - proc; d < 150*time.Millisecond {
		t.Errorf("work of 200 ms is %v in /proc", d)
	}
}
