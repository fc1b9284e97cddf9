package master

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
)

// free drops cached copies of what the under store has. Only copies go: files whose content the store does not have
// are passed over, and so are pinned ones without force. Workers are told and drop the data when they hear of it; the
// count is of files, cached or not.
// It changes no metadata and logs nothing, so it can be cut off and run again at any point. A worker that is away
// misses the command; when it registers, its copy is simply known again. It asks for the right to write p and every
// file, since whoever frees makes others read from the store again.
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
		l.dropCopies(n)
		return nil
	})
	return &proto.Result{Count: count}, err
}

// requestPersist puts files that only workers have on the queue, those below p with recursive. Each is a mutation of
// its own, without the client's sequence: a retry finds the first ones on the queue already and goes on. The count is
// of those that were put there by this run.
// A file below p that has no content yet is passed over, while asking for such a one by its name is Incomplete. Each
// file's request is applied before the next is made, so an error tells how far it came: everything before it is on the
// queue and stays there.
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

// load loads metadata from the under store, a directory at a time. The count is of what was visited: with recursive
// everything below, otherwise p and its known descendants.
// The directory p itself is compared by syncFor, all others as the walk meets them: the walk lists a directory after
// it was visited, so it sees what the visit has loaded. An error of the store ends it, and what was loaded by then
// stays.
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
