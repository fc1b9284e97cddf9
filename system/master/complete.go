package master

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/ufs"
)

// completeThrough publishes a version that a worker has written to the under store, once the store confirms that it has
// exactly this content: another writer may have replaced it meanwhile.
// Stale means that the version is nobody's to publish any more (removed, overwritten, session expired), Conflict that
// the store has another content than the writer's. Either way the writer writes again. The fingerprint that is logged
// is the store's, not the client's (INV-1 of the package).
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
// is waited for; then its new path is claimed instead. It is found through its location or its open write, at the
// applied state: Stale when it has neither any more. The claim is the caller's to release; there is none after an
// error.
// It ends, since each round has waited for a rename that was applied meanwhile. The claim covers written as well,
// because what lies there may have to be moved.
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
// The size is compared always, the fingerprint only where the object lies as it was written: in some stores a rename
// is a copy, which has a fingerprint of its own. Other errors of the store leave the write open, and the client's
// retry confirms again.
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
// The object that is moved was made by this writer: its fingerprint is the one that the worker reported, and CheckLeft
// has seen that the path belongs to no other file and that the user could have written there. Without these two a
// client could name any path and have it moved.
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
