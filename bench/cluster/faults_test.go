package cluster_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/bench/cluster"
	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
)

// These tests run real forebay processes and hand them what goes wrong on real machines. Each fault must end in a clear
// error that names the thing and the remedy, with nothing lost, no panic, and no hang past its deadline.

var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "forebay-bin-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "forebay")
		if out, err := exec.Command("go", "build", "-o", binary, "github.com/forebay/forebay/cmd/forebay").CombinedOutput(); err != nil {
			panic(fmt.Sprintf("build forebay: %v\n%s", err, out))
		}
		return m.Run()
	}())
}

func start(t *testing.T, masters, workers int) (*cluster.Cluster, string) {
	t.Helper()
	dir := t.TempDir()
	under := filepath.Join(dir, "under")
	if err := os.Mkdir(under, 0o755); err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Start(cluster.Config{Binary: binary, Dir: dir, Masters: masters, Workers: workers, Capacity: "256MiB", RootURI: under})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	ready(t, c)
	return c, dir
}

func ready(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.Ready(ctx); err != nil {
		t.Fatal(err)
	}
}

func connect(t *testing.T, c *cluster.Cluster) *client.Client {
	t.Helper()
	cl, err := c.Client(func(cfg *client.Config) { cfg.Timeout = 20 * time.Second })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cl.Close() })
	return cl
}

// forebay runs the command line against the cluster, as another user may, and returns what it printed.
func forebay(t *testing.T, c *cluster.Cluster, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 45*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), "FOREBAY_MASTERS="+strings.Join(c.Masters(), ","))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Errorf("forebay %v hangs", args)
	}
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func noPanics(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	for _, n := range c.Nodes("") {
		if log := n.Log(10_000); strings.Contains(log, "panic") || strings.Contains(log, "goroutine ") {
			t.Errorf("%s panicked:\n%s", n.Name, n.Log(30))
		}
	}
}

// pages finds the workers' page files.
func pages(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.Contains(path, "/tier/") {
			if info, err := d.Info(); err == nil && info.Size() >= 100_000 {
				out = append(out, path)
			}
		}
		return err
	})
	if err != nil || len(out) == 0 {
		t.Fatalf("no page files below %s: %v", dir, err)
	}
	return out
}

func damage(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

var faults = map[string]func([]byte) []byte{
	"bit flip":   func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
	"truncation": func(b []byte) []byte { return b[:len(b)/3] },
}

// TestDamagedPages: a page that changed on a worker's disk is fetched again where the under store has it, and is an
// error that names the file where it does not. It is never served.
func TestDamagedPages(t *testing.T) {
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			c, dir := start(t, 1, 1)
			cl := connect(t, c)
			ctx := context.Background()
			data := bytes.Repeat([]byte("forebay "), 40_000)
			if err := cl.WriteFile(ctx, "/kept", data); err != nil {
				t.Fatal(err)
			}
			for _, p := range pages(t, dir) {
				damage(t, p, fault)
			}
			got, err := cl.ReadFile(ctx, "/kept")
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if err := cl.WriteFile(ctx, "/only", data, client.WithWriteType(dfs.WriteMustCache)); err != nil {
				t.Fatal(err)
			}
			for _, p := range pages(t, dir) {
				damage(t, p, fault)
			}
			got, err = cl.ReadFile(ctx, "/only")
			if err == nil || !dfs.IsKind(err, dfs.Corrupted) && !dfs.IsKind(err, dfs.DataLost) || !strings.Contains(err.Error(), "/only") {
				t.Errorf("the damaged only copy: %d bytes, %v", len(got), err)
			}
			noPanics(t, c)
		})
	}
}

// TestCorruptedJournalTail: a master whose log was torn or flipped at its end starts again with what was acknowledged,
// or says what is wrong; with two others up, nothing is lost either way.
func TestCorruptedJournalTail(t *testing.T) {
	c, dir := start(t, 3, 1)
	cl := connect(t, c)
	ctx := context.Background()
	for i := range 20 {
		if err := cl.WriteFile(ctx, dfs.Path(fmt.Sprintf("/f%d", i)), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	victim := c.Nodes("master")[0]
	victim.Kill()
	wals, err := filepath.Glob(filepath.Join(dir, victim.Name, "journal", "log", "*.wal"))
	if err != nil || len(wals) == 0 {
		t.Fatalf("no log segments: %v", err)
	}
	damage(t, wals[len(wals)-1], func(b []byte) []byte {
		end := len(bytes.TrimRight(b, "\x00"))
		for i := max(0, end-20); i < end; i++ {
			b[i] ^= 0x5a
		}
		return b
	})
	started := strings.Count(victim.Log(10_000), "master is up") // of its first life
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for victim.Running() && strings.Count(victim.Log(10_000), "master is up") <= started {
		if time.Now().After(deadline) {
			t.Fatalf("the master neither serves nor refuses to start:\n%s", victim.Log(10))
		}
		time.Sleep(20 * time.Millisecond)
	}
	if !victim.Running() {
		log := victim.Log(5)
		if !strings.Contains(log, "corrupted") || !strings.Contains(log, "journal") {
			t.Errorf("it refused to start without a clear reason:\n%s", log)
		}
		t.Logf("it refuses to start: %s", log)
	}
	for i := range 20 {
		if got, err := cl.ReadFile(ctx, dfs.Path(fmt.Sprintf("/f%d", i))); err != nil || string(got) != "x" {
			t.Errorf("file %d: %q, %v", i, got, err)
		}
	}
	noPanics(t, c)
}

// TestUnderStoreAway: reads of what is cached go on; what is not says which store and why; it heals by itself.
func TestUnderStoreAway(t *testing.T) {
	c, dir := start(t, 1, 1)
	cl := connect(t, c)
	ctx := context.Background()
	if err := cl.WriteFile(ctx, "/cached", []byte("here")); err != nil {
		t.Fatal(err)
	}
	under := filepath.Join(dir, "under")
	if err := os.WriteFile(filepath.Join(under, "cold"), []byte("there"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := cl.Stat(ctx, "/cold"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(under, under+".away"); err != nil {
		t.Fatal(err)
	}
	if got, err := cl.ReadFile(ctx, "/cached"); err != nil || string(got) != "here" {
		t.Errorf("what is cached: %q, %v", got, err)
	}
	short, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	begin := time.Now()
	if got, err := cl.ReadFile(short, "/cold"); err == nil {
		// An open directory outlives its rename: the driver holds the root, which is as good as an answer.
		if string(got) != "there" {
			t.Errorf("wrong bytes %q", got)
		}
	} else if !strings.Contains(err.Error(), "cold") {
		t.Errorf("the error does not name the file: %v", err)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("it took %v, past its deadline", took)
	}
	if err := os.Rename(under+".away", under); err != nil {
		t.Fatal(err)
	}
	if got, err := cl.ReadFile(ctx, "/cold"); err != nil || string(got) != "there" {
		t.Errorf("after it came back: %q, %v", got, err)
	}
	noPanics(t, c)
}

// TestCommandLineErrors: each mistake is one line on standard error with a stable exit code.
func TestCommandLineErrors(t *testing.T) {
	c, dir := start(t, 1, 1)
	local := filepath.Join(dir, "local")
	if err := os.WriteFile(local, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, cse := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"fs", "cat", "/nothing"}, 3, "/nothing"},
		{[]string{"fs", "ls", "/a/../b"}, 2, ".."},
		{[]string{"fs", "ls", "relative"}, 2, "absolute"},
		{[]string{"fs", "put", local, "/" + strings.Repeat("n", 300)}, 2, "255"},
		{[]string{"fs", "mkdir", "/\xff\xfe"}, 2, "UTF-8"},
		{[]string{"fs", "mount", "/s3", "s3://bucket"}, -1, "endpoint"},
		{[]string{"fs", "mount", "/x", "ftp://host"}, 2, "no driver"},
		{[]string{"fs", "mount", "/x", filepath.Join(dir, "missing")}, 3, "missing"},
		{[]string{"fs", "rm", "/"}, 2, "root"},
		{[]string{"--config", filepath.Join(dir, "none.yaml"), "fs", "ls", "/"}, -1, "none.yaml"},
	} {
		out, errs, code := forebay(t, c, cse.args...)
		if code == 0 || cse.code >= 0 && code != cse.code || !strings.Contains(errs, cse.want) || strings.Count(errs, "\n") > 2 {
			t.Errorf("forebay %.60q: exit %d (want %d), %q %q, want %q in it", cse.args, code, cse.code, out, errs, cse.want)
		}
	}
	odd := "/with\nnewline"
	if _, errs, code := forebay(t, c, "fs", "put", local, odd); code != 0 {
		t.Errorf("a name with a newline: exit %d, %s", code, errs)
	}
	out, _, _ := forebay(t, c, "fs", "ls", "/")
	if strings.Count(out, "\n") != 1 || strings.Contains(out, odd) {
		t.Errorf("a newline in a name breaks the listing: %q", out)
	}
	noPanics(t, c)
}

// TestStartErrors: a process that cannot start says why and what to do, and exits with a code that scripts can use.
func TestStartErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.yaml")
	if err := os.WriteFile(broken, []byte("master:\n  adress: 127.0.0.1:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	base := []string{"--set", "master.http.address=", "--set", "master.journal.address=127.0.0.1:0", "--set", "master.address=127.0.0.1:0"}
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"port in use":      {[]string{"master", "--set", "master.address=" + l.Addr().String()}, []string{l.Addr().String(), "port"}},
		"broken key":       {[]string{"master", "--config", broken}, []string{"broken.yaml:2", "adress", "address"}},
		"impossible value": {[]string{"worker", "--set", "worker.heartbeat=soon"}, []string{"worker.heartbeat", "soon"}},
		"folder is a file": {append([]string{"master", "--set", "master.metadata.dir=" + file + "/x"}, base...), []string{file}},
		"up without a dir": {[]string{"up"}, []string{"--dir"}},
		"two masters":      {[]string{"up", "--dir", dir, "--masters", "2"}, []string{"1, 3 or 5"}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, binary, c.args...)
			cmd.Dir = t.TempDir()
			out, err := cmd.CombinedOutput()
			if err == nil || ctx.Err() != nil {
				t.Fatalf("it started, or hangs: %v\n%s", err, out)
			}
			for _, want := range c.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("the error does not name %q: %s", want, out)
				}
			}
			if strings.Contains(string(out), "goroutine ") {
				t.Errorf("it panicked:\n%s", out)
			}
		})
	}
}
