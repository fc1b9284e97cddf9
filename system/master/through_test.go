package master

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/mounttable"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/mem"
)

// mounted is a rig with the store mem://a at /m, and a session.
func mounted(t *testing.T, change ...func(*Config)) *rig {
	t.Helper()
	r := newRig(t, change...)
	r.session = r.must(opSession(3)).Session
	r.must(opMount("/m", "mem://a", false))
	return r
}

func (r *rig) remove(path string) {
	r.t.Helper()
	if err := r.space.Open(r.h, "a").Remove(context.Background(), path); err != nil {
		r.t.Fatal(err)
	}
}

// mustStore is store that must succeed.
func (r *rig) mustStore(path, content string) (fingerprint string) {
	r.t.Helper()
	fingerprint, err := r.store(path, content)
	if err != nil {
		r.t.Fatal(err)
	}
	return fingerprint
}

// mustPut is put that must succeed.
func (r *rig) mustPut(p, kind string) {
	r.t.Helper()
	if _, err := r.put(p, kind); err != nil {
		r.t.Fatal(err)
	}
}

// inStore tells what the store has at a path: "file", "directory" or "nothing".
func (r *rig) inStore(path string) string {
	r.t.Helper()
	e, err := r.space.Open(r.h, "a").Stat(context.Background(), path)
	switch {
	case dfs.IsKind(err, dfs.NotFound), dfs.IsKind(err, dfs.NotDirectory):
		return "nothing"
	case err != nil:
		r.t.Fatal(err)
	case e.Dir:
		return "directory"
	}
	return "file"
}

// TestCompleteConfirms (INV-1): a version that is written through is published only with exactly what the store has. Each
// case changes something between the writer's commit and its complete.
func TestCompleteConfirms(t *testing.T) {
	unmount := func() *proto.Operation {
		return &proto.Operation{Kind: &proto.Operation_Unmount{Unmount: &proto.UnmountUfs{Path: "/m"}}}
	}
	for name, c := range map[string]struct {
		meanwhile func(r *rig)
		want      dfs.Kind
		at        string // where the file is then; "": nowhere
	}{
		"as it was written":             {func(*rig) {}, 0, "/m/d/f"},
		"removed from the store":        {func(r *rig) { r.remove("d/f") }, dfs.NotFound, "/m/d/f"},
		"replaced in the store":         {func(r *rig) { r.mustStore("d/f", "late") }, dfs.Conflict, "/m/d/f"},
		"a directory in the store":      {func(r *rig) { r.remove("d/f"); r.mustStore("d/f/x", "late") }, dfs.Conflict, "/m/d/f"},
		"removed through Forebay":       {func(r *rig) { r.must(opRemove("/m/d/f", false)) }, dfs.Stale, ""},
		"removed with its directory":    {func(r *rig) { r.must(opRemove("/m/d", true)) }, dfs.Stale, ""},
		"renamed":                       {func(r *rig) { r.must(opRename("/m/d/f", "/m/g")) }, 0, "/m/g"},
		"renamed twice":                 {func(r *rig) { r.must(opRename("/m/d/f", "/m/g")); r.must(opRename("/m/g", "/m/h")) }, 0, "/m/h"},
		"renamed with its directory":    {func(r *rig) { r.must(opRename("/m/d", "/m/e")) }, 0, "/m/e/f"},
		"renamed over another":          {func(r *rig) { r.mustPut("/m/o", "THROUGH"); r.must(opRename("/m/d/f", "/m/o")) }, 0, "/m/o"},
		"unmounted":                     {func(r *rig) { r.must(unmount()) }, dfs.Stale, ""},
		"renamed, and replaced there":   {func(r *rig) { r.must(opRename("/m/d/f", "/m/g")); r.mustStore("d/f", "late") }, dfs.Conflict, "/m/g"},
		"renamed, and its path is used": {func(r *rig) { r.must(opRename("/m/d/f", "/m/g")); r.must(opCreate("/m/d/f", dfs.WriteThrough)) }, dfs.Conflict, "/m/g"},
	} {
		t.Run(name, func(t *testing.T) {
			r := mounted(t)
			r.must(opMkdir("/m/d"))
			s := r.must(opCreate("/m/d/f", dfs.WriteThrough)).Status
			commit := func() string { return r.mustStore("d/f", "data") }
			fingerprint := ""
			if strings.HasPrefix(name, "renamed") { // the worker commits at the old path, unless the directory is gone
				if !strings.Contains(name, "directory") {
					c.meanwhile(r)
					if c.want == 0 {
						fingerprint = commit()
					} else {
						fingerprint = "of what was overwritten"
						if strings.Contains(name, "used") {
							fingerprint = commit()
						}
					}
				} else {
					fingerprint = commit()
					c.meanwhile(r)
				}
			} else {
				fingerprint = commit()
				c.meanwhile(r)
			}
			_, err := r.do(opComplete(s, dfs.WriteThrough, 4, fingerprint, ""))
			if got := dfs.KindOf(err); err != nil && got != c.want || err == nil && c.want != 0 {
				t.Errorf("%v, want kind %v", err, c.want)
			}
			if c.at == "" {
				return
			}
			st := r.must(opStat(c.at)).Status
			if published := st.Version == 1; published != (c.want == 0) {
				t.Errorf("published %v: %v", published, st)
			}
			if c.want == 0 && r.inStore(strings.TrimPrefix(c.at, "/m/")) != "file" {
				t.Error("the store does not have it where the namespace says")
			}
			l := r.m.leader.Load()
			if err := l.claimFree("/m"); err != nil {
				t.Errorf("a claim is held for ever: %v", err)
			}
		})
	}
}

// claimFree tells whether p can be claimed at once.
func (l *leadership) claimFree(p dfs.Path) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c, err := l.e.Claim(ctx, p)
	if err == nil {
		c.Release()
	}
	return err
}

// TestStoreRefuses: when the store fails an operation, its error is the answer, the namespace is as it was, nothing is
// claimed, and the same operation goes through once the store works again.
func TestStoreRefuses(t *testing.T) {
	mode := uint32(0o600)
	chmod := func(p string) *proto.Operation {
		return &proto.Operation{Kind: &proto.Operation_SetAttribute{SetAttribute: &proto.SetAttribute{Path: p, Mode: &mode}}}
	}
	for name, c := range map[string]struct {
		refuse refusing
		op     func() *proto.Operation
	}{
		"mkdir":             {refusing{op: "mkdir"}, func() *proto.Operation { return opMkdir("/m/new") }},
		"rename":            {refusing{op: "rename"}, func() *proto.Operation { return opRename("/m/f", "/m/g") }},
		"rename over":       {refusing{op: "rename"}, func() *proto.Operation { return opRename("/m/f", "/m/other") }},
		"rename unkept":     {refusing{op: "remove", path: "other"}, func() *proto.Operation { return opRename("/m/cached", "/m/other") }},
		"rename earlier":    {refusing{op: "remove", path: "twice"}, func() *proto.Operation { return opRename("/m/twice", "/m/thrice") }},
		"rename local dir":  {refusing{op: "rename", path: "local"}, func() *proto.Operation { return opRename("/m/local", "/m/elsewhere") }},
		"remove":            {refusing{op: "remove"}, func() *proto.Operation { return opRemove("/m/f", false) }},
		"remove tree":       {refusing{op: "remove", path: "d/e/deep"}, func() *proto.Operation { return opRemove("/m/d", true) }},
		"remove, list":      {refusing{op: "list", path: "d/e"}, func() *proto.Operation { return opRemove("/m/d", true) }},
		"chmod":             {refusing{op: "set"}, func() *proto.Operation { return chmod("/m/f") }},
		"unknown, stat":     {refusing{op: "stat", path: "unseen"}, func() *proto.Operation { return opRemove("/m/unseen", false) }},
		"create, unknown":   {refusing{op: "stat", path: "free"}, func() *proto.Operation { return opCreate("/m/free", dfs.WriteThrough) }},
		"rename to unknown": {refusing{op: "stat", path: "free"}, func() *proto.Operation { return opRename("/m/f", "/m/free") }},
	} {
		t.Run(name, func(t *testing.T) {
			broken := &c.refuse
			broken.off = true
			r := mounted(t, withStore(func(s ufs.Store) ufs.Store { broken.Store = s; return broken }))
			for _, p := range []string{"/m/f", "/m/other"} {
				r.mustPut(p, "THROUGH")
			}
			r.mustPut("/m/cached", "MUST_CACHE")
			r.mustPut("/m/twice", "THROUGH")
			r.mustPut("/m/twice", "MUST_CACHE")
			local := opMkdir("/m/local")
			local.GetMakeDirectory().MustCache = true
			r.must(local)
			r.mustStore("local/theirs", "x")
			for _, p := range []string{"/m/d", "/m/d/e"} {
				r.must(opMkdir(p))
			}
			r.mustPut("/m/d/e/deep", "THROUGH")
			r.mustStore("unseen", "x")
			before := r.tree("/m")
			broken.off = false
			if _, err := r.do(c.op()); !dfs.IsKind(err, dfs.Unavailable) || !strings.Contains(err.Error(), "the store refuses") {
				t.Errorf("%v", err)
			}
			if after := r.tree("/m"); after != before {
				t.Errorf("the namespace changed:\n%s\nwas\n%s", after, before)
			}
			if err := r.m.leader.Load().claimFree("/m"); err != nil {
				t.Errorf("a claim is held for ever: %v", err)
			}
			broken.off = true
			if _, err := r.do(c.op()); err != nil {
				t.Errorf("once the store works: %v", err)
			}
		})
	}
}

// tree is what the namespace knows below p, in its own words.
func (r *rig) tree(p dfs.Path) string {
	r.t.Helper()
	var b strings.Builder
	err := r.m.leader.Load().walk(context.Background(), p, func(at dfs.Path, n walked) error {
		fmt.Fprintf(&b, "%s id=%d v%d mode=%o %v\n", at, n.ID, n.Version, n.Mode, n.Persist)
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return b.String()
}

// TestRenameGoesOn (INV-2): a leader that died between the store's rename and the entry left the store ahead. The retry,
// which the next leader evaluates anew, finds the source gone from the store and the target there.
func TestRenameGoesOn(t *testing.T) {
	r := mounted(t)
	r.mustPut("/m/f", "THROUGH")
	if err := r.space.Open(r.h, "a").Rename(context.Background(), "f", "g"); err != nil {
		t.Fatal(err)
	}
	r.must(opRename("/m/f", "/m/g"))
	if s := r.must(opStat("/m/g")).Status; s.Version != 1 {
		t.Errorf("status %v", s)
	}
	r.remove("g") // neither here nor there: not an earlier try
	if _, err := r.do(opRename("/m/g", "/m/h")); !dfs.IsKind(err, dfs.NotFound) {
		t.Errorf("a file that the store lost: %v", err)
	}
	r.must(opStat("/m/g"))
}

// TestRemoveGoesOn: the same for removals, of a file and of a tree that is half gone.
func TestRemoveGoesOn(t *testing.T) {
	r := mounted(t)
	r.mustPut("/m/f", "THROUGH")
	r.must(opMkdir("/m/d"))
	r.mustPut("/m/d/a", "THROUGH")
	r.mustPut("/m/d/b", "THROUGH")
	r.remove("f")
	r.remove("d/a")
	r.must(opRemove("/m/f", false))
	r.must(opRemove("/m/d", true))
	for _, p := range []string{"/m/f", "/m/d"} {
		if _, err := r.do(opStat(p)); !dfs.IsKind(err, dfs.NotFound) {
			t.Errorf("%s: %v", p, err)
		}
	}
	if got := r.inStore("d"); got != "nothing" {
		t.Errorf("the store has a %s", got)
	}
}

// TestUnpersistedRenames (INV-3): what only Forebay has moves here alone, and neither what its target was nor what an
// earlier version left comes back with the next look.
func TestUnpersistedRenames(t *testing.T) {
	r := mounted(t)
	r.mustPut("/m/over", "THROUGH")
	r.mustPut("/m/f", "THROUGH")
	r.mustPut("/m/f", "MUST_CACHE") // the first version lies in the store
	r.must(opRename("/m/f", "/m/over"))
	for path, want := range map[string]string{"f": "nothing", "over": "nothing"} {
		if got := r.inStore(path); got != want {
			t.Errorf("the store has a %s at %s, want %s", got, path, want)
		}
	}
	if _, err := r.do(opStatNow("/m/f")); !dfs.IsKind(err, dfs.NotFound) {
		t.Errorf("the source came back: %v", err)
	}
	if s := r.must(opStatNow("/m/over")).Status; dfs.PersistState(s.Persist) != dfs.NotPersisted {
		t.Errorf("the target is %v", s)
	}
}

// TestRemoveTells: an interrupted removal of a tree says how to go on, and goes on.
func TestRemoveTells(t *testing.T) {
	slow := &refusing{op: "remove", path: "d/b", kind: dfs.DeadlineExceeded, off: true}
	r := mounted(t, withStore(func(s ufs.Store) ufs.Store { slow.Store = s; return slow }))
	r.must(opMkdir("/m/d"))
	r.mustPut("/m/d/a", "THROUGH")
	r.mustPut("/m/d/b", "THROUGH")
	slow.off = false
	if _, err := r.do(opRemove("/m/d", true)); !dfs.IsKind(err, dfs.DeadlineExceeded) || !strings.Contains(err.Error(), "run the same command again") {
		t.Errorf("%v", err)
	}
	slow.off = true
	r.must(opRemove("/m/d", true))
	if got := r.inStore("d"); got != "nothing" {
		t.Errorf("the store has a %s", got)
	}
}

// TestMountLooksFirst: what cannot be a mount is refused before anything is logged, and by whom it may not be, before the
// store is opened.
func TestMountLooksFirst(t *testing.T) {
	opened := 0
	closed := 0
	var answer func() (ufs.Entry, error)
	r := newRig(t, withStore(func(s ufs.Store) ufs.Store {
		opened++
		return &rootAnswers{s, func() (ufs.Entry, error) { return answer() }, &closed}
	}))
	answer = func() (ufs.Entry, error) { return ufs.Entry{}, dfs.Errorf(dfs.NotFound, "stat", "", "no such bucket") }
	if _, err := r.do(opMount("/m", "mem://a", false)); !dfs.IsKind(err, dfs.NotFound) || !strings.Contains(err.Error(), "no such bucket") {
		t.Errorf("a store that is not there: %v", err)
	}
	answer = func() (ufs.Entry, error) { return ufs.Entry{Name: ""}, nil }
	if _, err := r.do(opMount("/m", "mem://a", false)); !dfs.IsKind(err, dfs.NotDirectory) {
		t.Errorf("a file: %v", err)
	}
	if opened != 2 || closed != 2 {
		t.Errorf("%d handles were opened and %d closed", opened, closed)
	}
	r.user = "bob"
	if _, err := r.do(opMount("/m", "mem://a", false)); !dfs.IsKind(err, dfs.PermissionDenied) || opened != 2 {
		t.Errorf("somebody: %v, %d handles", err, opened)
	}
	if all := r.m.machine.Mounts().All(); len(all) != 0 {
		t.Errorf("mounts %v", all)
	}
}

// rootAnswers is a store whose root the test makes up.
type rootAnswers struct {
	ufs.Store
	root   func() (ufs.Entry, error)
	closed *int
}

func (s *rootAnswers) Stat(ctx context.Context, path string) (ufs.Entry, error) {
	if path == "" {
		return s.root()
	}
	return s.Store.Stat(ctx, path)
}

func (s *rootAnswers) Close() error { *s.closed++; return s.Store.Close() }

// TestStoresAreOpenedOnce: many callers at once share one handle; one that fails to open is not remembered; a handle is
// closed when its mount is gone, and a caller who gives up does not wait for another's opening.
func TestStoresAreOpenedOnce(t *testing.T) {
	h := host.NewReal()
	var opened, closed atomic.Int64
	fail, pass := true, make(chan struct{})
	s := newStores(h, func(context.Context, string, map[string]string) (ufs.Store, error) {
		<-pass
		if opened.Add(1); fail {
			return nil, dfs.Errorf(dfs.Unavailable, "open", "", "not yet")
		}
		return &counted{mem.New(h), &closed}, nil
	})
	m := &mounttable.Mount{ID: 7, Path: "/m"}
	first := make(chan error, 1)
	go func() { _, err := s.get(context.Background(), m); first <- err }()
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	for s.lock.TryLock() { // until the first caller is opening
		s.lock.Unlock()
		time.Sleep(time.Microsecond)
	}
	if _, err := s.get(gone, m); err == nil {
		t.Error("a caller who gave up got a handle")
	}
	close(pass)
	if err := <-first; !dfs.IsKind(err, dfs.Unavailable) || !strings.Contains(err.Error(), "/m") {
		t.Errorf("a store that cannot be opened: %v", err)
	}
	fail = false
	got := make(chan ufs.Store, 20)
	for range cap(got) {
		go func() { store, _ := s.get(context.Background(), m); got <- store }()
	}
	handle := <-got
	for range cap(got) - 1 {
		if <-got != handle {
			t.Error("two handles of one mount")
		}
	}
	if opened.Load() != 2 {
		t.Errorf("opened %d times, want one failure and one handle", opened.Load())
	}
	s.retain(mounttable.New([]*mounttable.Mount{m}))
	if closed.Load() != 0 {
		t.Error("a handle in use was closed")
	}
	s.retain(mounttable.New(nil))
	if closed.Load() != 1 || s.known(7) != nil {
		t.Errorf("closed %d times after the unmount", closed.Load())
	}
}

type counted struct {
	ufs.Store
	closed *atomic.Int64
}

func (c *counted) Close() error { c.closed.Add(1); return c.Store.Close() }

// TestRecursiveAttributes: everything below changes, in the store too where it has it, and the count tells how much; what
// the store does not support is kept here alone.
func TestRecursiveAttributes(t *testing.T) {
	for name, kind := range map[string]dfs.Kind{"supported": 0, "not supported": dfs.UnsupportedFeature, "vanished": dfs.NotFound} {
		t.Run(name, func(t *testing.T) {
			broken := &refusing{op: "set", kind: kind, off: kind == 0}
			r := mounted(t, withStore(func(s ufs.Store) ufs.Store { broken.Store = s; return broken }))
			r.must(opMkdir("/m/d"))
			r.mustPut("/m/d/there", "THROUGH")
			r.mustPut("/m/d/here", "MUST_CACHE")
			mode := uint32(0o640)
			res := r.must(&proto.Operation{Kind: &proto.Operation_SetAttribute{SetAttribute: &proto.SetAttribute{Path: "/m/d", Mode: &mode, Recursive: true}}})
			if res.Count != 3 {
				t.Errorf("%d were changed, want 3", res.Count)
			}
			for _, p := range []string{"/m/d", "/m/d/there", "/m/d/here"} {
				if s := r.must(opStat(p)).Status; s.Mode != mode {
					t.Errorf("%s has mode %o", p, s.Mode)
				}
			}
			e, err := r.space.Open(r.h, "a").Stat(context.Background(), "d/there")
			if err != nil || (e.Mode == mode) != (kind == 0) {
				t.Errorf("the store's mode is %o, %v", e.Mode, err)
			}
		})
	}
}

// TestBulkOperations: what free, persist and load refuse, and what they count.
func TestBulkOperations(t *testing.T) {
	r := mounted(t)
	r.must(opMkdir("/m/d"))
	r.mustPut("/m/d/through", "THROUGH")
	r.mustPut("/m/d/cached", "MUST_CACHE")
	r.mustPut("/m/d/pinned", "THROUGH")
	r.must(opCreate("/m/d/open", dfs.WriteThrough))
	pinned := true
	r.must(&proto.Operation{Kind: &proto.Operation_SetAttribute{SetAttribute: &proto.SetAttribute{Path: "/m/d/pinned", Pinned: &pinned}}})
	free := func(p string, recursive, force bool) *proto.Operation {
		return &proto.Operation{Kind: &proto.Operation_Free{Free: &proto.Free{Path: p, Recursive: recursive, Force: force}}}
	}
	persist := func(p string, recursive bool) *proto.Operation {
		return &proto.Operation{Kind: &proto.Operation_Persist{Persist: &proto.Persist{Path: p, Recursive: recursive}}}
	}
	load := func(p string) *proto.Operation {
		return &proto.Operation{Kind: &proto.Operation_Load{Load: &proto.Load{Path: p, Recursive: true}}}
	}
	for name, c := range map[string]struct {
		op    *proto.Operation
		want  dfs.Kind
		count int64
	}{
		"free a directory":           {free("/m/d", false, false), dfs.IsDirectory, 0},
		"free all":                   {free("/m/d", true, false), 0, 1},
		"free all by force":          {free("/m/d", true, true), 0, 2},
		"free what is pinned":        {free("/m/d/pinned", false, false), dfs.InvalidArgument, 0},
		"free by force":              {free("/m/d/pinned", false, true), 0, 1},
		"free what is here alone":    {free("/m/d/cached", false, false), 0, 0},
		"free nothing":               {free("/m/none", false, false), dfs.NotFound, 0},
		"persist a directory":        {persist("/m/d", false), dfs.IsDirectory, 0},
		"persist what is persisted":  {persist("/m/d/through", false), 0, 0},
		"persist what is being made": {persist("/m/d/open", false), dfs.Incomplete, 0},
		"persist nothing":            {persist("/m/none", true), dfs.NotFound, 0},
		"load nothing":               {load("/m/none"), dfs.NotFound, 0},
		"load all":                   {load("/m"), 0, 6},
	} {
		res, err := r.do(c.op)
		if got := dfs.KindOf(err); err != nil && got != c.want || err == nil && (c.want != 0 || res.Count != c.count) {
			t.Errorf("%s: %d, %v; want %d, kind %v", name, res.GetCount(), err, c.count, c.want)
		}
	}
	if res := r.must(persist("/m", true)); res.Count != 1 { // last: it changes what the others count
		t.Errorf("persisting all: %d, want the one that is here alone", res.Count)
	}
}

// TestRetryOfEveryMutation (contract C2): each mutation that may wait for a store, sent again with its sequence, gives its
// first answer and changes nothing.
func TestRetryOfEveryMutation(t *testing.T) {
	r := mounted(t)
	r.must(opMkdir("/m/d"))
	for _, p := range []string{"/m/d/f", "/m/d/g", "/m/d/h"} {
		r.mustPut(p, "THROUGH")
	}
	mode := uint32(0o600)
	for name, op := range map[string]*proto.Operation{
		"mkdir":  opMkdir("/m/new"),
		"rename": opRename("/m/d/f", "/m/f"),
		"remove": opRemove("/m/d/g", false),
		"create": opCreate("/m/created", dfs.WriteThrough),
		"mount":  opMount("/other", "mem://b", false),
		"chmod":  {Kind: &proto.Operation_SetAttribute{SetAttribute: &proto.SetAttribute{Path: "/m/d/h", Mode: &mode}}},
		"xattr":  {Kind: &proto.Operation_SetXattr{SetXattr: &proto.SetXattr{Path: "/m/d/h", Name: "user.x", Create: true}}},
	} {
		first := r.must(op)
		before := r.tree("/")
		again, err := r.do(op) // batch gives a sequence only once
		if err != nil || again.Status.GetId() != first.Status.GetId() || again.Count != first.Count {
			t.Errorf("%s: %v, %v; the first answer was %v", name, again, err, first)
		}
		if after := r.tree("/"); after != before {
			t.Errorf("%s changed something again:\n%s\nwas\n%s", name, after, before)
		}
	}
}

// TestRemoveTreeGivesUp: a caller's end stops it between two entries, and a directory that never empties is given up.
func TestRemoveTreeGivesUp(t *testing.T) {
	h, ctx := host.NewReal(), context.Background()
	s := &refusing{Store: mem.New(h), op: "remove", path: "d", kind: dfs.NotEmpty}
	w, err := s.Create(ctx, "d/f", 0o644)
	if err == nil {
		_, _ = io.WriteString(w, "x")
		_, err = w.Commit(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if err := removeTree(canceled, h, s, "d"); err == nil {
		t.Error("went on after its caller had gone")
	}
	if err := removeTree(ctx, h, &refusing{Store: mem.New(h), op: "list", path: "d"}, "d"); !dfs.IsKind(err, dfs.Unavailable) {
		t.Errorf("a listing that fails: %v", err)
	}
}
