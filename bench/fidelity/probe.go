package fidelity

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"
)

// probes is how often a sync is measured.
const probes = 200

// syncSpread measures how much a sync of the disk under dir varies, with the writes that a journal makes: the standard deviation
// of the logarithm of its time, from the tenth of the syncs that are slowest.
func syncSpread(dir string) (float64, error) {
	path := filepath.Join(dir, "probe")
	f, err := os.Create(path)
	if err != nil {
		return 0, fmt.Errorf("calibrate: measure the disk: %w", err)
	}
	defer os.Remove(path)
	defer f.Close()
	record := make([]byte, 4096)
	var all []time.Duration
	for range probes {
		if _, err := f.Write(record); err != nil {
			return 0, fmt.Errorf("calibrate: measure the disk: %w", err)
		}
		began := time.Now()
		if err := f.Sync(); err != nil {
			return 0, fmt.Errorf("calibrate: measure the disk: %w", err)
		}
		all = append(all, time.Since(began))
	}
	return spreadOf(quantile(all, 0.5), quantile(all, 0.9)), nil
}

// z90 is the 90th percentile of the standard normal distribution.
const z90 = 1.2815515655446004

// spreadOf is the spread of a lognormal distribution with a median and a 90th percentile.
func spreadOf(median, p90 time.Duration) float64 {
	if median <= 0 || p90 <= median {
		return 0
	}
	return math.Log(float64(p90)/float64(median)) / z90
}
