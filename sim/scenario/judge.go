package scenario

import (
	"context"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/forebay/forebay/sim/oracle"
	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/worker"
)

// judgeLimit is how long a settled cluster may take to answer all that the judge asks.
const judgeLimit = 10 * time.Minute

// lookEvery is how often the oracles that look at workers do so.
const lookEvery = time.Second

// watch looks at all workers now and from then on. Only runs that are judged have it: others pay nothing for it.
func (r *run) watch() {
	r.lookAtWorkers()
	r.w.Sched.After(lookEvery, r.watch)
}

// birth is when a worker's present life was seen first.
type birth struct {
	w  *worker.Worker
	at time.Duration
}

// recovering is how long a worker that has begun anew may hold more than its capacity; on a slow disk it takes as much longer.
const recovering, recoveringSlowly = 3 * time.Second, 30 * time.Second

func (r *run) lookAtWorkers() {
	if r.born == nil {
		r.born = make([]birth, len(r.cluster.Workers))
	}
	for i, n := range r.cluster.Workers {
		w := r.cluster.Worker(i)
		if w == nil {
			continue
		}
		if r.born[i].w != w {
			r.born[i] = birth{w, r.w.Sched.Elapsed()}
		}
		limit := recovering
		if n.DiskFaults().Slow > 1 {
			limit = recoveringSlowly
		}
		if r.w.Sched.Elapsed()-r.born[i].at > limit {
			oracle.Capacity{Book: r.book}.Look(n.Name(), w.Store().Tiers())
		}
		r.kept.Look(n.Name(), w, w.Store(), r.damaged)
	}
}

// settle ends all faults, waits until the users are done and the cluster has had its time, and has everything that was
// acknowledged looked at by a client that knows nothing.
func (r *run) settle(ctx context.Context) error {
	if r.s.Settle == 0 {
		return nil
	}
	r.heal()
	// An operation that began at the last moment, its farewell (a writer that gives up tells the master), and the pause after it.
	users := operationTimeout + 20*time.Second
	if r.skewed { // a slow clock's timeouts end later
		users += users / 5
	}
	for at := time.Duration(0); at < max(r.s.Settle, users) && (at < r.s.Settle || r.working > 0); at += time.Second {
		if err := r.step(ctx, time.Second); err != nil {
			return err
		}
	}
	if r.working > 0 {
		r.book.Violation("load", "%d clients have operations that did not end with their time", r.working)
	}
	j := &judge{user: newUser(r, -1, r.w.NewNode("judge", world.NodeConfig{Rack: "r0", Zone: "z0"}))}
	done := false
	j.node.Go("judge", func() { j.all(); done = true })
	for began := r.w.Sched.Elapsed(); !done; {
		if r.w.Sched.Elapsed()-began > judgeLimit {
			r.book.Violation("load", "a cluster without faults did not answer all questions within %v", judgeLimit)
			return nil
		}
		if err := r.step(ctx, time.Second); err != nil {
			return err
		}
	}
	r.leaks()
	return nil
}

func (r *run) step(ctx context.Context, d time.Duration) error {
	if err := r.w.Sched.Run(r.w.Sched.Elapsed() + d); err != nil {
		return err
	}
	return ctx.Err()
}

// judge asks for everything, as a client that comes after all others.
type judge struct{ *user }

func (j *judge) all() {
	if !j.connect() {
		return
	}
	for _, u := range j.r.users {
		for _, p := range slices.Clone(u.tree.Files()) {
			j.file(u, p)
		}
		if u.tree.Len() > 0 {
			j.bounded(func(ctx context.Context) error { return j.listed(ctx, u, u.home()) })
			for _, d := range u.tree.Dirs() {
				j.bounded(func(ctx context.Context) error { return j.listed(ctx, u, d) })
			}
		}
		for _, d := range u.tree.Doubts() {
			u.tree.Settled(d, func(p dfs.Path, f *oracle.File) bool { return j.holds(p, f, d.What == "rename") })
		}
		for _, m := range u.ttls {
			j.expired(u, m)
		}
	}
	for i := range j.r.boards.Len() {
		j.bounded(func(ctx context.Context) error { return j.board(ctx, i) })
	}
	j.leftovers()
}

// bounded asks one thing. A cluster that is well answers: an error that says nothing of the file is a violation.
func (j *judge) bounded(ask func(ctx context.Context) error) {
	ctx, cancel := j.node.WithTimeout(context.Background(), operationTimeout)
	defer cancel()
	if err := ask(ctx); err != nil && !dfs.IsKind(err, dfs.NotFound) {
		j.r.book.Violation("load", "a cluster without faults answers: %v", err)
	}
}

// file judges one acknowledged file: status, every byte, and what the under store has of it.
func (j *judge) file(u *user, p dfs.Path) {
	f := u.tree.File(p)
	mayBeLost := j.r.mayBeLost(f)
	j.bounded(func(ctx context.Context) error {
		s, err := j.c.Stat(ctx, p)
		switch {
		case dfs.IsKind(err, dfs.NotFound):
			u.tree.Lost(p, err)
		case err != nil:
			return err
		default:
			u.tree.Saw(p, s)
		}
		if err != nil || mayBeLost && s.Persist != dfs.Persisted {
			return nil
		}
		if f.WriteType != dfs.WriteMustCache && s.Persist != dfs.Persisted {
			j.r.book.Violation("persisted", "%s was written %v and is %v after everything has settled", p, f.WriteType, s.Persist)
		}
		got, err := j.c.ReadFile(ctx, p)
		if err == nil {
			oracle.Contents{Book: j.r.book}.Read(j.id, p, f.Content, got, 0, f.Size)
		}
		return err
	})
	if f.WriteType != dfs.WriteMustCache && !mayBeLost {
		j.bounded(func(ctx context.Context) error { return j.stored(ctx, u, p, f) })
	}
}

// mayBeLost tells whether the only copies of a file may be gone with disks.
func (r *run) mayBeLost(f *oracle.File) bool {
	return f.MayBeLost(r.wipes) || r.damaged && !f.Through()
}

// judgeStored looks whether the under store has a file whose write was acknowledged as through to it, behind Forebay's back
// (contract C3). A store that does not answer now says nothing.
func (r *run) judgeStored(ctx context.Context, who int, p dfs.Path, f *oracle.File) bool {
	e, err := r.store.Stat(ctx, string(p[1:]))
	if dfs.IsKind(err, dfs.NotFound) || err == nil && e.Size != f.Size {
		r.book.Violation("persisted", "client %d: %s was written %v with %d bytes, and the under store has %+v, %v", who, p, f.WriteType, f.Size, e, err)
	}
	return err == nil && e.Size == f.Size
}

// stored compares every byte of such a file with what the under store has.
func (j *judge) stored(ctx context.Context, u *user, p dfs.Path, f *oracle.File) error {
	if !j.r.judgeStored(ctx, u.id, p, f) {
		return nil
	}
	o, err := j.r.store.Open(ctx, string(p[1:]), 0, f.Size)
	if err != nil {
		return err
	}
	got, err := io.ReadAll(o)
	_ = o.Close() // it was only read
	if at := f.Differs(got, 0, f.Size); err == nil && at >= 0 {
		j.r.book.Violation("persisted", "client %d: %s was written %v, and the under store has %d other bytes from %d on, of %d", u.id, p, f.WriteType, len(got), at, f.Size)
	}
	return err
}

func (j *judge) listed(ctx context.Context, u *user, dir dfs.Path) error {
	var names []string
	for s, err := range j.c.List(ctx, dir) {
		if err != nil {
			return err
		}
		names = append(names, s.Name)
	}
	u.tree.Listed(dir, names)
	return nil
}

// holds tells whether a path is as one state of a doubt has it. A file that is not complete is nothing to its readers.
// Data that may have gone with a worker's disk, or that is not yet where its write wanted it, is not asked for.
//
// A change that was made in the under store, and whose client gave up before the namespace had it, is taken in by the next
// sync: so there is one. A rename that a sync took in (byStore) has brought the content alone: the store knows of no attributes.
func (j *judge) holds(p dfs.Path, f *oracle.File, byStore bool) bool {
	there := false
	j.bounded(func(ctx context.Context) error {
		s, err := j.c.Stat(ctx, p, client.WithSyncInterval(0))
		if err != nil || !s.Completed {
			there = f == nil
			return err
		}
		if f == nil || s.Length != f.Size {
			return nil
		}
		if !byStore && (f.Mode != 0 && f.Mode != s.Mode || string(s.Xattr[oracle.AttributeName]) != f.Attribute) {
			return nil
		}
		if s.Persist != dfs.Persisted && (j.r.mayBeLost(f) || f.WriteType != dfs.WriteMustCache) {
			there = true
			return nil
		}
		got, err := j.c.ReadFile(ctx, p)
		there = err == nil && f.Differs(got, 0, f.Size) < 0
		return err
	})
	return there
}

// expired judges a file whose time to live is over.
func (j *judge) expired(u *user, m mortal) {
	if j.r.w.Sched.Elapsed() < m.from+30*time.Second {
		return
	}
	j.bounded(func(ctx context.Context) error {
		s, err := j.c.Stat(ctx, m.path)
		if err == nil {
			j.r.book.Violation("acknowledged", "client %d: %s had a time to live until %v and is there: %+v", u.id, m.path, m.from, s)
		}
		return err
	})
}

func (j *judge) board(ctx context.Context, i int) error {
	p, l := j.r.boards.BoardPath(i), j.r.boards.Look(i, j.id)
	text, err := []byte(nil), error(nil)
	if j.r.boards.InContent(i) {
		text, err = j.c.ReadFile(ctx, p)
	} else {
		text, err = j.c.Xattr(ctx, p, oracle.AttributeName)
	}
	switch {
	case err == nil:
		j.r.boards.Saw(l, text)
	case dfs.IsKind(err, dfs.NotFound):
		j.r.boards.Missing(l, err)
	}
	return err
}

// leftovers looks for files in the under store that nobody has acknowledged and that are not in doubt: what a removal or a
// rename left there would come back with the next sync.
func (j *judge) leftovers() {
	known := map[dfs.Path]*user{}
	for _, u := range j.r.users {
		known[u.home()] = u
	}
	for _, home := range slices.Sorted(maps.Keys(known)) {
		j.below(known[home], home)
	}
}

func (j *judge) below(u *user, dir dfs.Path) {
	for e, err := range j.r.store.List(context.Background(), string(dir[1:]), "") {
		if err != nil {
			return // it has no such directory
		}
		p := dir.Join(e.Name)
		switch {
		case e.Dir:
			j.below(u, p)
		case u.tree.File(p) == nil && !u.tree.Doubtful(p):
			j.r.book.Violation("persisted", "the under store has %s, which client %d removed, renamed or never wrote", p, u.id)
		}
	}
}

// leaks counts what is left.
func (r *run) leaks() {
	o := oracle.Leaks{Book: r.book}
	if l := r.cluster.Leader(); l >= 0 {
		g := r.cluster.Master(l).Gauges()
		o.Left("registrations", int(g["registrations_running"]()), 0)
		o.Left("sessions", int(g["sessions"]()), 4*(r.s.Clients+r.s.Workers+1)+r.report.Faults)
	}
}
