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

// Permission bits, of one class.
const (
	permRead    = 4
	permWrite   = 2
	permExecute = 1
	modeSticky  = 0o1000
)

// found is the outcome of walking a path.
type found struct {
	parent *inodestore.Inode // nil for the root
	inode  *inodestore.Inode // nil when it does not exist
	// deepest is the last directory that exists on the way; missing counts the components below it.
	deepest *inodestore.Inode
	missing int
}

// lookup walks p. A missing component is not an error; a file on the way is, and so is a directory that r may not search.
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

func nameOf(n *inodestore.Inode) string {
	if n.ID == dfs.RootID {
		return "/"
	}
	return n.Name
}

// mustExist turns a missing inode into NotFound.
func (f *found) mustExist(op string, p dfs.Path) error {
	if f.inode != nil {
		return nil
	}
	if f.missing > 1 {
		return dfs.Errorf(dfs.NotFound, op, string(p), "directory %q does not exist", ancestor(p, f.missing-1))
	}
	return dfs.Errorf(dfs.NotFound, op, string(p), "no such file or directory")
}

func ancestor(p dfs.Path, levels int) dfs.Path {
	for range levels {
		p = p.Parent()
	}
	return p
}

// allowed tells whether r has permission bit want on n.
func allowed(r *Request, n *inodestore.Inode, want uint32) bool {
	if r.super() {
		return true
	}
	shift := 0
	switch {
	case r.Identity.User == n.Owner:
		shift = 6
	case r.Identity.MemberOf(n.Group):
		shift = 3
	}
	return n.Mode>>shift&want == want
}

func demand(r *Request, n *inodestore.Inode, want uint32, op string, p dfs.Path) error {
	if allowed(r, n, want) {
		return nil
	}
	words := map[uint32]string{permRead: "read", permWrite: "write to", permWrite | permExecute: "change entries of", permExecute: "search",
		permRead | permExecute: "list"}
	return dfs.Errorf(dfs.PermissionDenied, op, string(p), "user %q may not %s %q (mode %04o, owner %s:%s)",
		r.Identity.User, words[want], nameOf(n), n.Mode, n.Owner, n.Group)
}

// The rights that Demand asks for, of more than one at a time.
const (
	RightRead   = permRead
	RightWrite  = permWrite
	RightSearch = permExecute
)

// Demand refuses when r lacks the rights on n: for callers that walk the tree themselves.
func Demand(r *Request, n *inodestore.Inode, rights uint32, op string, p dfs.Path) error {
	return demand(r, n, rights, op, p)
}

// demandOwner is for what only the owner and the superuser may do.
func demandOwner(r *Request, n *inodestore.Inode, op string, p dfs.Path) error {
	if r.super() || r.Identity.User == n.Owner {
		return nil
	}
	return dfs.Errorf(dfs.PermissionDenied, op, string(p), "user %q is not its owner %q", r.Identity.User, n.Owner)
}

// demandEntry is the right to remove or rename the entry n of directory parent, the sticky bit included.
func demandEntry(r *Request, parent, n *inodestore.Inode, op string, p dfs.Path) error {
	if err := demand(r, parent, permWrite|permExecute, op, p); err != nil {
		return err
	}
	if parent.Mode&modeSticky == 0 || r.super() || r.Identity.User == n.Owner || r.Identity.User == parent.Owner {
		return nil
	}
	return dfs.Errorf(dfs.PermissionDenied, op, string(p), "its directory has the sticky bit: only the owner may remove or rename it")
}

// recordReader reads one record: of what is applied, or of what will be.
type recordReader func(inodestore.Table, []byte) ([]byte, error)

// located finds an inode by id through its location or, when it has none, its open write; nil when it has neither.
func located(t tree, record recordReader, id dfs.InodeID) (*inodestore.Inode, error) {
	value, err := record(inodestore.TableLocation, idKey(uint64(id)))
	if err != nil {
		return nil, err
	}
	if value == nil {
		open, found, err := openWriteOf(record, id)
		if err != nil || !found {
			return nil, err
		}
		return open.find(t, id)
	}
	l, err := decodeLocation(value)
	if err != nil {
		return nil, err
	}
	return l.find(t, id)
}

// openWriteOf reads the open write of an inode, if it has one.
func openWriteOf(record recordReader, id dfs.InodeID) (open openWrite, found bool, err error) {
	value, err := record(inodestore.TableOpenWrite, idKey(uint64(id)))
	if err != nil || value == nil {
		return openWrite{}, false, err
	}
	open, err = decodeOpenWrite(value)
	return open, err == nil, err
}

// find is the inode at l, if it still is the one with this id; nil otherwise.
func (l location) find(t tree, id dfs.InodeID) (*inodestore.Inode, error) {
	n, err := t.Child(l.parent, l.name)
	if err != nil || n == nil || n.ID != id {
		return nil, err
	}
	return n, nil
}

// maxTreeDepth bounds the walk to the root: a longer chain is a cycle, which no operation can make.
const maxTreeDepth = dfs.MaxPathBytes

// pathOf walks up to the root through the location records of directories.
func pathOf(t tree, record recordReader, n *inodestore.Inode) (dfs.Path, error) {
	names := []string{}
	for depth := 0; n.ID != dfs.RootID; depth++ {
		if depth > maxTreeDepth {
			panic("namespace: the tree has a cycle")
		}
		names = append(names, n.Name)
		if n.Parent == dfs.RootID {
			break
		}
		up, err := located(t, record, n.Parent)
		if err != nil {
			return "", err
		}
		if up == nil {
			return "", dfs.Errorf(dfs.NotFound, "find path", "", "inode %d lies in a directory that was removed", n.ID)
		}
		n = up
	}
	var b strings.Builder
	for i := len(names) - 1; i >= 0; i-- {
		b.WriteByte('/')
		b.WriteString(names[i])
	}
	if b.Len() == 0 {
		return dfs.Root, nil
	}
	return dfs.Path(b.String()), nil
}
