package namespace

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
)

// ToPersist is a file that waits for its bytes to reach the under store.
type ToPersist struct {
	Path  dfs.Path
	Inode *inodestore.Inode
}

// PersistQueue lists up to limit files to persist, from an inode id on. Files whose directory was removed are left
// out; they go with it. It is read in pages by the leader, so that a million files that wait cost no memory.
// A page shorter than limit is the last. An inode that cannot be read is an error and not the end of the queue: to an
// unmount it would look as if nothing waited.
func (m *Machine) PersistQueue(from dfs.InodeID, limit int) ([]ToPersist, error) {
	var queue []ToPersist
	err := m.View(func(r inodestore.Reader) error {
		var fault error
		err := r.Records(inodestore.TablePersist, nil, idKey(uint64(from)), func(key, _ []byte) bool {
			var n *inodestore.Inode
			if n, fault = located(r, r.Record, dfs.InodeID(keyID(key))); n == nil {
				return fault == nil
			}
			p, err := pathOf(r, r.Record, n)
			if err == nil {
				queue = append(queue, ToPersist{p, n})
			} else if !dfs.IsKind(err, dfs.NotFound) {
				fault = err
			}
			return fault == nil && len(queue) < limit
		})
		if err == nil {
			err = fault
		}
		return err
	})
	return queue, err
}

// RequestPersist puts a completed file that only workers have on the queue. What is persisted or waits already is no
// error and changes nothing. Incomplete for a file without content.
func (e *Evaluator) RequestPersist(ctx context.Context, r Request, p dfs.Path) (Outcome, error) {
	return e.change(ctx, r, p, "persist", func(n *inodestore.Inode) error {
		if err := demand(&r, n, permWrite, "persist", p); err != nil {
			return err
		}
		if n.IsDir() || n.Persist != dfs.NotPersisted {
			return nil
		}
		if err := e.checkWritable("persist", p, dfs.WriteAsyncThrough); err != nil {
			return err
		}
		if n.Version == 0 {
			return dfs.Errorf(dfs.Incomplete, "persist", string(p), "it is still being written")
		}
		n.Persist = dfs.ToBePersisted
		return nil
	}, nil)
}

// CheckPersisted finds the file whose version v was written to be persisted at p. Stale: it moved, was removed, or has
// another version. It asks for no permission: it is the leader's own.
func (e *Evaluator) CheckPersisted(p dfs.Path, id dfs.InodeID, version uint32) (*inodestore.Inode, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.persisting(p, id, version)
}

// persisting is CheckPersisted for a caller who holds mu. A file that is Persisted needs no location and may have none: it
// is found by its path then.
func (e *Evaluator) persisting(p dfs.Path, id dfs.InodeID, version uint32) (*inodestore.Inode, error) {
	f, err := lookup(e.view, &Request{Superuser: "root", Identity: dfs.Identity{User: "root"}}, p)
	switch {
	case err != nil && !dfs.IsKind(err, dfs.NotFound) && !dfs.IsKind(err, dfs.NotDirectory):
		return nil, err
	case err != nil || f.inode == nil || f.inode.ID != id || f.inode.Version != version:
		return nil, dfs.Errorf(dfs.Stale, "set persisted", string(p), "the file was moved, removed or replaced")
	}
	return f.inode, nil
}

// SetPersisted records that the under store has version v of the file at p. It answers Stale when the file moved, was
// removed, or has another version. It asks for no permission: it is the leader's own. claim is what the caller holds on p,
// so that nothing renames the file between the store and this entry.
// It may be repeated: a file that is Persisted with the same version is set again to the same. NotPersisted
// directories above are marked with it, since the store's driver has made them.
func (e *Evaluator) SetPersisted(ctx context.Context, claim *Claim, p dfs.Path, id dfs.InodeID, version uint32, fingerprint string) error {
	t, err := e.do(ctx, Request{Superuser: "", Claim: claim, Identity: dfs.Identity{User: "root"}}, []dfs.Path{p}, func(t *txn) error {
		n, err := e.persisting(p, id, version)
		if err != nil {
			return err
		}
		after := *n
		after.Persist, after.Fingerprint = dfs.Persisted, fingerprint
		t.putInode(&after)
		t.reindex(n, &after)
		return t.persistParents(&after)
	})
	if err != nil {
		return err
	}
	return t.Wait(ctx)
}
