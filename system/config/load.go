package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sort"
	"strings"

	"github.com/forebay/forebay/system/dfs"
)

// DefaultFile is read when it exists and no other file was named.
const DefaultFile = "/etc/forebay/forebay.yaml"

// Sources is where values come from, besides the defaults.
//
// Nothing else of the process is looked at, beside the file: a test gives what it wants to have found.
type Sources struct {
	File    string          // "": FOREBAY_CONFIG from Environ, otherwise DefaultFile if it exists
	Environ []string        // "NAME=value"; os.Environ()
	Flags   map[string]Flag // by key
}

// Flag is a flag that was given.
// Name is as it was typed, for errors.
type Flag struct{ Name, Value string }

// Setting is one key as it was resolved.
//
// It is for people and for programs that show it (its JSON names are stable); the program itself reads Loaded.Config.
type Setting struct {
	Key    string `json:"key"`
	Value  string `json:"value"` // as it could be set again, but for secrets, which are masked
	Origin string `json:"origin"`
	Doc    string `json:"doc"`
}

// Loaded is a configuration and where it came from. It is not changed after Load, so that it may be shared.
type Loaded struct {
	Config  *Config           // with its secrets: it is for the program, Settings is for people
	origins map[string]string // by key; absent: default
}

// aliases are environment variables that set several keys. A variable of a key itself comes after them in the order of
// names, which is the order of setting, and so wins: FOREBAY_WORKER_MASTERS over FOREBAY_MASTERS.
var aliases = map[string][]string{
	"FOREBAY_MASTERS": {"client.masters", "worker.masters"},
	"FOREBAY_USER":    {"client.user"},
}

// mistypedDistance is how near a variable outside of the sections must be to one that exists to be taken for a mistake;
// others with our prefix belong to tests and scripts.
const mistypedDistance = 2

// Load resolves the configuration: defaults, then the file, the environment, and flags, each over the one before. An
// unknown key, a wrong type or an impossible value is InvalidArgument, naming the place, the key and the remedy; a file
// that was named and does not exist is NotFound. The first mistake found is the one told: sources in their order, then
// values that are well formed and cannot work. A value that another source replaces must still be well formed.
func Load(from Sources) (*Loaded, error) {
	l := newLoader()
	environ := variables(from.Environ)
	if err := l.file(from.File, environ["FOREBAY_CONFIG"]); err != nil {
		return nil, err
	}
	if err := l.environment(environ); err != nil {
		return nil, err
	}
	for _, key := range sortedKeys(from.Flags) {
		if err := l.set(key, from.Flags[key].Value, "flag "+from.Flags[key].Name); err != nil {
			return nil, err
		}
	}
	return l.loaded, l.loaded.check()
}

// Settings lists every key, in the order of the tree, as people may see it: secrets are masked, those inside URIs too.
//
// Each call makes the list anew, so that it may be changed.
func (l *Loaded) Settings() []Setting {
	var all []Setting
	for _, f := range fields(l.Config) {
		all = append(all, Setting{Key: f.key, Value: f.shown(f.String()), Origin: l.origin(f.key), Doc: f.doc})
	}
	return all
}

// origin is where a key's value came from: "default", or what the source's set noted.
func (l *Loaded) origin(key string) string {
	if o, ok := l.origins[key]; ok {
		return o
	}
	return "default"
}

// Keys lists all keys with their documentation and defaults.
// Their origin is "default".
func Keys() []Setting { return (&Loaded{Config: Default()}).Settings() }

// loader is a Load under way. Its fields point into loaded.Config, and each source sets what it has: the order of the
// sources is the order of the calls, and nothing else knows it.
type loader struct {
	loaded *Loaded
	byKey  map[string]field
	keys   []string // in the order of the tree
}

// newLoader makes a loader that has the defaults.
func newLoader() *loader {
	l := &loader{loaded: &Loaded{Config: Default(), origins: make(map[string]string)}, byKey: make(map[string]field)}
	for _, f := range fields(l.loaded.Config) {
		l.byKey[f.key] = f
		l.keys = append(l.keys, f.key)
	}
	return l
}

// set parses text into a key, and notes where it came from: later sources call it again and win.
//
// After an error the key keeps its value and its origin, and the load as a whole fails.
func (l *loader) set(key, text, origin string) error {
	f, ok := l.byKey[key]
	if !ok {
		return l.unknown(key, origin)
	}
	if err := f.set(text); err != nil {
		return dfs.Errorf(dfs.InvalidArgument, "configure", origin, "%s: %s", key, dfs.DetailOf(err))
	}
	l.loaded.origins[key] = origin
	return nil
}

// unknown is the error for a key that does not exist. It is one, and not passed over: a key with a slip in it would leave
// the default in force without a word.
func (l *loader) unknown(key, origin string) error {
	return dfs.Errorf(dfs.InvalidArgument, "configure", origin, "there is no key %s; the nearest is %s", key, nearest(key, l.keys))
}

// file applies a file: the one named by a flag, else by the environment, else the default one. One that was named must exist;
// the default one may be absent, and must be readable if it is there.
//
// An empty file is a file without settings. What cannot be read is InvalidArgument, since it is the naming of it that is
// wrong for this process.
func (l *loader) file(named, fromEnvironment string) error {
	path := named
	if path == "" {
		path = fromEnvironment
	}
	optional := path == ""
	if optional {
		path = DefaultFile
	}
	text, err := os.ReadFile(path)
	switch {
	case optional && errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return dfs.Errorf(dfs.NotFound, "read configuration", path, "there is no such file: make it, or leave --config and FOREBAY_CONFIG away")
	case err != nil:
		return dfs.Errorf(dfs.InvalidArgument, "read configuration", path, "%v", err)
	}
	return l.yaml(path, text)
}

// environment applies the variables that are keys. One with our prefix that is none is a mistake worth telling, if it begins
// as those of keys do or is nearly one of them. They are applied in the order of their names, so that errors and aliases do
// not depend on the environment's order.
//
// FOREBAY_CONFIG names the file and is no key. A variable that is set and empty is set: the empty text must then be a value of
// the key's type.
func (l *loader) environment(environ map[string]string) error {
	names := make(map[string]string, len(l.keys))
	for _, key := range l.keys {
		names[EnvironmentName(key)] = key
	}
	known := append(sortedKeys(names), sortedKeys(aliases)...)
	for _, name := range sortedKeys(environ) {
		keys := aliases[name]
		if key, ok := names[name]; ok {
			keys = []string{key}
		}
		if best := nearest(name, known); keys == nil && name != "FOREBAY_CONFIG" &&
			(inSection(name) || distance(name, best) <= mistypedDistance) {
			return dfs.Errorf(dfs.InvalidArgument, "configure", "environment "+name, "there is no such variable; the nearest is %s", best)
		}
		for _, key := range keys {
			if err := l.set(key, environ[name], "environment "+name); err != nil {
				return err
			}
		}
	}
	return nil
}

// inSection tells whether a variable's name begins as those of keys do.
func inSection(name string) bool {
	for _, section := range []string{"FOREBAY_LOG_", "FOREBAY_MASTER_", "FOREBAY_WORKER_", "FOREBAY_CLIENT_"} {
		if strings.HasPrefix(name, section) {
			return true
		}
	}
	return false
}

// variables picks what could be ours from the environment; the last of two entries wins, as in exec.
// An entry without "=" is passed over, as programs do.
func variables(environ []string) map[string]string {
	all := make(map[string]string)
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok && strings.HasPrefix(name, "FOREBAY_") {
			all[name] = value
		}
	}
	return all
}

// sortedKeys is m's keys in order, for whatever people see or what depends on order.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// place is where in a file a value stands.
func place(path string, line int) string { return fmt.Sprintf("%s:%d", path, line) }
