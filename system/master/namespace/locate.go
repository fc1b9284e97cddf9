package namespace

import (
	"strings"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
)

// recordReader reads one record: of what is applied, or of what will be.
type recordReader func(inodestore.Table, []byte) ([]byte, error)

// located finds an inode by id through its location or, when it has none, its open write; nil when it has neither.
// A location that is older than the tree gives nil too: find compares the id.
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
// found is false with an error, so that callers which look at it alone do not use a zero open write.
func openWriteOf(record recordReader, id dfs.InodeID) (open openWrite, found bool, err error) {
	value, err := record(inodestore.TableOpenWrite, idKey(uint64(id)))
	if err != nil || value == nil {
		return openWrite{}, false, err
	}
	open, err = decodeOpenWrite(value)
	return open, err == nil, err
}

// find is the inode at l, if it still is the one with this id; nil otherwise. A record can be older than the tree for
// a moment only where the tree is garbage: the entry is gone or another inode's, and nil says so.
func (l location) find(t tree, id dfs.InodeID) (*inodestore.Inode, error) {
	n, err := t.Child(l.parent, l.name)
	if err != nil || n == nil || n.ID != id {
		return nil, err
	}
	return n, nil
}

// maxTreeDepth bounds the walk to the root: a longer chain is a cycle, which no operation can make.
const maxTreeDepth = dfs.MaxPathBytes

// pathOf walks up to the root through the location records of directories. NotFound when a directory on the way was
// removed: the inode waits to be collected, and nobody can reach it by a path.
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
