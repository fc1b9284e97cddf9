package master

import (
	"context"
	"iter"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/ufs"
)

// refusing is a store that fails one operation, on one path or on all of them.
type refusing struct {
	ufs.Store
	op   string // "stat", "list", "mkdir", "rename", "remove" or "set"
	path string // "": every path
	kind dfs.Kind
	off  bool
}

func (s *refusing) refuse(op, path string) error {
	if s.off || op != s.op || s.path != "" && s.path != path {
		return nil
	}
	kind := s.kind
	if kind == 0 {
		kind = dfs.Unavailable
	}
	return dfs.Errorf(kind, op, path, "the store refuses")
}

func (s *refusing) Stat(ctx context.Context, path string) (ufs.Entry, error) {
	if err := s.refuse("stat", path); err != nil {
		return ufs.Entry{}, err
	}
	return s.Store.Stat(ctx, path)
}

func (s *refusing) List(ctx context.Context, dir, after string) iter.Seq2[ufs.Entry, error] {
	if err := s.refuse("list", dir); err != nil {
		return func(yield func(ufs.Entry, error) bool) { yield(ufs.Entry{}, err) }
	}
	return s.Store.List(ctx, dir, after)
}

func (s *refusing) Mkdir(ctx context.Context, path string, mode uint32) error {
	if err := s.refuse("mkdir", path); err != nil {
		return err
	}
	return s.Store.Mkdir(ctx, path, mode)
}

func (s *refusing) Rename(ctx context.Context, from, to string) error {
	if err := s.refuse("rename", from); err != nil {
		return err
	}
	return s.Store.Rename(ctx, from, to)
}

func (s *refusing) Remove(ctx context.Context, path string) error {
	if err := s.refuse("remove", path); err != nil {
		return err
	}
	return s.Store.Remove(ctx, path)
}

// SetAttr implements ufs.AttrSetter.
func (s *refusing) SetAttr(ctx context.Context, path string, mode *uint32, owner, group *string, modTime *time.Time) error {
	if err := s.refuse("set", path); err != nil {
		return err
	}
	setter, _ := ufs.As[ufs.AttrSetter](s.Store)
	return setter.SetAttr(ctx, path, mode, owner, group, modTime)
}

// withStore makes every store that the master opens one that wrap has wrapped.
func withStore(wrap func(ufs.Store) ufs.Store) func(*Config) {
	return func(c *Config) {
		open := c.OpenStore
		c.OpenStore = func(ctx context.Context, uri string, o map[string]string) (ufs.Store, error) {
			s, err := open(ctx, uri, o)
			if err != nil {
				return nil, err
			}
			return wrap(s), nil
		}
	}
}
