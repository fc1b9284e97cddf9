// Package scenario runs a simulated cluster under a load that a small file describes, and reports what happened. It owns
// the file's form, the load's clients, the faults' schedule and the report; the cluster is package cluster's, and what it
// does is production code's.
//
// Every client checks what it is told: a file's content is a function of its path and version, and a client remembers what
// of its own was acknowledged. A wrong byte, a lost file or a status that contradicts them is a violation; an operation that
// fails is counted by its kind.
package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/forebay/forebay/sim/scenarios"
	"github.com/forebay/forebay/system/config"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

// Scenario is what a file says. Sizes have units, as in Forebay's configuration.
// A scenario and a seed are all that a run depends on, so that both together are a whole bug report.
type Scenario struct {
	Name        string         `yaml:"-"`
	Description string         `yaml:"description,omitempty"`
	Masters     int            `yaml:"masters,omitempty"` // 1, 3 or 5; 0: 3
	Workers     int            `yaml:"workers"`
	Clients     int            `yaml:"clients"`
	Racks       int            `yaml:"racks,omitempty"`
	Duration    time.Duration  `yaml:"duration"`
	Settle      time.Duration  `yaml:"settle,omitempty"` // after the load, without faults, before everything is looked at again; 0: nothing is
	Rate        float64        `yaml:"rate,omitempty"`   // with Batch, Order, Hot and Mix: the demand of all clients, unless there are groups
	Batch       int            `yaml:"batch,omitempty"`
	Order       string         `yaml:"order,omitempty"`
	Hot         Hot            `yaml:"hot,omitempty"`
	Mix         map[string]int `yaml:"mix,omitempty"`
	Groups      []Group        `yaml:"groups,omitempty"`
	Files       int            `yaml:"files,omitempty"`
	FileSize    Size           `yaml:"fileSize,omitempty"`
	LargeSize   Size           `yaml:"largeSize,omitempty"` // at most, of the operation large; 0: 4 MiB
	BlockSize   Size           `yaml:"blockSize,omitempty"` // of files that are written; 0: the cluster's
	WorkerCache Size           `yaml:"workerCache,omitempty"`
	Replicas    int            `yaml:"replicas,omitempty"` // workers that acknowledge an ASYNC_THROUGH write; 0: one
	Boards      int            `yaml:"boards,omitempty"`   // of the operations post and look; 0: one
	WriteTypes  map[string]int `yaml:"writeTypes,omitempty"`
	Tables      Tables         `yaml:"tables,omitempty"` // for the operation scan
	Blocks      int            `yaml:"blocks,omitempty"` // that workers report besides those that they hold, in all
	Store       UnderStore     `yaml:"store,omitempty"`
	Faults      []Fault        `yaml:"faults,omitempty"`

	Paths []string `yaml:"paths,omitempty"` // rare paths of the code that are taken now and then (package host)

	// What a cluster has by itself at 0.
	SessionTimeout  time.Duration `yaml:"sessionTimeout,omitempty"`
	WorkerLostAfter time.Duration `yaml:"workerLostAfter,omitempty"`
	SnapshotEntries int           `yaml:"snapshotEntries,omitempty"` // of the journal, after which a snapshot is taken
}

// Size is a number of bytes, written with a unit.
type Size int64

// UnmarshalYAML implements yaml.Unmarshaler.
func (s *Size) UnmarshalYAML(n *yaml.Node) error {
	size, err := config.ParseSize(n.Value)
	*s = Size(size)
	return err
}

// Fault is something that goes wrong, once or again and again.
// Every counts from one beginning to the next, not from the end: a fault that lasts longer than that overlaps
// itself. Zone is for cut-zone; the other kinds ignore it.
type Fault struct {
	At    time.Duration `yaml:"at"`
	Every time.Duration `yaml:"every,omitempty"` // 0: once
	For   time.Duration `yaml:"for,omitempty"`
	Kind  string        `yaml:"kind"`
	Zone  string        `yaml:"zone,omitempty"`
	// Of a brownout: by how much the under store is slower, the share of requests that fail besides, and what is left of its
	// limits.
	Slow     float64 `yaml:"slow,omitempty"`
	Errors   float64 `yaml:"errors,omitempty"`
	Capacity float64 `yaml:"capacity,omitempty"`
}

// The bounds of a scenario: what is larger is a slip of the finger, or needs a larger machine than this was made for.
const (
	maxWorkers  = 10_000
	maxClients  = 100_000
	maxFiles    = 10_000_000
	maxDuration = 24 * time.Hour
	maxBoards   = 1000
	maxWeight   = 1000
	maxFileSize = 1 << 30
	maxBlocks   = 1_000_000_000
)

// Load reads a scenario: a file's path, or the name of one that comes with the simulator.
// A name without a dot or a slash that is no file is looked up among those that come along; errors say what was
// wanted.
func Load(name string) (*Scenario, error) {
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) && !strings.ContainsAny(name, "/.") {
		if text, err = scenarios.Files.ReadFile(name + ".yaml"); err != nil {
			return nil, fmt.Errorf("scenario %q: there is none of this name: want a file, or one of %s", name, strings.Join(Names(), ", "))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read scenario: %w", err)
	}
	s, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("scenario %q: %w", name, err)
	}
	s.Name = strings.TrimSuffix(path.Base(name), ".yaml")
	return s, nil
}

// Names lists the scenarios that come with the simulator.
func Names() []string {
	var names []string
	entries, _ := scenarios.Files.ReadDir(".") // it is embedded
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return names
}

// Parse reads a scenario's text. Keys that mean nothing are errors: a misspelt one would be ignored.
func Parse(text []byte) (*Scenario, error) {
	s := &Scenario{}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(s); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return s, s.Check()
}

// Check tells what of a scenario cannot be.
// All mistakes are told at once. It fills in the number of masters when none is given, and so must come before a
// run.
func (s *Scenario) Check() error {
	if s.Masters == 0 {
		s.Masters = 3
	}
	err := errors.Join(within("masters", s.Masters, 1, 5), within("workers", s.Workers, 1, maxWorkers), within("clients", s.Clients, 1, maxClients),
		within("racks", s.Racks, 0, maxWorkers), within("files", s.Files, 0, maxFiles), within("replicas", s.Replicas, 0, s.Workers),
		within("snapshotEntries", s.SnapshotEntries, 0, 1_000_000), spanWithin("sessionTimeout", s.SessionTimeout), spanWithin("workerLostAfter", s.WorkerLostAfter),
		within("boards", s.Boards, 0, maxBoards), within("fileSize", int(s.FileSize), 0, maxFileSize), within("largeSize", int(s.LargeSize), 0, maxFileSize))
	if s.Masters%2 == 0 {
		err = errors.Join(err, fmt.Errorf("masters is %d: want 1, 3 or 5, since an even number bears no more deaths than one less", s.Masters))
	}
	if s.Duration <= 0 || s.Duration > maxDuration {
		err = errors.Join(err, fmt.Errorf("duration is %v: want more than 0 and at most %v", s.Duration, maxDuration))
	}
	if s.Settle < 0 || s.Settle > maxDuration {
		err = errors.Join(err, fmt.Errorf("settle is %v: want 0 to %v", s.Settle, maxDuration))
	}
	if s.BlockSize < 0 || s.BlockSize%dfs.PageSizeBytes != 0 {
		err = errors.Join(err, fmt.Errorf("blockSize is %d: want a multiple of 1 MiB, or 0", s.BlockSize))
	}
	_, storeErr := s.Store.model()
	return errors.Join(err, within("tables.count", s.Tables.Count, 0, maxTables), within("tables.size", int(s.Tables.Size), min(s.Tables.Count, 1), maxTableSize),
		within("blocks", s.Blocks, 0, maxBlocks), storeErr, s.checkGroups(), s.checkWriteTypes(), s.checkFaults(), s.checkPaths())
}

func within(key string, value, low, high int) error {
	if value < low || value > high {
		return fmt.Errorf("%s is %d: want %d to %d", key, value, low, high)
	}
	return nil
}

// spanWithin is for a time that clusters have by themselves: shorter ones would end what is well.
func spanWithin(key string, d time.Duration) error {
	if d != 0 && (d < 3*time.Second || d > maxDuration) {
		return fmt.Errorf("%s is %v: want 3s to %v, or 0 for the cluster's own", key, d, maxDuration)
	}
	return nil
}

// checkMix goes through the map in the order of its keys, so that one file has one error.
func checkMix(where string, mix map[string]int) (err error) {
	total := 0
	for _, name := range slices.Sorted(maps.Keys(mix)) {
		if _, ok := operations[name]; !ok {
			err = errors.Join(err, fmt.Errorf("%smix has %q: want %s", where, name, strings.Join(operationNames(), ", ")))
		}
		err = errors.Join(err, within(where+"mix."+name, mix[name], 0, maxWeight))
		total += max(mix[name], 0)
	}
	if total == 0 {
		err = errors.Join(err, fmt.Errorf("%smix is empty: give at least one operation a weight", where))
	}
	return err
}

func (s *Scenario) checkWriteTypes() (err error) {
	for _, name := range slices.Sorted(maps.Keys(s.WriteTypes)) {
		if _, bad := dfs.ParseWriteType(name); bad != nil {
			err = errors.Join(err, fmt.Errorf("writeTypes: %w", bad))
		}
		err = errors.Join(err, within("writeTypes."+name, s.WriteTypes[name], 0, maxWeight))
	}
	return err
}

func (s *Scenario) checkPaths() (err error) {
	for _, p := range s.Paths {
		if !slices.Contains(host.Paths(), p) {
			err = errors.Join(err, fmt.Errorf("paths has %q: want %q", p, host.Paths()))
		}
	}
	return err
}

func (s *Scenario) checkFaults() (err error) {
	for i, f := range s.Faults {
		if _, ok := faultKinds[f.Kind]; !ok {
			err = errors.Join(err, fmt.Errorf("fault %d has kind %q: want %s", i+1, f.Kind, strings.Join(faultNames(), ", ")))
		}
		if f.At < 0 || f.Every < 0 || f.For < 0 {
			err = errors.Join(err, fmt.Errorf("fault %d: times are 0 or more", i+1))
		}
		if bad := f.checkStore(); bad != nil {
			err = errors.Join(err, fmt.Errorf("fault %d: %w", i+1, bad))
		}
	}
	return err
}

// operationNames and faultNames are sorted: Swarm draws in this order, and a map's would differ between runs of
// one seed.
func operationNames() []string { return slices.Sorted(maps.Keys(operations)) }

func faultNames() []string { return slices.Sorted(maps.Keys(faultKinds)) }
