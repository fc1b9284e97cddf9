package master

import (
	"context"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/mounttable"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/ufs"
)

// This file holds mutations that change an under store first and the namespace after, under a claim on the paths. If the
// leader dies in between, the retry finds the store changed already and goes on from there.

// place is a path in a mount's store.
type place struct {
	mount *mounttable.Mount
	store ufs.Store
	rel   string
}

// placeOf opens the store that p lies in; store is nil outside of mounts.
func (l *leadership) placeOf(ctx context.Context, p dfs.Path) (place, error) {
	mount, rel := l.m.machine.Mounts().Resolve(p)
	if mount == nil {
		return place{}, nil
	}
	store, err := l.m.stores.get(ctx, mount)
	return place{mount, store, rel}, err
}

// know loads p from the under store if the namespace does not know whether it exists.
func (l *leadership) know(ctx context.Context, p dfs.Path) error {
	if l.inMemory(string(p)) {
		return nil
	}
	return l.sync.Path(ctx, p)
}

func (l *leadership) createThrough(ctx context.Context, r namespace.Request, p dfs.Path, op *proto.CreateFile) (*proto.Result, error) {
	if err := l.know(ctx, p); err != nil {
		return nil, err
	}
	return l.finish(ctx, op.Path)(l.e.Create(ctx, r, p, op))
}

// completeThrough publishes a version that a worker has written to the under store, once the store confirms that it has
// exactly this content: another writer may have replaced it meanwhile.
func (l *leadership) completeThrough(ctx context.Context, r namespace.Request, op *proto.CompleteFile) (*proto.Result, error) {
	written, err := dfs.ParsePath(op.Path)
	if err != nil {
		return nil, err
	}
	p, claim, err := l.claimFile(ctx, dfs.InodeID(op.Inode), written)
	if err != nil {
		return nil, err
	}
	defer claim.Release()
	r.Claim = claim
	entry, err := l.confirmWritten(ctx, r, written, p, op)
	if err != nil {
		return nil, err
	}
	confirmed := &proto.CompleteFile{Inode: op.Inode, Version: op.Version, Length: op.Length, WriteType: op.WriteType, Path: op.Path,
		Blocks: op.Blocks, Fingerprint: entry.Fingerprint} // a copy: the message is the caller's
	return l.finish(ctx, string(p))(l.e.Complete(ctx, r, confirmed, l.completed(confirmed)))
}

// claimFile claims the path that a file has, and the one where it was written. The file may be renamed while the claim
// is waited for; then its new path is claimed instead.
func (l *leadership) claimFile(ctx context.Context, id dfs.InodeID, written dfs.Path) (dfs.Path, *namespace.Claim, error) {
	find := func() (dfs.Path, error) {
		p, _, err := l.m.machine.PathOf(id)
		if dfs.IsKind(err, dfs.NotFound) {
			err = dfs.Errorf(dfs.Stale, "complete", string(written), "the file was removed while it was being written")
		}
		return p, err
	}
	for {
		p, err := find()
		if err != nil {
			return "", nil, err
		}
		claim, err := l.e.Claim(ctx, p, written)
		if err != nil {
			return "", nil, err
		}
		now, err := find()
		if err == nil && now == p {
			return p, claim, nil
		}
		claim.Release()
		if err != nil {
			return "", nil, err
		}
	}
}

// confirmWritten makes sure that the under store has at p what the writer wrote, moving it there when the file was
// renamed meanwhile.
func (l *leadership) confirmWritten(ctx context.Context, r namespace.Request, written, p dfs.Path, op *proto.CompleteFile) (ufs.Entry, error) {
	at, err := l.placeOf(ctx, p)
	if err != nil {
		return ufs.Entry{}, err
	}
	if at.store == nil {
		return ufs.Entry{}, dfs.Errorf(dfs.Conflict, "complete", string(p), "the mount was removed while the file was being written")
	}
	moved := written != p
	if from, rel := l.m.machine.Mounts().Resolve(written); moved && from == at.mount {
		if err := l.followRename(ctx, r, at, written, rel, op.Fingerprint); err != nil {
			return ufs.Entry{}, err
		}
	}
	entry, err := at.store.Stat(ctx, at.rel)
	if err != nil {
		return entry, dfs.Wrap(err, "complete: confirm in the under store", string(p))
	}
	if entry.Dir || !moved && entry.Fingerprint != op.Fingerprint || entry.Size != op.Length {
		return entry, dfs.Errorf(dfs.Conflict, "complete", string(p), "another writer replaced the object in the under store meanwhile: write again")
	}
	return entry, nil
}

// followRename moves what the writer left at its old path after its file: exactly that, and only while nothing else
// has the path. Nothing there means that an earlier try, or the rename of a directory, has moved it.
func (l *leadership) followRename(ctx context.Context, r namespace.Request, at place, written dfs.Path, rel, fingerprint string) error {
	left, err := at.store.Stat(ctx, rel)
	if dfs.IsKind(err, dfs.NotFound) || dfs.IsKind(err, dfs.NotDirectory) {
		return nil
	}
	if err != nil {
		return dfs.Wrap(err, "complete: find what was written", string(written))
	}
	if left.Dir || left.Fingerprint != fingerprint {
		return dfs.Errorf(dfs.Conflict, "complete", string(written), "another writer replaced the object in the under store meanwhile: write again")
	}
	if err := l.e.CheckLeft(r, written, "complete"); err != nil {
		return err
	}
	if err := at.store.Rename(ctx, rel, at.rel); err != nil && !dfs.IsKind(err, dfs.NotFound) {
		return dfs.Wrap(err, "complete: follow the rename in the under store", string(written))
	}
	return nil
}

func (l *leadership) makeDirectoryThrough(ctx context.Context, r namespace.Request, p dfs.Path, op *proto.MakeDirectory) (*proto.Result, error) {
	if err := l.know(ctx, p); err != nil {
		return nil, err
	}
	at, err := l.placeOf(ctx, p)
	if err != nil {
		return nil, err
	}
	claim, err := l.e.Claim(ctx, p)
	if err != nil {
		return nil, err
	}
	defer claim.Release()
	r.Claim = claim
	exists, err := l.e.CheckMakeDirectory(r, p, op)
	if err != nil {
		return nil, err
	}
	persist := at.store != nil && !op.MustCache
	if persist && !exists {
		if err := at.store.Mkdir(ctx, at.rel, op.Mode); err != nil {
			return nil, dfs.Wrap(err, "mkdir in the under store", string(p))
		}
	}
	return l.finish(ctx, string(p))(l.e.MakeDirectory(ctx, r, p, op, persist))
}

func (l *leadership) renameThrough(ctx context.Context, r namespace.Request, op *proto.Rename) (*proto.Result, error) {
	from, err := dfs.ParsePath(op.Source)
	if err != nil {
		return nil, err
	}
	to, err := dfs.ParsePath(op.Target)
	if err != nil {
		return nil, err
	}
	for _, p := range []dfs.Path{from, to} {
		if err := l.know(ctx, p); err != nil {
			return nil, err
		}
	}
	claim, err := l.e.Claim(ctx, from, to)
	if err != nil {
		return nil, err
	}
	defer claim.Release()
	r.Claim = claim
	if err := l.renameInStore(ctx, r, from, to, op); err != nil {
		return nil, err
	}
	return l.finish(ctx, string(to))(l.e.Rename(ctx, r, from, to, op, l.forget))
}

func (l *leadership) renameInStore(ctx context.Context, r namespace.Request, from, to dfs.Path, op *proto.Rename) error {
	source, err := l.e.CheckRename(r, from, to, op.NoReplace)
	if err != nil {
		return err
	}
	src, err := l.placeOf(ctx, from)
	if err != nil || src.store == nil {
		return err
	}
	_, rel := l.m.machine.Mounts().Resolve(to)
	if source.Persist != dfs.Persisted {
		return renameUnpersisted(ctx, src, source, from, to, rel)
	}
	err = src.store.Rename(ctx, src.rel, rel)
	if dfs.IsKind(err, dfs.NotFound) {
		if _, there := src.store.Stat(ctx, rel); there == nil {
			return nil // an earlier try of this rename got so far
		}
	}
	return dfs.Wrap(err, "rename in the under store", string(from))
}

// renameUnpersisted is for a source that the under store need not have. What it has at the target is replaced and must
// not come back, nor must what an earlier version left at the source.
func renameUnpersisted(ctx context.Context, src place, source *inodestore.Inode, from, to dfs.Path, rel string) error {
	if err := removeLeft(ctx, src.store, rel); err != nil {
		return dfs.Wrap(err, "rename: remove the replaced target from the under store", string(to))
	}
	if !mayBeInStore(source) {
		return nil
	}
	var err error
	if source.IsDir() {
		err = src.store.Rename(ctx, src.rel, rel) // with what a persisted file's driver made in it
	} else {
		err = removeLeft(ctx, src.store, src.rel)
	}
	if dfs.IsKind(err, dfs.NotFound) || dfs.IsKind(err, dfs.NotDirectory) {
		return nil
	}
	return dfs.Wrap(err, "rename: clear the source in the under store", string(from))
}

func removeLeft(ctx context.Context, store ufs.Store, rel string) error {
	err := store.Remove(ctx, rel)
	if dfs.IsKind(err, dfs.NotFound) || dfs.IsKind(err, dfs.NotDirectory) {
		return nil
	}
	return err
}

// mayBeInStore tells whether a store may have something at an inode's path: its content, that of an earlier version, what
// a worker has persisted and not reported yet, or a directory that a driver made for one of these.
func mayBeInStore(n *inodestore.Inode) bool {
	return n.IsDir() || n.Persist != dfs.NotPersisted || n.LastVersion > 1
}

func (l *leadership) remove(ctx context.Context, r namespace.Request, p dfs.Path, op *proto.Remove) (*proto.Result, error) {
	if err := l.know(ctx, p); err != nil {
		return nil, err
	}
	claim, err := l.e.Claim(ctx, p)
	if err != nil {
		return nil, err
	}
	defer claim.Release()
	r.Claim = claim
	n, err := l.e.CheckRemove(r, p, op)
	if err != nil {
		return nil, err
	}
	if op.Recursive && n.IsDir() && !r.Identity.Superuser(l.m.cfg.Superuser) {
		if err := l.mayRemoveBelow(ctx, &r, p); err != nil {
			return nil, err
		}
	}
	if !op.CacheOnly && mayBeInStore(n) {
		if err := l.removeInStore(ctx, p, n.IsDir(), op.Recursive); err != nil {
			return nil, err
		}
	}
	return l.finish(ctx, string(p))(l.e.Remove(ctx, r, p, op, l.forget))
}

func (l *leadership) removeInStore(ctx context.Context, p dfs.Path, dir, recursive bool) error {
	at, err := l.placeOf(ctx, p)
	if err != nil || at.store == nil {
		return err
	}
	if dir && recursive {
		err = removeTree(ctx, l.m.h, at.store, at.rel)
	} else {
		err = at.store.Remove(ctx, at.rel)
	}
	if dfs.IsKind(err, dfs.NotFound) || dfs.IsKind(err, dfs.NotDirectory) {
		return nil
	}
	if dfs.IsKind(err, dfs.DeadlineExceeded) {
		return dfs.Errorf(dfs.DeadlineExceeded, "remove from the under store", string(p),
			"part of it is removed: run the same command again to go on")
	}
	return dfs.Wrap(err, "remove from the under store", string(p))
}

// Pace of removing a directory that still gains entries: a worker may be writing a file below it in the background, and
// what the worker finishes after the listing is found by the next one.
const (
	removeTries = 100
	removePause = 50 * time.Millisecond
)

// removeTree removes depth first, holding one listing open for each level. It can be run again after a failure.
func removeTree(ctx context.Context, h host.Host, store ufs.Store, dir string) error {
	for try := 1; ; try++ {
		if err := removeEntries(ctx, h, store, dir); err != nil {
			return err
		}
		err := store.Remove(ctx, dir)
		if !dfs.IsKind(err, dfs.NotEmpty) || try == removeTries {
			return err
		}
		if err := h.Sleep(ctx, removePause); err != nil {
			return err
		}
	}
}

func removeEntries(ctx context.Context, h host.Host, store ufs.Store, dir string) error {
	for entry, err := range store.List(ctx, dir, "") {
		if err != nil {
			return err
		}
		path := entry.Name
		if dir != "" {
			path = dir + "/" + entry.Name
		}
		if entry.Dir {
			err = removeTree(ctx, h, store, path)
		} else {
			err = store.Remove(ctx, path)
		}
		if err != nil && !dfs.IsKind(err, dfs.NotFound) {
			return err
		}
	}
	return nil
}

func (l *leadership) mount(ctx context.Context, r namespace.Request, p dfs.Path, op *proto.MountUfs) (*proto.Result, error) {
	if !r.Identity.Superuser(l.m.cfg.Superuser) { // before the store is opened: its answers are not everybody's to see
		return nil, dfs.Errorf(dfs.PermissionDenied, "mount", string(p), "only the superuser may mount")
	}
	m := mounttable.Mount{Path: p, URI: op.Uri, ReadOnly: op.ReadOnly, Shared: op.Shared, Options: op.Options, SyncInterval: duration(op.SyncInterval)}
	store, err := l.m.cfg.OpenStore(ctx, op.Uri, op.Options)
	if err != nil {
		return nil, dfs.Wrap(err, "mount: open the under store", op.Uri)
	}
	root, err := store.Stat(ctx, "")
	_ = store.Close() // the mount opens its own handle when it is used
	if err != nil {
		return nil, dfs.Wrap(err, "mount: look at the under store", op.Uri)
	}
	if !root.Dir {
		return nil, dfs.Errorf(dfs.NotDirectory, "mount", op.Uri, "the under store's root is a file: mount its directory")
	}
	claim, err := l.e.Claim(ctx, p)
	if err != nil {
		return nil, err
	}
	defer claim.Release()
	r.Claim = claim
	return l.finish(ctx, string(p))(l.e.Mount(ctx, r, m))
}

func (l *leadership) unmount(ctx context.Context, r namespace.Request, p dfs.Path) (*proto.Result, error) {
	claim, err := l.e.Claim(ctx, p)
	if err != nil {
		return nil, err
	}
	defer claim.Release()
	r.Claim = claim
	waiting, err := l.m.machine.PersistQueue(0, maxUnmountCheck)
	if err != nil {
		return nil, err
	}
	for _, w := range waiting {
		if p.Contains(w.Path) {
			return nil, dfs.Errorf(dfs.Conflict, "unmount", string(p), "%q still waits to be persisted: wait for it, or remove it", w.Path)
		}
	}
	out, err := l.e.Unmount(ctx, r, p)
	if err != nil {
		return nil, err
	}
	if err := out.Ticket.Wait(ctx); err != nil {
		return nil, err
	}
	return plainAnswer(out.Ticket)
}

// maxUnmountCheck bounds how much of the persist queue an unmount looks through.
const maxUnmountCheck = 100_000

// setAttribute changes p, and with recursive everything below it first, so that a retry finds the same tree.
func (l *leadership) setAttribute(ctx context.Context, r namespace.Request, p dfs.Path, op *proto.SetAttribute) (*proto.Result, error) {
	if err := l.know(ctx, p); err != nil {
		return nil, err
	}
	count := int64(0)
	if op.Recursive {
		below := r
		below.Sequence, below.Session = 0, 0
		err := l.walk(ctx, p, func(at dfs.Path, _ walked) error {
			if at == p {
				return nil
			}
			count++
			_, err := l.setOne(ctx, below, at, op)
			if dfs.IsKind(err, dfs.NotFound) {
				return nil
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	res, err := l.setOne(ctx, r, p, op)
	if err == nil {
		res.Count = count + 1
	}
	return res, err
}

func (l *leadership) setOne(ctx context.Context, r namespace.Request, p dfs.Path, op *proto.SetAttribute) (*proto.Result, error) {
	claim, err := l.e.Claim(ctx, p)
	if err != nil {
		return nil, err
	}
	defer claim.Release()
	r.Claim = claim
	n, err := l.e.CheckSetAttribute(r, p, op)
	if err != nil {
		return nil, err
	}
	if n.Persist == dfs.Persisted && (op.Mode != nil || op.Owner != nil || op.Group != nil || op.ModTime != nil) {
		if err := l.setInStore(ctx, p, op); err != nil {
			return nil, err
		}
	}
	return l.finish(ctx, string(p))(l.e.SetAttribute(ctx, r, p, op, l.attributesChanged(op)))
}

func (l *leadership) setInStore(ctx context.Context, p dfs.Path, op *proto.SetAttribute) error {
	at, err := l.placeOf(ctx, p)
	if err != nil || at.store == nil || at.mount.ReadOnly || at.rel == "" {
		return err
	}
	setter, ok := ufs.As[ufs.AttrSetter](at.store)
	if !ok {
		return nil
	}
	err = setter.SetAttr(ctx, at.rel, op.Mode, op.Owner, op.Group, timeOf(op.ModTime))
	if dfs.IsKind(err, dfs.UnsupportedFeature) || dfs.IsKind(err, dfs.NotFound) {
		return nil
	}
	return dfs.Wrap(err, "set attribute in the under store", string(p))
}
