package master

import (
	"context"
	"testing"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
)

// intents counts what is logged.
func (r *rig) intents() int {
	r.t.Helper()
	n := 0
	err := r.m.machine.View(func(s inodestore.Reader) error {
		return s.Records(inodestore.TableIntent, nil, nil, func(_, _ []byte) bool { n++; return true })
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// died does what a leader has done that dies between the store's step and the namespace's: it has logged the intent of the
// session's next mutation, and changed the store.
func (r *rig) died(change func(ctx context.Context) error) {
	r.t.Helper()
	ctx := context.Background()
	req := namespace.Request{Session: dfs.SessionID(r.session), Sequence: r.seq + 1}
	if err := r.m.leader.Load().e.Intend(ctx, &req); err != nil || !req.Intended {
		r.t.Fatal(err)
	}
	if err := change(ctx); err != nil {
		r.t.Fatal(err)
	}
	if r.intents() != 1 {
		r.t.Fatalf("%d intents are logged", r.intents())
	}
}

// TestRetryAfterLeaderDied (contract C2): the retry of a mutation whose first try changed the store and died gives the
// answer of one that was done once, whether or not a sync saw the changed store in between; it leaves no intent. The same
// asked anew is told what is there.
func TestRetryAfterLeaderDied(t *testing.T) {
	for name, c := range map[string]struct {
		op     *proto.Operation
		change func(r *rig) func(context.Context) error
		look   []string // paths that a sync compares before the retry
		again  dfs.Kind
		check  func(r *rig)
	}{
		"mkdir": {
			op: opMkdir("/m/new"), look: []string{"/m/new"}, again: dfs.AlreadyExists,
			change: func(r *rig) func(context.Context) error {
				return func(ctx context.Context) error { return r.space.Open(r.h, "a").Mkdir(ctx, "new", 0o700) }
			},
			check: func(r *rig) {
				s := r.must(opStat("/m/new")).Status
				if s.Mode != 0o755 || s.Owner != "root" || dfs.PersistState(s.Persist) != dfs.Persisted {
					r.t.Errorf("the directory is %v", s)
				}
			},
		},
		"rename": {
			op: opRename("/m/d/f", "/m/moved"), look: []string{"/m/d/f", "/m/moved"}, again: dfs.NotFound,
			change: func(r *rig) func(context.Context) error {
				return func(ctx context.Context) error { return r.space.Open(r.h, "a").Rename(ctx, "d/f", "moved") }
			},
			check: func(r *rig) { r.must(opStat("/m/moved")) },
		},
		"remove": {
			op: opRemove("/m/d/f", false), look: []string{"/m/d/f"}, again: dfs.NotFound,
			change: func(r *rig) func(context.Context) error {
				return func(ctx context.Context) error { return r.space.Open(r.h, "a").Remove(ctx, "d/f") }
			},
			check: func(*rig) {},
		},
	} {
		for _, synced := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				r := mounted(t)
				r.must(opMkdir("/m/d"))
				r.mustPut("/m/d/f", "THROUGH")
				r.died(c.change(r))
				if synced {
					for _, p := range c.look {
						_, _ = r.do(opStatNow(p)) // it may be gone
					}
				}
				op := &proto.Operation{Kind: c.op.Kind}
				first, err := r.do(op)
				if err != nil {
					t.Fatalf("synced %v: the retry: %v", synced, err)
				}
				again, err := r.do(op)
				if err != nil || again.Status.GetId() != first.Status.GetId() {
					t.Errorf("another retry: %v, %v; first %v", again, err, first)
				}
				c.check(r)
				if n := r.intents(); n != 0 {
					t.Errorf("%d intents are left", n)
				}
				if _, err := r.do(&proto.Operation{Kind: c.op.Kind}); !dfs.IsKind(err, c.again) {
					t.Errorf("asked anew: %v, want %v", err, c.again)
				}
				if n := r.intents(); n != 0 {
					t.Errorf("%d intents are left after a refusal", n)
				}
			})
		}
	}
}

// TestIntentsGo: a store's refusal takes the intent with it, an answer that leaves open what the store did keeps it for
// the retry, and the session's end takes what is left.
func TestIntentsGo(t *testing.T) {
	r := mounted(t)
	kind := dfs.PermissionDenied
	l := r.m.leader.Load()
	for _, want := range []int{0, 1} {
		req := namespace.Request{Session: dfs.SessionID(r.session), Sequence: r.seq + 1}
		err := l.changeStore(context.Background(), &req, func() error {
			if n := r.intents(); n != 1 {
				t.Errorf("%d intents while the store is being changed", n)
			}
			return dfs.Errorf(kind, "mkdir", "/m/x", "says the store")
		})
		if !dfs.IsKind(err, kind) {
			t.Errorf("%v", err)
		}
		r.until("the intent is settled", func() bool { return r.intents() == want })
		kind = dfs.DeadlineExceeded
	}
	if err := l.e.CloseSession(context.Background(), dfs.SessionID(r.session)); err != nil {
		t.Fatal(err)
	}
	if n := r.intents(); n != 0 {
		t.Errorf("%d intents outlive their session", n)
	}
	req := namespace.Request{Session: dfs.SessionID(r.session), Sequence: 99}
	if err := l.e.Intend(context.Background(), &req); !dfs.IsKind(err, dfs.SessionExpired) || r.intents() != 0 {
		t.Errorf("an intent of a session that has ended: %v", err)
	}
	none := namespace.Request{}
	if err := l.e.Intend(context.Background(), &none); err != nil || none.Intended {
		t.Errorf("of a request that nobody retries: %v", err)
	}
}
