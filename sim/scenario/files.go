package scenario

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/forebay/forebay/sim/oracle"
	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
)

// Operations that change files of the user's own.

// next is a new write of a file that is called name, with the write type that the scenario's weights give.
func (u *user) next(name dfs.Path, size int64) *oracle.File {
	u.made++
	f := &oracle.File{Content: oracle.Content{Name: name, Write: uint64(u.made), Size: size}, WriteType: u.writeType(), Wipes: u.r.wipes, Copies: 1}
	if f.WriteType == dfs.WriteAsyncThrough {
		f.Copies = max(u.r.s.Replicas, 1)
	}
	return f
}

func (u *user) writeType() dfs.WriteType {
	if len(u.r.writeTypes) == 0 {
		return dfs.WriteCacheThrough
	}
	return u.r.writeTypes[u.rng.IntN(len(u.r.writeTypes))]
}

// put writes a file as f says; without leave to overwrite, unless more says so: a second time shows.
func (u *user) put(ctx context.Context, p dfs.Path, f *oracle.File, more ...client.Option) error {
	opts := append([]client.Option{client.WithWriteType(f.WriteType), client.WithBlockSize(int64(u.r.s.BlockSize))}, more...)
	if f.WriteType == dfs.WriteAsyncThrough {
		opts = append(opts, client.WithDurableReplicas(int32(f.Copies)))
	}
	return u.make(ctx, p, f.Bytes(), opts...)
}

// make is WriteFile without its leave to overwrite.
func (u *user) make(ctx context.Context, p dfs.Path, data []byte, opts ...client.Option) error {
	w, err := u.c.Create(ctx, p, append(opts, client.WithParents())...)
	if err == nil {
		_, err = w.Write(data)
		err = w.CloseWithError(err)
	}
	return err
}

// wrote notes the outcome of a write in place of before, which is nil for a new file. What was written through is in the
// under store at once.
func (u *user) wrote(ctx context.Context, p dfs.Path, before, f *oracle.File, err error) {
	if err != nil {
		u.tree.Doubt("write", oracle.State{p: before}, oracle.State{p: f})
		return
	}
	u.tree.Wrote(p, f)
	if f.WriteType == dfs.WriteThrough || f.WriteType == dfs.WriteCacheThrough {
		u.r.judgeStored(ctx, u.id, p, f)
	}
}

// A write whose session ended since its client was cut off for too long is rightly Stale.
func (u *user) once(what string, p dfs.Path, err error) {
	if u.r.s.SessionTimeout > 0 && dfs.IsKind(err, dfs.Stale) {
		return
	}
	oracle.Once{Book: u.r.book}.Changed(u.id, what, p, err)
}

// write makes a new file.
func (u *user) write(ctx context.Context) error {
	p := u.fresh("")
	f := u.next(p, int64(u.r.s.FileSize))
	var more []client.Option
	if u.rng.IntN(8) == 0 { // it stays when its time is over: only its copies go, if the under store has it
		more = append(more, client.WithTTL(5*time.Second, dfs.TTLFree))
	}
	err := u.put(ctx, p, f, more...)
	u.once("write", p, err)
	u.wrote(ctx, p, nil, f, err)
	return err
}

// large makes a file of several pages and blocks.
func (u *user) large(ctx context.Context) error {
	p := u.fresh("big")
	f := u.next(p, u.rng.Int64N(int64(u.r.largeSize())))
	err := u.put(ctx, p, f)
	u.once("write", p, err)
	u.wrote(ctx, p, nil, f, err)
	return err
}

// overwrite gives a file of the user's own a new content of another length.
func (u *user) overwrite(ctx context.Context) error {
	p, ok := u.mine()
	if !ok {
		return nil
	}
	before := u.tree.File(p)
	f := u.next(p, u.rng.Int64N(2*int64(u.r.s.FileSize)+1))
	f.Mode, f.Attribute, f.Count = before.Mode, before.Attribute, before.Count
	f.Count.Begun++
	err := u.put(ctx, p, f, client.WithOverwrite())
	if err == nil {
		f.Count.Acknowledged++
	}
	u.wrote(ctx, p, before, f, err)
	return err
}

// rename gives a file of the user's own another name, which nothing has.
func (u *user) rename(ctx context.Context) error {
	p, ok := u.mine()
	if !ok {
		return nil
	}
	to := u.fresh("r")
	move := u.c.Rename
	if u.rng.IntN(2) == 0 {
		move = u.c.RenameNoReplace
	}
	err := move(ctx, p, to)
	u.once("rename", p, err)
	if err != nil {
		u.tree.Doubt("rename", oracle.State{p: u.tree.File(p), to: nil}, oracle.State{p: nil, to: u.tree.File(p)})
		return err
	}
	u.tree.Moved(p, to)
	return u.absent(ctx, p)
}

// replace renames a file of the user's own over another one.
func (u *user) replace(ctx context.Context) error {
	p, ok := u.mine()
	to, _ := u.mine()
	if !ok || p == to {
		return nil
	}
	err := u.c.Rename(ctx, p, to)
	u.once("rename", p, err)
	if err != nil {
		f, old := u.tree.File(p), u.tree.File(to)
		u.tree.Doubt("rename", oracle.State{p: f, to: old}, oracle.State{p: nil, to: f})
		return err
	}
	u.tree.Moved(p, to)
	return u.absent(ctx, p)
}

// remove removes a file of the user's own, which must be gone then.
func (u *user) remove(ctx context.Context) error {
	p, ok := u.mine()
	if !ok {
		return nil
	}
	err := u.c.Remove(ctx, p, client.RemoveOptions{})
	u.once("remove", p, err)
	if err != nil {
		u.tree.Doubt("remove", oracle.State{p: u.tree.File(p)}, oracle.State{p: nil})
		return err
	}
	u.tree.Gone(p)
	return u.absent(ctx, p)
}

// absent looks for what is gone. It must not be found, whoever answers: a master that was deposed in between may not serve
// old state.
func (u *user) absent(ctx context.Context, p dfs.Path) error {
	if s, err := u.c.Stat(ctx, p); err == nil && !u.tree.Doubtful(p) {
		u.tree.Returned(p, s)
	}
	return nil
}

// mkdir makes a directory in the user's home, without parents, so that a second time would show.
func (u *user) mkdir(ctx context.Context) error {
	const most = 8
	if u.tree.Len() == 0 || len(u.tree.Dirs()) >= most { // the first file makes the home
		return nil
	}
	p := u.fresh("d")
	err := u.c.Mkdir(ctx, p)
	u.once("mkdir", p, err)
	if err != nil {
		u.tree.DoubtTree("mkdir", p)
		return err
	}
	u.tree.Made(p)
	return nil
}

// moveDir renames a directory with everything below it.
func (u *user) moveDir(ctx context.Context) error {
	from, ok := choose(u, u.tree.Dirs())
	if !ok {
		return nil
	}
	u.made++
	to := u.home().Join(fmt.Sprintf("m%d", u.made))
	err := u.c.Rename(ctx, from, to)
	u.once("rename", from, err)
	if err != nil {
		u.tree.DoubtTree("rename", from, to)
		return err
	}
	u.tree.Moved(from, to)
	return u.absent(ctx, from)
}

// removeTree removes a directory with everything below it.
func (u *user) removeTree(ctx context.Context) error {
	dir, ok := choose(u, u.tree.Dirs())
	if !ok {
		return nil
	}
	err := u.c.Remove(ctx, dir, client.RemoveOptions{Recursive: true})
	u.once("remove", dir, err)
	if err != nil {
		u.tree.DoubtTree("remove", dir)
		return err
	}
	for _, p := range slices.Sorted(maps.Keys(u.tree.GoneBelow(dir))) {
		_ = u.absent(ctx, p)
	}
	return u.absent(ctx, dir)
}

// mortal is a file with a time to live.
type mortal struct {
	path dfs.Path
	from time.Duration // it may be gone from here on
}

// expire makes a file that is to be deleted after a while, and looks for one that was made before.
func (u *user) expire(ctx context.Context) error {
	const ttl = 5 * time.Second
	if m, ok := choose(u, u.ttls); ok && u.rng.IntN(2) == 0 {
		_, err := u.c.Stat(ctx, m.path)
		if dfs.IsKind(err, dfs.NotFound) && u.r.w.Sched.Elapsed() < m.from && !u.r.skewed {
			u.r.book.Violation("acknowledged", "client %d: %s has a time to live until %v and is gone", u.id, m.path, m.from)
		}
		return err
	}
	u.made++
	p := dfs.Path(fmt.Sprintf("/mortal/%d-%d", u.id, u.made))
	began := u.r.w.Sched.Elapsed()
	err := u.make(ctx, p, oracle.Content{Name: p, Size: 100}.Bytes(), client.WithWriteType(u.writeType()), client.WithTTL(ttl, dfs.TTLDelete))
	u.once("write", p, err)
	if err == nil {
		u.ttls = append(u.ttls, mortal{p, began + ttl})
	}
	return err
}
