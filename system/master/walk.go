package master

import (
	"context"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
)

// walkPage is how many entries of a directory a walk holds for each level.
const walkPage = 512

// walked is one inode on the way of a walk.
type walked = *inodestore.Inode

func timeOf(ns *int64) *time.Time {
	if ns == nil {
		return nil
	}
	t := time.Unix(0, *ns)
	return &t
}

func duration(ns int64) time.Duration { return time.Duration(ns) }

// walk visits p and everything known below it, parents first, in pages: the tree may change meanwhile, and what comes or
// goes then may or may not be visited.
func (l *leadership) walk(ctx context.Context, p dfs.Path, visit func(dfs.Path, walked) error) error {
	n, _, _, err := l.m.machine.Peek(p)
	if err != nil {
		return err
	}
	if n == nil {
		return dfs.Errorf(dfs.NotFound, "walk", string(p), "no such file or directory")
	}
	return l.walkFrom(ctx, p, n, visit)
}

func (l *leadership) walkFrom(ctx context.Context, p dfs.Path, n walked, visit func(dfs.Path, walked) error) error {
	if err := ctx.Err(); err != nil {
		return dfs.Wrap(err, "walk", string(p))
	}
	if err := visit(p, n); err != nil || !n.IsDir() {
		return err
	}
	for after, more := "", true; more; {
		var page []walked
		err := l.m.machine.View(func(r inodestore.Reader) error {
			return r.List(n.ID, after, func(child *inodestore.Inode) bool {
				page = append(page, child)
				return len(page) < walkPage
			})
		})
		if err != nil {
			return err
		}
		more = len(page) == walkPage
		for _, child := range page {
			after = child.Name
			if err := l.walkFrom(ctx, p.Join(child.Name), child, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

// walkAs is walk for somebody who needs the right to list every directory on the way, and want on every file.
func (l *leadership) walkAs(ctx context.Context, r *namespace.Request, p dfs.Path, want uint32, op string, visit func(dfs.Path, walked) error) error {
	return l.walk(ctx, p, func(at dfs.Path, n walked) error {
		need := want
		if n.IsDir() {
			need = namespace.RightRead | namespace.RightSearch
		}
		if err := namespace.Demand(r, n, need, op, at); err != nil {
			return err
		}
		return visit(at, n)
	})
}

// mayRemoveBelow demands the right to take entries out of every directory at p and below that has any, as a removal one
// by one would.
func (l *leadership) mayRemoveBelow(ctx context.Context, r *namespace.Request, p dfs.Path) error {
	return l.walk(ctx, p, func(at dfs.Path, n walked) error {
		if !n.IsDir() {
			return nil
		}
		empty := true
		err := l.m.machine.View(func(r inodestore.Reader) error {
			return r.List(n.ID, "", func(walked) bool { empty = false; return false })
		})
		if err != nil || empty {
			return err
		}
		return namespace.Demand(r, n, namespace.RightWrite|namespace.RightSearch, "remove", at)
	})
}

// free drops cached copies of what the under store has.
func (l *leadership) free(ctx context.Context, r namespace.Request, p dfs.Path, op *proto.Free) (*proto.Result, error) {
	if err := l.know(ctx, p); err != nil {
		return nil, err
	}
	n, err := l.e.CheckSetAttribute(r, p, &proto.SetAttribute{})
	if err != nil {
		return nil, dfs.Wrap(err, "free", string(p))
	}
	if n.IsDir() && !op.Recursive {
		return nil, dfs.Errorf(dfs.IsDirectory, "free", string(p), "ask for recursive to free everything below it")
	}
	if n.Pinned && !op.Force {
		return nil, dfs.Errorf(dfs.InvalidArgument, "free", string(p), "it is pinned: unpin it, or force")
	}
	count := int64(0)
	err = l.walkAs(ctx, &r, p, namespace.RightWrite, "free", func(_ dfs.Path, n walked) error {
		if n.IsDir() || n.Persist != dfs.Persisted || n.Pinned && !op.Force {
			return nil
		}
		count++
		l.forget(n)
		return nil
	})
	return &proto.Result{Count: count}, err
}

func (l *leadership) requestPersist(ctx context.Context, r namespace.Request, p dfs.Path, op *proto.Persist) (*proto.Result, error) {
	below := r
	below.Session, below.Sequence = 0, 0
	count := int64(0)
	err := l.walkAs(ctx, &r, p, namespace.RightWrite, "persist", func(at dfs.Path, n walked) error {
		if n.IsDir() {
			if !op.Recursive && at == p {
				return dfs.Errorf(dfs.IsDirectory, "persist", string(p), "ask for recursive to persist everything below it")
			}
			return nil
		}
		if n.Persist != dfs.NotPersisted || n.Version == 0 && at != p {
			return nil
		}
		count++
		_, err := l.finish(ctx, string(at))(l.e.RequestPersist(ctx, below, at))
		return err
	})
	return &proto.Result{Count: count}, err
}

// load loads metadata from the under store, a directory at a time.
func (l *leadership) load(ctx context.Context, r namespace.Request, p dfs.Path, op *proto.Load) (*proto.Result, error) {
	if err := l.know(ctx, p); err != nil {
		return nil, err
	}
	if _, err := l.e.CheckSetAttribute(r, p, &proto.SetAttribute{}); err != nil {
		return nil, dfs.Wrap(err, "load", string(p))
	}
	if err := l.syncFor(ctx, string(p), true); err != nil {
		return nil, err
	}
	count := int64(0)
	err := l.walkAs(ctx, &r, p, 0, "load", func(at dfs.Path, n walked) error {
		count++
		if !n.IsDir() || !op.Recursive || at == p {
			return nil
		}
		return l.sync.Children(ctx, at)
	})
	return &proto.Result{Count: count}, err
}
