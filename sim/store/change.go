package store

import (
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/ufs"
)

// set puts a node at a path whose parent is there, and keeps the parent (INV-1).
func (t *tree) set(path string, n *node) {
	if path == "" {
		t.root = n
		return
	}
	dir, name := ufs.Split(path)
	if dir != "" {
		parentDir, parentName := ufs.Split(dir)
		if _, kept := t.nodes.Get(key(parentDir, parentName)); !kept {
			t.set(dir, t.get(dir))
		}
	}
	t.nodes.Set(key(dir, name), n)
}

// detach takes a node off its path: what was declared there must be said to be gone.
func (t *tree) detach(path string) {
	dir, name := ufs.Split(path)
	if parent := t.get(dir); parent.below.child(name) != nil {
		t.set(path, &node{gone: true})
		return
	}
	t.nodes.Delete(key(dir, name))
}

// forget drops what is said to be gone below an empty directory (INV-2).
func (t *tree) forget(dir string) {
	var names []string
	t.stored(dir, "", func(name string, _ *node) bool { names = append(names, name); return true })
	for _, name := range names {
		t.nodes.Delete(key(dir, name))
	}
}

// mkdir makes path and its parents, all with the same mode.
func (t *tree) mkdir(op, path string, mode uint32, now time.Time) error {
	n, err := t.lookup(op, path)
	switch {
	case err == nil && n.dir:
		return nil
	case err == nil:
		return dfs.Errorf(dfs.NotDirectory, op, path, "a file of that name exists")
	case !dfs.IsKind(err, dfs.NotFound):
		return err
	}
	parent, _ := ufs.Split(path)
	if err := t.mkdir(op, parent, mode, now); err != nil {
		return err
	}
	t.set(path, &node{dir: true, mode: mode & 0o7777, modTime: now})
	return nil
}

// put makes a file, or gives it another content.
func (t *tree) put(op, path string, n *node) error {
	if old := t.get(path); old != nil && old.dir {
		return dfs.Errorf(dfs.IsDirectory, op, path, "a directory has that name")
	}
	parent, _ := ufs.Split(path)
	if err := t.mkdir(op, parent, 0o755, n.modTime); err != nil {
		return err
	}
	t.version++
	n.print = t.version
	t.set(path, n)
	return nil
}

// canCreate tells whether a file can be written at path.
func (t *tree) canCreate(path string) error {
	if path == "" {
		return dfs.Errorf(dfs.IsDirectory, "create", path, "give a name below the root")
	}
	if err := ufs.CheckPath("create", path); err != nil {
		return err
	}
	n, err := t.lookup("create", path)
	if err != nil && !dfs.IsKind(err, dfs.NotFound) {
		return err
	}
	if n != nil && n.dir {
		return dfs.Errorf(dfs.IsDirectory, "create", path, "a directory has that name")
	}
	return nil
}

// remove removes a file or an empty directory.
func (t *tree) remove(path string) error {
	n, err := t.lookup("remove", path)
	switch {
	case err != nil:
		return err
	case path == "":
		return dfs.Errorf(dfs.InvalidArgument, "remove", path, "the root stays: unmount the store instead")
	case n.dir && !t.isEmpty(n, path):
		return dfs.Errorf(dfs.NotEmpty, "remove", path, "remove what it holds first")
	}
	if n.dir {
		t.forget(path)
	}
	t.detach(path)
	return nil
}

// rename is one step: nobody sees half of it. A directory of a dataset takes its files along at no cost, under their old
// contents.
func (t *tree) rename(from, to string, now time.Time) error {
	if err := ufs.CheckRename(from, to); err != nil {
		return err
	}
	n, err := t.lookup("rename", from)
	if err != nil || from == to {
		return err
	}
	target, err := t.lookup("rename", to)
	if err != nil && !dfs.IsKind(err, dfs.NotFound) {
		return err
	}
	if target != nil {
		if err := ufs.CheckReplace(n.dir, target.dir, target.dir && !t.isEmpty(target, to), to); err != nil {
			return err
		}
		t.forget(to)
	}
	parent, _ := ufs.Split(to)
	if err := t.mkdir("rename", parent, 0o755, now); err != nil {
		return err
	}
	t.detach(from)
	t.set(to, n)
	if n.dir {
		t.move(from, to)
	}
	return nil
}

// move changes the path of all that lies in the map below from, gone nodes included: they hide what moves along.
func (t *tree) move(from, to string) {
	type child struct {
		name string
		n    *node
	}
	var all []child
	t.stored(from, "", func(name string, n *node) bool { all = append(all, child{name, n}); return true })
	for _, c := range all {
		t.nodes.Delete(key(from, c.name))
		t.nodes.Set(key(to, c.name), c.n)
		if c.n.dir {
			t.move(ufs.Join(from, c.name), ufs.Join(to, c.name))
		}
	}
}
