package oracle

import (
	"maps"
	"slices"

	"github.com/forebay/forebay/system/dfs"
)

// Tree guards C1 and C3 for the files of one client, on which nobody else works: what was acknowledged is there, what was
// removed is gone, nothing else appears. It is a model of the client's part of the namespace, changed by what was
// acknowledged, with doubts beside it.
//
// INV-1: order lists the paths of files, dirs those of directories, so that a choice among them follows from the seed.
// INV-2: no path of a doubt is in files or dirs, and no directory of dirs contains one.
type Tree struct {
	Book   *Book
	Who    int
	files  map[dfs.Path]*File
	order  []dfs.Path
	dirs   []dfs.Path
	doubts []Doubt
}

// File is what a client knows of a file of its own.
type File struct {
	Content
	WriteType dfs.WriteType
	Copies    int    // workers that acknowledged each block, where the under store need not have it
	Wipes     int    // how many workers had lost their disks when it was written
	Mode      uint32 // 0: as it was made
	Attribute string // of the one extended attribute; empty: it has none
	Count     Count
}

// State is what may be at some paths; nil: nothing.
type State map[dfs.Path]*File

// Doubt is a change whose outcome is open: one of the states holds, at the end of the run at last.
type Doubt struct {
	What string
	May  []State
	Tree bool // whatever is below the paths is open, too
}

// Len is how many files are known.
func (t *Tree) Len() int { return len(t.order) }

// Files lists the known files in the order in which they came to their paths.
func (t *Tree) Files() []dfs.Path { return t.order }

// Dirs lists the known directories in the same way.
func (t *Tree) Dirs() []dfs.Path { return t.dirs }

// Doubts are those that stand.
func (t *Tree) Doubts() []Doubt { return t.doubts }

// File is what is known of a path; nil: nothing.
func (t *Tree) File(p dfs.Path) *File { return t.files[p] }

// Wrote notes a file that was acknowledged, in place of what was there.
func (t *Tree) Wrote(p dfs.Path, f *File) {
	if t.files == nil {
		t.files = map[dfs.Path]*File{} // not before: most of many clients only read
	}
	if t.files[p] == nil {
		t.order = append(t.order, p)
	}
	t.files[p] = f
}

// Made notes a directory.
func (t *Tree) Made(dir dfs.Path) { t.dirs = append(t.dirs, dir) }

// Gone notes that a file was removed.
func (t *Tree) Gone(p dfs.Path) {
	delete(t.files, p)
	if i := slices.Index(t.order, p); i >= 0 {
		t.order = slices.Delete(t.order, i, i+1)
	}
}

// GoneBelow notes that a directory was removed with everything below it, and gives the files that went.
func (t *Tree) GoneBelow(dir dfs.Path) State {
	went := State{}
	for _, p := range slices.Clone(t.order) {
		if dir.Contains(p) {
			went[p] = t.files[p]
			t.Gone(p)
		}
	}
	t.dirs = slices.DeleteFunc(t.dirs, dir.Contains)
	return went
}

// Moved notes that what was at or below from is at or below to, in place of what was there.
func (t *Tree) Moved(from, to dfs.Path) {
	for _, p := range slices.Clone(t.order) {
		if from.Contains(p) {
			f := t.files[p]
			t.Gone(p)
			t.Wrote(moved(p, from, to), f)
		}
	}
	for i, d := range t.dirs {
		if from.Contains(d) {
			t.dirs[i] = moved(d, from, to)
		}
	}
}

func moved(p, from, to dfs.Path) dfs.Path {
	if p == from {
		return to
	}
	return to + "/" + dfs.Path(from.Relative(p))
}

// Doubt notes a change of which one of two states follows, each of the same paths. What was known of them, and of the
// directories that they are in, is known no more.
func (t *Tree) Doubt(what string, before, after State) {
	t.doubts = append(t.doubts, Doubt{What: what, May: []State{before, after}})
	for p := range before {
		t.Gone(p)
		t.dirs = slices.DeleteFunc(t.dirs, func(d dfs.Path) bool { return d.Contains(p) })
	}
}

// DoubtTree notes that nothing is known of what is at or below the paths.
func (t *Tree) DoubtTree(what string, paths ...dfs.Path) {
	s := State{}
	for _, p := range paths {
		t.GoneBelow(p)
		t.dirs = slices.DeleteFunc(t.dirs, func(d dfs.Path) bool { return d.Contains(p) })
		s[p] = nil
	}
	t.doubts = append(t.doubts, Doubt{What: what, May: []State{s}, Tree: true})
}

// Doubtful tells whether something may be at p that the tree does not know of.
func (t *Tree) Doubtful(p dfs.Path) bool {
	return slices.ContainsFunc(t.doubts, func(d Doubt) bool { return d.covers(p) })
}

func (d *Doubt) covers(p dfs.Path) bool {
	for q := range d.May[0] {
		if q == p || q.Parent() != q && p.Contains(q) || d.Tree && q.Contains(p) { // in any order: the answer is one
			return true
		}
	}
	return false
}

// Lost judges an answer that there is nothing at the path of a known file.
func (t *Tree) Lost(p dfs.Path, err error) {
	t.Book.Violation("acknowledged", "client %d: %s was acknowledged and is lost: %v", t.Who, p, err)
}

// Returned judges a status of a path at which there is nothing.
func (t *Tree) Returned(p dfs.Path, s *dfs.FileStatus) {
	t.Book.Violation("acknowledged", "client %d: %s was removed and is there: %v, %d bytes, version %d", t.Who, p, s.Type, s.Length, s.Version)
}

// Saw judges the status of a known file.
func (t *Tree) Saw(p dfs.Path, s *dfs.FileStatus) {
	f := t.files[p]
	switch {
	case s.IsDir() || !s.Completed:
		t.Book.Violation("acknowledged", "client %d: %s is a complete file, and its status says otherwise: %v, completed %v", t.Who, p, s.Type, s.Completed)
	case s.Length != f.Size:
		t.Book.Violation("acknowledged", "client %d: %s has %d bytes, %d were written", t.Who, p, s.Length, f.Size)
	case f.Mode != 0 && s.Mode != f.Mode:
		t.Book.Violation("acknowledged", "client %d: %s has mode %o, %o was set", t.Who, p, s.Mode, f.Mode)
	case string(s.Xattr[AttributeName]) != f.Attribute:
		t.Book.Violation("acknowledged", "client %d: %s has attribute %q, %q was set", t.Who, p, s.Xattr[AttributeName], f.Attribute)
	}
	Versions{t.Book}.Saw(t.Who, p, &f.Count, s.Version)
}

// AttributeName is the extended attribute of File.Attribute.
const AttributeName = "user.oracle"

// Listed judges a whole listing of a directory: it holds what is known to be in it, and otherwise only what is in doubt.
func (t *Tree) Listed(dir dfs.Path, names []string) {
	want := t.in(dir)
	for _, name := range names {
		p := dir.Join(name)
		if _, known := want[p]; known {
			delete(want, p)
		} else if !t.Doubtful(p) {
			t.Book.Violation("acknowledged", "client %d: the listing of %s has %s, which is not there", t.Who, dir, name)
		}
	}
	for _, p := range slices.Sorted(maps.Keys(want)) {
		t.Book.Violation("acknowledged", "client %d: the listing of %s lacks %s among %d entries", t.Who, dir, p.Name(), len(names))
	}
}

// in is what is known to be directly in dir.
func (t *Tree) in(dir dfs.Path) map[dfs.Path]bool {
	all := map[dfs.Path]bool{}
	for _, p := range t.order {
		if p.Parent() == dir {
			all[p] = true
		}
	}
	for _, d := range t.dirs {
		if d.Parent() == dir {
			all[d] = true
		}
	}
	return all
}

// MayBeLost tells whether the only copies of a file may have gone with workers' disks, of which wipes were lost by now.
func (f *File) MayBeLost(wipes int) bool {
	return !f.Through() && wipes-f.Wipes >= max(f.Copies, 1)
}

// Through tells whether the under store had a file when its write was acknowledged.
func (f *File) Through() bool {
	return f.WriteType == dfs.WriteThrough || f.WriteType == dfs.WriteCacheThrough
}

// Settled judges a doubt when nothing changes any more: found is what is there, by what each state would have, nil for what
// is not. The states are compared by presence and content; nothing in between is right.
func (t *Tree) Settled(d Doubt, found func(dfs.Path, *File) bool) {
	if d.Tree {
		return
	}
	for _, s := range d.May {
		holds := true
		for _, p := range slices.Sorted(maps.Keys(s)) {
			holds = holds && found(p, s[p])
		}
		if holds {
			return
		}
	}
	t.Book.Violation("acknowledged", "client %d: %s of %v had an open outcome, and what is there is neither as before nor as after", t.Who, d.What, slices.Sorted(maps.Keys(d.May[0])))
}
