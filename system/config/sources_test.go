package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
)

// sample gives a right value for a key, other than its default, and what Settings shows of it.
func sample(f field) (text, shown string) {
	switch f.key {
	case "log.level":
		return "debug", "debug"
	case "log.format":
		return "json", "json"
	case "master.metadata.store":
		return "heap", "heap"
	case "client.readtype":
		return "NO_CACHE", "NO_CACHE"
	case "client.writetype":
		return "THROUGH", "THROUGH"
	case "master.peers":
		return "m1=h:1/h:2", "m1=h:1/h:2"
	case "worker.watermark.high":
		return "0.96", "0.96"
	case "worker.watermark.low":
		return "0.5", "0.5"
	}
	switch {
	case f.value.Type() == tiersType:
		return "MEM:/m:1MiB,HDD:/h:2GiB", "MEM:/m:1MiB,HDD:/h:2GiB"
	case f.value.Type() == listType:
		return "h:1, h:2,", "h:1,h:2"
	case f.value.Type() == durationType:
		return "90s", "1m30s"
	case f.value.Type() == sizeType:
		return "32768 KiB", "32MiB"
	case strings.HasSuffix(f.key, "address"):
		return "localhost:7", "localhost:7"
	}
	switch f.kind() {
	case "a whole number":
		return "3", "3"
	case "true or false":
		return "true", "true"
	}
	return "text", "text"
}

// asYAML is a key with a value as a file has it.
func asYAML(key, text string) string {
	var out strings.Builder
	parts := strings.Split(key, ".")
	for i, p := range parts {
		fmt.Fprintf(&out, "%s%s:", strings.Repeat("  ", i), p)
		if i < len(parts)-1 {
			out.WriteString("\n")
		}
	}
	return out.String() + " " + text + "\n"
}

// TestEverySourceOfEveryKey: each key can be set by file, environment and flag alike, each wins over the ones before it and
// is told as the origin, and no other key changes.
func TestEverySourceOfEveryKey(t *testing.T) {
	standard := map[string]string{}
	for _, s := range Keys() {
		standard[s.Key] = s.Value
		if s.Origin != "default" {
			t.Errorf("%s comes from %q", s.Key, s.Origin)
		}
	}
	for _, f := range fields(Default()) {
		text, shown := sample(f)
		if shown == standard[f.key] {
			t.Errorf("%s: the sample %q is the default", f.key, shown)
		}
		path := write(t, asYAML(f.key, text))
		line := strings.Count(f.key, ".") + 1
		environ := []string{EnvironmentName(f.key) + "=" + text}
		flags := map[string]Flag{f.key: {"--it", text}}
		for want, from := range map[string]Sources{
			fmt.Sprintf("%s:%d", path, line):        {File: path},
			"environment " + EnvironmentName(f.key): {File: path, Environ: environ},
			"flag --it":                             {File: path, Environ: environ, Flags: flags},
		} {
			l, err := Load(from)
			if err != nil {
				t.Errorf("%s from %s: %v", f.key, want, err)
				continue
			}
			for _, s := range l.Settings() {
				if s.Key == f.key && (s.Value != shown || s.Origin != want) {
					t.Errorf("%s from %s: %q from %s, want %q", f.key, want, s.Value, s.Origin, shown)
				}
				if s.Key != f.key && (s.Value != standard[s.Key] || s.Origin != "default") {
					t.Errorf("%s changed %s to %q", f.key, s.Key, s.Value)
				}
			}
		}
	}
}

// TestWrongValuesOfEveryKey: a text that is no value of a key's type is refused by every source, with place, key, the text
// and what would be right; the configuration is not half-changed by it, since there is none.
func TestWrongValuesOfEveryKey(t *testing.T) {
	wrong := map[string][]string{
		"a duration with a unit, such as 500ms": {"5", "abc", "", "1h30", "5 s", "10MiB"},
		"a size with a unit, such as 64MiB":     {"5s", "abc", "", "-1KiB", "1e400MiB", "0x1G"},
		"a whole number":                        {"1.5", "abc", "", "1e3", "99999999999999999999"},
		"a number":                              {"abc", "", "50%", "0,5"},
		"true or false":                         {"yes", "", "2", "on"},
		"a list of tiers: name, dir, capacity":  {"SSD", "SSD:/x", "SSD:/x:1 apple", "SSD:/x:1GiB,MEM"},
	}
	tried := 0
	for _, f := range fields(Default()) {
		for _, text := range wrong[f.kind()] {
			tried++
			quoted := "'" + text + "'"
			path := write(t, asYAML(f.key, quoted))
			for place, from := range map[string]Sources{
				path:                                    {File: path},
				"environment " + EnvironmentName(f.key): {Environ: []string{EnvironmentName(f.key) + "=" + text}},
				"flag --it":                             {Flags: map[string]Flag{f.key: {"--it", text}}},
			} {
				l, err := Load(from)
				if !dfs.IsKind(err, dfs.InvalidArgument) || l != nil {
					t.Errorf("%s=%q: got %v, %v", f.key, text, l, err)
					continue
				}
				for _, word := range []string{place, f.key, fmt.Sprintf("%q", text), f.kind()} {
					if !strings.Contains(err.Error(), word) && !strings.Contains(err.Error(), strings.ReplaceAll(word, `"`, `\"`)) {
						t.Errorf("%s=%q: %q does not say %s", f.key, text, err, word)
					}
				}
			}
		}
		for _, node := range []string{"~", "{a: b}"} { // nothing, and a section, where a value belongs
			path := write(t, asYAML(f.key, node))
			if _, err := Load(Sources{File: path}); !dfs.IsKind(err, dfs.InvalidArgument) || !strings.Contains(err.Error(), f.key) {
				t.Errorf("%s: %s: %v", f.key, node, err)
			}
		}
	}
	if tried < 60 {
		t.Errorf("only %d wrong values were tried", tried)
	}
}

// TestContradictions: a value that is well formed and cannot work is told with where it came from, also when
// two keys contradict each other.
func TestContradictions(t *testing.T) {
	path := write(t, "worker:\n  watermark:\n    high: 0.5\n")
	_, err := Load(Sources{File: path, Flags: map[string]Flag{"worker.watermark.low": {"--low", "0.6"}}})
	if !dfs.IsKind(err, dfs.InvalidArgument) || !strings.Contains(err.Error(), "flag --low") || !strings.Contains(err.Error(), "below worker.watermark.high") {
		t.Errorf("low over high: %v", err)
	}
	if _, err := Load(Sources{File: path}); err == nil || !strings.Contains(err.Error(), "default") {
		t.Errorf("the default of low is over the file's high: %v", err)
	}
	if _, err := Load(Sources{File: path, Environ: []string{"FOREBAY_WORKER_WATERMARK_LOW=0.4"}}); err != nil {
		t.Errorf("both set well: %v", err)
	}
	if _, err := Load(Sources{Flags: map[string]Flag{"client.tiemout": {"--it", "1s"}}}); !dfs.IsKind(err, dfs.InvalidArgument) || !strings.Contains(err.Error(), "client.timeout") {
		t.Errorf("a flag of no key: %v", err)
	}
}

// TestLimitsAreInclusive: the smallest and the largest value that a check takes are taken, and the next one is not.
func TestLimitsAreInclusive(t *testing.T) {
	for key, tt := range map[string]struct{ good, bad []string }{
		"worker.heartbeat":           {[]string{"10ms"}, []string{"9.999ms"}},
		"client.timeout":             {[]string{"1ms"}, []string{"999µs"}},
		"client.keepalive":           {[]string{"100ms"}, []string{"99ms"}},
		"master.session.timeout":     {[]string{"1s"}, []string{"999ms"}},
		"master.worker.lost.timeout": {[]string{"1s"}, []string{"999ms"}},
		"client.replication.durable": {[]string{"1", "100"}, []string{"0", "101"}},
		"worker.watermark.high":      {[]string{"1", "0.851"}, []string{"1.0001", "0.85"}},
		"master.block.size":          {[]string{"1MiB", "3MiB"}, []string{"1MiB1", "1048577", "1048575"}},
		"client.block.size":          {[]string{"0", "1MiB"}, []string{"1048575"}},
		"worker.address":             {[]string{":0", "h:65535", "[::1]:1"}, []string{"h:65536", "::1:1", "h"}},
		"worker.http.address":        {[]string{"", "h:1"}, []string{"h"}},
		"worker.tiers":               {[]string{"SSD:/x:1MiB", "SSD:/a:b:1MiB"}, []string{"SSD:/x:1048575", "ssd:/x:1MiB", ":/x:1MiB"}},
		"client.masters":             {[]string{"h:1", "h:1,"}, []string{",", "h:1,h"}},
		"client.readtype":            {[]string{"no_cache", "Cache"}, []string{"NOCACHE"}},
		"worker.scrub.rate":          {[]string{"0", "1B"}, []string{"-1"}},
	} {
		for _, value := range tt.good {
			if _, err := Load(Sources{Flags: map[string]Flag{key: {"--it", value}}}); err != nil {
				t.Errorf("%s=%s: %v", key, value, err)
			}
		}
		for _, value := range tt.bad {
			if _, err := Load(Sources{Flags: map[string]Flag{key: {"--it", value}}}); !dfs.IsKind(err, dfs.InvalidArgument) {
				t.Errorf("%s=%s: got %v", key, value, err)
			}
		}
	}
}

// TestWhichFile: a file that is named wins over the environment's, which wins over the default one; only the default one may
// be absent.
func TestWhichFile(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("master: {id: "+name+"}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for _, tt := range []struct{ named, environment, id string }{{a, "", "a"}, {"", b, "b"}, {a, b, "a"}, {a, "/none", "a"}, {"", "/none", ""}, {"/none", a, ""}} {
		l, err := Load(Sources{File: tt.named, Environ: []string{"FOREBAY_CONFIG=" + tt.environment}})
		if tt.id == "" {
			if !dfs.IsKind(err, dfs.NotFound) || !strings.Contains(err.Error(), "/none") {
				t.Errorf("%+v: %v", tt, err)
			}
			continue
		}
		if err != nil || l.Config.Master.ID != tt.id {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

// TestAliasAndItsKey: an alias sets all its keys, a key's own variable wins over it, and the last of two entries counts.
func TestAliasAndItsKey(t *testing.T) {
	l, err := Load(Sources{File: write(t, ""), Environ: []string{
		"FOREBAY_WORKER_MASTERS=w:1", "FOREBAY_MASTERS=old:1", "FOREBAY_MASTERS=a:1,b:2", "FOREBAY_USER=ann",
	}})
	if err != nil {
		t.Fatal(err)
	}
	c := l.Config
	if got := strings.Join(c.Client.Masters, " "); got != "a:1 b:2" || strings.Join(c.Worker.Masters, " ") != "w:1" || c.Client.User != "ann" {
		t.Errorf("client %s, worker %v, user %s", got, c.Worker.Masters, c.Client.User)
	}
	if o := l.origin("client.masters"); o != "environment FOREBAY_MASTERS" {
		t.Errorf("the origin is %s", o)
	}
}

// TestDefaultsAreValidAndFresh: the defaults pass the checks, listen on loopback only, and are nobody's to change.
func TestDefaultsAreValidAndFresh(t *testing.T) {
	a, b := Default(), Default()
	if err := (&Loaded{Config: a}).check(); err != nil {
		t.Error(err)
	}
	for _, s := range Keys() {
		if strings.HasSuffix(s.Key, "address") && !strings.HasPrefix(s.Value, "127.0.0.1:") {
			t.Errorf("%s is %s: opening a service to a network is a decision", s.Key, s.Value)
		}
	}
	a.Worker.Masters[0], a.Worker.Tiers[0].Dir, a.Client.Timeout = "x", "x", time.Hour
	if b.Worker.Masters[0] == "x" || b.Worker.Tiers[0].Dir == "x" || Default().Client.Timeout == time.Hour {
		t.Error("two configurations share their values")
	}
	seen := map[string]string{}
	for _, f := range fields(a) {
		name := EnvironmentName(f.key)
		if seen[name] != "" || strings.HasSuffix(f.key, ".") || f.doc == "" {
			t.Errorf("%s: the variable %s is also that of %q, or it has no documentation", f.key, name, seen[name])
		}
		seen[name] = f.key
	}
}

// TestListsInFiles: a list may be a sequence or one text, an entry of a sequence may hold a comma, and blanks around entries
// of a text are no part of them.
func TestListsInFiles(t *testing.T) {
	for text, want := range map[string]string{
		"[a:1, b:1]": "a:1|b:1", "a:1": "a:1", "'a:1 , b:1,'": "a:1|b:1", "[\"a:1\"]": "a:1", "\n  - a:1\n  - b:1": "a:1|b:1",
	} {
		l, err := Load(Sources{File: write(t, "client:\n masters: "+text)})
		if err != nil || strings.Join(l.Config.Client.Masters, "|") != want {
			t.Errorf("%q: %v", text, err)
		}
	}
	l, err := Load(Sources{File: write(t, "client: {groups: ['a,b', c]}")})
	if err != nil || len(l.Config.Client.Groups) != 2 || l.Config.Client.Groups[0] != "a,b" {
		t.Errorf("a comma in an entry: %v", err)
	}
	for _, text := range []string{"[[a:1]]", "[~, {x: y}]", "{a: b}", "[a:1, [b:1]]"} {
		if _, err := Load(Sources{File: write(t, "client: {masters: "+text+"}")}); !dfs.IsKind(err, dfs.InvalidArgument) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
