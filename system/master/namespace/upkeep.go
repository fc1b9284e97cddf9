package namespace

import (
	"context"
	"slices"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
)

// This file holds what the leader does without being asked: bootstrap, sessions, garbage, TTLs, persistence.

// Bootstrap makes the root if there is none, and announces the leader's address for clients.
func (e *Evaluator) Bootstrap(ctx context.Context, owner, group, member, address string) error {
	t, err := e.do(ctx, Request{}, nil, func(t *txn) error {
		root, err := e.view.Child(0, "")
		if err != nil {
			return err
		}
		if root == nil {
			root = &inodestore.Inode{ID: dfs.RootID, Type: dfs.TypeDirectory, Mode: 0o755, Owner: owner, Group: group,
				ModTime: e.now(), Persist: dfs.Persisted}
			t.putInode(root)
			t.putRecord(inodestore.TableMeta, metaNextID, idKey(e.reserved))
		}
		t.putRecord(inodestore.TableMeta, []byte(metaAddress+member), []byte(address))
		return nil
	})
	if err != nil {
		return err
	}
	return t.Wait(ctx)
}

// OpenSession begins a session; the same nonce finds the same session again.
func (e *Evaluator) OpenSession(ctx context.Context, nonce uint64, client string) (*Ticket, dfs.SessionID, error) {
	var id dfs.SessionID
	t, err := e.do(ctx, Request{}, nil, func(t *txn) error {
		if len(client) > dfs.MaxNameBytes {
			client = client[:dfs.MaxNameBytes]
		}
		if id = e.sessionOf(nonce); id != 0 {
			return nil
		}
		if e.m.Sessions() >= maxSessions {
			return dfs.Errorf(dfs.ResourceExhausted, "open session", "", "%d sessions are open: close some clients, or retry later", maxSessions)
		}
		id = dfs.SessionID(t.newID())
		t.putRecord(inodestore.TableSession, idKey(uint64(id)), sessionHead(nonce, client))
		e.nonces[nonce] = id
		e.open.nonces = append(e.open.nonces, nonce)
		return nil
	})
	return t, id, err
}

func (e *Evaluator) sessionOf(nonce uint64) dfs.SessionID {
	if id := e.nonces[nonce]; id != 0 {
		return id
	}
	e.m.mu.RLock()
	defer e.m.mu.RUnlock()
	return e.m.sessions.byNonce[nonce]
}

// SessionIDs lists the applied sessions, for the leader's expiry.
func (m *Machine) SessionIDs() []dfs.SessionID {
	m.mu.RLock()
	defer m.mu.RUnlock()
	ids := make([]dfs.SessionID, 0, len(m.sessions.byID))
	for id := range m.sessions.byID {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// HasSession tells whether a session is known.
func (m *Machine) HasSession(id dfs.SessionID) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.sessions.byID[id] != nil
}

// CloseSession forgets a session and abandons what it was writing. The writes are gathered under the evaluator's lock:
// what is not applied yet is in the overlay, which only that lock lets go.
func (e *Evaluator) CloseSession(ctx context.Context, id dfs.SessionID) error {
	t, err := e.do(ctx, Request{}, nil, func(t *txn) error {
		writes := e.view.openWrites(id)
		err := e.m.store.Records(inodestore.TableOpenWrite, nil, nil, func(key, value []byte) bool {
			if w, err := decodeOpenWrite(value); err == nil && w.session == id {
				writes = append(writes, dfs.InodeID(keyID(key)))
			}
			return true
		})
		if err != nil {
			return err
		}
		t.deleteRecord(inodestore.TableSession, idKey(uint64(id)))
		for _, inode := range writes {
			if err := t.abandonOf(id, inode); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return t.Wait(ctx)
}

// abandonOf abandons what a session is writing of an inode. Another session may have taken it over, or it is gone.
func (t *txn) abandonOf(session dfs.SessionID, id dfs.InodeID) error {
	open, found, err := openWriteOf(t.e.view.record, id)
	if err != nil || !found || open.session != session {
		return err
	}
	n, err := open.find(t.e.view, id)
	if err == nil && n != nil {
		t.abandon(n)
	}
	return err
}

// CollectGarbage removes up to limit entries below removed directories and tells how many; 0 means that none are left.
// It runs in steps so that a removal of millions never holds anything up and continues after a failover.
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

// Due is a file whose TTL has run out.
type Due struct {
	Path   dfs.Path
	Inode  *inodestore.Inode
	Action dfs.TTLAction
}

// DueTTLs lists up to limit files whose TTL has run out by now, after the one where an earlier list ended; next is nil
// when the list is at its end. Actions that fail again and again so stand in nobody's way.
func (m *Machine) DueTTLs(now time.Time, after []byte, limit int) (due []Due, next []byte, err error) {
	err = m.View(func(r inodestore.Reader) error {
		var fault error
		err := r.Records(inodestore.TableTTL, nil, after, func(key, _ []byte) bool {
			if len(due) == limit {
				next = slices.Clone(key)
			}
			if len(key) != 16 || keyID(key) > uint64(now.UnixNano()) || len(due) == limit {
				return false
			}
			n, err := located(r, r.Record, dfs.InodeID(keyID(key[8:])))
			if err != nil {
				fault = err
				return false
			}
			if n == nil {
				return true
			}
			p, err := pathOf(r, r.Record, n)
			if err == nil {
				due = append(due, Due{p, n, n.TTLAction})
			}
			return true
		})
		if err == nil {
			err = fault
		}
		return err
	})
	return due, next, err
}

// ToPersist is a file that waits for its bytes to reach the under store.
type ToPersist struct {
	Path  dfs.Path
	Inode *inodestore.Inode
}

// PersistQueue lists up to limit files to persist, from an inode id on.
func (m *Machine) PersistQueue(from dfs.InodeID, limit int) ([]ToPersist, error) {
	var queue []ToPersist
	err := m.View(func(r inodestore.Reader) error {
		return r.Records(inodestore.TablePersist, nil, idKey(uint64(from)), func(key, _ []byte) bool {
			n, err := located(r, r.Record, dfs.InodeID(keyID(key)))
			if err != nil || n == nil {
				return err == nil
			}
			if p, err := pathOf(r, r.Record, n); err == nil {
				queue = append(queue, ToPersist{p, n})
			}
			return len(queue) < limit
		})
	})
	return queue, err
}

// RequestPersist puts a completed file that only workers have on the queue.
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

// SetPersisted records that the under store has version v of the file at p. It answers Stale when the file moved, was
// removed, or has another version: then what was written must be taken back.
func (e *Evaluator) SetPersisted(ctx context.Context, claim *Claim, p dfs.Path, id dfs.InodeID, version uint32, fingerprint string) error {
	t, err := e.do(ctx, Request{Superuser: "", Claim: claim, Identity: dfs.Identity{User: "root"}}, []dfs.Path{p}, func(t *txn) error {
		n, err := located(e.view, e.view.record, id)
		if err != nil {
			return err
		}
		if n == nil || n.Version != version {
			return dfs.Errorf(dfs.Stale, "set persisted", string(p), "the file was removed or replaced")
		}
		at, err := pathOf(e.view, e.view.record, n)
		if err != nil || at != p {
			return dfs.Errorf(dfs.Stale, "set persisted", string(p), "the file moved to %q", at)
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
