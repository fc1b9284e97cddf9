package scenario

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
)

// operations are what a mix may name.
var operations = map[string]func(u *user, ctx context.Context) error{
	"stat":   (*user).stat,
	"read":   (*user).read,
	"write":  (*user).write,
	"rename": (*user).rename,
	"remove": (*user).remove,
	"list":   (*user).list,
}

// filesPerDirectory is how the shared files are spread.
const filesPerDirectory = 1000

// operationTimeout is what a client's user bears.
const operationTimeout = 60 * time.Second

// content is what a file must hold: a function of its path and which write of it this is.
// No two writes share content, so that bytes of another file, or of an older write, are found out as surely as
// damaged ones. The last bytes of a size that is no multiple of eight stay zero.
func content(p dfs.Path, write uint64, size int) []byte {
	h := fnv.New64a()
	_, _ = h.Write([]byte(p))
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, write))
	rng := rand.New(rand.NewPCG(h.Sum64(), write))
	data := make([]byte, size)
	for i := 0; i+8 <= size; i += 8 {
		binary.LittleEndian.PutUint64(data[i:], rng.Uint64())
	}
	return data
}

func sharedPath(i int) dfs.Path {
	return dfs.Path(fmt.Sprintf("/shared/%04d/file-%06d", i/filesPerDirectory, i))
}

// user is one client of the load, on a node of its own, doing one thing after the other.
// INV-1: own and order hold the same paths: what was acknowledged and not renamed or removed since. INV-2: a path
// in unsure is neither changed again nor judged: either outcome is right. Its node's randomness alone decides what
// it does.
type user struct {
	r      *run
	id     int
	node   *world.Node
	c      *client.Client
	rng    *rand.Rand
	mix    []string // operations by weight
	own    map[dfs.Path]owned
	order  []dfs.Path // of own, so that choosing one follows the seed
	made   int
	unsure map[dfs.Path]bool // whose last change may have happened or not
}

// owned is what a user knows of a file of its own.
type owned struct {
	write uint64
	size  int
	name  dfs.Path // under which it was written: its content follows from that
}

func newUser(r *run, id int, node *world.Node) *user {
	u := &user{r: r, id: id, node: node, rng: node.Rand(), own: map[dfs.Path]owned{}, unsure: map[dfs.Path]bool{}}
	for _, name := range slices.Sorted(maps.Keys(r.s.Mix)) {
		for range r.s.Mix[name] {
			u.mix = append(u.mix, name)
		}
	}
	return u
}

// work runs until the scenario's end. Pauses are exponential, so that users do not march in step.
// It ends by itself when an operation that began before the end is over; the run may end first and leave it
// waiting.
func (u *user) work() {
	ctx := context.Background()
	_ = u.node.Sleep(ctx, warmUp+time.Duration(u.rng.Float64()*float64(time.Second)/u.r.s.Rate))
	var err error
	if u.c, err = u.r.cluster.Client(u.node); err != nil {
		u.r.violation("client %d cannot be made: %v", u.id, err)
		return
	}
	for u.r.w.Sched.Elapsed() < u.r.s.Duration {
		u.one(ctx, u.mix[u.rng.IntN(len(u.mix))])
		_ = u.node.Sleep(ctx, time.Duration(u.rng.ExpFloat64()*float64(time.Second)/u.r.s.Rate))
	}
}

// Its outcome goes into the run's history, besides the events: two runs that differ in one answer only are told
// apart.
func (u *user) one(ctx context.Context, name string) {
	bounded, cancel := u.node.WithTimeout(ctx, operationTimeout)
	defer cancel()
	before := u.r.w.Sched.Elapsed()
	err := operations[name](u, bounded)
	u.r.report.add(name, u.r.w.Sched.Elapsed()-before, err)
	u.r.w.Sched.MixText(name)
	u.r.w.Sched.Mix(uint64(dfs.KindOf(err)))
}

// shared chooses one of the files that all users read.
func (u *user) shared() (dfs.Path, bool) {
	if u.r.s.Files == 0 {
		return "", false
	}
	return sharedPath(u.rng.IntN(u.r.s.Files)), true
}

// mine chooses a file of the user's own.
func (u *user) mine() (dfs.Path, bool) {
	if len(u.order) == 0 {
		return "", false
	}
	return u.order[u.rng.IntN(len(u.order))], true
}

func (u *user) forget(p dfs.Path) {
	delete(u.own, p)
	if i := slices.Index(u.order, p); i >= 0 {
		u.order = slices.Delete(u.order, i, i+1)
	}
}

// stat asks for a shared file, which must be there with its length.
// Nothing changes shared files during a run, so that NotFound is a violation under any fault, while an error of
// another kind is only counted.
func (u *user) stat(ctx context.Context) error {
	p, ok := u.shared()
	if !ok {
		return nil
	}
	s, err := u.c.Stat(ctx, p)
	if dfs.IsKind(err, dfs.NotFound) || err == nil && s.Length != int64(u.r.s.FileSize) {
		u.r.violation("client %d: status of %s: %+v, %v", u.id, p, s, err)
	}
	return err
}

// read reads a shared file or one of the user's own, and checks every byte.
func (u *user) read(ctx context.Context) error {
	p, own := u.mine()
	if !own || u.rng.IntN(2) == 0 {
		shared, ok := u.shared()
		if !ok && !own {
			return nil
		}
		if ok {
			return u.check(ctx, shared, owned{0, int(u.r.s.FileSize), shared})
		}
	}
	return u.check(ctx, p, u.own[p])
}

func (u *user) check(ctx context.Context, p dfs.Path, want owned) error {
	got, err := u.c.ReadFile(ctx, p)
	if u.unsure[p] {
		return err
	}
	if dfs.IsKind(err, dfs.NotFound) {
		u.r.violation("client %d: %s is lost: %v", u.id, p, err)
	}
	if err == nil && string(got) != string(content(want.name, want.write, want.size)) {
		u.r.violation("client %d: %s has wrong bytes: %d, want %d", u.id, p, len(got), want.size)
	}
	return err
}

// write makes a new file through to the under store.
// When the write fails its path is forgotten, since a new name is used each time: whatever became of it, nothing
// of it was promised.
func (u *user) write(ctx context.Context) error {
	u.made++
	p := dfs.Path(fmt.Sprintf("/own/%d/%d", u.id, u.made))
	w := owned{uint64(u.made), int(u.r.s.FileSize), p}
	err := u.c.WriteFile(ctx, p, content(p, w.write, w.size), client.WithParents())
	u.once("write", p, err)
	if err == nil {
		u.own[p] = w
		u.order = append(u.order, p)
	}
	return err
}

// rename gives a file of the user's own another name, which nothing has.
// Files whose last change is in doubt are left alone: a second rename on top of them would have outcomes that
// nobody can judge.
func (u *user) rename(ctx context.Context) error {
	p, ok := u.mine()
	if !ok || u.unsure[p] {
		return nil
	}
	u.made++
	to := dfs.Path(fmt.Sprintf("/own/%d/r%d", u.id, u.made))
	err := u.c.Rename(ctx, p, to)
	u.once("rename", p, err)
	if err != nil { // it may have happened
		u.unsure[p] = true
		return err
	}
	w := u.own[p]
	u.forget(p)
	u.own[to] = w
	u.order = append(u.order, to)
	return nil
}

// remove removes a file of the user's own, which must be gone then.
// The look afterwards must not find it, whoever answers: a master that was deposed in between may not serve old state.
func (u *user) remove(ctx context.Context) error {
	p, ok := u.mine()
	if !ok || u.unsure[p] {
		return nil
	}
	if err := u.c.Remove(ctx, p, client.RemoveOptions{}); err != nil {
		u.once("remove", p, err)
		u.unsure[p] = true
		return err
	}
	u.forget(p)
	if s, err := u.c.Stat(ctx, p); err == nil {
		u.r.violation("client %d: %s was removed and is there: %+v", u.id, p, s)
	}
	return nil
}

// once sees to it that a change of the user's own, on which nobody else works, is done once: what is refused because it
// was done already was done twice (contract C2).
func (u *user) once(what string, p dfs.Path, err error) {
	if dfs.IsKind(err, dfs.NotFound) || dfs.IsKind(err, dfs.AlreadyExists) || dfs.IsKind(err, dfs.Stale) {
		u.r.violation("client %d: %s of %s was done twice or undone: %v", u.id, what, p, err)
	}
}

// list lists the user's own directory, which must hold exactly what was acknowledged.
func (u *user) list(ctx context.Context) error {
	if len(u.order) == 0 || len(u.unsure) > 0 {
		p, ok := u.shared()
		if !ok {
			return nil
		}
		return u.count(ctx, p.Parent(), -1)
	}
	return u.count(ctx, u.order[0].Parent(), len(u.own))
}

// More than was acknowledged is right: a write that failed for its user may have happened. Less never is.
func (u *user) count(ctx context.Context, dir dfs.Path, want int) error {
	n := 0
	for _, err := range u.c.List(ctx, dir) {
		if err != nil {
			return err
		}
		n++
	}
	if want >= 0 && n < want {
		u.r.violation("client %d: %s has %d entries, %d were acknowledged", u.id, dir, n, want)
	}
	return nil
}
