package scenario

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/forebay/forebay/sim/oracle"
	"github.com/forebay/forebay/sim/store"
	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
)

// operations are what a mix may name. Each works on a part of the namespace that its oracle knows: the shared files, which
// nobody changes; the user's own, which nobody else changes; boards and races, which are everybody's.
var operations = map[string]func(u *user, ctx context.Context) error{
	"stat":      (*user).stat,
	"read":      (*user).read,
	"list":      (*user).list,
	"write":     (*user).write,
	"overwrite": (*user).overwrite,
	"rename":    (*user).rename,
	"replace":   (*user).replace,
	"remove":    (*user).remove,
	"large":     (*user).large,
	"mkdir":     (*user).mkdir,
	"movedir":   (*user).moveDir,
	"rmtree":    (*user).removeTree,
	"chmod":     (*user).chmod,
	"xattr":     (*user).xattr,
	"free":      (*user).free,
	"ttl":       (*user).expire,
	"pin":       (*user).pin,
	"post":      (*user).post,
	"look":      (*user).look,
	"race":      (*user).race,
	"persist":   (*user).persist,
	"load":      (*user).load,
	"locate":    (*user).locate,
	"scan":      (*user).scan,
}

// filesPerDirectory is how the shared files are spread.
const filesPerDirectory = 1000

// operationTimeout is what a client's user bears.
const operationTimeout = 60 * time.Second

func sharedPath(i int) dfs.Path {
	return dfs.Path(fmt.Sprintf("/shared/%04d/file-%06d", i/filesPerDirectory, i))
}

// shared are the files that are in the under store before time begins, and that nobody changes. The first access loads
// their metadata, which a load on written files would never do.
func shared(files int, size int64) store.Dataset {
	return store.Dataset{Dir: "shared/%04d", File: "file-%06d", Files: files, PerDir: filesPerDirectory, Size: size}
}

// sharedContent is what the i-th shared file holds.
func (r *run) sharedContent(i int) oracle.Content {
	return oracle.Content{Name: sharedPath(i), Write: 0, Size: int64(r.s.FileSize)}
}

// user is one client of the load, on a node of its own, doing one thing after the other. Its node's randomness alone
// decides what it does; what it knows of its own files is its tree's.
type user struct {
	r    *run
	id   int
	node *world.Node

	group  *group
	number int // within its group
	taken  int // shared files, in the order of epochs

	c    *client.Client
	rng  *rand.Rand
	tree oracle.Tree
	made int // names and writes so far: none is used twice
	pins []pinned
	ttls []mortal
}

func newUser(r *run, id int, node *world.Node) *user {
	return &user{r: r, id: id, node: node, rng: node.Rand(), group: &group{}, tree: oracle.Tree{Book: r.book, Who: id}}
}

// work runs until the scenario's end.
// It ends by itself when an operation that began before the end is over; a run without a time to settle may end first and
// leave it waiting.
func (u *user) work() {
	ctx := context.Background()
	_ = u.node.Sleep(ctx, warmUp+time.Duration(u.rng.Float64()*float64(max(u.group.Batch, 1))*float64(time.Second)/u.group.Rate))
	if !u.connect() {
		return
	}
	for n := 1; u.r.w.Sched.Elapsed() < u.r.s.Duration; n++ {
		u.one(ctx, u.group.mix[u.rng.IntN(len(u.group.mix))])
		if d := u.pause(n); d > 0 {
			_ = u.node.Sleep(ctx, d)
		}
	}
}

// connect makes the user's client.
func (u *user) connect() bool {
	var err error
	if u.c, err = u.r.cluster.Client(u.node); err != nil {
		u.r.book.Violation("load", "client %d cannot be made: %v", u.id, err)
	}
	return err == nil
}

// Its outcome goes into the run's history, besides the events: two runs that differ in one answer only are told
// apart.
func (u *user) one(ctx context.Context, name string) {
	bounded, cancel := u.node.WithTimeout(ctx, operationTimeout)
	defer cancel()
	before := u.r.w.Sched.Elapsed()
	span := u.operation(name)
	err := operations[name](u, bounded)
	span.End(u.r.w.Sched.Elapsed(), outcomeOf(err))
	u.r.report.add(name, u.r.w.Sched.Elapsed()-before, err)
	u.r.sampler.add(u.r.w.Sched.Elapsed()-before, err)
	u.r.ended(before, err)
	u.r.w.Sched.MixText(name)
	u.r.w.Sched.Mix(uint64(dfs.KindOf(err)))
}

// mine chooses a file of the user's own.
func (u *user) mine() (dfs.Path, bool) { return choose(u, u.tree.Files()) }

// choose takes one of a list in an order that follows from the seed.
func choose[T any](u *user, all []T) (one T, ok bool) {
	if len(all) == 0 {
		return one, false
	}
	return all[u.rng.IntN(len(all))], true
}

// home is the directory in which everything of the user's own is.
func (u *user) home() dfs.Path { return dfs.Path(fmt.Sprintf("/own/%d", u.id)) }

// fresh is a name that was never used before, in the user's home or one of its directories.
func (u *user) fresh(prefix string) dfs.Path {
	u.made++
	dir := u.home()
	if below, ok := choose(u, u.tree.Dirs()); ok && u.rng.IntN(2) == 0 {
		dir = below
	}
	return dir.Join(fmt.Sprintf("%s%d", prefix, u.made))
}

// stat asks for a shared file, which must be there with its length.
// Nothing changes shared files during a run, so that NotFound is a violation under any fault, while an error of
// another kind is only counted.
func (u *user) stat(ctx context.Context) error {
	if p, own := u.mine(); own && u.rng.IntN(2) == 0 {
		return u.status(ctx, p)
	}
	i, ok := u.shared()
	if !ok {
		return nil
	}
	s, err := u.c.Stat(ctx, sharedPath(i))
	if dfs.IsKind(err, dfs.NotFound) || err == nil && s.Length != int64(u.r.s.FileSize) {
		u.r.book.Violation("acknowledged", "client %d: status of %s, which nobody changes: %+v, %v", u.id, sharedPath(i), s, err)
	}
	return err
}

// status asks for a file of the user's own.
func (u *user) status(ctx context.Context, p dfs.Path) error {
	s, err := u.c.Stat(ctx, p)
	switch {
	case dfs.IsKind(err, dfs.NotFound):
		u.tree.Lost(p, err)
	case err == nil:
		u.tree.Saw(p, s)
	}
	return err
}

// read reads a shared file or one of the user's own, and checks every byte.
func (u *user) read(ctx context.Context) error {
	p, own := u.mine()
	if i, ok := u.shared(); ok && (!own || u.rng.IntN(2) == 0) {
		c := u.r.sharedContent(i)
		return u.check(ctx, c.Name, &oracle.File{Content: c})
	}
	if !own {
		return nil
	}
	return u.check(ctx, p, u.tree.File(p))
}

// check reads a file, whole or from some place on, and judges what comes. Data that only workers have may be away while they
// are, and be lost with their disks: that is an error to the reader and none of the cluster's.
func (u *user) check(ctx context.Context, p dfs.Path, want *oracle.File) error {
	offset, length := int64(0), want.Size
	if u.rng.IntN(3) == 0 && want.Size > 1 {
		offset = u.rng.Int64N(want.Size)
		length = min(1+u.rng.Int64N(2*dfs.PageSizeBytes), want.Size-offset)
	}
	got, err := u.fetch(ctx, p, offset, length)
	switch {
	case dfs.IsKind(err, dfs.NotFound):
		u.tree.Lost(p, err)
	case dfs.IsKind(err, dfs.Corrupted) && u.r.book.Count == 0 && !u.r.damaged:
		u.r.book.Violation("contents", "client %d: %s is damaged, and no disk was: %v", u.id, p, err)
	case err == nil:
		oracle.Contents{Book: u.r.book}.Read(u.id, p, want.Content, got, offset, length)
	}
	return err
}

// fetch reads a part of a file; whole files in one call, as most users do.
func (u *user) fetch(ctx context.Context, p dfs.Path, offset, length int64) ([]byte, error) {
	if offset == 0 {
		return u.c.ReadFile(ctx, p)
	}
	f, err := u.c.Open(ctx, p)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // its error is of a wait that cannot end
	got := make([]byte, length)
	n, err := f.ReadAt(got, offset)
	return got[:n], err
}

// list lists one of the user's own directories, which must hold exactly what was acknowledged and what is in doubt; or one
// of the shared ones.
func (u *user) list(ctx context.Context) error {
	dir := u.home()
	if below, ok := choose(u, u.tree.Dirs()); ok && u.rng.IntN(2) == 0 {
		dir = below
	}
	if u.tree.Len() == 0 {
		i, ok := u.shared()
		if !ok {
			return nil
		}
		dir = sharedPath(i).Parent()
	}
	var names []string
	for s, err := range u.c.List(ctx, dir) {
		if err != nil {
			return err
		}
		names = append(names, s.Name)
	}
	if u.home().Contains(dir) {
		u.tree.Listed(dir, names)
	}
	return nil
}
