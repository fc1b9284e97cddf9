package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "forebay.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSourcesInOrder: each source wins over the one before, and every key knows where it came from.
func TestSourcesInOrder(t *testing.T) {
	path := write(t, `
master:
  id: m7
  journal: {dir: /j}
  metadata:
    cache:
      size: 1.5GiB
worker:
  heartbeat: 500ms
  masters: [a:1, b:2]
  tiers:
    - {name: MEM, dir: /dev/shm/x, capacity: 2GB}
    - name: SSD
      dir: /data:odd
      capacity: 10GiB
client:
  timeout: 5s
`)
	l, err := Load(Sources{
		File:    path,
		Environ: []string{"FOREBAY_CLIENT_TIMEOUT=6s", "FOREBAY_MASTER_ID=m8", "HOME=/root", "FOREBAY_MASTERS=x:1,y:2"},
		Flags:   map[string]Flag{"master.id": {"--id", "m9"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := l.Config
	got := []any{c.Master.ID, c.Master.Journal.Dir, c.Master.Metadata.Cache.Size, c.Worker.Heartbeat, c.Client.Timeout, c.Worker.Masters, c.Client.Masters}
	want := []any{"m9", "/j", Size(3 << 29), 500 * time.Millisecond, 6 * time.Second, []string{"x:1", "y:2"}, []string{"x:1", "y:2"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	tiers := []Tier{{"MEM", "/dev/shm/x", 2e9}, {"SSD", "/data:odd", 10 << 30}}
	if !reflect.DeepEqual(c.Worker.Tiers, tiers) {
		t.Errorf("tiers %v, want %v", c.Worker.Tiers, tiers)
	}
	origins := map[string]string{
		"master.id": "flag --id", "client.timeout": "environment FOREBAY_CLIENT_TIMEOUT",
		"master.metadata.cache.size": path + ":7", "master.address": "default", "worker.tiers": path + ":12",
	}
	for _, s := range l.Settings() {
		if want, ok := origins[s.Key]; ok && s.Origin != want {
			t.Errorf("%s comes from %q, want %q", s.Key, s.Origin, want)
		}
	}
}

// TestSettingsAreSources: what is shown can be set again, for every key.
func TestSettingsAreSources(t *testing.T) {
	flags := make(map[string]Flag)
	for _, s := range Keys() {
		if s.Doc == "" {
			t.Errorf("%s has no documentation", s.Key)
		}
		flags[s.Key] = Flag{"--" + s.Key, s.Value}
	}
	l, err := Load(Sources{File: write(t, ""), Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range l.Settings() {
		if s.Value != flags[s.Key].Value {
			t.Errorf("%s: shown as %q, set and shown again as %q", s.Key, flags[s.Key].Value, s.Value)
		}
	}
}

// TestMistakes: each mistake is refused with the place, the key and what would be right.
func TestMistakes(t *testing.T) {
	tests := []struct {
		yaml string
		want []string
	}{
		{"master:\n  adress: x:1", []string{":2", "master.adress", "master.address"}},
		{"worker:\n  tiers:\n  - {nam: SSD}", []string{":3", "nam", "name"}},
		{"worker:\n  tiers: [{name: SSD, dir: /x, capacity: 3 apples}]", []string{":2", "64MiB"}},
		{"worker:\n  tiers: [{name: TAPE, dir: /x, capacity: 1GiB}]", []string{":2", "TAPE", "MEM"}},
		{"client:\n  timeout: 5", []string{":2", "client.timeout", "500ms"}},
		{"client:\n  timeout: [1s]", []string{":2", "client.timeout", "500ms"}},
		{"client:\n  masters: []", []string{":2", "client.masters"}},
		{"client:\n  masters: [{a: b}]", []string{":2", "client.masters", "list"}},
		{"client:\n  writetype: SOMETIMES", []string{":2", "client.writetype", "MUST_CACHE"}},
		{"client: 7", []string{":1", "client", "section"}},
		{"client:\n  timeout: 1s\n  timeout: 2s", []string{"timeout"}},
		{"master:\n  peers: [m1]", []string{":2", "master.peers", "id=journal-address"}},
		{"master:\n  block: {size: 100KiB}", []string{":2", "master.block.size", "1MiB"}},
		{"worker:\n  watermark:\n    low: 0.99", []string{":3", "worker.watermark.low", "high"}},
		{"[", []string{"YAML"}},
		{"- a", []string{":1", "sections"}},
		{"master:\n  address: nowhere", []string{":2", "master.address", "host:port"}},
	}
	for _, tt := range tests {
		_, err := Load(Sources{File: write(t, tt.yaml)})
		if !dfs.IsKind(err, dfs.InvalidArgument) {
			t.Errorf("%q: got %v, want invalid argument", tt.yaml, err)
			continue
		}
		for _, part := range tt.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q: %q does not say %q", tt.yaml, err, part)
			}
		}
	}
	if _, err := Load(Sources{File: "/does/not/exist"}); !dfs.IsKind(err, dfs.NotFound) {
		t.Errorf("a missing file: got %v", err)
	}
	for name, want := range map[string]string{"FOREBAY_CLIENT_TIMEOT": "FOREBAY_CLIENT_TIMEOUT", "FOREBAY_MASTER": "FOREBAY_MASTERS"} {
		_, err := Load(Sources{File: write(t, ""), Environ: []string{name + "=1s"}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the mistyped variable %s: got %v", name, err)
		}
	}
	if _, err := Load(Sources{File: write(t, ""), Environ: []string{"FOREBAY_BIN=/x", "FOREBAY_REQUIRE_S3=1"}}); err != nil {
		t.Errorf("variables of scripts: %v", err)
	}
}

// TestSizes: sizes read as people write them.
func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "4096": 4096, "64MiB": 64 << 20, "64 mib": 64 << 20, "1.5GiB": 3 << 29, "10GB": 10e9, "2k": 2048, "7B": 7, "1TiB": 1 << 40,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "-1MiB", "1e30GiB", "1MiBs", "NaN", "x"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, got)
		}
	}
}
