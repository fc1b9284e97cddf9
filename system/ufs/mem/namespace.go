package mem

import (
	"context"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/ufs"
)

// Mkdir implements ufs.Store.
// Parents that are missing are made, with the same mode. That it is there already is no error.
func (s *Store) Mkdir(ctx context.Context, path string, mode uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ufs.CheckPath("mkdir", path); err != nil {
		return err
	}
	return s.mkdir("mkdir", path, mode)
}

// mkdir makes path and its parents, all with the same mode. The caller holds mu.
func (s *Store) mkdir(op, path string, mode uint32) error {
	if path == "" {
		return nil
	}
	if n := s.get(path); n != nil {
		if !n.dir {
			return dfs.Errorf(dfs.NotDirectory, op, path, "a file of that name exists")
		}
		return nil
	}
	parent, _ := ufs.Split(path)
	if err := s.mkdir(op, parent, mode); err != nil {
		return err
	}
	s.nodes.Set(key(path), &node{dir: true, mode: mode, modTime: s.h.Now()})
	return nil
}

// Remove implements ufs.Store.
// It looks at one level only: a directory with anything in it stays, and NotEmpty says so.
func (s *Store) Remove(ctx context.Context, path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.lookup("remove", path)
	switch {
	case err != nil:
		return err
	case path == "":
		return dfs.Errorf(dfs.InvalidArgument, "remove", path, "the root stays: unmount the store instead")
	case n.dir && s.hasChildren(path):
		return dfs.Errorf(dfs.NotEmpty, "remove", path, "remove what it holds first")
	}
	s.nodes.Delete(key(path))
	return nil
}

// hasChildren looks for one. The caller holds mu.
func (s *Store) hasChildren(path string) bool {
	found := false
	s.ascend(path, "", func(string, *node) bool { found = true; return false })
	return found
}

// Rename implements ufs.Store.
// It is one step under the lock: nobody sees half of it.
func (s *Store) Rename(ctx context.Context, from, to string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ufs.CheckRename(from, to); err != nil {
		return err
	}
	n, err := s.lookup("rename", from)
	if err != nil || from == to {
		return err
	}
	target, err := s.lookup("rename", to)
	if err != nil && !dfs.IsKind(err, dfs.NotFound) {
		return err
	}
	if target != nil {
		if err := ufs.CheckReplace(n.dir, target.dir, target.dir && s.hasChildren(to), to); err != nil {
			return err
		}
	}
	parent, _ := ufs.Split(to)
	if err := s.mkdir("rename", parent, 0o755); err != nil {
		return err
	}
	s.move(from, to)
	return nil
}

// move changes the path of from and everything below it. The caller holds mu.
func (s *Store) move(from, to string) {
	n := s.get(from)
	s.nodes.Delete(key(from))
	s.nodes.Set(key(to), n)
	if !n.dir {
		return
	}
	var below []string
	s.ascend(from, "", func(path string, _ *node) bool { below = append(below, path); return true })
	for _, path := range below {
		s.move(path, to+path[len(from):])
	}
}

// SetAttr implements ufs.AttrSetter.
// A directory's attributes are kept as an object's are.
// What is nil stays as it is. Nobody checks that owner and group exist anywhere.
func (s *Store) SetAttr(ctx context.Context, path string, mode *uint32, owner, group *string, modTime *time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.lookup("set attributes", path)
	if err != nil {
		return err
	}
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
	return nil
}
