package local

import (
	"context"
	"errors"
	"iter"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/ufs"
)

// tempMaxAge is when a temporary file is taken for left by a crash: no upload lasts as long.
// By the clock of this host against the time that the file server gave the file: a skew of hours does no harm.
const tempMaxAge = 24 * time.Hour

// List implements ufs.Store. The names of one directory are read and sorted in memory (about 50 bytes each); their
// attributes are read as they are yielded.
func (s *Store) List(ctx context.Context, dir, after string) iter.Seq2[ufs.Entry, error] {
	return func(yield func(ufs.Entry, error) bool) {
		if err := s.list(ctx, dir, after, func(e ufs.Entry) bool { return yield(e, nil) }); err != nil {
			yield(ufs.Entry{}, err)
		}
	}
}

// list calls yield for each entry until it returns false, which is no error. It holds two descriptors while it runs, so
// a consumer that stops in the middle has to end the iteration (range does) for them to be given back.
func (s *Store) list(ctx context.Context, dir, after string, yield func(ufs.Entry) bool) error {
	if err := begin(ctx, "list", dir); err != nil {
		return err
	}
	// A directory of its own, so that each name costs one system call and not one per component.
	sub, err := s.root.OpenRoot(native(dir))
	if err != nil {
		if info, e := s.root.Stat(native(dir)); e == nil && !info.IsDir() { // os.Root has no error of its own for it
			return dfs.Errorf(dfs.NotDirectory, "list", dir, "it is a file")
		}
		return convert(err, "list", dir)
	}
	defer func() { _ = sub.Close() }()
	names, err := readNames(sub)
	if err != nil {
		return convert(err, "list", dir)
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return dfs.Wrap(err, "list", dir)
		}
		if name <= after {
			continue
		}
		e, show, err := s.look(sub, dir, name)
		if err != nil {
			return err
		}
		if show && !yield(e) {
			return nil
		}
	}
	return nil
}

// readNames reads all names at once: a directory that is changed while it is read in pieces may give a name twice or
// not at all, and the order has to be that of bytes.
func readNames(dir *os.Root) ([]string, error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// look describes one name of a listing and tells whether it is to be shown. A name that went away meanwhile is not.
func (s *Store) look(sub *os.Root, dir, name string) (e ufs.Entry, show bool, err error) {
	if strings.HasPrefix(name, ufs.TempPrefix) {
		s.removeStale(sub, name)
		return e, false, nil
	}
	if !ufs.ListableName(name) {
		s.skipped.Add(1)
		return e, false, nil
	}
	info, err := sub.Lstat(name)
	if errors.Is(err, os.ErrNotExist) {
		return e, false, nil
	}
	if err != nil {
		return e, false, convert(err, "list", ufs.Join(dir, name))
	}
	switch {
	case info.Mode()&os.ModeSymlink != 0:
		return s.lookLink(dir, name)
	case !info.IsDir() && !info.Mode().IsRegular():
		s.skipped.Add(1)
		return e, false, nil
	}
	return s.entry(name, info), true, nil
}

// lookLink describes what a symbolic link leads to. One that leads out of the root is shown as an unreadable empty
// file, so that its owner learns why when opening it; one that leads nowhere, or to a directory above itself, which a
// walk would never leave, is skipped.
// The link's own path goes through the root again, since sub cannot follow a link that leads out of the directory
// and back.
func (s *Store) lookLink(dir, name string) (e ufs.Entry, show bool, err error) {
	path := ufs.Join(dir, name)
	info, err := s.root.Stat(path)
	if err != nil {
		if dfs.IsKind(convert(err, "list", path), dfs.PermissionDenied) && !errors.Is(err, syscall.ELOOP) {
			return ufs.Entry{Name: name, Fingerprint: "unreadable"}, true, nil
		}
		s.skipped.Add(1)
		return e, false, nil
	}
	if info.IsDir() && s.leadsUp(dir, info) || !info.IsDir() && !info.Mode().IsRegular() {
		s.skipped.Add(1)
		return e, false, nil
	}
	return s.entry(name, info), true, nil
}

// leadsUp tells whether target is dir or one of its parents.
// It compares files and not paths: a link may come by another way than the one that it leads to. It costs a system call
// for each level, for links to directories alone.
func (s *Store) leadsUp(dir string, target os.FileInfo) bool {
	for {
		if info, err := s.root.Stat(native(dir)); err == nil && os.SameFile(info, target) {
			return true
		}
		if dir == "" {
			return false
		}
		dir, _ = ufs.Split(dir)
	}
}

// removeStale removes a temporary file that a crash left. It is an attempt: a store that refuses keeps it.
func (s *Store) removeStale(sub *os.Root, name string) {
	info, err := sub.Lstat(name)
	if err == nil && info.Mode().IsRegular() && s.h.Now().Sub(info.ModTime()) > tempMaxAge {
		_ = sub.Remove(name)
	}
}
