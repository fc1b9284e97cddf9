package namespace

import (
	"slices"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
)

// Due is a file whose TTL has run out.
// The inode is as it was when the list was made; acting on it takes Request.OnlyIf.
type Due struct {
	Path   dfs.Path
	Inode  *inodestore.Inode
	Action dfs.TTLAction
}

// DueTTLs lists up to limit files whose TTL has run out by now, after the one where an earlier list ended; next is nil
// when the list is at its end. Actions that fail again and again so stand in nobody's way. Read beside mutations, it
// may name files that have changed since: whoever acts asks again (Request.OnlyIf).
// Keys begin with the expiry, so the list is in the order in which TTLs ran out and ends at the first that has not.
// Records whose inode cannot be found any more are passed over; they go when their inode is collected.
func (m *Machine) DueTTLs(now time.Time, after []byte, limit int) (due []Due, next []byte, err error) {
	err = m.View(func(r inodestore.Reader) error {
		var fault error
		err := r.Records(inodestore.TableTTL, nil, after, func(key, _ []byte) bool {
			if len(due) == limit {
				next = slices.Clone(key)
			}
			if len(key) != 16 || keyID(key) > uint64(now.UnixNano()) || len(due) == limit {
				return false
			}
			n, err := located(r, r.Record, dfs.InodeID(keyID(key[8:])))
			if err != nil {
				fault = err
				return false
			}
			if n == nil {
				return true
			}
			p, err := pathOf(r, r.Record, n)
			if err == nil {
				due = append(due, Due{p, n, n.TTLAction})
			}
			return true
		})
		if err == nil {
			err = fault
		}
		return err
	})
	return due, next, err
}
