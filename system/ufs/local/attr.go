package local

import (
	"context"
	"os"
	"os/user"
	"strconv"
	"sync"
	"time"

	"github.com/forebay/forebay/system/dfs"
)

// SetAttr implements ufs.AttrSetter. Owner and group are names or numbers.
// What is not given stays. The three are set one after the other, and an error says nothing of those before it: the
// caller repeats all. A mode is set as it is, past the umask; with modTime the access time is left.
func (s *Store) SetAttr(ctx context.Context, path string, mode *uint32, owner, group *string, modTime *time.Time) error {
	const op = "set attributes"
	if err := begin(ctx, op, path); err != nil {
		return err
	}
	if mode != nil {
		if err := s.root.Chmod(native(path), osMode(*mode)); err != nil {
			return convert(err, op, path)
		}
	}
	if owner != nil || group != nil {
		uid, gid, err := lookupIDs(op, path, owner, group)
		if err == nil {
			err = s.root.Chown(native(path), uid, gid)
		}
		if err != nil {
			return convert(err, op, path)
		}
	}
	if modTime != nil {
		return convert(s.root.Chtimes(native(path), time.Time{}, *modTime), op, path)
	}
	return nil
}

// lookupIDs finds the numbers of a user and a group; -1, which leaves the owner as it is, for one that is not given. A
// number is taken as it stands, known to this machine or not: on NFS it is the server's.
func lookupIDs(op, path string, owner, group *string) (uid, gid int, err error) {
	uid, gid = -1, -1
	if owner != nil {
		if uid, err = strconv.Atoi(*owner); err != nil {
			u, err := user.Lookup(*owner)
			if err != nil {
				return 0, 0, dfs.Errorf(dfs.InvalidArgument, op, path, "this machine has no user %q: give a number", *owner)
			}
			uid, _ = strconv.Atoi(u.Uid)
		}
	}
	if group != nil {
		if gid, err = strconv.Atoi(*group); err != nil {
			g, err := user.LookupGroup(*group)
			if err != nil {
				return 0, 0, dfs.Errorf(dfs.InvalidArgument, op, path, "this machine has no group %q: give a number", *group)
			}
			gid, _ = strconv.Atoi(g.Gid)
		}
	}
	return uid, gid, nil
}

// unixMode and osMode translate between the twelve bits of a Unix mode and Go's, which keeps the upper three elsewhere.
func unixMode(m os.FileMode) uint32 {
	mode := uint32(m.Perm())
	for _, bit := range []struct {
		os   os.FileMode
		unix uint32
	}{{os.ModeSetuid, 0o4000}, {os.ModeSetgid, 0o2000}, {os.ModeSticky, 0o1000}} {
		if m&bit.os != 0 {
			mode |= bit.unix
		}
	}
	return mode
}

func osMode(mode uint32) os.FileMode {
	m := os.FileMode(mode & 0o777)
	if mode&0o4000 != 0 {
		m |= os.ModeSetuid
	}
	if mode&0o2000 != 0 {
		m |= os.ModeSetgid
	}
	if mode&0o1000 != 0 {
		m |= os.ModeSticky
	}
	return m
}

// idNames remembers the names of users and groups, which cost a file read each. A machine has few; idNamesMax bounds
// what a hostile tree can make it remember.
// It is cleared when it is full rather than evicting one: names are cheap to find again. A name that changes on
// the machine is told by the old one until then.
type idNames struct {
	mu            sync.Mutex
	users, groups map[uint32]string
}

const idNamesMax = 4096

func (n *idNames) user(id uint32) string {
	return n.lookup(&n.users, id, func(s string) (string, error) {
		u, err := user.LookupId(s)
		if err != nil {
			return "", err
		}
		return u.Username, nil
	})
}

func (n *idNames) group(id uint32) string {
	return n.lookup(&n.groups, id, func(s string) (string, error) {
		g, err := user.LookupGroupId(s)
		if err != nil {
			return "", err
		}
		return g.Name, nil
	})
}

// lookup answers with the number where there is no name. The lock is held while the machine's database is asked: a
// file, in the common case, and a hundred listings that meet a new owner ask once.
func (n *idNames) lookup(names *map[uint32]string, id uint32, find func(string) (string, error)) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if name, ok := (*names)[id]; ok {
		return name
	}
	name, err := find(strconv.FormatUint(uint64(id), 10))
	if err != nil {
		name = strconv.FormatUint(uint64(id), 10)
	}
	if *names == nil || len(*names) >= idNamesMax {
		*names = map[uint32]string{}
	}
	(*names)[id] = name
	return name
}
