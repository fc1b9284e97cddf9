package master

import (
	"context"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/namespace"
)

// walkPage is how many entries of a directory a walk holds for each level.
const walkPage = 512

// walked is one inode on the way of a walk.
type walked = *inodestore.Inode

// timeOf is the time of a request's field, in nanoseconds since 1970; nil when the field is absent.
func timeOf(ns *int64) *time.Time {
	if ns == nil {
		return nil
	}
	t := time.Unix(0, *ns)
	return &t
}

// duration is a request's field in nanoseconds.
func duration(ns int64) time.Duration { return time.Duration(ns) }

// walk visits p and everything known below it, parents first, in pages: the tree may change meanwhile, and what comes or
// goes then may or may not be visited.
// It holds no lock and no claim between two pages, and visit may change what it visits: names already passed do not
// come again, since the next page begins after the last name. Entries that the store has and the namespace has not
// loaded are not visited.
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

// walkFrom is walk from an inode that was found at p. An error of visit ends it and is returned; so does the end of
// ctx. Memory is one page for each level.
// n is as it was when its page was read. A directory that was removed or renamed since is walked to its end under its
// former path; visit must look again before it changes anything (the evaluator does).
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
// The first refusal ends the walk: a command on a tree that passed over what it may not see would report success for a
// part.
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
