package namespace

import (
	"context"
	"slices"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/inodestore"
)

var (
	stateSessionEnds = host.NewState("a session ends")
	stateAbandoned   = host.NewState("a session ends with a write open")
)

// OpenSession begins a session; the same nonce finds the same session again. ResourceExhausted at maxSessions. A
// client that got no answer asks again with its nonce, at any leader. client is for people; it is cut at the length of
// a name.
// The count of sessions is the applied one; what a batch adds beyond the bound is bounded by the batch.
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

// sessionOf finds a nonce's session, proposed or applied; 0 when there is none. e.mu is held.
func (e *Evaluator) sessionOf(nonce uint64) dfs.SessionID {
	if id := e.nonces[nonce]; id != 0 {
		return id
	}
	e.m.mu.RLock()
	defer e.m.mu.RUnlock()
	return e.m.sessions.byNonce[nonce]
}

// SessionIDs lists the applied sessions, for the leader's expiry.
// The order is that of ids, so that a leader's expiry is the same in every run of a simulation.
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
// The answer is the applied one: a session whose opening or end is proposed counts as it did before.
func (m *Machine) HasSession(id dfs.SessionID) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.sessions.byID[id] != nil
}

// CloseSession forgets a session and abandons what it was writing. The writes are gathered under the evaluator's lock:
// what is not applied yet is in the overlay, which only that lock lets go. From the moment it is evaluated the
// session's mutations are refused (closing), so nothing begins that nobody would end. A session that is not known is
// no error.
// It costs a look through all open writes, of every session; sessions end rarely. Answers go with the head record
// (observeSession).
func (e *Evaluator) CloseSession(ctx context.Context, id dfs.SessionID) error {
	stateSessionEnds.Reached(e.h)
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
		intents, err := e.intents(id)
		if err != nil {
			return err
		}
		for _, sequence := range intents {
			t.deleteRecord(inodestore.TableIntent, intentKey(id, sequence))
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
		stateAbandoned.Reached(t.e.h)
		t.abandon(n)
	}
	return err
}
