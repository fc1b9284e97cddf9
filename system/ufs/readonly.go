package ufs

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/forebay/forebay/system/dfs"
)

// ReadOnly refuses everything that would change s.
// It is the outermost layer, so that nothing else spends a request, a turn of the throttle or a retry on what is
// refused. What a store does by itself when it is read (the local driver removes temporary files that a crash left,
// when a listing meets them) goes on.
func ReadOnly(s Store) Store { return readOnly{s} }

// readOnly names every method of Store, rather than embedding it: a method that is added later does not compile before
// somebody has decided whether it changes anything.
type readOnly struct{ s Store }

func (r readOnly) Unwrap() Store { return r.s }

// refuse answers without asking the store, whether path exists or not.
func refuse(op, path string) error {
	return dfs.Errorf(dfs.ReadOnly, op, path, "the mount is read-only: mount it again without read-only to change it")
}

func (r readOnly) Stat(ctx context.Context, path string) (Entry, error) { return r.s.Stat(ctx, path) }

func (r readOnly) List(ctx context.Context, dir, after string) iter.Seq2[Entry, error] {
	return r.s.List(ctx, dir, after)
}

func (r readOnly) Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, error) {
	return r.s.Open(ctx, path, offset, length)
}

func (r readOnly) Create(_ context.Context, path string, _ uint32) (Writer, error) {
	return nil, refuse("create", path)
}

func (r readOnly) Remove(_ context.Context, path string) error { return refuse("remove", path) }

func (r readOnly) Rename(_ context.Context, from, _ string) error { return refuse("rename", from) }

func (r readOnly) Mkdir(_ context.Context, path string, _ uint32) error { return refuse("mkdir", path) }

// SetAttr implements AttrSetter, so that As finds the refusal before the driver.
func (r readOnly) SetAttr(_ context.Context, path string, _ *uint32, _, _ *string, _ *time.Time) error {
	return refuse("set attributes", path)
}

// Close closes the store inside.
func (r readOnly) Close() error { return r.s.Close() }
