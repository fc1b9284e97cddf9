// Package mounttable maps paths of the namespace to under stores. A Table is immutable: the namespace derives a new one
// from the logged records whenever a mount changes, so that readers need no lock. It opens no store; package master does.
package mounttable

import (
	"encoding/json"
	"maps"
	"sort"
	"strings"
	"time"

	"github.com/forebay/forebay/system/dfs"
)

// Mount is one entry. It is immutable.
// Its JSON form is what is logged, so fields are only added, and an absent one means its zero value.
type Mount struct {
	ID           dfs.MountID
	Path         dfs.Path
	URI          string
	ReadOnly     bool
	Shared       bool              // other users may see it in listings of mounts
	Options      map[string]string `json:",omitempty"` // with secrets: Redacted is for people
	SyncInterval time.Duration     // negative: never after the first load; 0: at every access
}

// Encode is the record's value.
func (m *Mount) Encode() []byte {
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	return b
}

// Decode reads a record's value.
// Fields that a newer version has added are passed over.
func Decode(b []byte) (*Mount, error) {
	m := new(Mount)
	if err := json.Unmarshal(b, m); err != nil {
		return nil, dfs.Errorf(dfs.Corrupted, "decode mount", "", "%v", err)
	}
	return m, nil
}

// Redacted is the options with every secret replaced.
func (m *Mount) Redacted() map[string]string {
	out := maps.Clone(m.Options)
	for k := range out {
		if IsSecret(k) {
			out[k] = "***"
		}
	}
	return out
}

// IsSecret tells whether an option's value must not be shown.
// It goes by the name, since drivers have options of their own; a new secret option needs one of these words in its
// name.
func IsSecret(key string) bool {
	key = strings.ToLower(key)
	for _, word := range []string{"secret", "password", "token", "access_key", "accesskey", "credential"} {
		if strings.Contains(key, word) {
			return true
		}
	}
	return false
}

// Table is the set of mounts at one moment.
type Table struct {
	byPath map[dfs.Path]*Mount
	byID   map[dfs.MountID]*Mount
	all    []*Mount // by path
}

// New makes a table.
// The mounts' paths and ids are distinct, which the evaluator sees to; of two at one path the later would win.
func New(mounts []*Mount) *Table {
	t := &Table{byPath: map[dfs.Path]*Mount{}, byID: map[dfs.MountID]*Mount{}}
	for _, m := range mounts {
		t.byPath[m.Path], t.byID[m.ID] = m, m
	}
	t.all = append(t.all, mounts...)
	sort.Slice(t.all, func(i, j int) bool { return t.all[i].Path < t.all[j].Path })
	return t
}

// All lists the mounts by path.
// The slice is the table's own: readers do not change it.
func (t *Table) All() []*Mount { return t.all }

// ByID finds a mount; nil when there is none.
func (t *Table) ByID(id dfs.MountID) *Mount { return t.byID[id] }

// At is the mount that begins exactly at p; nil when none does.
func (t *Table) At(p dfs.Path) *Mount { return t.byPath[p] }

// Resolve finds the innermost mount that contains p and p's path inside its store; nil when p lies in none.
// It costs one lookup for each name of p. The path inside the store is "" for the mount's root, and never begins with
// a slash.
func (t *Table) Resolve(p dfs.Path) (*Mount, string) {
	if len(t.all) == 0 {
		return nil, ""
	}
	for q := p; ; q = q.Parent() {
		if m := t.byPath[q]; m != nil {
			return m, q.Relative(p)
		}
		if q.IsRoot() {
			return nil, ""
		}
	}
}

// Below lists the mounts that begin strictly below p.
func (t *Table) Below(p dfs.Path) []*Mount {
	var out []*Mount
	for _, m := range t.all {
		if m.Path != p && p.Contains(m.Path) {
			out = append(out, m)
		}
	}
	return out
}
