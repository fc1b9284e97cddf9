package namespace

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/forebay/forebay/system/dfs"
)

// model is the namespace as a person would write it down: a tree of nodes, versions of files, who writes what, and the
// rules of permission. It shares no code with the package, and is the judge of it in TestModel.
type model struct {
	root   *node
	writes map[writeKey]*write
	nextID int
}

type node struct {
	id          int // the model's own; maps to the inode's
	name        string
	parent      *node
	children    map[string]*node // nil for files
	mode        uint32
	owner       string
	group       string
	version     uint32 // readable
	last        uint32
	writing     bool
	length      int64
	removedFrom bool
}

type writeKey struct {
	node    *node
	version uint32
}

type write struct{ session int }

func newModel() *model {
	return &model{root: &node{children: map[string]*node{}, mode: 0o755, owner: "root", group: "root"}, writes: map[writeKey]*write{}}
}

func (n *node) dir() bool { return n.children != nil }

func (n *node) may(user string, bits uint32) bool {
	if user == "root" {
		return true
	}
	mode := n.mode
	switch user { // every user of the test is in its own group alone
	case n.owner:
		mode >>= 6
	case n.group:
		mode >>= 3
	}
	return mode&bits == bits
}

// find walks to p. It gives the node (nil when missing), the last directory on the way, and how many names are missing.
func (m *model) find(user string, p dfs.Path) (n, last *node, missing int, kind dfs.Kind) {
	n, last = m.root, m.root
	for _, name := range p.Components() {
		switch {
		case n == nil:
			missing++
			continue
		case !n.dir():
			return nil, last, 0, dfs.NotDirectory
		case !n.may(user, 1):
			return nil, last, 0, dfs.PermissionDenied
		}
		last = n
		if n = n.children[name]; n == nil {
			missing = 1
		}
	}
	return n, last, missing, 0
}

// existing walks to p, which must be there.
func (m *model) existing(user string, p dfs.Path) (*node, dfs.Kind) {
	n, _, _, kind := m.find(user, p)
	if kind == 0 && n == nil {
		kind = dfs.NotFound
	}
	return n, kind
}

func (m *model) add(parent *node, name, user string, mode uint32, dir bool) *node {
	m.nextID++
	n := &node{id: m.nextID, name: name, parent: parent, mode: mode, owner: user, group: user}
	if dir {
		n.children = map[string]*node{}
	}
	parent.children[name] = n
	return n
}

// parents makes what is missing above p.
func (m *model) parents(user string, p dfs.Path, last *node, missing int, recursive bool) (*node, dfs.Kind) {
	if missing > 1 && !recursive {
		return nil, dfs.NotFound
	}
	if !last.may(user, 3) {
		return nil, dfs.PermissionDenied
	}
	names := p.Components()
	for _, name := range names[len(names)-missing : len(names)-1] {
		last = m.add(last, name, user, 0o755, true)
	}
	return last, 0
}

func (m *model) mkdir(user string, p dfs.Path, mode uint32, recursive bool) dfs.Kind {
	n, last, missing, kind := m.find(user, p)
	if kind != 0 {
		return kind
	}
	if n != nil {
		if n.dir() && recursive {
			return 0
		}
		return dfs.AlreadyExists
	}
	parent, kind := m.parents(user, p, last, missing, recursive)
	if kind == 0 {
		m.add(parent, p.Name(), user, mode, true)
	}
	return kind
}

func (m *model) create(user string, session int, p dfs.Path, overwrite, recursive bool) (*node, uint32, dfs.Kind) {
	if p.IsRoot() {
		return nil, 0, dfs.IsDirectory
	}
	n, last, missing, kind := m.find(user, p)
	switch {
	case kind != 0:
		return nil, 0, kind
	case n != nil && n.dir():
		return nil, 0, dfs.IsDirectory
	case n != nil && !overwrite:
		return nil, 0, dfs.AlreadyExists
	case n != nil && !n.may(user, 2):
		return nil, 0, dfs.PermissionDenied
	case n == nil:
		parent, kind := m.parents(user, p, last, missing, recursive)
		if kind != 0 {
			return nil, 0, kind
		}
		n = m.add(parent, p.Name(), user, 0o644, false)
	}
	if n.writing {
		delete(m.writes, writeKey{n, n.last})
	}
	n.last, n.writing = n.last+1, true
	m.writes[writeKey{n, n.last}] = &write{session}
	return n, n.last, 0
}

// ending finds a write that user and session may complete or abandon.
func (m *model) ending(user string, session int, n *node, version uint32) dfs.Kind {
	w := m.writes[writeKey{n, version}]
	switch {
	case w == nil:
		return dfs.Stale
	case w.session != session:
		return dfs.PermissionDenied
	case user != n.owner && !n.may(user, 2):
		return dfs.PermissionDenied
	}
	return 0
}

func (m *model) complete(user string, session int, n *node, version uint32, length int64) dfs.Kind {
	if kind := m.ending(user, session, n, version); kind != 0 {
		return kind
	}
	delete(m.writes, writeKey{n, version})
	n.version, n.length, n.writing = version, length, false
	return 0
}

func (m *model) abandon(user string, session int, n *node, version uint32) dfs.Kind {
	if kind := m.ending(user, session, n, version); kind != 0 {
		return kind
	}
	m.endWrite(n, version)
	return 0
}

func (m *model) endWrite(n *node, version uint32) {
	delete(m.writes, writeKey{n, version})
	n.writing = false
	if n.version == 0 {
		m.unlink(n)
	}
}

// unlink takes a node out. Writers below a removed directory reach their files until garbage collection has, which the
// test runs to its end after each removal.
func (m *model) unlink(n *node) {
	if n.parent.children[n.name] == n {
		delete(n.parent.children, n.name)
	}
	m.forget(n)
}

func (m *model) forget(n *node) {
	n.removedFrom = true
	delete(m.writes, writeKey{n, n.last})
	for _, child := range n.children {
		m.forget(child)
	}
}

func (m *model) mayTake(user string, n *node) bool {
	if user == "root" {
		return true
	}
	if !n.parent.may(user, 3) {
		return false
	}
	return n.parent.mode&0o1000 == 0 || user == n.owner || user == n.parent.owner
}

func (m *model) remove(user string, p dfs.Path, recursive bool) dfs.Kind {
	if p.IsRoot() {
		return dfs.InvalidArgument
	}
	n, kind := m.existing(user, p)
	switch {
	case kind != 0:
		return kind
	case !m.mayTake(user, n):
		return dfs.PermissionDenied
	case !recursive && len(n.children) > 0:
		return dfs.NotEmpty
	}
	m.unlink(n)
	return 0
}

func (m *model) rename(user string, from, to dfs.Path, noReplace bool) dfs.Kind {
	if from.IsRoot() || to.IsRoot() || from != to && from.Contains(to) {
		return dfs.InvalidArgument
	}
	n, kind := m.existing(user, from)
	switch {
	case kind != 0:
		return kind
	case !m.mayTake(user, n):
		return dfs.PermissionDenied
	}
	target, last, missing, kind := m.find(user, to)
	switch {
	case kind != 0:
		return kind
	case missing > 1:
		return dfs.NotFound
	case target == n:
		return 0
	case target == nil && !last.may(user, 3):
		return dfs.PermissionDenied
	case target != nil && noReplace:
		return dfs.AlreadyExists
	case target != nil && !m.mayTake(user, target):
		return dfs.PermissionDenied
	case target != nil && target.dir() && !n.dir():
		return dfs.IsDirectory
	case target != nil && !target.dir() && n.dir():
		return dfs.NotDirectory
	case target != nil && len(target.children) > 0:
		return dfs.NotEmpty
	}
	if target != nil {
		last = target.parent
		m.unlink(target)
	}
	delete(n.parent.children, n.name)
	n.parent, n.name = last, to.Name()
	last.children[n.name] = n
	return 0
}

func (m *model) chmod(user string, p dfs.Path, mode uint32) dfs.Kind {
	n, kind := m.existing(user, p)
	switch {
	case kind != 0:
		return kind
	case user != "root" && user != n.owner:
		return dfs.PermissionDenied
	}
	n.mode = mode
	return 0
}

func (m *model) chown(user string, p dfs.Path, owner string) dfs.Kind {
	n, kind := m.existing(user, p)
	switch {
	case kind != 0:
		return kind
	case user != "root" && (owner != n.owner || user != n.owner):
		return dfs.PermissionDenied
	}
	n.owner = owner
	return 0
}

// keep is a pin or a TTL: the right to write is enough, and a directory takes pins alone.
func (m *model) keep(user string, p dfs.Path, ttl bool) dfs.Kind {
	n, kind := m.existing(user, p)
	switch {
	case kind != 0:
		return kind
	case !n.may(user, 2):
		return dfs.PermissionDenied
	case ttl && n.dir():
		return dfs.InvalidArgument
	}
	return 0
}

// closeSession abandons what a session was writing.
func (m *model) closeSession(session int) {
	for k, w := range m.writes {
		if w.session == session && !k.node.removedFrom {
			m.endWrite(k.node, k.version)
		}
	}
}

// String is the tree, one line for each node.
func (m *model) String() string {
	var b strings.Builder
	var walk func(n *node, path string)
	walk = func(n *node, path string) {
		names := make([]string, 0, len(n.children))
		for name := range n.children {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			c := n.children[name]
			fmt.Fprintf(&b, "%s/%s dir=%v v%d/%d len=%d mode=%o %s:%s writing=%v\n", path, name, c.dir(), c.version, c.last, c.length, c.mode, c.owner, c.group, c.writing)
			walk(c, path+"/"+name)
		}
	}
	walk(m.root, "")
	return b.String()
}

// randomPath is short and of few names, so that operations meet.
func randomPath(rng *rand.Rand) dfs.Path {
	p := dfs.Root
	for range rng.IntN(4) {
		p = p.Join([]string{"a", "b", "c"}[rng.IntN(3)])
	}
	return p
}

var background = context.Background()
