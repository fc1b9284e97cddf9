package config

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/forebay/forebay/system/dfs"
)

// TestSizesReadBack: whatever a size is, its text gives the same size again, in any case and with blanks around it.
func TestSizesReadBack(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	sizes := []Size{0, 1, 1023, 1024, 1025, 1 << 20, 1<<50 + 1, 1 << 62, math.MaxInt64}
	for range 2000 {
		sizes = append(sizes, Size(rng.Int64()>>rng.IntN(63)<<rng.IntN(10)&math.MaxInt64))
	}
	for _, want := range sizes {
		text := want.String()
		for _, form := range []string{text, strings.ToLower(text), "  " + text + "\t"} {
			if got, err := ParseSize(form); err != nil || got != want {
				t.Errorf("%q: %d, want %d; %v", form, got, want, err)
			}
		}
	}
}

// slowDistance is the definition of the edit distance: the cheapest of a deletion, an insertion and a replacement.
func slowDistance(a, b string) int {
	if a == "" || b == "" {
		return len(a) + len(b)
	}
	replaced := slowDistance(a[1:], b[1:])
	if a[0] != b[0] {
		replaced++
	}
	return min(replaced, slowDistance(a[1:], b)+1, slowDistance(a, b[1:])+1)
}

// TestDistanceIsTheDefinition compares the table of one row with the recursive definition, on short random texts.
func TestDistanceIsTheDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	text := func() string {
		b := make([]byte, rng.IntN(6))
		for i := range b {
			b[i] = "ab."[rng.IntN(3)]
		}
		return string(b)
	}
	for range 2000 {
		a, b := text(), text()
		if got, want := distance(a, b), slowDistance(a, b); got != want {
			t.Fatalf("%q to %q: %d, want %d", a, b, got, want)
		}
	}
}

// TestTierEntries: every way in which a tier of a file can be wrong is refused with its line, and says what is wrong;
// what is right is taken in any order of keys.
func TestTierEntries(t *testing.T) {
	const head = "worker:\n  tiers:\n"
	for entry, want := range map[string]string{
		"    - {name: SSD, dir: /d, name: HDD, capacity: 1GiB}": "name is set twice",
		"    - {name: SSD, dir: /d, dir: /e, capacity: 1GiB}":   "dir is set twice",
		"    - {name: SSD, dir: /d, capacities: 1GiB}":          "the nearest is capacity",
		"    - {name: SSD, dir: /d, capacity: much}":            "want a number and a unit",
		"    - {name: SSD, capacity: 1GiB}":                     "want a list of tiers",
		"    - {dir: /d, capacity: 1GiB}":                       "want a list of tiers",
		"    - SSD":                                             "want a list of tiers",
	} {
		_, err := load(t, head+entry+"\n")
		if !dfs.IsKind(err, dfs.InvalidArgument) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), ":3") {
			t.Errorf("%s: %v, want %q at line 3", entry, err, want)
		}
	}
	l, err := load(t, head+"    - {capacity: 1GiB, dir: /d, name: SSD}\n    - {name: HDD, dir: /e, capacity: 2GiB}\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Config.Worker.Tiers; len(got) != 2 || got[0] != (Tier{Name: "SSD", Dir: "/d", Capacity: 1 << 30}) || got[1].Name != "HDD" {
		t.Errorf("tiers %v", got)
	}
}

// TestTiersAsText: tiers read back from their text, colons in directories included; what has too few parts is refused.
func TestTiersAsText(t *testing.T) {
	const text = "MEM:/m:1GiB,SSD:/with:colons:in:it:2TiB"
	tiers, err := parseTiers(text)
	if err != nil || len(tiers) != 2 || tiers[1].Dir != "/with:colons:in:it" {
		t.Fatalf("%v, %v", tiers, err)
	}
	c := Default()
	c.Worker.Tiers = tiers
	for _, f := range fields(c) {
		if f.key == "worker.tiers" && f.String() != text {
			t.Errorf("written as %q", f.String())
		}
	}
	for _, bad := range []string{"SSD", "SSD:/d", ":", "SSD:/d:", "SSD:/d:x", "SSD:/d:-1", "SSD:/d:1GiB,HDD"} {
		if tiers, err := parseTiers(bad); !dfs.IsKind(err, dfs.InvalidArgument) {
			t.Errorf("%q: %v, %v", bad, tiers, err)
		}
	}
}
