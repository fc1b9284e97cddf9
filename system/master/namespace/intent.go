package namespace

import (
	"context"
	"encoding/binary"
	"slices"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/proto"
)

var stateIntended = host.NewState("a change of the under store is met by its second try")

// Intents. A mutation that changes an under store before the namespace takes two steps, and a leader may die between
// them. Its client asks the next leader for the same mutation, and that one finds the store changed: it cannot tell what
// the first try did from what was there before, and would answer AlreadyExists or NotFound to a client that has done
// nothing twice (contract C2). So the leader logs, before it touches the store, that this mutation of this session is
// about to be done. Who finds the intent knows that the change may be the mutation's own.
//
// INV-1: an intent is applied before its mutation changes the store.
// INV-2: an intent goes with its mutation's entry, with an answer that says that nothing was done, or with its session. So
// there are at most as many as mutations that wait for stores, and what leaders left that died.

// intentKey is a mutation's key in TableIntent.
func intentKey(session dfs.SessionID, sequence uint64) []byte {
	return binary.BigEndian.AppendUint64(idKey(uint64(session)), sequence)
}

// Intend logs an intent, and returns when it is applied. r carries from then on that there is one, so that its entry
// removes it. A request that nobody retries needs none.
func (e *Evaluator) Intend(ctx context.Context, r *Request) error {
	if r.Session == 0 || r.Sequence == 0 || r.Intended {
		return nil
	}
	t, err := e.do(ctx, Request{Claim: r.Claim}, nil, func(t *txn) error {
		if _, err := e.replay(*r); err != nil { // the session has ended: nobody would remove the intent
			return err
		}
		t.putRecord(inodestore.TableIntent, intentKey(r.Session, r.Sequence), []byte{})
		return nil
	})
	if err == nil {
		err = t.Wait(ctx)
	}
	r.Intended = err == nil
	return err
}

// FindIntent tells whether an earlier try of r may have changed the store, and has r carry it.
func (e *Evaluator) FindIntent(r *Request) error {
	if r.Session == 0 || r.Sequence == 0 {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	value, err := e.view.record(inodestore.TableIntent, intentKey(r.Session, r.Sequence))
	if r.Intended = value != nil; r.Intended {
		stateIntended.Reached(e.h)
	}
	return err
}

// DropIntent forgets r's intent: the store has refused, and the answer says so. Nobody waits for it.
func (e *Evaluator) DropIntent(ctx context.Context, r Request) {
	if !r.Intended {
		return
	}
	_, _ = e.do(ctx, Request{Claim: r.Claim}, nil, func(t *txn) error { // if it fails, the session's end removes it
		t.deleteRecord(inodestore.TableIntent, intentKey(r.Session, r.Sequence))
		return nil
	})
}

// intents are the sequences of a session's intents, applied and proposed.
func (e *Evaluator) intents(session dfs.SessionID) ([]uint64, error) {
	prefix := idKey(uint64(session))
	found := map[uint64]bool{}
	err := e.m.store.Records(inodestore.TableIntent, prefix, nil, func(key, _ []byte) bool {
		found[keyID(key[len(prefix):])] = true
		return true
	})
	for k, p := range e.view.records {
		if k.table == inodestore.TableIntent && p.value != nil && k.key[:len(prefix)] == string(prefix) {
			found[keyID([]byte(k.key[len(prefix):]))] = true
		}
	}
	all := make([]uint64, 0, len(found))
	for sequence := range found {
		all = append(all, sequence)
	}
	slices.Sort(all)
	return all, err
}

// Acknowledge evaluates a mutation that an earlier try has done already, store and namespace: only the answer is new.
func (e *Evaluator) Acknowledge(ctx context.Context, r Request, p dfs.Path) (Outcome, error) {
	var out Outcome
	var err error
	out.Ticket, err = e.do(ctx, r, nil, func(t *txn) error {
		f, err := lookup(e.view, &r, p)
		if err == nil && f.inode != nil {
			t.answer.inode, t.answer.version = f.inode.ID, f.inode.Version
			out.Inode = f.inode
		}
		return nil // of a removal there is nothing to find
	})
	return out, err
}

// AdoptDirectory makes a directory that an earlier try has made in the store, and that came into the namespace from
// there, what the mutation asked for.
func (e *Evaluator) AdoptDirectory(ctx context.Context, r Request, p dfs.Path, op *proto.MakeDirectory) (Outcome, error) {
	var out Outcome
	var err error
	out.Ticket, err = e.do(ctx, r, []dfs.Path{p}, func(t *txn) error {
		f, err := lookup(e.view, &r, p)
		if err != nil {
			return dfs.Wrap(err, "mkdir", string(p))
		}
		if f.inode == nil || !f.inode.IsDir() {
			return existing(&inodestore.Inode{}, false, p)
		}
		after := *f.inode
		after.Mode, after.Owner, after.Group, after.Persist = op.Mode&0o7777, r.Identity.User, groupOf(&r, f.parent), dfs.Persisted
		t.putInode(&after)
		out.Inode, t.answer.inode = &after, after.ID
		return nil
	})
	return out, err
}
