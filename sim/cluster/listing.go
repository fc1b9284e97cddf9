package cluster

import (
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/worker"
	"github.com/forebay/forebay/system/worker/blockstore"
)

// listed is what a worker reports: its store's blocks, then others that it does not hold, of files that nobody reads. So a
// cluster's block lists can be as long as those of 3,000 full workers, which take 36 GB of the block stores' memory at 100
// million blocks, and here nothing. Each of these files has one block, which makes the longest messages; neighbouring files
// lie on neighbouring workers, and never change.
type listed struct {
	*blockstore.Store
	blocks  int
	worker  int
	workers int
}

// firstListed is above every id that a run's namespace gives out.
const firstListed = dfs.InodeID(1) << 40

// inventory is nil for a worker that lists what it holds.
func (c *Cluster) inventory(i int) func(*blockstore.Store) worker.Inventory {
	if c.cfg.Listed == 0 {
		return nil
	}
	return func(s *blockstore.Store) worker.Inventory { return &listed{s, c.cfg.Listed, i, c.cfg.Workers} }
}

// HeldBatch implements worker.Inventory.
func (l *listed) HeldBatch(from blockstore.Cursor, most int) (batch []blockstore.Held, next blockstore.Cursor, more bool) {
	if from.File.Inode < firstListed {
		if batch, next, more = l.Store.HeldBatch(from, most); more {
			return batch, next, more
		}
	}
	for _, f := range batch {
		most -= len(f.Blocks)
	}
	at := 0
	if from.File.Inode >= firstListed {
		at = int(from.File.Inode-firstListed) / l.workers
	}
	end := min(at+most, l.blocks)
	for ; at < end; at++ {
		batch = append(batch, blockstore.Held{File: l.file(at), Blocks: firstBlock})
	}
	return batch, blockstore.Cursor{File: l.file(end)}, end < l.blocks
}

// firstBlock is shared: nobody changes a list of blocks.
var firstBlock = []uint32{0}

// file is the at-th of this worker's.
func (l *listed) file(at int) dfs.FileVersion {
	return dfs.FileVersion{Inode: firstListed + dfs.InodeID(at*l.workers+l.worker), Version: 1}
}
