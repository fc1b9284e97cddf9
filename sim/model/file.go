package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
)

// maxFileBytes bounds what is read: a model has a few thousand bytes.
const maxFileBytes = 1 << 20

// Load reads a model file. Unknown keys, another version and impossible values are errors that name the file.
func Load(path string) (*Model, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read model: %w; make one with forebay-lab calibrate --out FILE", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read model %s: %w", path, err)
	}
	m, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", path, err)
	}
	return m, nil
}

// Parse reads the text of a model file; all that is wrong with its values is told at once. The version is looked at first,
// since the keys of another one are others.
func Parse(text []byte) (*Model, error) {
	if len(text) > maxFileBytes {
		return nil, fmt.Errorf("it has more than %d bytes and is no model", maxFileBytes)
	}
	var v struct {
		Version *int `json:"version"`
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, fmt.Errorf("it is not JSON of a model: %w", err)
	}
	if v.Version == nil || *v.Version != Version {
		return nil, fmt.Errorf("its version is not %d, which this program reads: calibrate again", Version)
	}
	m := &Model{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("it cannot be read: %w", err)
	}
	return m, m.Check()
}

// Encode is the model as a file has it.
func (m *Model) Encode() ([]byte, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(m, "", "  ")
	return append(text, '\n'), err
}

// Bounds of values: a second for a time that is spent on one thing, and what no disk writes.
const (
	maxNs    = 1e9
	maxCores = 4096
	maxRate  = 1e12

	maxSpread = 3 // one in a hundred takes a thousand times the median
)

// Check tells what of a model cannot be, all at once.
func (m *Model) Check() error {
	c := &check{}
	if m.Cores < 1 || m.Cores > maxCores {
		c.wrong("cores", float64(m.Cores), fmt.Sprintf("1 to %d", maxCores))
	}
	c.ns("latency_wait_ns", m.LatencyNs)
	c.ns("turn_ns", m.TurnNs)
	c.ns("start_wait_ns", m.StartNs)
	if x := m.StartShare; !(x >= 0 && x <= 1) {
		c.wrong("start_queue_share", x, "0 to 1")
	}
	c.ns("idle_ns", m.IdleNs)
	c.spread("message_spread", m.MessageSpread)
	for _, name := range slices.Sorted(maps.Keys(m.Methods)) {
		x := m.Methods[name]
		for _, e := range []struct {
			name string
			End
		}{{"client", x.Client}, {"server", x.Server}} {
			at := fmt.Sprintf("methods[%q].%s.", name, e.name)
			c.ns(at+"call_ns", e.CallNs)
			c.ns(at+"message_ns", e.MessageNs)
			c.ns(at+"kib_ns", e.KiBNs)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.Operations)) {
		x := m.Operations[name]
		at := fmt.Sprintf("operations[%q].", name)
		c.ns(at+"client_ns", x.ClientNs)
		c.ns(at+"server_ns", x.ServerNs)
		c.ns(at+"client_entry_ns", x.ClientEntryNs)
		c.ns(at+"server_entry_ns", x.ServerEntryNs)
	}
	c.known("methods", slices.Sorted(maps.Keys(m.Methods)), nil)
	c.known("operations", slices.Sorted(maps.Keys(m.Operations)), []string{Status, List, Create, Complete, Mkdir, Other})
	c.ns("journal.entry_ns", m.Journal.EntryNs)
	c.ns("journal.sync_wait_ns", m.Journal.SyncNs)
	c.ns("disk.create_ns", m.Disk.CreateNs)
	c.ns("disk.write_kib_ns", m.Disk.WriteKiBNs)
	c.ns("disk.sync_ns", m.Disk.SyncCPUNs)
	c.ns("disk.sync_wait_ns", m.Disk.SyncNs)
	c.spread("disk.sync_spread", m.Disk.SyncSpread)
	if r := m.Disk.BytesPerSecond; !(r >= 1 && r <= maxRate) {
		c.wrong("disk.write_bytes_per_second", r, fmt.Sprintf("1 to %g", maxRate))
	}
	c.ns("store.open_ns", m.Store.OpenNs)
	c.ns("store.read_kib_ns", m.Store.ReadKiBNs)
	c.ns("store.write_ns", m.Store.WriteNs)
	c.ns("store.write_kib_ns", m.Store.WriteKiBNs)
	c.ns("store.commit_wait_ns", m.Store.CommitNs)
	return c.err
}

type check struct{ err error }

func (c *check) wrong(key string, value float64, want string) {
	c.err = errors.Join(c.err, fmt.Errorf("%s: %v, want %s", key, value, want))
}

func (c *check) ns(key string, value float64) {
	if !(value >= 0 && value <= maxNs) || math.IsNaN(value) {
		c.wrong(key, value, fmt.Sprintf("0 to %g nanoseconds", maxNs))
	}
}

func (c *check) spread(key string, value float64) {
	if !(value >= 0 && value <= maxSpread) {
		c.wrong(key, value, fmt.Sprintf("0 to %v", maxSpread))
	}
}

// known refuses names that mean nothing (with a list of those that do), and a table without the line for all others.
func (c *check) known(key string, names, allowed []string) {
	if !slices.Contains(names, Other) {
		c.err = errors.Join(c.err, fmt.Errorf("%s: there is no %q, which stands for all that have no line", key, Other))
	}
	for _, name := range names {
		if allowed != nil && !slices.Contains(allowed, name) {
			c.err = errors.Join(c.err, fmt.Errorf("%s: there is no %q: want some of %v", key, name, allowed))
		}
	}
}
