package config

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/forebay/forebay/system/dfs"
)

// yaml applies a file's text. It walks the nodes by itself instead of decoding into Config: a decoder knows neither the
// line of a value nor the nearest key, cannot tell a section from a slip, and takes "5" for a duration of 5 ns. The file
// may come from anybody, and so is taken to be hostile: errors, not panics, whatever it holds (FuzzYAML).
func (l *loader) yaml(path string, text []byte) error {
	var document, second yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&document); err != nil && !errors.Is(err, io.EOF) {
		return dfs.Errorf(dfs.InvalidArgument, "configure", path, "it is not YAML: %v", err)
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) { // its keys would be left out without a word
		return dfs.Errorf(dfs.InvalidArgument, "configure", path, "it has more than one YAML document, or is broken: leave one, without a line of ---")
	}
	if len(document.Content) == 0 {
		return nil // empty
	}
	return l.node(path, "", document.Content[0])
}

// node applies what stands at key, "" for the whole document: a value where key is one, a section otherwise. It descends
// only into keys that exist, which bounds its depth whatever the file has, anchors that contain themselves included.
// Errors name the file and the line. null for a whole section is what is left when all of its lines are commented out,
// so it is no mistake.
func (l *loader) node(path, key string, n *yaml.Node) error {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	at := place(path, n.Line)
	f, isKey := l.byKey[key]
	switch {
	case isKey:
		return l.value(at, f, n)
	case n.Kind == yaml.MappingNode:
		return l.mapping(path, key, n)
	case n.Tag == "!!null":
		return nil // a section without entries
	case key == "":
		return dfs.Errorf(dfs.InvalidArgument, "configure", at, "want sections with keys, such as master: {address: ...}")
	case !l.isSection(key):
		return l.unknown(key, at)
	}
	return dfs.Errorf(dfs.InvalidArgument, "configure", at, "%s: want a section with keys below it", key)
}

// mapping applies a section's entries, each key once: YAML leaves open which of two wins.
// The keys are checked before what is below them is looked at, so the first wrong line is the one that is told.
func (l *loader) mapping(path, prefix string, n *yaml.Node) error {
	seen := make(map[string]bool)
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		key := strings.TrimPrefix(prefix+"."+name.Value, ".")
		at := place(path, name.Line)
		if seen[key] {
			return dfs.Errorf(dfs.InvalidArgument, "configure", at, "%s: it is set twice: remove one", key)
		}
		seen[key] = true
		if _, ok := l.byKey[key]; !ok && !l.isSection(key) {
			return l.unknown(key, at)
		}
		if err := l.node(path, key, value); err != nil {
			return err
		}
	}
	return nil
}

// isSection tells whether there are keys below key.
// "" is none: the document itself is handled before.
func (l *loader) isSection(key string) bool {
	for _, k := range l.keys {
		if strings.HasPrefix(k, key+".") {
			return true
		}
	}
	return false
}

// value sets one key: scalars by their text, lists by their entries. Nothing (a key without a value, or ~) is refused: it could
// mean the default, no value, or a line that was not finished.
// The origin is kept with the value, for listings that say where each came from.
func (l *loader) value(at string, f field, n *yaml.Node) error {
	wrong := dfs.Errorf(dfs.InvalidArgument, "configure", at, "%s: want %s", f.key, f.kind())
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return wrong
	case n.Kind == yaml.ScalarNode:
		return l.set(f.key, n.Value, at)
	case n.Kind != yaml.SequenceNode || f.value.Kind() != reflect.Slice:
		return wrong
	}
	var err error
	if f.value.Type() == tiersType {
		err = l.tiers(at, f, n)
	} else {
		err = l.list(f, n, wrong)
	}
	if err == nil {
		l.loaded.origins[f.key] = at
	}
	return err
}

// list takes entries as they are: unlike in a flag, a comma is part of an entry here.
// An empty sequence is an empty list, which is how a file takes back a default.
func (l *loader) list(f field, n *yaml.Node, wrong error) error {
	list := []string{}
	for _, entry := range n.Content {
		if entry.Kind != yaml.ScalarNode {
			return wrong
		}
		list = append(list, entry.Value)
	}
	f.value.Set(reflect.ValueOf(list))
	return nil
}

// tiers reads tiers entry by entry, for errors that name the line of the wrong one. A capacity that is missing is 0 here, and
// refused by check.
// A key that a tier has twice is refused, as it is in sections.
func (l *loader) tiers(at string, f field, n *yaml.Node) error {
	path := at[:strings.LastIndexByte(at, ':')]
	tiers := []Tier{}
	for _, entry := range n.Content {
		var t Tier
		names := []string{"name", "dir", "capacity"}
		seen := make(map[string]bool)
		for i := 0; i+1 < len(entry.Content); i += 2 {
			name, text := entry.Content[i].Value, entry.Content[i+1].Value
			var err error
			switch {
			case seen[name]:
				err = dfs.Errorf(dfs.InvalidArgument, "configure", "", "%s is set twice: remove one", name)
			case name == "name":
				t.Name = text
			case name == "dir":
				t.Dir = text
			case name == "capacity":
				t.Capacity, err = ParseSize(text)
			default:
				err = dfs.Errorf(dfs.InvalidArgument, "configure", "", "there is no key %s; the nearest is %s", name, nearest(name, names))
			}
			seen[name] = true
			if err != nil {
				return dfs.Errorf(dfs.InvalidArgument, "configure", place(path, entry.Content[i].Line), "%s: %s", f.key, dfs.DetailOf(err))
			}
		}
		if t.Name == "" || t.Dir == "" {
			return dfs.Errorf(dfs.InvalidArgument, "configure", place(path, entry.Line), "%s: want %s", f.key, f.kind())
		}
		tiers = append(tiers, t)
	}
	f.value.Set(reflect.ValueOf(tiers))
	return nil
}
