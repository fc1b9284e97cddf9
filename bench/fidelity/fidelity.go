// Package fidelity measures how well the simulator predicts real processes: it calibrates a model of this machine, runs the same
// small workloads on real processes and in the simulator, by the same driver (client.Client over a host.Host), and compares
// throughput and latency on configurations that the calibration did not use.
//
// It owns the workloads, the driver, the measuring of processes, the fit of a model and the comparison; the model itself, its
// file and its charges are package sim/model's. cmd/forebay-lab calls Calibrate and Run. It never changes a model by what a
// held-out workload showed.
//
// # Noise
//
// Machines are shared. A workload is run in many short slices, and those count during which other processes used little
// (Quiet); the rows say how much that was, and the simulated machine has such neighbours too. CPU time, which a neighbour changes less than time, is what costs are made from.
// Medians throughout.
package fidelity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/forebay/forebay/bench/record"
	"github.com/forebay/forebay/sim/model"
)

// Config says what to measure and on what.
type Config struct {
	Binary   string    // of forebay
	Quiet    Quiet     // zero values mean DefaultQuiet's, and this machine's cores
	Quick    bool      // few operations and a short search: to see that it works, for no figures
	Seed     uint64    // of the simulator
	Progress io.Writer // nil: none
	Raw      io.Writer // a line for each slice on real processes; nil: none
}

func (c Config) withDefaults() Config {
	if c.Quiet.Cores == 0 {
		c.Quiet.Cores = runtime.NumCPU()
	}
	if c.Quick {
		c.Quiet.Slices, c.Quiet.Budget = 1, time.Millisecond
	}
	if c.Quiet.Slices == 0 {
		c.Quiet.Slices = DefaultQuiet.Slices
	}
	if c.Quiet.Others == 0 {
		c.Quiet.Others = DefaultQuiet.Others
	}
	if c.Quiet.Budget == 0 {
		c.Quiet.Budget = DefaultQuiet.Budget
	}
	if c.Progress == nil {
		c.Progress = io.Discard
	}
	if c.Raw == nil {
		c.Raw = io.Discard
	}
	return c
}

// fewer is what Quick leaves of workloads: each caller has two operations.
func fewer(all []Workload, quick bool) []Workload {
	for i := range all {
		if quick {
			all[i].Ops = 2 * all[i].Callers
		}
	}
	return all
}

// onCluster runs f with a cluster of real processes that is gone afterwards.
func onCluster(ctx context.Context, cfg Config, workers int, f func(r *rig) error) (err error) {
	dir, err := os.MkdirTemp("", "forebay-fidelity-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r, err := startRig(ctx, cfg.Binary, dir, workers)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	return f(r)
}

// measureAll measures workloads on real processes, a cluster for each number of workers, in the order in which they come.
func measureAll(ctx context.Context, cfg Config, what string, all []Workload) ([]Sample, error) {
	var out []Sample
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].Workers == all[0].Workers {
			n++
		}
		err := onCluster(ctx, cfg, all[0].Workers, func(r *rig) error {
			if err := r.settle(ctx, all[0].Workers); err != nil {
				return err
			}
			for _, w := range all[:n] {
				s, err := r.sample(ctx, w, cfg.Quiet, cfg.Raw)
				if err != nil {
					return err
				}
				out = append(out, s)
				fmt.Fprintf(cfg.Progress, "%s: %-58s %9.0f/s, median %8v, others %2.0f%%\n", what, w.Name(), s.Throughput, s.Median.Round(time.Microsecond), 100*s.Others)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		all = all[n:]
	}
	return out, nil
}

// Calibrate measures this machine and makes a model of it. Half an experiment is none: the end of ctx is an error.
func Calibrate(ctx context.Context, cfg Config) (*model.Model, []Sample, error) {
	cfg = cfg.withDefaults()
	spread, err := syncSpread(os.TempDir())
	if err != nil {
		return nil, nil, err
	}
	samples, err := measureAll(ctx, cfg, "calibrate", fewer(calibration(), cfg.Quick))
	if err != nil {
		return nil, nil, err
	}
	m, err := fitModel(samples, cfg.Quiet.Cores, spread, cfg.Quick, cfg.Progress)
	if err != nil {
		return nil, nil, err
	}
	from := record.New("fidelity", io.Discard).Manifest
	m.Commit, m.Time = from.Commit, from.Time
	m.Machine = model.Machine{CPU: from.Machine.CPU, Memory: from.Machine.Memory, Kernel: from.Machine.Kernel, Go: from.Machine.Go}
	return m, samples, nil
}

// Run compares this machine's processes with the simulator by a model, on workloads that no model was made from.
func Run(ctx context.Context, cfg Config, m *model.Model) (*Report, error) {
	cfg = cfg.withDefaults()
	if m.Cores != cfg.Quiet.Cores {
		return nil, fmt.Errorf("fidelity: the model is of a machine with %d cores, this one has %d: calibrate here", m.Cores, cfg.Quiet.Cores)
	}
	real, err := measureAll(ctx, cfg, "fidelity", fewer(heldOut(), cfg.Quick))
	if err != nil {
		return nil, err
	}
	r := &Report{Model: m}
	for _, s := range real {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p, err := simulate(m, s.Workload, s.Others, cfg.Seed)
		if err != nil {
			return nil, err
		}
		r.Rows = append(r.Rows, compare(s, p))
	}
	r.conclude()
	return r, nil
}

// Both is Run by a model that was made before or, when there is none, by one that is made first.
func Both(ctx context.Context, cfg Config, m *model.Model) (*Report, error) {
	var made []Sample
	if m == nil {
		var err error
		if m, made, err = Calibrate(ctx, cfg); err != nil {
			return nil, err
		}
	}
	r, err := Run(ctx, cfg, m)
	if r != nil {
		r.Calibration = made
	}
	return r, err
}
