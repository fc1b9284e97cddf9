package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/forebay/forebay/system/config"
	"github.com/forebay/forebay/system/host/hosttest"
)

// screen is an output that may be read while a command writes to it.
type screen struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// role is a command that runs until its context ends, as it does at a signal.
type role struct {
	t         *testing.T
	out, errs screen
	stop      context.CancelFunc
	ended     chan int
}

// begin runs a command line in the background.
func begin(t *testing.T, args ...string) *role {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &role{t: t, stop: cancel, ended: make(chan int, 1)}
	go func() { r.ended <- Main(ctx, args, Streams{In: strings.NewReader(""), Out: &r.out, Err: &r.errs}, nil) }()
	t.Cleanup(cancel)
	return r
}

// says waits until the command has printed the part.
func (r *role) says(part string) {
	r.t.Helper()
	for range 4000 {
		if strings.Contains(r.out.String(), part) {
			return
		}
		select {
		case code := <-r.ended:
			r.t.Fatalf("it ended with %d before it said %q:\n%s%s", code, part, r.out.String(), r.errs.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
	r.t.Fatalf("it does not say %q:\n%s%s", part, r.out.String(), r.errs.String())
}

// end signals the command and returns its exit code.
func (r *role) end() int {
	r.t.Helper()
	r.stop()
	select {
	case code := <-r.ended:
		return code
	case <-time.After(30 * time.Second):
		r.t.Fatalf("it does not stop:\n%s", r.errs.String())
		return -1
	}
}

// free finds adjacent ports that are free.
func free(t *testing.T, n int) int {
	t.Helper()
	port, err := hosttest.FreePorts(n)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// TestUpStopsAndComesBack: up says how to use it, stops cleanly with code 0, and the same --dir has everything again, with the
// port and the workers that it had and without being told them.
func TestUpStopsAndComesBack(t *testing.T) {
	dir, port := filepath.Join(t.TempDir(), "new", "state"), free(t, clusterPorts)
	environ := []string{fmt.Sprintf("FOREBAY_MASTERS=127.0.0.1:%d", port), "FOREBAY_CLIENT_USER=root"}
	s := &shell{t: t, environ: environ}
	up := begin(t, "up", "--dir", dir, "--port", fmt.Sprint(port), "--workers", "2", "--capacity", "64MiB")
	up.says(fmt.Sprint(port))
	s.waits("live", "admin", "report")
	for _, w := range []string{"MUST_CACHE", "CACHE_THROUGH"} {
		s.play("", "", []step{{line: "fs put -w " + w + " - /" + w, in: w}})
	}
	if code := up.end(); code != exitOK || !strings.Contains(up.out.String(), "same --dir") {
		t.Fatalf("code %d\n%s%s", code, up.out.String(), up.errs.String())
	}
	if code, _, _ := forebay(t, environ, "--timeout", "200ms", "fs", "ls", "/"); code != exitUnavailable {
		t.Errorf("after the stop: code %d", code)
	}
	up = begin(t, "up", "--dir", dir)
	up.says(fmt.Sprint(port))
	for _, w := range []string{"MUST_CACHE", "CACHE_THROUGH"} {
		s.play("", "", []step{{line: "fs cat /" + w, out: w}})
	}
	if workers := s.object("admin", "report")["workers"].([]any); len(workers) != 2 {
		t.Errorf("%d workers came back", len(workers))
	}
	// A second one on the same state is refused, and leaves the first alone.
	code, _, errs := forebay(t, nil, "up", "--dir", dir)
	if code == exitOK || strings.Count(errs, "forebay: ") != 1 {
		t.Errorf("a second up: code %d, %s", code, errs)
	}
	s.play("", "", []step{{line: "fs cat /MUST_CACHE", out: "MUST_CACHE"}})
	if code := up.end(); code != exitOK {
		t.Errorf("code %d\n%s", code, up.errs.String())
	}
	for _, args := range [][]string{{"--masters", "3"}, {"--capacity", "none"}, {"--port", "70000"}, {"--workers", "-1"}} {
		if code, _, errs := forebay(t, nil, append([]string{"up", "--dir", dir}, args...)...); code != exitUsage {
			t.Errorf("%v: code %d, %s", args, code, errs)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "cluster.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := forebay(t, nil, "up", "--dir", dir); code != exitDataLost || !strings.Contains(errs, "cluster.json") {
		t.Errorf("a torn layout: code %d, %s", code, errs)
	}
}

// TestRolesStopAndComeBack: a master and a worker from their own command lines, with --set alone, serve, stop cleanly, and find
// what they had.
func TestRolesStopAndComeBack(t *testing.T) {
	dir, port := t.TempDir(), free(t, 3)
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", port+i) }
	set := func(role string, pairs ...string) []string {
		args := []string{role}
		for _, p := range pairs {
			args = append(args, "--set", p)
		}
		return args
	}
	under := filepath.Join(dir, "under")
	if err := os.Mkdir(under, 0o755); err != nil {
		t.Fatal(err)
	}
	master := set("master", "master.id=m1", "master.address="+at(0), "master.http.address=", "master.journal.address="+at(1),
		"master.journal.dir="+dir+"/journal", "master.metadata.dir="+dir+"/metadata", "master.peers=m1="+at(1)+"/"+at(0), "master.root.uri="+under)
	worker := set("worker", "worker.address="+at(2), "worker.http.address=", "worker.masters="+at(0), "worker.dir="+dir+"/worker", "worker.tiers=SSD:"+dir+"/tier:64MiB")
	s := &shell{t: t, environ: []string{"FOREBAY_MASTERS=" + at(0), "FOREBAY_CLIENT_USER=root", "FOREBAY_CLIENT_TIMEOUT=30s"}}
	for life := range 2 {
		m, w := begin(t, master...), begin(t, worker...)
		s.waits("live", "--timeout", "20s", "admin", "report")
		if life == 0 {
			s.play("", "", []step{{line: "fs put -w MUST_CACHE - /kept", in: "by the worker alone"}})
		}
		s.play("", "", []step{{line: "fs cat /kept", out: "by the worker alone"}})
		for name, r := range map[string]*role{"worker": w, "master": m} {
			if code := r.end(); code != exitOK {
				t.Errorf("life %d: %s ended with %d:\n%s", life, name, code, r.errs.String())
			}
		}
	}
	// What a role cannot have is its error, at once, and not a wait.
	taken := begin(t, master...)
	s.waits("leader", "admin", "report")
	if code, _, errs := forebay(t, nil, master...); code == exitOK || !strings.Contains(errs, "forebay: ") {
		t.Errorf("a second master on the same ports: code %d, %s", code, errs)
	}
	taken.end()
}

// origins reads config show --origin --json.
func origins(t *testing.T, environ []string, args ...string) map[string]config.Setting {
	t.Helper()
	code, out, errs := forebay(t, environ, append(args, "--json", "config", "show", "--origin")...)
	var all []config.Setting
	if err := json.Unmarshal([]byte(out), &all); code != exitOK || err != nil {
		t.Fatalf("code %d, %v, %s", code, err, errs)
	}
	got := map[string]config.Setting{}
	for _, s := range all {
		got[s.Key] = s
	}
	return got
}

// TestOrigins: flags win over the environment, that over the file, and the file over defaults, key by key, and each key says
// which it was.
func TestOrigins(t *testing.T) {
	file := filepath.Join(t.TempDir(), "forebay.yaml")
	if err := os.WriteFile(file, []byte("client:\n  timeout: 11s\n  user: filed\n  masters: [file:1]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	byFile, byEnv := []string{"FOREBAY_CONFIG=" + file}, "FOREBAY_CLIENT_TIMEOUT=22s"
	for name, tt := range map[string]struct {
		environ, args []string
		key           string
		value, origin string
	}{
		"default":               {nil, nil, "client.user", "", "default"},
		"file by variable":      {byFile, nil, "client.timeout", "11s", file + ":2"},
		"file by flag":          {nil, []string{"--config", file}, "client.user", "filed", file + ":3"},
		"variable over file":    {append(byFile, byEnv), nil, "client.timeout", "22s", "environment FOREBAY_CLIENT_TIMEOUT"},
		"file beside variable":  {append(byFile, byEnv), nil, "client.user", "filed", file + ":3"},
		"flag over variable":    {append(byFile, byEnv), []string{"--timeout", "33s"}, "client.timeout", "33s", "flag --timeout"},
		"flag over file":        {byFile, []string{"--user", "ann"}, "client.user", "ann", "flag --user"},
		"masters by flag":       {byFile, []string{"-m", "a:1,b:2", "-m", "c:3"}, "client.masters", "a:1,b:2,c:3", "flag --master"},
		"masters of workers":    {nil, []string{"-m", "a:1"}, "worker.masters", "a:1", "flag --master"},
		"masters by short name": {[]string{"FOREBAY_MASTERS=e:1"}, nil, "client.masters", "e:1", "environment FOREBAY_MASTERS"},
	} {
		got := origins(t, tt.environ, tt.args...)[tt.key]
		if got.Value != tt.value || got.Origin != tt.origin {
			t.Errorf("%s: %s is %q from %q, want %q from %q", name, tt.key, got.Value, got.Origin, tt.value, tt.origin)
		}
	}
}

// TestConfigForms: show has every key once, with and without the column of origins; keys has each one's meaning.
func TestConfigForms(t *testing.T) {
	_, plain, _ := forebay(t, nil, "config", "show")
	_, origin, _ := forebay(t, nil, "config", "show", "--origin")
	_, keys, _ := forebay(t, nil, "config", "keys")
	all := config.Keys()
	for name, out := range map[string]string{"show": plain, "show --origin": origin, "keys": keys} {
		if lines := strings.Count(out, "\n"); lines != len(all)+1 {
			t.Errorf("%s: %d lines of %d keys", name, lines, len(all))
		}
		for _, k := range all {
			if strings.Count(out, "\n"+k.Key+" ") != 1 {
				t.Errorf("%s does not have %s once", name, k.Key)
			}
		}
	}
	if strings.Contains(plain, "ORIGIN") || !strings.Contains(origin, "ORIGIN") || strings.Contains(plain, "default") && !strings.Contains(origin, "  default\n") {
		t.Errorf("columns: %.80q, %.80q", plain, origin)
	}
	for _, k := range all {
		if k.Doc == "" || !strings.Contains(keys, k.Doc) {
			t.Errorf("keys does not say what %s is", k.Key)
		}
	}
}

// TestVersionForms: the version in both forms, and the same by flag.
func TestVersionForms(t *testing.T) {
	s := &shell{t: t}
	info := s.object("version")
	for _, key := range []string{"version", "go", "platform", "commit"} {
		if text, _ := info[key].(string); text == "" {
			t.Errorf("version has no %s: %v", key, info)
		}
	}
	text := s.ok("version")
	if !strings.HasPrefix(text, "forebay "+info["version"].(string)+" ") || strings.Count(text, "\n") != 1 {
		t.Errorf("%q", text)
	}
	if flag := s.ok("--version"); !strings.Contains(flag, info["version"].(string)) {
		t.Errorf("%q", flag)
	}
}
