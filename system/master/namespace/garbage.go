package namespace

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
)

// CollectGarbage removes up to limit entries below removed directories and tells how many; 0 means that none are left.
// It runs in steps so that a removal of millions never holds anything up and continues after a failover. A step is one
// entry of the journal. onRemoved is called for each file, once it is gone for good. A step may take nothing out and
// still count, when it finds a directory empty and drops its record.
// Directories that it finds below become garbage themselves, so the depth of a tree costs steps and no stack. Calls
// come one at a time, from the leader's own task.
func (e *Evaluator) CollectGarbage(ctx context.Context, limit int, onRemoved Removed) (int, error) {
	removed := 0
	t, err := e.do(ctx, Request{}, nil, func(t *txn) error {
		dir, found := e.firstGarbage()
		if !found {
			return nil
		}
		more := false
		var fault error
		err := e.m.store.List(dir, "", func(applied *inodestore.Inode) bool {
			if removed == limit {
				more = true
				return false
			}
			// Writers reach files below a removed directory by id: what they have proposed meanwhile made records that
			// the applied inode knows nothing of, and that must go with it.
			var n *inodestore.Inode
			if n, fault = e.view.Child(dir, applied.Name); n == nil {
				return fault == nil
			}
			removed++
			t.drop(n)
			if !n.IsDir() {
				t.then(func() { onRemoved(n) })
			}
			return true
		})
		if err == nil {
			err = fault
		}
		if err == nil && !more {
			t.deleteRecord(inodestore.TableGarbage, idKey(uint64(dir)))
			removed++
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return removed, t.Wait(ctx)
}

// firstGarbage finds a garbage directory in the applied state: what is still proposed is left for a later step, when
// its entries can be listed.
func (e *Evaluator) firstGarbage() (dfs.InodeID, bool) {
	var dir dfs.InodeID
	err := e.m.store.Records(inodestore.TableGarbage, nil, nil, func(key, _ []byte) bool {
		if _, pending := e.view.records[recordKey{inodestore.TableGarbage, string(key)}]; pending {
			return true
		}
		dir = dfs.InodeID(keyID(key))
		return false
	})
	return dir, err == nil && dir != 0
}
