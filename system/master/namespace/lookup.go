package namespace

import (
	"strings"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
)

// tree is what a lookup walks: the applied state, or the overlay.
type tree interface {
	Child(parent dfs.InodeID, name string) (*inodestore.Inode, error)
}

// found is the outcome of walking a path.
type found struct {
	parent *inodestore.Inode // nil for the root
	inode  *inodestore.Inode // nil when it does not exist
	// deepest is the last directory that exists on the way; missing counts the components below it.
	deepest *inodestore.Inode
	missing int
}

// lookup walks p. A missing component is not an error; a file on the way is, and so is a directory that r may not search.
// It allocates nothing but the error. Each component costs one Child, so a path within MaxPathBytes bounds it. Search
// permission is asked of every directory on the way and not of the last entry, as in path_resolution(7); once a
// component is missing no more permissions are asked.
func lookup(t tree, r *Request, p dfs.Path) (found, error) {
	root, err := t.Child(0, "")
	if err != nil {
		return found{}, err
	}
	if root == nil {
		return found{}, dfs.Errorf(dfs.Unavailable, "look up", string(p), "the namespace has no root yet: retry in a moment")
	}
	f := found{inode: root, deepest: root}
	rest := string(p)
	for rest != "" && rest != "/" {
		rest = rest[1:]
		name := rest
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			name, rest = rest[:i], rest[i:]
		} else {
			rest = ""
		}
		if f.inode == nil {
			f.missing++
			f.parent = nil
			continue
		}
		if !f.inode.IsDir() {
			return f, dfs.Errorf(dfs.NotDirectory, "look up", string(p), "%q on the way is a file", f.inode.Name)
		}
		if !allowed(r, f.inode, permExecute) {
			return f, dfs.Errorf(dfs.PermissionDenied, "look up", string(p), "user %q may not search directory %q (mode %04o, owner %s:%s)",
				r.Identity.User, nameOf(f.inode), f.inode.Mode, f.inode.Owner, f.inode.Group)
		}
		f.parent, f.deepest = f.inode, f.inode
		if f.inode, err = t.Child(f.parent.ID, name); err != nil {
			return f, dfs.Wrap(err, "look up", string(p))
		}
		if f.inode == nil {
			f.missing = 1
		}
	}
	return f, nil
}

// nameOf is a directory's name in messages; the root has none of its own.
func nameOf(n *inodestore.Inode) string {
	if n.ID == dfs.RootID {
		return "/"
	}
	return n.Name
}

// mustExist turns a missing inode into NotFound. The error names the first directory that is missing, since that is
// what a person has to make.
// It must not be called after an error of lookup, whose result is not whole.
func (f *found) mustExist(op string, p dfs.Path) error {
	if f.inode != nil {
		return nil
	}
	if f.missing > 1 {
		return dfs.Errorf(dfs.NotFound, op, string(p), "directory %q does not exist", ancestor(p, f.missing-1))
	}
	return dfs.Errorf(dfs.NotFound, op, string(p), "no such file or directory")
}

// ancestor is the path so many levels above p.
func ancestor(p dfs.Path, levels int) dfs.Path {
	for range levels {
		p = p.Parent()
	}
	return p
}
