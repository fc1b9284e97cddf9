package namespace

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/proto"
)

// Complete publishes the version that the session was writing. When NeedsStore says so, the caller has made sure that
// the under store has it. onApplied is called on the leader with the inode before and after, once both are applied;
// before's version may still be cached and pinned as the only copy. Stale when the version is not being written any
// more, PermissionDenied for another session or user, NotFound when the file went.
// What the client says of locations and of the store is not looked at here; the fingerprint in op is the caller's, who
// has asked the store. A file's time of modification is when it was completed, by the leader's clock.
func (e *Evaluator) Complete(ctx context.Context, r Request, op *proto.CompleteFile, onApplied func(before, after *inodestore.Inode)) (Outcome, error) {
	const what = "complete"
	id := dfs.InodeID(op.Inode)
	var out Outcome
	var err error
	out.Ticket, err = e.do(ctx, r, nil, func(t *txn) error {
		before, open, err := e.writing(&r, id, op.Version, what, op.Path)
		if err == nil {
			err = checkLength(op.Length, before.BlockSize, what, op.Path)
		}
		if err != nil {
			return err
		}
		n := *before
		n.Version, n.Length, n.ModTime = op.Version, op.Length, e.now()
		n.Fingerprint, n.Writing = op.Fingerprint, false
		n.Persist = persistAfter(open.writeType)
		t.publish(before, &n)
		if n.Persist == dfs.Persisted {
			if err := t.persistParents(&n); err != nil {
				return err
			}
		}
		t.answer.inode, t.answer.version = n.ID, n.Version
		if onApplied != nil {
			t.then(func() { onApplied(before, &n) })
		}
		out.Inode = &n
		return nil
	})
	return out, err
}

// persistAfter is what a file counts as once a write of this type is complete. Writes through the store are confirmed
// by the caller first, so they are Persisted from the start.
func persistAfter(w dfs.WriteType) dfs.PersistState {
	switch w {
	case dfs.WriteMustCache:
		return dfs.NotPersisted
	case dfs.WriteAsyncThrough:
		return dfs.ToBePersisted
	}
	return dfs.Persisted
}

// NeedsStore tells whether a version is written through to an under store, so that Complete must be confirmed there. It
// asks what the writer said when it began: what it says at the end could talk unconfirmed content into the namespace.
// The answer may be old by the time Complete is evaluated; then the version is not being written any more and Complete
// says Stale.
func (e *Evaluator) NeedsStore(id dfs.InodeID, version uint32) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	open, found, err := openWriteOf(e.view.record, id)
	if err != nil || !found || open.version != version {
		return false // Complete says what is wrong
	}
	return persistAfter(open.writeType) == dfs.Persisted
}

// writing finds the inode whose version r is writing. A version belongs to the session that began it and, since session
// ids are no secret, to a user who may write the file.
// The owner may always finish what it began, whatever the mode says by now, as with an open file descriptor.
func (e *Evaluator) writing(r *Request, id dfs.InodeID, version uint32, op, path string) (*inodestore.Inode, openWrite, error) {
	n, open, err := e.openVersion(id, version, op, path)
	if err != nil {
		return n, open, err
	}
	if open.session != r.Session {
		return nil, open, dfs.Errorf(dfs.PermissionDenied, op, path, "version %d of inode %d is being written by another session", version, id)
	}
	if r.Identity.User != n.Owner {
		err = demand(r, n, permWrite, op, dfs.Path(path))
	}
	return n, open, err
}

// CheckLeft tells whether r, who was writing at p in the under store, may take what lies there now, after its file was
// renamed. p comes from the client, so it must not name another file, known or unknown. Conflict when any other file
// has p by now; PermissionDenied when r could not have written there.
func (e *Evaluator) CheckLeft(r Request, p dfs.Path, op string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	f, err := lookup(e.view, &r, p)
	switch {
	case err != nil:
		return dfs.Wrap(err, op, string(p))
	case f.inode != nil:
		return dfs.Errorf(dfs.Conflict, op, string(p), "another file has the path where this one was written: write again")
	case f.missing > 1 && f.deepest.Loaded:
		return nil // its directory went: all that can lie there is what this writer left
	}
	return demand(&r, f.deepest, permWrite|permExecute, op, p)
}

// openVersion finds an open write, whoever it belongs to.
// e.mu is held. The three ways to lose a version have one answer, since what the writer does next is the same.
func (e *Evaluator) openVersion(id dfs.InodeID, version uint32, op, path string) (*inodestore.Inode, openWrite, error) {
	open, found, err := openWriteOf(e.view.record, id)
	if err != nil {
		return nil, openWrite{}, dfs.Wrap(err, op, path)
	}
	if !found || open.version != version {
		return nil, openWrite{}, dfs.Errorf(dfs.Stale, op, path,
			"version %d of inode %d is not being written: it was completed, removed, taken over by another writer, or its session expired", version, id)
	}
	n, err := open.find(e.view, id)
	if err == nil && n == nil {
		err = dfs.Errorf(dfs.NotFound, op, path, "the file was removed while it was being written")
	}
	return n, open, err
}

// publish replaces before by n, keeping the records in step with it.
func (t *txn) publish(before, n *inodestore.Inode) {
	t.putInode(n)
	t.deleteRecord(inodestore.TableOpenWrite, idKey(uint64(n.ID)))
	t.reindex(before, n)
}

// Abandon drops a version that was being written; a file that never had another is removed. The version's number is
// not used again. The errors are Complete's.
func (e *Evaluator) Abandon(ctx context.Context, r Request, op *proto.AbandonFile) (Outcome, error) {
	var out Outcome
	var err error
	out.Ticket, err = e.do(ctx, r, nil, func(t *txn) error {
		n, _, err := e.writing(&r, dfs.InodeID(op.Inode), op.Version, "abandon", "")
		if err != nil {
			return err
		}
		t.abandon(n)
		return nil
	})
	return out, err
}

// abandon ends the write of n, whose open write has been found and belongs to the caller. A file without any content
// goes with it: nobody could ever read it.
func (t *txn) abandon(n *inodestore.Inode) {
	t.deleteRecord(inodestore.TableOpenWrite, idKey(uint64(n.ID)))
	if n.Version == 0 {
		t.drop(n)
		return
	}
	after := *n
	after.Writing = false
	t.putInode(&after)
	t.reindex(n, &after)
}
