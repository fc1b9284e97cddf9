package metasync

import (
	"context"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/host/hosttest"
	"github.com/forebay/forebay/system/journal/memjournal"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/mounttable"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/mem"
)

// rig is a namespace with one mount at /m, and its store, which the test changes behind the syncer's back.
type rig struct {
	t     testing.TB
	h     host.Host
	m     *namespace.Machine
	e     *namespace.Evaluator
	space mem.Space
	store *mem.Store // as it is
	seen  ufs.Store  // as the syncer sees it
	s     *Syncer
	mu    sync.Mutex
	gone  []string // guarded by mu: entries are settled by tasks of their own
}

var ctx = context.Background()

var root = namespace.Request{Identity: dfs.Identity{User: "root"}, Superuser: "root"}

func newRig(t testing.TB, h host.Host, wrap func(ufs.Store) ufs.Store) *rig {
	t.Helper()
	r := &rig{t: t, h: h}
	inodes, err := inodestore.OpenHeap(h, "")
	r.must(err)
	r.m, err = namespace.NewMachine(h, inodes)
	r.must(err)
	j := memjournal.Open(h, r.m)
	r.e, err = namespace.NewEvaluator(h, r.m, j, nil)
	r.must(err)
	r.must(r.e.Bootstrap(ctx, "root", "root", "m1", "a:1"))
	r.store = r.space.Open(h, "a")
	r.seen = r.store
	if wrap != nil {
		r.seen = wrap(r.store)
	}
	open := func(context.Context, *mounttable.Mount) (ufs.Store, error) { return r.seen, nil }
	r.s = New(h, r.m, r.e, open, func(n *inodestore.Inode) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.gone = append(r.gone, n.Name)
	})
	out, err := r.e.Mount(ctx, root, mounttable.Mount{Path: "/m", URI: "mem://a", SyncInterval: Never})
	r.must(err)
	r.must(out.Ticket.Wait(ctx))
	return r
}

// told is what was reported as removed so far.
func (r *rig) told() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.gone)
}

// close ends the rig's tasks, which a virtual host waits for.
func (r *rig) close(j io.Closer) {
	r.e.Close()
	if j != nil {
		r.must(j.Close())
	}
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) put(path, content string) {
	r.t.Helper()
	w, err := r.store.Create(ctx, path, 0o644)
	r.must(err)
	_, err = io.WriteString(w, content)
	r.must(err)
	_, err = w.Commit(ctx)
	r.must(err)
}

func (r *rig) removeTree(path string) {
	for _, child := range r.list(path) {
		r.removeTree(ufs.Join(path, child.Name))
	}
	_ = r.store.Remove(ctx, path) // "" stays
}

func (r *rig) list(path string) []ufs.Entry {
	var out []ufs.Entry
	for e, err := range r.store.List(ctx, path, "") {
		if err != nil {
			return nil
		}
		out = append(out, e)
	}
	return out
}

func (r *rig) peek(p dfs.Path) *inodestore.Inode {
	n, _, _, _ := r.m.Peek(p)
	return n
}

func (r *rig) create(p dfs.Path, w dfs.WriteType) {
	r.t.Helper()
	out, err := r.e.Create(ctx, root, p, &proto.CreateFile{WriteType: uint32(w), Recursive: true})
	r.must(err)
	id, version, _ := out.Ticket.Answer()
	out, err = r.e.Complete(ctx, root, &proto.CompleteFile{Inode: uint64(id), Version: version}, nil)
	r.must(err)
	r.must(out.Ticket.Wait(ctx))
}

// storeTree and knownTree are the two sides as text: directories, and files with size and fingerprint.
func (r *rig) storeTree(path string) (out []string) {
	for _, e := range r.list(path) {
		at := ufs.Join(path, e.Name)
		if e.Dir {
			out = append(append(out, at+"/"), r.storeTree(at)...)
			continue
		}
		out = append(out, fmt.Sprintf("%s %d %s", at, e.Size, e.Fingerprint))
	}
	return out
}

func (r *rig) knownTree() (out []string) {
	var walk func(id dfs.InodeID, path string)
	walk = func(id dfs.InodeID, path string) {
		var children []*inodestore.Inode
		r.must(r.m.View(func(v inodestore.Reader) error {
			return v.List(id, "", func(n *inodestore.Inode) bool { children = append(children, n); return true })
		}))
		for _, n := range children {
			at := ufs.Join(path, n.Name)
			if n.IsDir() {
				out = append(out, at+"/")
				walk(n.ID, at)
				continue
			}
			line := fmt.Sprintf("%s %d %s", at, n.Length, n.Fingerprint)
			if n.Persist != dfs.Persisted {
				line = at + " ours"
			}
			out = append(out, line)
		}
	}
	walk(r.peek("/m").ID, "")
	return out
}

// syncAll compares every directory from the top, as 'load -r' does.
func (r *rig) syncAll(p dfs.Path) error {
	if err := r.s.Fresh(ctx, p, true); err != nil {
		return err
	}
	n := r.peek(p)
	if n == nil || !n.IsDir() {
		return nil
	}
	var dirs []string
	r.must(r.m.View(func(v inodestore.Reader) error {
		return v.List(n.ID, "", func(c *inodestore.Inode) bool {
			if c.IsDir() {
				dirs = append(dirs, c.Name)
			}
			return true
		})
	}))
	for _, name := range dirs {
		if err := r.syncAll(p.Join(name)); err != nil {
			return err
		}
	}
	return nil
}

func randomName(rng *rand.Rand) string {
	var parts []string
	for range 1 + rng.IntN(3) {
		parts = append(parts, string(rune('a'+rng.IntN(3))))
	}
	return strings.Join(parts, "/")
}

// meddle changes the store behind the syncer's back: contents, whole directories, and what is a file or a directory.
func (r *rig) meddle(rng *rand.Rand) {
	path := randomName(rng)
	switch rng.IntN(5) {
	case 0, 1:
		if w, err := r.store.Create(ctx, path, 0o644); err == nil {
			_, _ = io.WriteString(w, strings.Repeat("x", rng.IntN(9)))
			_, _ = w.Commit(ctx) // refused when the path is a directory
			w.Abort()
		}
	case 2:
		_ = r.store.Mkdir(ctx, path, 0o755)
	case 3:
		r.removeTree(path)
	case 4:
		r.removeTree(path)
		if rng.IntN(2) == 0 {
			_ = r.store.Mkdir(ctx, ufs.Join(path, "t"), 0o755)
		} else if w, err := r.store.Create(ctx, path, 0o644); err == nil {
			_, _ = w.Commit(ctx)
			w.Abort()
		}
	}
}

// TestModel: after any changes behind its back, looked at one by one in any order and through a store that fails, a full
// sync leaves the namespace with exactly what the store has.
func TestModel(t *testing.T) {
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 5))
		h := host.NewReal()
		r := newRig(t, h, func(s ufs.Store) ufs.Store {
			return ufs.Faults(h, s, ufs.FaultOptions{Seed: seed, ErrorRate: 0.05, BrokenReadRate: 0.02})
		})
		for round := range 60 {
			for range 1 + rng.IntN(6) {
				r.meddle(rng)
			}
			for range rng.IntN(4) { // some paths are looked at before all is
				p := dfs.Path("/m/" + randomName(rng))
				if err := r.s.Fresh(ctx, p, rng.IntN(2) == 0); err != nil && !dfs.IsKind(err, dfs.Unavailable) {
					t.Fatalf("seed %d, round %d, %s: %v", seed, round, p, err)
				}
			}
			for tries := 0; ; tries++ {
				err := r.syncAll("/m")
				if err == nil {
					break
				}
				if !dfs.IsKind(err, dfs.Unavailable) || tries > 200 {
					t.Fatalf("seed %d, round %d: %v", seed, round, err)
				}
			}
			if got, want := r.knownTree(), r.storeTree(""); !slices.Equal(got, want) {
				t.Fatalf("seed %d, round %d:\n got  %v\n want %v", seed, round, got, want)
			}
		}
		r.close(nil)
	}
}

// TestOursSurvives (contract C3): files that only Forebay has are there after every change of the store.
func TestOursSurvives(t *testing.T) {
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 6))
		r := newRig(t, host.NewReal(), nil)
		ours := map[dfs.Path]bool{}
		for round := range 60 {
			r.meddle(rng)
			if err := r.syncAll("/m"); err != nil {
				t.Fatalf("seed %d, round %d: %v", seed, round, err)
			}
			p := dfs.Path("/m/" + randomName(rng))
			if n, _, _, err := r.m.Peek(p); n == nil && err == nil && rng.IntN(3) == 0 {
				r.create(p, dfs.WriteAsyncThrough)
				ours[p] = true
			}
			for p := range ours {
				if n := r.peek(p); n == nil || n.Persist == dfs.Persisted {
					t.Fatalf("seed %d, round %d: %s, which nobody else has, is %+v", seed, round, p, n)
				}
			}
		}
		r.close(nil)
	}
}

// gate is a store whose listings stop between two entries until the test lets them go on.
type gate struct {
	ufs.Store
	reached, pass chan struct{}
	once          sync.Once
	after         string
}

func (g *gate) List(ctx context.Context, dir, after string) iter.Seq2[ufs.Entry, error] {
	return func(yield func(ufs.Entry, error) bool) {
		for e, err := range g.Store.List(ctx, dir, after) {
			if e.Name == g.after {
				g.once.Do(func() { close(g.reached); <-g.pass })
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// TestListingRace: what is made through Forebay while a listing runs is not called gone by it, although the listing has
// passed its place.
func TestListingRace(t *testing.T) {
	g := &gate{reached: make(chan struct{}), pass: make(chan struct{}), after: "m"}
	r := newRig(t, host.NewReal(), func(s ufs.Store) ufs.Store { g.Store = s; return g })
	defer r.close(nil)
	r.put("m", "middle")
	r.put("z", "end")
	done := make(chan error, 1)
	go func() { done <- r.s.Children(ctx, "/m") }()
	<-g.reached
	created := make(chan struct{})
	go func() { r.create("/m/b", dfs.WriteAsyncThrough); r.create("/m/x", dfs.WriteMustCache); close(created) }()
	close(g.pass)
	r.must(<-done)
	<-created
	r.must(r.s.Children(ctx, "/m"))
	if got := r.knownTree(); len(got) != 4 {
		t.Errorf("known: %v", got)
	}
}

// TestFreshLooksAfterItAsks: a caller with interval 0 does not share a look that was under way when it came.
func TestFreshLooksAfterItAsks(t *testing.T) {
	g := &gate{reached: make(chan struct{}), pass: make(chan struct{}), after: "z"}
	r := newRig(t, host.NewReal(), func(s ufs.Store) ufs.Store { g.Store = s; return g })
	defer r.close(nil)
	r.put("z", "end")
	early := make(chan error, 1)
	go func() { early <- r.s.Children(ctx, "/m") }()
	<-g.reached
	r.put("a", "came behind the listing")
	late := make(chan error, 1)
	go func() { late <- r.s.Fresh(ctx, "/m", true) }()
	time.Sleep(5 * time.Millisecond) // so that it joins; it must see a either way
	close(g.pass)
	r.must(<-early)
	r.must(<-late)
	if r.peek("/m/a") == nil {
		t.Error("a fresh look did not see what was there when it was asked for")
	}
}

// TestMissingMountRoot: a disk that is not mounted is not a disk that is empty.
func TestMissingMountRoot(t *testing.T) {
	missing := &rootless{}
	r := newRig(t, host.NewReal(), func(s ufs.Store) ufs.Store { missing.Store = s; return missing })
	defer r.close(nil)
	r.put("d/f", "data")
	r.must(r.syncAll("/m"))
	missing.gone = true
	if err := r.s.Children(ctx, "/m"); !dfs.IsKind(err, dfs.UnderStore) || !strings.Contains(err.Error(), "mounted") {
		t.Errorf("error %v", err)
	}
	if r.peek("/m/d/f") == nil {
		t.Error("everything was forgotten")
	}
}

type rootless struct {
	ufs.Store
	gone bool
}

func (s *rootless) List(ctx context.Context, dir, after string) iter.Seq2[ufs.Entry, error] {
	if !s.gone {
		return s.Store.List(ctx, dir, after)
	}
	return func(yield func(ufs.Entry, error) bool) {
		yield(ufs.Entry{}, dfs.Errorf(dfs.NotFound, "list", dir, "no such directory"))
	}
}

// TestLargeDirectories: more entries than a batch, on both sides, come and go.
func TestLargeDirectories(t *testing.T) {
	r := newRig(t, host.NewReal(), nil)
	defer r.close(nil)
	const files = 2*batchEntries + 7
	for i := range files {
		r.put(fmt.Sprintf("d/%05d", i), "x")
	}
	r.must(r.syncAll("/m"))
	if n := len(r.knownTree()); n != files+1 {
		t.Fatalf("%d known", n)
	}
	for i := range files {
		if i%3 > 0 {
			r.must(r.store.Remove(ctx, fmt.Sprintf("d/%05d", i)))
		}
	}
	r.must(r.syncAll("/m"))
	if got, want := r.knownTree(), r.storeTree(""); !slices.Equal(got, want) {
		t.Fatalf("%d known, %d there", len(got), len(want))
	}
	r.removeTree("d")
	r.must(r.s.Path(ctx, "/m/d"))
	if got := r.knownTree(); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
	if len(r.told()) != files {
		t.Errorf("%d of %d files were reported gone", len(r.told()), files)
	}
}

// TestFileBecomesDirectory: a path below what was a file is found, and the other way round.
func TestFileBecomesDirectory(t *testing.T) {
	r := newRig(t, host.NewReal(), nil)
	defer r.close(nil)
	r.put("x", "file")
	r.must(r.s.Path(ctx, "/m/x"))
	r.removeTree("x")
	r.put("x/y/z", "deep")
	r.must(r.s.Path(ctx, "/m/x/y/z"))
	if n := r.peek("/m/x/y/z"); n == nil || n.Length != 4 {
		t.Errorf("below what was a file: %+v", n)
	}
	r.removeTree("x")
	r.put("x", "again")
	r.must(r.s.Children(ctx, "/m/x"))
	if n := r.peek("/m/x"); n == nil || n.IsDir() || n.Length != 5 {
		t.Errorf("what was a directory: %+v", n)
	}
}

// TestDue runs on a virtual clock: intervals, and a clock that was set back.
func TestDue(t *testing.T) {
	v := hosttest.NewVirtual(1)
	err := v.Run(func() {
		r := newRig(t, v, nil)
		defer func() { r.e.Close() }()
		r.put("d/f", "x")
		r.must(r.s.Children(ctx, "/m/d"))
		for _, c := range []struct {
			p        dfs.Path
			children bool
			interval time.Duration
			sleep    time.Duration
			want     bool
		}{
			{"/m/d", true, time.Minute, 0, false},
			{"/m/d", true, 0, 0, true},
			{"/m/d", true, Never, 0, false},
			{"/m/d/f", false, time.Minute, 0, false}, // its parent's listing looked at it too
			{"/m/d/f", true, time.Minute, 0, true},
			{"/m/other", true, Never, 0, false},
			{"/m/other", true, time.Hour, 0, true},
			{"/m/d", true, time.Minute, 59 * time.Second, false},
			{"/m/d", true, time.Minute, time.Second, true},
			{"/m/d/f", false, time.Minute, 0, true},
		} {
			_ = v.Sleep(ctx, c.sleep)
			if got := r.s.Due(c.p, c.children, c.interval); got != c.want {
				t.Errorf("%+v: due %v", c, got)
			}
		}
		r.s.synced[target{"/m/d", true}] = v.Now().Add(time.Hour) // the clock was an hour ahead
		if !r.s.Due("/m/d", true, time.Minute) {
			t.Error("a clock that was set back puts the next look off by an hour")
		}
	})
	if err != nil && !strings.Contains(err.Error(), "1 tasks wait for ever") { // the journal's
		t.Error(err)
	}
}

// TestRememberedIsBounded: what is forgotten is due again.
func TestRememberedIsBounded(t *testing.T) {
	r := newRig(t, host.NewReal(), nil)
	defer r.close(nil)
	for i := range maxRememberedN {
		r.s.synced[target{dfs.Path(fmt.Sprint(i)), false}] = r.h.Now()
	}
	r.must(r.s.Path(ctx, "/m/x"))
	if n := len(r.s.synced); n != 1 {
		t.Errorf("%d remembered", n)
	}
	if len(r.s.flights) != 0 {
		t.Errorf("%d flights left", len(r.s.flights))
	}
}

// TestWaiterTriesForItself: a caller whose leader gave up gets its own answer.
func TestWaiterTriesForItself(t *testing.T) {
	g := &gate{reached: make(chan struct{}), pass: make(chan struct{}), after: "f"}
	r := newRig(t, host.NewReal(), func(s ufs.Store) ufs.Store { g.Store = s; return g })
	defer r.close(nil)
	r.put("f", "x")
	short, cancel := context.WithCancel(ctx)
	first := make(chan error, 1)
	go func() { first <- r.s.Children(short, "/m") }()
	<-g.reached
	second := make(chan error, 1)
	go func() { second <- r.s.Children(ctx, "/m") }()
	cancel()
	close(g.pass)
	<-first
	r.must(<-second)
	if r.peek("/m/f") == nil {
		t.Error("the second caller's sync did not happen")
	}
}
