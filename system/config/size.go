package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/forebay/forebay/system/dfs"
)

// Size is a number of bytes, written with a unit.
//
// 0 is a size; whether it means "none", "the default" or a mistake is said by the key's documentation.
type Size int64

// units, the longest names first, so that "MiB" is not read as "B".
var units = []struct {
	name  string
	bytes int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"PiB", 1 << 50},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"PB", 1e15},
	{"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"T", 1 << 40}, {"B", 1}, {"", 1},
}

// ParseSize reads "64MiB", "1.5GiB", "10GB" or "4096". KiB and its like are powers of 1024, as are K, M, G and T; KB and
// its like are powers of 1000. The case does not matter. Fractions of a byte are cut off. What is negative, no number, or
// does not fit in 63 bits is InvalidArgument.
func ParseSize(text string) (Size, error) {
	trimmed := strings.TrimSpace(text)
	for _, u := range units {
		if len(trimmed) < len(u.name) || !strings.EqualFold(trimmed[len(trimmed)-len(u.name):], u.name) {
			continue
		}
		digits := strings.TrimSpace(trimmed[:len(trimmed)-len(u.name)])
		if whole, err := strconv.ParseInt(digits, 10, 64); err == nil && whole >= 0 && whole <= math.MaxInt64/u.bytes {
			return Size(whole * u.bytes), nil // exact, which a float is not above 2^53
		}
		number, err := strconv.ParseFloat(digits, 64)
		if err != nil {
			break
		}
		bytes := number * float64(u.bytes)
		if bytes < 0 || bytes >= math.MaxInt64 || math.IsNaN(bytes) {
			return 0, dfs.Errorf(dfs.InvalidArgument, "parse size", text, "it is negative or does not fit in 63 bits")
		}
		return Size(bytes), nil
	}
	return 0, dfs.Errorf(dfs.InvalidArgument, "parse size", text, "want a number and a unit, such as 64MiB or 10GB")
}

// String writes the size in the largest binary unit that keeps it exact; ParseSize reads the same size from it.
// Decimal units are never written: a size that was given as 10GB comes back as the same number of bytes in another
// unit.
func (s Size) String() string {
	names := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	n, i := int64(s), 0
	for n != 0 && n%1024 == 0 && i < len(names)-1 {
		n /= 1024
		i++
	}
	if i == 0 && n == 0 {
		return "0"
	}
	return fmt.Sprintf("%d%s", n, names[i])
}
