package master

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/ufs"
)

// setAttribute changes p, and with recursive everything below it first, so that a retry finds the same tree.
// The count is of the paths that were changed, p included. Paths that were removed while the walk was on its way are
// passed over. Any other error ends it with the part below changed and p not: the client's retry goes through the same
// tree again, and setting an attribute twice does no harm. Only p's own change carries the client's sequence, so its
// remembered answer means that all of it was done; a replay then tells p's status and its own count alone.
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
			_, err := l.setOne(ctx, below, at, op)
			if dfs.IsKind(err, dfs.NotFound) {
				return nil
			}
			count++
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

// setOne changes one path, in the store first where that has the file and keeps such an attribute. Pins, TTLs and
// replication are Forebay's own and never reach a store.
// Each path has a claim of its own, so a recursive change of a large tree holds up nobody for long, and is not one
// step for those who look. The rights are checked here before the store is touched; a refusal changes nothing in
// either tree.
func (l *leadership) setOne(ctx context.Context, r namespace.Request, p dfs.Path, op *proto.SetAttribute) (*proto.Result, error) {
	return l.underClaim(ctx, r, func(r namespace.Request) (*proto.Result, error) {
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
	}, p)
}

// setInStore changes attributes in the store. Stores that keep none, read-only mounts and a mount's root are passed
// over, and a file that is gone there is for the next sync to tell: the namespace is changed all the same.
// Only what op has present is passed on. An error other than those two keeps the namespace unchanged: mode and owner
// would differ between the trees, and an operator who reads the store directly would be surprised.
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
