package fidelity

import (
	"fmt"

	"github.com/forebay/forebay/system/dfs"
)

// Workload is one configuration of the closed loop: so many callers, each of which does the next operation as soon as its last
// was answered.
type Workload struct {
	Op      string        `json:"op"`
	Callers int           `json:"callers"`
	Workers int           `json:"workers"`
	Bytes   int           `json:"bytes,omitempty"`   // of each file that is read or written
	Entries int           `json:"entries,omitempty"` // of the directory that is listed
	Type    dfs.WriteType `json:"write_type,omitempty"`
	Ops     int           `json:"ops"` // in one slice
}

// The operations that a workload may name.
const (
	opStatus = "status"
	opCreate = "create" // of an empty file that only the cache has: two changes of the namespace
	opMkdir  = "mkdir"
	opList   = "list"
	opCold   = "read cold" // each file for the first time, out of the under store
	opWarm   = "read warm"
	opWrite  = "write"
)

// Name says what was run; no two workloads of one matrix share it.
func (w Workload) Name() string {
	name := w.Op
	if w.Op == opWrite {
		name += " " + w.Type.String()
	}
	switch {
	case w.Entries > 0:
		name += fmt.Sprintf(" %d entries", w.Entries)
	case w.Bytes >= 1<<20:
		name += fmt.Sprintf(" %d MiB", w.Bytes>>20)
	case w.Bytes > 0:
		name += fmt.Sprintf(" %d KiB", w.Bytes>>10)
	}
	return fmt.Sprintf("%s, %d callers, %d workers", name, w.Callers, w.Workers)
}
