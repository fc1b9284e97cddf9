package store

import (
	"fmt"
	"strings"
	"time"

	"github.com/tidwall/btree"

	"github.com/forebay/forebay/sim/sched"
	"github.com/forebay/forebay/sim/store/content"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/ufs"
)

// tree is the names and contents, without time.
//
// What was declared (Dataset) is computed when it is asked for; what was written, moved or changed since lies over it.
// INV-1: the parent of every node in the map is the root or a directory in the map, also when it was declared: what is moved
// finds all that lies below it. INV-2: below a directory that is empty, moved away or
// removed no gone node is left: it would hide what comes there later.
type tree struct {
	// nodes are keyed by parent, NUL, name, so that a directory's children lie together in the order of their names.
	nodes   btree.Map[string, *node]
	root    *node
	version uint64 // of contents that were written; it never repeats
}

// node is a file or a directory, or says that what was declared there is gone.
type node struct {
	dir, gone    bool
	below        *level // what a dataset has in this directory
	id           content.ID
	size         int64
	data         []byte // the content, when it is not that of id; never changed
	mode         uint32
	owner, group string
	modTime      time.Time
	print        uint64
}

// before is the time of what was there before the run.
var before = time.Unix(sched.Epoch, 0).Add(-time.Hour)

func newTree() tree { return tree{root: &node{dir: true, mode: 0o755, modTime: before}} }

// key sorts a directory's children together, by name: NUL is in no name.
func key(dir, name string) string { return dir + "\x00" + name }

func (n *node) entry(name string) ufs.Entry {
	e := ufs.Entry{Name: name, Dir: n.dir, Size: n.size, ModTime: n.modTime, Mode: n.mode, Owner: n.owner, Group: n.group}
	if !n.dir {
		e.Fingerprint = n.fingerprint()
	}
	return e
}

func (n *node) fingerprint() string { return fmt.Sprintf("%x-%d", n.print, n.size) }

// fill makes the node's bytes from offset on, which are there.
func (n *node) fill(p []byte, offset int64) {
	if n.data != nil {
		copy(p, n.data[offset:])
		return
	}
	n.id.Fill(p, offset)
}

// child finds a node below dir, whose path is given.
func (t *tree) child(dir *node, path, name string) *node {
	if n, ok := t.nodes.Get(key(path, name)); ok {
		if n.gone {
			return nil
		}
		return n
	}
	return dir.below.child(name)
}

// lookup finds a node, telling a missing path from one that leads through a file.
func (t *tree) lookup(op, path string) (*node, error) {
	if err := ufs.CheckPath(op, path); err != nil {
		return nil, err
	}
	n, at := t.root, 0
	for at < len(path) {
		end := len(path)
		if i := strings.IndexByte(path[at:], '/'); i >= 0 {
			end = at + i
		}
		if !n.dir {
			return nil, dfs.Errorf(dfs.NotDirectory, op, path, "%q is a file", path[:at-1])
		}
		if n = t.child(n, path[:max(at-1, 0)], path[at:end]); n == nil {
			return nil, dfs.Errorf(dfs.NotFound, op, path, "no such path in the store")
		}
		at = end + 1
	}
	return n, nil
}

// get is lookup without a reason.
func (t *tree) get(path string) *node {
	n, err := t.lookup("look up", path)
	if err != nil {
		return nil
	}
	return n
}

// stored visits the children of dir that lie in the map, gone ones too, whose names are greater than after.
func (t *tree) stored(dir, after string, visit func(name string, n *node) bool) {
	prefix := key(dir, "")
	t.nodes.Ascend(prefix+after, func(k string, n *node) bool {
		name, ours := strings.CutPrefix(k, prefix)
		if !ours || name == after {
			return ours
		}
		return visit(name, n)
	})
}

// children visits the children of a directory whose names are greater than after, in the order of their names: what lies in
// the map hides what was declared under the same name.
func (t *tree) children(n *node, dir, after string, visit func(name string, n *node) bool) {
	l, next, more := n.below, 0, true
	if l == nil {
		l = &level{}
	} else {
		next = l.after(after)
	}
	end := l.first + l.count
	t.stored(dir, after, func(name string, c *node) bool {
		for more && next < end && l.pattern().name(next) < name {
			more = visit(l.pattern().name(next), l.node(next))
			next++
		}
		if next < end && l.pattern().name(next) == name {
			next++
		}
		if more && !c.gone {
			more = visit(name, c)
		}
		return more
	})
	for ; more && next < end; next++ {
		more = visit(l.pattern().name(next), l.node(next))
	}
}

// page copies out the next entries of a directory: a consumer may change the store between two of them.
func (t *tree) page(dir, after string, most int) ([]ufs.Entry, error) {
	n, err := t.lookup("list", dir)
	if err != nil {
		return nil, err
	}
	if !n.dir {
		return nil, dfs.Errorf(dfs.NotDirectory, "list", dir, "it is a file")
	}
	var entries []ufs.Entry
	t.children(n, dir, after, func(name string, c *node) bool {
		if ufs.ListableName(name) {
			entries = append(entries, c.entry(name))
		}
		return len(entries) < most
	})
	return entries, nil
}

func (t *tree) isEmpty(n *node, dir string) bool {
	empty := true
	t.children(n, dir, "", func(string, *node) bool { empty = false; return false })
	return empty
}
