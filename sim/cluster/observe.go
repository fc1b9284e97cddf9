package cluster

import (
	"github.com/forebay/forebay/system/master"
	"github.com/forebay/forebay/system/worker"
)

// What observers of a run look at. They change nothing: what is read here must not be called by what is under test.

// Master is the service on the i-th master's node; nil while it is down.
func (c *Cluster) Master(i int) *master.Master { return c.masters[i] }

// Worker is the service on the i-th worker's node; nil while it is down. Each life has another one.
func (c *Cluster) Worker(i int) *worker.Worker {
	if !c.Workers[i].Alive() {
		return nil
	}
	return c.workers[i]
}
