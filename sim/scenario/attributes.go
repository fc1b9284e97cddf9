package scenario

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/forebay/forebay/sim/oracle"
	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
)

// Operations that change attributes and caches, and those on what all users share.

// changed is a copy of a file's state with another attribute.
func changed(f *oracle.File, change func(*oracle.File)) *oracle.File {
	c := *f
	change(&c)
	return &c
}

// attribute notes the outcome of a change of p's attributes alone.
func (u *user) attribute(what string, p dfs.Path, after *oracle.File, err error) error {
	u.once(what, p, err)
	if err != nil {
		u.tree.Doubt(what, oracle.State{p: u.tree.File(p)}, oracle.State{p: after})
		return err
	}
	u.tree.Wrote(p, after)
	return nil
}

// chmod gives a file of the user's own another mode.
func (u *user) chmod(ctx context.Context) error {
	p, ok := u.mine()
	if !ok {
		return nil
	}
	mode := 0o400 | uint32(u.rng.IntN(0o400)) // the owner may read it
	err := u.c.SetAttr(ctx, p, client.Attributes{Mode: &mode})
	return u.attribute("chmod", p, changed(u.tree.File(p), func(f *oracle.File) { f.Mode = mode }), err)
}

// xattr makes the extended attribute of a file that has none, and removes that of a file that has one: a second time of
// either is refused.
func (u *user) xattr(ctx context.Context) error {
	p, ok := u.mine()
	if !ok {
		return nil
	}
	f := u.tree.File(p)
	if f.Attribute != "" {
		err := u.c.RemoveXattr(ctx, p, oracle.AttributeName)
		return u.attribute("remove attribute", p, changed(f, func(f *oracle.File) { f.Attribute = "" }), err)
	}
	u.made++
	value := strconv.Itoa(u.made)
	err := u.c.SetXattr(ctx, p, oracle.AttributeName, []byte(value), client.XattrCreate)
	return u.attribute("make attribute", p, changed(f, func(f *oracle.File) { f.Attribute = value }), err)
}

// free drops cached copies of a file, which must change nothing that anybody is told of it.
func (u *user) free(ctx context.Context) error {
	p, own := u.mine()
	if i, ok := u.shared(); ok && (!own || u.rng.IntN(2) == 0) {
		_, err := u.c.Free(ctx, sharedPath(i), false, false)
		return err
	}
	if !own {
		return nil
	}
	_, err := u.c.Free(ctx, p, false, false)
	return err
}

// persist has a file of the user's own that only workers have brought to the under store.
func (u *user) persist(ctx context.Context) error {
	p, ok := u.mine()
	if !ok || u.tree.File(p).WriteType != dfs.WriteMustCache {
		return nil
	}
	n, err := u.c.Persist(ctx, p, u.rng.IntN(2) == 0)
	if err == nil && n > 1 {
		u.r.book.Violation("acknowledged", "client %d: persist of %s alone counts %d files", u.id, p, n)
	}
	return u.attribute("persist", p, changed(u.tree.File(p), func(f *oracle.File) { f.WriteType = dfs.WriteAsyncThrough }), err)
}

// load has the metadata of all shared files loaded, which changes nothing of what anybody is told.
func (u *user) load(ctx context.Context) error {
	if u.r.s.Files == 0 {
		return nil
	}
	n, err := u.c.LoadMetadata(ctx, sharedPath(0).Parent().Parent(), true)
	if err == nil && n < int64(u.r.s.Files) {
		u.r.book.Violation("acknowledged", "client %d: %d of %d shared files were loaded", u.id, n, u.r.s.Files)
	}
	return err
}

// locate asks where the blocks of a file of the user's own are: that is a guess, but there are as many as the file has.
func (u *user) locate(ctx context.Context) error {
	p, ok := u.mine()
	if !ok {
		return nil
	}
	blocks, err := u.c.Locate(ctx, p)
	if err == nil && (len(blocks) > 0) != (u.tree.File(p).Size > 0) {
		u.r.book.Violation("acknowledged", "client %d: %s has %d bytes and %d blocks", u.id, p, u.tree.File(p).Size, len(blocks))
	}
	return err
}

// post writes the next number on a board.
func (u *user) post(ctx context.Context) error {
	i := u.rng.IntN(u.r.boards.Len())
	number, ok := u.r.boards.Write(i)
	if !ok {
		return nil
	}
	p, text := u.r.boards.BoardPath(i), []byte(strconv.FormatUint(number, 10))
	var err error
	if u.r.boards.InContent(i) {
		err = u.c.WriteFile(ctx, p, text, client.WithParents(), client.WithOverwrite())
	} else if err = u.c.Mkdir(ctx, p, client.WithParents()); err == nil {
		err = u.c.SetXattr(ctx, p, oracle.AttributeName, text, client.XattrAny)
	}
	u.r.boards.Written(i, u.id, number, err)
	return err
}

// look reads a board.
func (u *user) look(ctx context.Context) error {
	i := u.rng.IntN(u.r.boards.Len())
	p, l := u.r.boards.BoardPath(i), u.r.boards.Look(i, u.id)
	var text []byte
	var err error
	if u.r.boards.InContent(i) {
		text, err = u.c.ReadFile(ctx, p)
	} else {
		text, err = u.c.Xattr(ctx, p, oracle.AttributeName)
	}
	switch {
	case err == nil:
		u.r.boards.Saw(l, text)
	case dfs.IsKind(err, dfs.NotFound):
		u.r.boards.Missing(l, err)
	}
	return err
}

// race makes a file that other users make at about the same time, and looks who has made it.
func (u *user) race(ctx context.Context) error {
	const moment = 2 // seconds that a race lasts
	p := dfs.Path(fmt.Sprintf("/races/%d", int(u.r.w.Sched.Elapsed().Seconds())/moment))
	u.r.races.Begin(p)
	err := u.make(ctx, p, []byte(strconv.Itoa(u.id+1)))
	u.r.races.Made(p, u.id+1, err)
	if err != nil && !dfs.IsKind(err, dfs.AlreadyExists) {
		return err
	}
	winner := u.r.races.Winner(p)
	text, err := u.c.ReadFile(ctx, p)
	if err == nil {
		found, _ := strconv.Atoi(string(text)) // 0 is nobody
		u.r.races.Saw(u.id, p, winner, found)
	}
	if dfs.IsKind(err, dfs.Incomplete) || dfs.IsKind(err, dfs.NotFound) && winner == 0 { // the other is not yet done, or gave up
		return nil
	}
	return err
}

// pinned is a file that was pinned before any of it was cached, and then read.
type pinned struct {
	path   dfs.Path
	status *dfs.FileStatus
}

// pin makes a file in the under store alone, pins it, and reads it: what workers cache of it is pinned from the first page
// on. It unpins and removes the oldest one when there are some.
func (u *user) pin(ctx context.Context) error {
	const most = 3
	if len(u.pins) >= most {
		p := u.pins[0]
		u.pins = u.pins[1:]
		u.r.kept.Forget(p.status.File())
		return errors.Join(u.c.Unpin(ctx, p.path), u.c.Remove(ctx, p.path, client.RemoveOptions{}))
	}
	u.made++
	c := oracle.Content{Name: dfs.Path(fmt.Sprintf("/pinned/%d-%d", u.id, u.made)), Size: int64(u.r.s.FileSize)}
	err := u.make(ctx, c.Name, c.Bytes(), client.WithWriteType(dfs.WriteThrough))
	u.once("write", c.Name, err)
	if err != nil {
		return err
	}
	if err := u.c.Pin(ctx, c.Name); err != nil {
		return err
	}
	s, err := u.c.Stat(ctx, c.Name)
	if err != nil {
		return err
	}
	if !s.Pinned {
		u.r.book.Violation("kept", "client %d: %s was pinned, and its status says that it is not", u.id, c.Name)
	}
	err = u.check(ctx, c.Name, &oracle.File{Content: c, WriteType: dfs.WriteThrough})
	if err == nil {
		u.pins = append(u.pins, pinned{c.Name, s})
		u.r.kept.Watch(s)
	}
	return err
}
