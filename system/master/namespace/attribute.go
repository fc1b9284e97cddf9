package namespace

import (
	"context"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/proto"
)

// SetAttribute changes what op has present, on p alone. onApplied is called on the leader, with the inode as it is
// then. Nothing is changed when any part is refused. The under store is the caller's to change first.
// InvalidArgument for numbers out of range, PermissionDenied as chmod(2) and chown(2) have it, NotFound when p does
// not exist.
func (e *Evaluator) SetAttribute(ctx context.Context, r Request, p dfs.Path, op *proto.SetAttribute, onApplied func(*inodestore.Inode)) (Outcome, error) {
	const what = "set attribute"
	return e.change(ctx, r, p, what, func(n *inodestore.Inode) error {
		if err := demandChange(&r, n, op, p); err != nil {
			return err
		}
		return setAttributes(n, op, p)
	}, onApplied)
}

// demandChange: mode, owner and group are the owner's; the rest takes the right to write.
// A group may be given away to any group that the user is a member of, as in chown(2). An owner or group that stays
// what it is asks for nothing more than the owner's right, so that tools which set everything work.
func demandChange(r *Request, n *inodestore.Inode, op *proto.SetAttribute, p dfs.Path) error {
	const what = "set attribute"
	if op.Owner != nil && *op.Owner != n.Owner && !r.super() {
		return dfs.Errorf(dfs.PermissionDenied, what, string(p), "only the superuser may change the owner")
	}
	if op.Group != nil && *op.Group != n.Group && !r.super() && !r.Identity.MemberOf(*op.Group) {
		return dfs.Errorf(dfs.PermissionDenied, what, string(p), "user %q is not in group %q", r.Identity.User, *op.Group)
	}
	if op.Mode != nil || op.Owner != nil || op.Group != nil {
		return demandOwner(r, n, what, p)
	}
	return demand(r, n, permWrite, what, p)
}

// setAttributes puts what op has present into n, which is a copy. Numbers are checked before they are narrowed. An
// error leaves n half changed: the copy is thrown away.
// The time of modification is what the request says and no clock's, so that copies keep the time of their source. No
// attribute moves it by itself.
func setAttributes(n *inodestore.Inode, op *proto.SetAttribute, p dfs.Path) error {
	if op.Mode != nil {
		if *op.Mode > 0o7777 {
			return dfs.Errorf(dfs.InvalidArgument, "set attribute", string(p), "mode %o: want at most 7777", *op.Mode)
		}
		n.Mode = *op.Mode
	}
	if op.Owner != nil {
		n.Owner = *op.Owner
	}
	if op.Group != nil {
		n.Group = *op.Group
	}
	if op.ModTime != nil {
		n.ModTime = time.Unix(0, *op.ModTime)
	}
	if op.Pinned != nil {
		n.Pinned = *op.Pinned
	}
	if op.TtlAction != nil {
		if *op.TtlAction > uint32(dfs.TTLFree) {
			return dfs.Errorf(dfs.InvalidArgument, "set attribute", string(p), "TTL action %d: this master knows 0 to %d", *op.TtlAction, dfs.TTLFree)
		}
		n.TTLAction = dfs.TTLAction(*op.TtlAction)
	}
	if op.ReplicationMin != nil {
		n.ReplicationMin = *op.ReplicationMin
	}
	if op.ReplicationMax != nil {
		n.ReplicationMax = *op.ReplicationMax
	}
	if err := checkReplication(n.ReplicationMin, n.ReplicationMax, "set attribute", p); err != nil {
		return err
	}
	return setTTL(n, op, p)
}

// setTTL: directories have none. Their modification time does not follow their entries, so what would run out is not
// their use; a recursive change passes them by.
// A TTL counts from the time of modification; the record of when it runs out is reindex's.
func setTTL(n *inodestore.Inode, op *proto.SetAttribute, p dfs.Path) error {
	switch {
	case op.Ttl == nil:
		return nil
	case *op.Ttl < 0:
		return dfs.Errorf(dfs.InvalidArgument, "set attribute", string(p), "TTL %d: want 0 (none) or more", *op.Ttl)
	case n.IsDir() && !op.Recursive && *op.Ttl > 0:
		return dfs.Errorf(dfs.InvalidArgument, "set attribute", string(p), "a directory has no TTL: set it on its files, with recursive")
	case !n.IsDir():
		n.TTL = time.Duration(*op.Ttl)
	}
	return nil
}

// change edits a copy of p's inode and logs it. edit must not keep n, and must replace maps instead of changing them:
// the stored inode shares them. onApplied may be nil.
// The answer's count is 1: one inode was changed. An edit that changes nothing is logged all the same, since its
// answer has to be remembered. onApplied runs once the entry is applied, on this leader alone; a failover loses it,
// which callers must be able to bear.
func (e *Evaluator) change(ctx context.Context, r Request, p dfs.Path, op string, edit func(*inodestore.Inode) error,
	onApplied func(*inodestore.Inode)) (Outcome, error) {
	var out Outcome
	var err error
	out.Ticket, err = e.do(ctx, r, []dfs.Path{p}, func(t *txn) error {
		f, err := lookup(e.view, &r, p)
		if err == nil {
			err = f.mustExist(op, p)
		}
		if err != nil {
			return dfs.Wrap(err, op, string(p))
		}
		n := *f.inode
		if err := r.onlyIf(&n, op, p); err != nil {
			return err
		}
		if err := edit(&n); err != nil {
			return err
		}
		t.putInode(&n)
		t.reindex(f.inode, &n)
		t.answer.inode, t.answer.version, t.answer.count = n.ID, n.Version, 1
		out.Inode = &n
		if onApplied != nil {
			t.then(func() { onApplied(&n) })
		}
		return nil
	})
	return out, err
}

// CheckSetAttribute tells whether SetAttribute would be allowed, and finds the inode.
// Without a field set in op, it asks for the right to write. Its errors are SetAttribute's but for those about the
// values themselves.
func (e *Evaluator) CheckSetAttribute(r Request, p dfs.Path, op *proto.SetAttribute) (*inodestore.Inode, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f, err := lookup(e.view, &r, p)
	if err == nil {
		err = f.mustExist("set attribute", p)
	}
	if err != nil {
		return nil, err
	}
	return f.inode, demandChange(&r, f.inode, op, p)
}
