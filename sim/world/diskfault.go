package world

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
)

// DiskFaults are what is wrong with a node's disk: all of it at once, from when it is set on and over crashes, and the zero value
// is nothing. Chances are drawn from a stream of their own, so that a fault changes neither what a crash loses nor anything
// on other nodes.
//
// Left out: operations on names never fail, and a sync that failed keeps what it had to write for the next one, where some
// file systems drop it.
type DiskFaults struct {
	Full        bool    // every write is ENOSPC, also over bytes that are there, as of a file system that copies on write
	ReadErrors  float64 // the share of reads that are EIO
	WriteErrors float64 // the share of writes that are EIO and write nothing
	SyncErrors  float64 // the share of syncs that are EIO and sync nothing
	Slow        float64 // operations take that many times as long; 0: 1
	RotReads    float64 // bits that are read wrong, a MiB; what is stored stays right
	RotWrites   float64 // bits that are stored wrong, a MiB
}

// Check tells what of the faults cannot be, all at once.
func (f DiskFaults) Check() error {
	var err error
	share := func(name string, value, most float64) {
		if !(value >= 0 && value <= most) {
			err = errors.Join(err, fmt.Errorf("%s: %v, want 0 to %v", name, value, most))
		}
	}
	share("read errors", f.ReadErrors, 1)
	share("write errors", f.WriteErrors, 1)
	share("sync errors", f.SyncErrors, 1)
	share("bits read wrong, a MiB", f.RotReads, 1<<20)
	share("bits stored wrong, a MiB", f.RotWrites, 1<<20)
	if !(f.Slow == 0 || f.Slow >= 1 && f.Slow <= 1e6) {
		err = errors.Join(err, fmt.Errorf("slow by %v: want 1 to 1e6", f.Slow))
	}
	return err
}

// SetDiskFaults makes f what is wrong with the node's disk from now on.
func (n *Node) SetDiskFaults(f DiskFaults) error {
	if err := f.Check(); err != nil {
		return fmt.Errorf("disk faults of node %s: %w", n.name, err)
	}
	x := &n.disk.faults
	if x.rng == nil {
		x.rng = n.w.stream("faults of the disk of " + n.name)
	}
	x.DiskFaults = f
	n.w.Note(n.name, "disk", "its disk "+f.text())
	return nil
}

// DiskFaults is what is wrong with the node's disk now.
func (n *Node) DiskFaults() DiskFaults { return n.disk.faults.DiskFaults }

// Rotten is how many bits of the node's disk were read or stored wrong so far.
func (n *Node) Rotten() uint64 { return n.disk.faults.rotten }

// diskFaults are those of one disk. They are asked before an operation (reading, writing, syncing), and read has the last
// word about what was read.
type diskFaults struct {
	DiskFaults
	rng    *rand.Rand // nil until a fault was set
	rotten uint64
}

func (x *diskFaults) reading() error { return x.fail("read", x.ReadErrors) }

func (x *diskFaults) syncing() error { return x.fail("sync", x.SyncErrors) }

// fail is an error as the system gives it, at a chance.
func (x *diskFaults) fail(op string, share float64) error {
	if share > 0 && x.rng.Float64() < share {
		return &os.PathError{Op: op, Path: "simulated disk", Err: syscall.EIO}
	}
	return nil
}

// writing is what is written in place of p, which stays as it is.
func (x *diskFaults) writing(p []byte) ([]byte, error) {
	if x.Full {
		return nil, &os.PathError{Op: "write", Path: "simulated disk", Err: syscall.ENOSPC}
	}
	if err := x.fail("write", x.WriteErrors); err != nil {
		return nil, err
	}
	if x.RotWrites > 0 {
		p = slices.Clone(p)
		x.rot(p, x.RotWrites)
	}
	return p, nil
}

// read flips bits of what was read.
func (x *diskFaults) read(p []byte) { x.rot(p, x.RotReads) }

// rot flips bits of p, perMiB of them in each MiB on average: the gaps between them are exponential.
func (x *diskFaults) rot(p []byte, perMiB float64) {
	if perMiB <= 0 {
		return
	}
	gap := float64(8<<20) / perMiB
	for bit := x.rng.ExpFloat64() * gap; bit < float64(len(p)*8); bit += 1 + x.rng.ExpFloat64()*gap {
		p[int(bit)/8] ^= 1 << (int(bit) % 8)
		x.rotten++
	}
}

// slowed is how long an operation takes that would take d.
func (x *diskFaults) slowed(d float64) int64 { return int64(d * max(x.Slow, 1)) }
