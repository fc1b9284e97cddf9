package fidelity

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/forebay/forebay/bench/cluster"
	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/host"
)

// rig is a cluster of real processes on this machine and a client of it in this process.
type rig struct {
	driver
	dir     string
	cluster *cluster.Cluster
}

// readyTimeout is how long a cluster of real processes may take to serve.
const readyTimeout = 30 * time.Second

// startRig starts a master and workers below dir. Whoever starts it closes it.
func startRig(ctx context.Context, binary, dir string, workers int) (*rig, error) {
	r := &rig{dir: dir, driver: driver{h: host.NewReal(), counts: &counts{}}}
	under := filepath.Join(dir, "under")
	if err := os.MkdirAll(under, 0o755); err != nil {
		return nil, err
	}
	r.originals = func(dir string, files, size int) error { return writeOriginals(filepath.Join(under, dir), files, size) }
	var err error
	r.cluster, err = cluster.Start(cluster.Config{Binary: binary, Dir: dir, Masters: 1, Workers: workers, Capacity: "2GiB", RootURI: under})
	if err != nil {
		return nil, err
	}
	ready, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	err = r.cluster.Ready(ready)
	if err == nil {
		r.c, err = r.cluster.Client(func(c *client.Config) { c.Host = counting{c.Host, r.counts} })
	}
	if err != nil {
		return nil, errors.Join(err, r.cluster.Close())
	}
	return r, nil
}

func (r *rig) close() error { return errors.Join(r.c.Close(), r.cluster.Close()) }

// writeOriginals makes files of random bytes.
func writeOriginals(dir string, files, size int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	rng := rand.NewChaCha8([32]byte{1})
	data := make([]byte, size)
	_, _ = rng.Read(data) // it cannot fail
	for i := range files {
		if err := os.WriteFile(filepath.Join(dir, originalName(i)), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// used is the CPU time so far of everything that the experiment runs.
type used struct {
	client, master, worker time.Duration
	machine                time.Duration // of all processes, others' too
}

func (r *rig) used() used {
	return used{client: cluster.OwnCPU(), master: r.cluster.CPU("master"), worker: r.cluster.CPU("worker"), machine: machineCPU()}
}

func (u used) since(v used) used {
	return used{u.client - v.client, u.master - v.master, u.worker - v.worker, u.machine - v.machine}
}

// ours is the experiment's own.
func (u used) ours() time.Duration { return u.client + u.master + u.worker }

// measured is a slice on real processes with the CPU time that it took.
type measured struct {
	slice
	used
}

// others is the share of the machine that other processes had meanwhile: what a figure of time is worth.
func (m measured) others(cores int) float64 {
	return max(0, float64(m.machine-m.ours())/float64(m.Wall)/float64(cores))
}

// measure runs one slice of a workload.
func (r *rig) measure(ctx context.Context, callers int, j job) (measured, error) {
	before := r.used()
	s, err := r.run(ctx, callers, j)
	return measured{s, r.used().since(before)}, err
}
