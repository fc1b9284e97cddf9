package metasync

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/ufs"
)

// emptyGone takes out of a known directory what the store had in it, depth first and in bounded steps, when the store no
// longer has the directory. Only then may the directory itself go: what is left in it waits to be persisted, or belongs
// to another mount, and must not be dropped with it (contract C3).
// now is what the store has at p by now: the zero entry for nothing. It goes as deep as the tree, holding one page for
// each level. The claim on an ancestor of p keeps others off all of it. Run again after a failure, it goes on with
// what is left.
func (s *Syncer) emptyGone(ctx context.Context, claim *namespace.Claim, p dfs.Path, n *inodestore.Inode, now ufs.Entry) error {
	if n == nil || !n.IsDir() || now.Dir || n.MountID != 0 || n.Persist != dfs.Persisted {
		return nil
	}
	for after, more := "", true; more; {
		var gone []namespace.SyncEntry
		page, err := s.page(n.ID, after)
		if err != nil {
			return err
		}
		for _, child := range page {
			after = child.Name
			if err := s.emptyGone(ctx, claim, p.Join(child.Name), child, ufs.Entry{}); err != nil {
				return err
			}
			gone = append(gone, namespace.SyncEntry{Entry: ufs.Entry{Name: child.Name}, Gone: true})
		}
		if more = len(page) == batchEntries; len(gone) == 0 {
			return nil
		}
		if _, err := s.e.SyncChildren(ctx, claim, p, gone, false, s.onRemoved); err != nil {
			return err
		}
	}
	return nil
}

// page lists known children of a directory, at most batchEntries.
// A page shorter than batchEntries is the last.
func (s *Syncer) page(dir dfs.InodeID, after string) (page []*inodestore.Inode, err error) {
	err = s.m.View(func(r inodestore.Reader) error {
		return r.List(dir, after, func(child *inodestore.Inode) bool {
			page = append(page, child)
			return len(page) < batchEntries
		})
	})
	return page, err
}
