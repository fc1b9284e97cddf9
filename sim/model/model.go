// Package model is a calibrated machine: what messages, operations, journal entries, disks and under stores cost on one, as
// forebay-lab calibrate measured it on real processes. It owns the file and its reading, and the charges that follow from it
// (world.Costs). It measures nothing and runs nothing: package fidelity of bench makes models, package cluster builds simulated
// clusters by them.
//
// # What a charge is made of
//
// CPU time is charged to the cores of the node that works: for each message at each end (method, end, KiB), for each operation
// in a batch (its kind), for each entry of a listing, for each entry of the journal, and for each request to an under store that is a
// file system. Time that nobody computes is waited for: the network's latency, a sync of the journal or of a file, the bytes
// that a disk writes.
//
// # What it leaves out
//
// Collections of garbage, contention for locks and for memory, the kernel's caches and their misses, and preemption: cores
// serve first come, first served. A cost is a constant; on a machine it is a distribution, so that high percentiles come out
// too low.
package model

import (
	"time"

	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/proto"
)

// Version is that of the file's form. A file of another one is refused: its figures mean something else.
const Version = 1

// Model is a model file. Times are in nanoseconds, CPU time but where a name says wait.
type Model struct {
	Version int       `json:"version"`
	Commit  string    `json:"commit"` // that was measured
	Time    time.Time `json:"time"`
	Machine Machine   `json:"machine"`

	Cores         int                  `json:"cores"` // of one machine of the model
	LatencyNs     float64              `json:"latency_wait_ns"`
	TurnNs        float64              `json:"turn_ns"`           // of a task that wakes
	StartNs       float64              `json:"start_wait_ns"`     // until a new task runs
	StartShare    float64              `json:"start_queue_share"` // of the wait for a core that a new task waits besides
	IdleNs        float64              `json:"idle_ns"`           // of a process that was idle when a message came
	MessageSpread float64              `json:"message_spread"`    // standard deviation of the logarithm of messages' costs
	Methods       map[string]Method    `json:"methods"`           // by full name; "other" is for those without a line
	Operations    map[string]Operation `json:"operations"`
	Journal       Journal              `json:"journal"`
	Disk          Disk                 `json:"disk"`
	Store         Store                `json:"store"`
}

// Machine is what was measured on.
type Machine struct {
	CPU    string `json:"cpu"`
	Memory string `json:"memory"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

// Method is the cost of a method's messages at the two ends of a call.
type Method struct {
	Client End `json:"client"`
	Server End `json:"server"`
}

// End is the cost at one end.
type End struct {
	CallNs    float64 `json:"call_ns"`    // of beginning a stream
	MessageNs float64 `json:"message_ns"` // of each message, sent or received
	KiBNs     float64 `json:"kib_ns"`     // of each KiB of it
}

// Operation is the cost of one operation of the namespace, besides its message: at the client when it is sent, at the master when
// it is received. Entries are those of its answer.
type Operation struct {
	ClientNs      float64 `json:"client_ns"`
	ServerNs      float64 `json:"server_ns"`
	ClientEntryNs float64 `json:"client_entry_ns"`
	ServerEntryNs float64 `json:"server_entry_ns"`
}

// Journal is the cost of the masters' log.
type Journal struct {
	EntryNs float64 `json:"entry_ns"`
	SyncNs  float64 `json:"sync_wait_ns"`
}

// Disk is a machine's disk. Reads are out of memory, and part of the methods' costs.
type Disk struct {
	CreateNs       float64 `json:"create_ns"`
	WriteKiBNs     float64 `json:"write_kib_ns"`
	SyncCPUNs      float64 `json:"sync_ns"`
	SyncNs         float64 `json:"sync_wait_ns"` // the median
	SyncSpread     float64 `json:"sync_spread"`  // standard deviation of its logarithm; the journal's and the store's too
	BytesPerSecond float64 `json:"write_bytes_per_second"`
}

// Store is an under store that is a file system on the machine's own disk.
type Store struct {
	OpenNs     float64 `json:"open_ns"`
	ReadKiBNs  float64 `json:"read_kib_ns"`
	WriteNs    float64 `json:"write_ns"` // of a new file, begun and committed
	WriteKiBNs float64 `json:"write_kib_ns"`
	CommitNs   float64 `json:"commit_wait_ns"` // besides its bytes
}

// Other is the method whose costs those have that the file does not name, and the operation likewise.
const Other = "other"

// method is the cost of a method's messages at one end.
func (m *Model) end(name string, server bool) End {
	x, ok := m.Methods[name]
	if !ok {
		x = m.Methods[Other]
	}
	if server {
		return x.Server
	}
	return x.Client
}

func (m *Model) operation(kind string) Operation {
	if x, ok := m.Operations[kind]; ok {
		return x
	}
	return m.Operations[Other]
}

// Turn implements world.Costs.
func (m *Model) Turn() time.Duration { return time.Duration(m.TurnNs) }

// Start implements world.Costs.
func (m *Model) Start(queue time.Duration) time.Duration {
	return time.Duration(m.StartNs + m.StartShare*float64(queue))
}

// Idle implements world.Costs.
func (m *Model) Idle() time.Duration { return time.Duration(m.IdleNs) }

// Spread implements world.Costs.
func (m *Model) Spread() float64 { return m.MessageSpread }

// Message implements world.Costs.
func (m *Model) Message(x world.Message) time.Duration {
	e := m.end(x.Method, x.Server)
	if x.Body == nil {
		return time.Duration(e.CallNs)
	}
	ns := e.MessageNs + e.KiBNs*float64(x.Bytes)/1024
	switch body := x.Body.(type) {
	case *proto.OperationBatch:
		for _, op := range body.Operations {
			if c := m.operation(Kind(op)); x.Server {
				ns += c.ServerNs
			} else {
				ns += c.ClientNs
			}
		}
	case *proto.ResultBatch:
		for _, r := range body.Results {
			if c := m.operation(List); x.Server {
				ns += c.ServerEntryNs * float64(len(r.Entries))
			} else {
				ns += c.ClientEntryNs * float64(len(r.Entries))
			}
		}
	}
	return time.Duration(ns)
}

// The kinds of operations that have costs of their own.
const (
	Status   = "status"
	List     = "list"
	Create   = "create"
	Complete = "complete"
	Mkdir    = "mkdir"
)

// Kind is the name that a model has for an operation.
func Kind(op *proto.Operation) string {
	switch op.Kind.(type) {
	case *proto.Operation_GetStatus:
		return Status
	case *proto.Operation_ListStatus:
		return List
	case *proto.Operation_CreateFile:
		return Create
	case *proto.Operation_CompleteFile:
		return Complete
	case *proto.Operation_MakeDirectory:
		return Mkdir
	}
	return Other
}

// DiskConfig is the model's disk for a node of the simulator.
func (m *Model) DiskConfig() world.DiskConfig {
	return world.DiskConfig{Rate: m.Disk.BytesPerSecond, ReadRate: 1e15, Op: 1, Sync: time.Duration(m.Disk.SyncNs), Spread: m.Disk.SyncSpread, Together: true,
		CPU: world.DiskCPU{Create: time.Duration(m.Disk.CreateNs), KiB: time.Duration(m.Disk.WriteKiBNs), Sync: time.Duration(m.Disk.SyncCPUNs)}}
}

// Topology is a network of one machine's processes, or of machines as near to each other.
func (m *Model) Topology() world.Topology {
	d := time.Duration(m.LatencyNs)
	return world.Topology{Rack: d, Zone: d, Far: d}
}
