package store

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/ufs"
)

// handle is the store as one node sees it, or as its owner does.
type handle struct {
	s *Store
	n *world.Node // nil: the owner
}

var (
	_ ufs.Store      = (*handle)(nil)
	_ ufs.AttrSetter = (*handle)(nil)
)

// unreachedAfter is how long a request waits for a store that the network does not reach.
const unreachedAfter = 5 * time.Second

// reached waits in vain when the network is cut between the node and the store, one way or the other.
func (h *handle) reached(ctx context.Context, op, path string) error {
	net := h.s.w.Net
	if !net.IsCut(h.n.Name(), h.s.name) && !net.IsCut(h.s.name, h.n.Name()) {
		return nil
	}
	if err := h.n.Sleep(ctx, unreachedAfter); err != nil {
		return dfs.Wrap(err, op, path)
	}
	return dfs.Errorf(dfs.Unavailable, op, path, "the store is not reached: the request timed out")
}

// wait is a sleep of the node's. A model without times has no events either.
func (h *handle) wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	return h.n.Sleep(ctx, d)
}

// request is one request, which the store does when it has arrived: who gives up or dies after that has had it done.
func (h *handle) request(ctx context.Context, kind Request, path string, do func() error) error {
	if err := ctx.Err(); err != nil {
		return dfs.Wrap(err, kind.String(), path)
	}
	if h.n == nil {
		return do()
	}
	if err := h.reached(ctx, kind.String(), path); err != nil {
		return err
	}
	there, back, lost, err := h.s.admit(kind, path)
	if err := h.wait(ctx, there); err != nil {
		return dfs.Wrap(err, kind.String(), path)
	}
	if err == nil {
		err = do()
	}
	if err := h.wait(ctx, back); err != nil {
		return dfs.Wrap(err, kind.String(), path)
	}
	if err == nil && lost {
		h.s.counts.Errors++
		return dfs.Errorf(dfs.Unavailable, kind.String(), path, "the store's answer was lost: try again")
	}
	return err
}

// Stat implements ufs.Store.
func (h *handle) Stat(ctx context.Context, path string) (e ufs.Entry, err error) {
	err = h.request(ctx, Stat, path, func() error { e, err = h.s.Look(path); return err })
	return e, err
}

const listPage = 1000

// List implements ufs.Store. Each page is a request. Entries made or removed meanwhile may or may not be seen.
func (h *handle) List(ctx context.Context, dir, after string) iter.Seq2[ufs.Entry, error] {
	return func(yield func(ufs.Entry, error) bool) {
		for {
			var entries []ufs.Entry
			err := h.request(ctx, List, dir, func() (err error) {
				entries, err = h.s.files.page(dir, after, listPage)
				return err
			})
			if err != nil {
				yield(ufs.Entry{}, err)
				return
			}
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
			if len(entries) < listPage {
				return
			}
			after = entries[len(entries)-1].Name
		}
	}
}

// Open implements ufs.Store. The reader keeps the content that was there, whatever becomes of the path.
func (h *handle) Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, error) {
	var r *reader
	err := h.request(ctx, Open, path, func() error {
		n, err := h.s.files.lookup("open", path)
		switch {
		case err != nil:
			return err
		case n.dir:
			return dfs.Errorf(dfs.IsDirectory, "open", path, "only objects can be read")
		case offset < 0 || length < 0:
			return dfs.Errorf(dfs.InvalidArgument, "open", path, "range %d+%d: both must be at least 0", offset, length)
		}
		from := min(offset, n.size)
		r = &reader{h: h, ctx: ctx, path: path, n: n, at: from, end: from + min(length, n.size-from)}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Create implements ufs.Store. It looks whether path can be made now; Commit looks again.
func (h *handle) Create(ctx context.Context, path string, mode uint32) (ufs.Writer, error) {
	if err := h.request(ctx, Create, path, func() error { return h.s.files.canCreate(path) }); err != nil {
		return nil, err
	}
	return &writer{h: h, ctx: ctx, path: path, mode: mode & 0o7777}, nil
}

// Remove implements ufs.Store.
func (h *handle) Remove(ctx context.Context, path string) error {
	return h.request(ctx, Remove, path, func() error { return h.s.files.remove(path) })
}

// Rename implements ufs.Store.
func (h *handle) Rename(ctx context.Context, from, to string) error {
	return h.request(ctx, Rename, from, func() error { return h.s.files.rename(from, to, h.s.clock()) })
}

// Mkdir implements ufs.Store.
func (h *handle) Mkdir(ctx context.Context, path string, mode uint32) error {
	return h.request(ctx, Mkdir, path, func() error { return h.s.files.mkdir("mkdir", path, mode, h.s.clock()) })
}

// SetAttr implements ufs.AttrSetter. Nobody checks that owner and group exist anywhere.
func (h *handle) SetAttr(ctx context.Context, path string, mode *uint32, owner, group *string, modTime *time.Time) error {
	return h.request(ctx, SetAttr, path, func() error {
		old, err := h.s.files.lookup("set attributes", path)
		if err != nil {
			return err
		}
		n := *old
		if mode != nil {
			n.mode = *mode & 0o7777
		}
		if owner != nil {
			n.owner = *owner
		}
		if group != nil {
			n.group = *group
		}
		if modTime != nil {
			n.modTime = *modTime
		}
		h.s.files.set(path, &n)
		return nil
	})
}

// Close implements ufs.Store. The files stay, for the other handles.
func (h *handle) Close() error { return nil }
