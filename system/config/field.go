package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/forebay/forebay/system/dfs"
)

// field is one key and the place of its value in a Config. The tree of structs is the one list of keys: file, environment,
// flags, listings and documentation are all made from it, so that none of them can lack a key.
type field struct {
	key    string        // "master.journal.dir"
	doc    string        // one line for people
	secret bool          // tag secret: the whole value is never shown
	value  reflect.Value // settable
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[Size]()
	listType     = reflect.TypeFor[[]string]()
	tiersType    = reflect.TypeFor[[]Tier]()
)

// fields lists c's keys in the order of the tree.
func fields(c *Config) []field { return walk(reflect.ValueOf(c).Elem(), "") }

// walk lists the leaves below a struct. A field's yaml tag is its part of the key; every struct is a section.
// The values are those of the struct itself: who sets one changes the Config.
func walk(v reflect.Value, prefix string) (all []field) {
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		key := prefix + f.Tag.Get("yaml")
		if f.Type.Kind() == reflect.Struct {
			all = append(all, walk(v.Field(i), key+".")...)
			continue
		}
		all = append(all, field{key: key, doc: f.Tag.Get("doc"), secret: f.Tag.Get("secret") != "", value: v.Field(i)})
	}
	return all
}

// EnvironmentName is the environment variable of a key: "master.journal.dir" is FOREBAY_MASTER_JOURNAL_DIR. No two keys
// share one, as long as no key has a '-' or '_' where another has a '.'.
// The way back is by a table of all keys, since the names cannot be taken apart.
func EnvironmentName(key string) string {
	return "FOREBAY_" + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}

// kind is what the field takes, for messages: "want ...". Every type that a field may have has one, as it has a parser.
// It goes into the same sentence for every source, so it names the form and not the Go type.
func (f field) kind() string {
	switch f.value.Type() {
	case durationType:
		return "a duration with a unit, such as 500ms"
	case sizeType:
		return "a size with a unit, such as 64MiB"
	case listType:
		return "a list"
	case tiersType:
		return "a list of tiers: name, dir, capacity"
	}
	switch f.value.Kind() {
	case reflect.Int:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	}
	return "a text"
}

// set parses text into the field. On an error, InvalidArgument with what would be right, the field keeps its value.
// The text may come from a file, the environment or a flag, and all three mean the same by it. The wrong text is in
// the message, masked as shown does it, since a secret that was put into the wrong key must not end in a log.
func (f field) set(text string) error {
	parsed, err := f.parse(text)
	if err != nil {
		return dfs.Errorf(dfs.InvalidArgument, "set", f.key, "%q is not %s", f.shown(text), f.kind())
	}
	f.value.Set(reflect.ValueOf(parsed).Convert(f.value.Type()))
	return nil
}

// parse reads text as the field's type. The result converts to that type.
// The errors are for set, which says what would be right instead of what was wrong.
func (f field) parse(text string) (any, error) {
	switch f.value.Type() {
	case durationType:
		return time.ParseDuration(text)
	case sizeType:
		return ParseSize(text)
	case listType:
		return splitList(text), nil
	case tiersType:
		return parseTiers(text)
	}
	switch f.value.Kind() {
	case reflect.Int:
		return strconv.Atoi(text)
	case reflect.Float64:
		return strconv.ParseFloat(text, 64)
	case reflect.Bool:
		return strconv.ParseBool(text)
	case reflect.String:
		return text, nil
	}
	// A type without a case is a mistake in Config itself, which the first load of any program shows.
	panic(fmt.Sprintf("config: key %s has type %s, which nothing parses", f.key, f.value.Type()))
}

// shown is a text for this field, right or wrong, as people may see it: in listings and in errors, which end up in logs.
func (f field) shown(text string) string {
	if f.secret && text != "" {
		return masked
	}
	return MaskURI(text)
}

// String is the value as it could be set again, its secrets included: shown is for people.
// A tier whose directory has a comma, or a list whose entry has one, cannot be read back from it; files have sequences
// for that.
func (f field) String() string {
	switch v := f.value.Interface().(type) {
	case []string:
		return strings.Join(v, ",")
	case []Tier:
		var parts []string
		for _, t := range v {
			parts = append(parts, fmt.Sprintf("%s:%s:%v", t.Name, t.Dir, t.Capacity))
		}
		return strings.Join(parts, ",")
	default:
		return fmt.Sprint(v)
	}
}

// splitList reads a list from one text, separated by commas. It drops blanks and empty entries, so that a trailing comma
// does no harm.
func splitList(text string) []string {
	var list []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

// parseTiers reads "NAME:DIR:CAPACITY,...". A directory may contain colons, but no comma: that takes a file with a sequence.
// Whether names and capacities make sense is for check, which sees tiers from all sources.
func parseTiers(text string) ([]Tier, error) {
	var tiers []Tier
	for _, part := range splitList(text) {
		first, last := strings.Index(part, ":"), strings.LastIndex(part, ":")
		if first == last {
			return nil, dfs.Errorf(dfs.InvalidArgument, "parse tier", part, "want NAME:DIR:CAPACITY")
		}
		capacity, err := ParseSize(part[last+1:])
		if err != nil {
			return nil, err
		}
		tiers = append(tiers, Tier{Name: part[:first], Dir: part[first+1 : last], Capacity: capacity})
	}
	return tiers, nil
}

// nearest is the key most like text, for whoever mistyped one; of several the first. "" when there are no keys.
// It is for messages alone: nothing is ever set by a key that was guessed.
func nearest(text string, keys []string) string {
	best, bestDistance := "", -1
	for _, key := range keys {
		if d := distance(text, key); bestDistance < 0 || d < bestDistance {
			best, bestDistance = key, d
		}
	}
	return best
}

// distance is the edit distance (Levenshtein) of two texts, in bytes: how many insertions, deletions and replacements make
// one of the other. One row of the table is enough, since each depends on the one before.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
