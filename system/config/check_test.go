package config

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
)

// TestAddresses: which texts are addresses that one can listen on or dial, alone, in lists, and where none will do.
func TestAddresses(t *testing.T) {
	for text, ok := range map[string]bool{
		"h:1": true, ":0": true, ":65535": true, "0.0.0.0:80": true, "[::1]:80": true, "h.example.org:19998": true,
		"": false, "h": false, "h:": false, ":65536": false, "h:-1": false, "h:http": false, "::1:80": false, "[::1]": false, "h:1:2": false, "h: 1": false, "h:0x10": false,
	} {
		if p := address("k", text); (p.why == "") != ok || !ok && p.key != "k" {
			t.Errorf("address %q: %+v", text, p)
		}
		if p := optionalAddress("k", text); (p.why == "") != (ok || text == "") {
			t.Errorf("optional address %q: %+v", text, p)
		}
		for _, list := range [][]string{{text}, {"a:1", text}, {text, "a:1"}} {
			if p := addresses("k", list); (p.why == "") != ok {
				t.Errorf("addresses %q: %+v", list, p)
			}
		}
		for _, peer := range []string{"m=" + text + "/a:1", "m=a:1/" + text} {
			if p := peers([]string{"x=a:1/b:2", peer}); (p.why == "") != ok || !ok && !strings.Contains(p.why, peer) {
				t.Errorf("peer %q: %+v", peer, p)
			}
		}
	}
	if addresses("k", nil).why == "" || peers(nil).why != "" {
		t.Error("a client without masters, or a master alone, is judged wrongly")
	}
	for _, peer := range []string{"", "m", "=a:1/b:2", "a:1/b:2", "m=a:1", "m=/", "m=a:1/b:2/c:3"} {
		if peers([]string{peer}).why == "" {
			t.Errorf("peer %q will do", peer)
		}
	}
}

// TestBlockSizes: blocks are whole pages; nothing but "not set" is allowed beside them, and only where that has a meaning.
func TestBlockSizes(t *testing.T) {
	const page = Size(dfs.PageSizeBytes)
	for _, test := range []struct {
		size     Size
		ok, zero bool // whether it will do, and whether it will where 0 does
	}{
		{page, true, true}, {64 * page, true, true}, {math.MaxInt64 / page * page, true, true}, {0, false, true}, {-page, false, false},
		{page - 1, false, false}, {page + 1, false, false}, {page / 2, false, false}, {3*page + page/2, false, false}, {1, false, false},
	} {
		if got := blockSize("k", test.size, false).why == ""; got != test.ok {
			t.Errorf("%v: %v", test.size, got)
		}
		if got := blockSize("k", test.size, true).why == ""; got != test.zero {
			t.Errorf("%v where 0 will do: %v", test.size, got)
		}
	}
}

// TestTierChecks: the first tier that cannot work is told; the same medium may come twice, and names are as documented.
func TestTierChecks(t *testing.T) {
	good := Tier{Name: "SSD", Dir: "/d", Capacity: Size(dfs.PageSizeBytes)}
	with := func(change func(*Tier)) Tier { tier := good; change(&tier); return tier }
	for word, bad := range map[string]Tier{
		`"ssd"`:      with(func(t *Tier) { t.Name = "ssd" }),
		`""`:         with(func(t *Tier) { t.Name = "" }),
		"needs a":    with(func(t *Tier) { t.Dir = "" }),
		"no page":    with(func(t *Tier) { t.Capacity-- }),
		"of 0 holds": with(func(t *Tier) { t.Capacity = 0 }),
	} {
		for _, all := range [][]Tier{{bad}, {good, bad}, {bad, good}} {
			if p := tiers(all); !strings.Contains(p.why, word) || p.key != "worker.tiers" {
				t.Errorf("%v: %+v, want %q", all, p, word)
			}
		}
	}
	if p := tiers([]Tier{good, good, {Name: "MEM", Dir: "/m", Capacity: 1 << 40}, {Name: "HDD", Dir: "/h", Capacity: 1 << 40}}); p.why != "" {
		t.Errorf("good tiers: %+v", p)
	}
	if tiers(nil).why == "" {
		t.Error("a worker without tiers will do")
	}
}

// TestCheckTellsWhere: a value that is well formed and cannot work is told with its key and its origin, the first in the order
// of the list, and without what looks like a secret.
func TestCheckTellsWhere(t *testing.T) {
	for key, test := range map[string]struct {
		change func(c *Config)
		word   string
	}{
		"log.level":                  {func(c *Config) { c.Log.Level = "INFO" }, "debug, info"},
		"log.format":                 {func(c *Config) { c.Log.Format = "" }, "text, json"},
		"master.metadata.store":      {func(c *Config) { c.Master.Metadata.Store = "s3://k:hunter2@h" }, "k:***@h"},
		"master.id":                  {func(c *Config) { c.Master.ID = "a=b" }, "without"},
		"master.session.timeout":     {func(c *Config) { c.Master.Session.Timeout = time.Second - 1 }, "1s or more"},
		"worker.heartbeat":           {func(c *Config) { c.Worker.Heartbeat = -time.Second }, "10ms or more"},
		"client.keepalive":           {func(c *Config) { c.Client.KeepAlive = 0 }, "100ms or more"},
		"worker.watermark.high":      {func(c *Config) { c.Worker.Watermark.High = math.NaN() }, "(0, 1]"},
		"worker.watermark.low":       {func(c *Config) { c.Worker.Watermark.Low = c.Worker.Watermark.High }, "below"},
		"client.replication.durable": {func(c *Config) { c.Client.Replication.Durable = maxDurable + 1 }, "1 to 100"},
		"client.readtype":            {func(c *Config) { c.Client.ReadType = "SOMETIMES" }, "CACHE_PROMOTE"},
		"worker.http.address":        {func(c *Config) { c.Worker.HTTP.Address = "nowhere" }, "host:port"},
		"master.block.size":          {func(c *Config) { c.Master.Block.Size = 0 }, "1MiB"},
		"master.worker.lost.timeout": {func(c *Config) { c.Master.Worker.Lost.Timeout = 0 }, "1s or more"},
		"client.timeout":             {func(c *Config) { c.Client.Timeout = time.Microsecond }, "1ms or more"},
	} {
		l := &Loaded{Config: Default(), origins: map[string]string{key: "flag --x"}}
		if err := l.check(); err != nil {
			t.Fatalf("the defaults: %v", err)
		}
		test.change(l.Config)
		err := l.check()
		if !dfs.IsKind(err, dfs.InvalidArgument) {
			t.Errorf("%s: %v", key, err)
			continue
		}
		for _, word := range []string{key, "flag --x", test.word} {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %q does not say %q", key, err, word)
			}
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %q shows a secret", key, err)
		}
		l.Config.Client.Timeout = 0 // behind most in the list
		l.Config.Log.Level = "none" // the first
		if err := l.check(); !strings.Contains(err.Error(), "log.level") {
			t.Errorf("%s: of several problems %v is told", key, err)
		}
	}
}

// TestSizeText writes sizes in the largest unit that keeps them exact.
func TestSizeText(t *testing.T) {
	for size, want := range map[Size]string{
		0: "0", 1: "1B", 1023: "1023B", 1024: "1KiB", 1025: "1025B", 1536: "1536B", 1 << 20: "1MiB", 3 << 29: "1536MiB", 1 << 50: "1PiB",
		1 << 60: "1024PiB", 10e9: "9765625KiB", math.MaxInt64: "9223372036854775807B", 5 << 40: "5TiB",
	} {
		if got := size.String(); got != want {
			t.Errorf("%d is written as %s, want %s", int64(size), got, want)
		}
	}
	for text, want := range map[string]Size{
		"8191PiB": 8191 << 50, "9223372036854775807": math.MaxInt64, ".5KiB": 512, "1e3": 1000, "1.9B": 1, "0PiB": 0, "1 GB ": 1e9, "1Gb": 1e9, "1g": 1 << 30,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"8192PiB", "9223372036854775808", "-1", "-0.5KiB", "Inf", "+InfB", "1,5GiB", "1Mi", "1 2", "KiB1", "0x"} {
		if got, err := ParseSize(text); !dfs.IsKind(err, dfs.InvalidArgument) {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

// TestVariables: only what could be ours is looked at, the last of two wins, and a value may hold an "=".
func TestVariables(t *testing.T) {
	got := variables([]string{"FOREBAY_A=1", "HOME=/root", "FOREBAY_A=2", "FOREBAY_B", "=x", "", "FOREBAY_C=", "FOREBAY_D=a=b", "XFOREBAY_E=1", "forebay_f=1"})
	want := map[string]string{"FOREBAY_A": "2", "FOREBAY_C": "", "FOREBAY_D": "a=b"}
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
	for name, value := range want {
		if v, ok := got[name]; !ok || v != value {
			t.Errorf("%s is %q, %v", name, v, ok)
		}
	}
	names := make(map[string]string)
	for _, s := range Keys() {
		name := EnvironmentName(s.Key)
		if other := names[name]; other != "" || !inSection(name) {
			t.Errorf("%s has the variable %s, which %q has too, or none of the sections", s.Key, name, other)
		}
		names[name] = s.Key
	}
}
