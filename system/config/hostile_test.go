package config

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
)

// load loads one YAML text without anything else.
func load(t testing.TB, text string) (*Loaded, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(Sources{File: path})
}

// TestImpossibleValues: each value that cannot work is refused with its key.
func TestImpossibleValues(t *testing.T) {
	for key, values := range map[string][]string{
		"worker.watermark.high": {"NaN", "0", "-1", "1.1", "Inf"}, "worker.watermark.low": {"NaN", "0", "0.95", "1"},
		"client.replication.durable": {"0", "-1", "101", "4294967297", "1.5", ""},
		"master.address":             {"host", "host:", "host:70000", "host:-1", ":", "", "a:b:c", "host:http"},
		"client.masters":             {"", ",", "a:1,b", "a:99999"},
		"worker.tiers":               {"", "SSD", "SSD:/x", "TAPE:/x:1GiB", "SSD::1GiB", "SSD:/x:1KiB", "SSD:/x:-1GiB"},
		"master.block.size":          {"0", "1", "1.5MiB", "512KiB", "-1MiB"}, "client.block.size": {"1", "1.5MiB"},
		"master.id": {"", "a b", "a=b", "a/b", "a,b"}, "master.peers": {"a", "a=b", "a=b:1", "=b:1/c:1", "a=b:1/c", "a=b/c:1"},
		"client.timeout": {"0s", "-1s", "5", "1e9", "forever"}, "client.keepalive": {"1ms"}, "worker.heartbeat": {"1ms"},
		"master.session.timeout": {"10ms"}, "master.worker.lost.timeout": {"10ms"}, "log.level": {"loud", ""}, "log.format": {"xml"},
		"master.metadata.store": {"mysql"}, "client.readtype": {"SOMETIMES"}, "client.writetype": {""}, "master.join": {"maybe", ""},
		"worker.scrub.rate": {"fast", "-1"}, "master.http.address": {"x"},
	} {
		for _, value := range values {
			_, err := Load(Sources{Environ: nil, Flags: map[string]Flag{key: {"--set", value}}})
			if !dfs.IsKind(err, dfs.InvalidArgument) || !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), "--set") {
				t.Errorf("%s=%q: %v", key, value, err)
			}
		}
	}
}

// TestSizesAreExact: every size is written as it would be read, to the byte.
func TestSizesAreExact(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	sizes := []Size{0, 1, 1<<53 + 1, 1<<63 - 1, 1 << 62, 1023, 1025 << 50}
	for range 2000 {
		sizes = append(sizes, Size(rnd.Int64()>>rnd.IntN(63)), Size(rnd.Int64N(1000))<<(10*rnd.IntN(5)))
	}
	for _, want := range sizes {
		if got, err := ParseSize(want.String()); err != nil || got != want {
			t.Errorf("%d is written %q and read %d, %v", int64(want), want, int64(got), err)
		}
	}
}

// FuzzParseSize: nothing panics, nothing is negative, and what was read is read alike again.
func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"64MiB", "1.5 GB", "9223372036854775807", "0x10", "1e3KB", "-0B", "NaN", "Inf", " 7 "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		size, err := ParseSize(text)
		if err != nil {
			if !dfs.IsKind(err, dfs.InvalidArgument) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if again, err := ParseSize(size.String()); size < 0 || err != nil || again != size {
			t.Fatalf("%q: %d, written %q, read %d, %v", text, size, size, again, err)
		}
	})
}

// FuzzYAML: no file panics or hangs; one that is taken gives settings that can be set again.
func FuzzYAML(f *testing.F) {
	for _, s := range []string{
		"", "master: {id: x}", "a: &a [*a]", "master: &m {journal: *m}", "- 1", "client: {timeout: 5s, masters: [a:1]}", "<<: {a: b}", "---\n---\n",
		"worker: {tiers: [{name: SSD, dir: /x, capacity: 1GiB}]}", "worker: {tiers: [[name, MEM]]}", "worker: {tiers: SSD:/x:1GiB}", "\xff", "? [a]\n: b",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l := newLoader()
		err := l.yaml("f.yaml", []byte(text))
		if err == nil {
			err = l.loaded.check()
		}
		if err != nil {
			if !dfs.IsKind(err, dfs.InvalidArgument) || !strings.Contains(err.Error(), "f.yaml") && !strings.Contains(err.Error(), "default") {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		for _, s := range l.loaded.Settings() {
			if strings.ContainsAny(s.Value, ", \t\n") {
				continue // a text with a comma is one entry of a list in YAML, and two on the command line
			}
			if field := l.byKey[s.Key]; field.set(s.Value) != nil {
				t.Fatalf("%q: %s is shown as %q, which cannot be set", text, s.Key, s.Value)
			}
		}
	})
}

// TestYAMLForms: forms that look right and are not are refused with the line.
func TestYAMLForms(t *testing.T) {
	for text, want := range map[string]string{
		"client: {timeout: 5s}\n---\nclient: {timeout: 6s}": "more than one",
		"client:\n\ttimeout: 5s":                            "not YAML",
		"- client":                                          "want sections",
		"client: [timeout]":                                 "section",
		"client:\n  timeout: ~":                             "client.timeout",
		"client:\n  timeout:":                               "client.timeout",
		"a: &a [*a]":                                        "no key a",
		"worker: {tiers: [SSD]}":                            "list of tiers",
		"worker: {tiers: {name: SSD}}":                      "list of tiers",
		"client: {timeout: 5s, timeout: 6s}":                "set twice",
	} {
		if _, err := load(t, text); !dfs.IsKind(err, dfs.InvalidArgument) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	for _, text := range []string{"", "# nothing\n", "---\n", "client:\n", "client: {}\n", "client: {timeout: &t 7s}\n"} {
		if _, err := load(t, text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	if l, err := load(t, "client: {timeout: &t 7s, keepalive: *t}\n"); err != nil || l.Config.Client.KeepAlive != 7*time.Second {
		t.Errorf("an alias: %v", err)
	}
}

// TestEnvironmentMistakes: a variable that is nearly ours is a mistake; others are left alone.
func TestEnvironmentMistakes(t *testing.T) {
	for name, bad := range map[string]bool{
		"FOREBAY_CLIENT_TIMEOUTS": true, "FOREBAY_MASTER": true, "FOREBAY_WORKER_X": true, "FOREBAY_USERS": true, "FOREBAY_LOG_LEVLE": true,
		"FOREBAY_BIN": false, "FOREBAY_VERSITYGW": false, "FOREBAY_REQUIRE_S3": false, "forebay_client_timeout": false,
	} {
		_, err := Load(Sources{Environ: []string{name + "=7s", "novalue"}})
		if (err != nil) != bad || (bad && !strings.Contains(err.Error(), name)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFileErrors: files that cannot be read say why and what to do.
func TestFileErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(Sources{File: filepath.Join(dir, "none")}); !dfs.IsKind(err, dfs.NotFound) {
		t.Errorf("no file: %v", err)
	}
	if _, err := Load(Sources{Environ: []string{"FOREBAY_CONFIG=" + dir}}); !dfs.IsKind(err, dfs.InvalidArgument) {
		t.Errorf("a folder: %v", err)
	}
}

// TestNearest: the distance is a metric, and the suggestion is what people meant.
func TestNearest(t *testing.T) {
	keys := []string{"client.timeout", "client.masters", "worker.masters", "master.id"}
	for text, want := range map[string]string{"client.tiemout": "client.timeout", "worker.master": "worker.masters", "id": "master.id", "": "master.id"} {
		if got := nearest(text, keys); got != want {
			t.Errorf("%q: nearest is %q, want %q", text, got, want)
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	word := func() string {
		b := make([]byte, rnd.IntN(8))
		for i := range b {
			b[i] = "abc"[rnd.IntN(3)]
		}
		return string(b)
	}
	for range 500 {
		a, b, c := word(), word(), word()
		if distance(a, b) != distance(b, a) || (distance(a, b) == 0) != (a == b) || distance(a, c) > distance(a, b)+distance(b, c) {
			t.Fatalf("no metric on %q, %q, %q", a, b, c)
		}
	}
}
