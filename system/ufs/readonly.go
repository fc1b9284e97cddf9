package ufs

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/forebay/forebay/system/dfs"
)

// ReadOnly refuses everything that would change s.
func ReadOnly(s Store) Store { return readOnly{s} }

type readOnly struct{ s Store }

func (r readOnly) Unwrap() Store { return r.s }

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

func (r readOnly) Close() error { return r.s.Close() }
