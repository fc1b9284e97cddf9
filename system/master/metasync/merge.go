package metasync

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/ufs"
)

// listClaimed compares dir's children with a listing. gone tells that the store has no such directory although it had:
// to be settled from its parent, under another claim.
// An error of the store in the middle leaves what was found before it logged, and the directory not loaded: nothing
// after the last entry that was seen is taken for gone. The claim is on dir, and the caller gives it back.
func (s *Syncer) listClaimed(ctx context.Context, claim *namespace.Claim, store ufs.Store, dir dfs.Path, rel string) (gone bool, err error) {
	m := merge{s: s, ctx: ctx, claim: claim, dir: dir}
	for entry, err := range store.List(ctx, rel, "") {
		if dfs.IsKind(err, dfs.NotFound) || dfs.IsKind(err, dfs.NotDirectory) {
			n, _, _, err := s.m.Peek(dir)
			if err != nil || rel == "" || n == nil || n.Persist == dfs.Persisted {
				return true, err
			}
			break // the directory is known only here
		}
		if err != nil {
			return false, dfs.Wrap(err, "list the under store", string(dir))
		}
		if err := m.add(entry); err != nil {
			return false, err
		}
	}
	return false, m.finish()
}

// merge walks the store's sorted children beside the namespace's, at constant memory.
// Both sides come in ascending order of names, so one page of ours and one entry of the store's are all that it holds,
// however large the directory. batch is what was found and is not logged yet.
type merge struct {
	s     *Syncer
	ctx   context.Context
	claim *namespace.Claim
	dir   dfs.Path

	ours    []*inodestore.Inode // the next page of known children
	after   string
	drained bool
	batch   []namespace.SyncEntry
}

// add takes the next entry of the store's listing, after calling gone what the namespace has before it (INV-2).
// What is emptied below a directory is logged at once, and before the batch that drops the directory itself: a crash
// between leaves an empty directory, which the next sync takes.
func (m *merge) add(entry ufs.Entry) error {
	if dfs.CheckName(entry.Name) != nil {
		return nil // a name that no path can carry
	}
	if err := m.goneBefore(entry.Name, true); err != nil {
		return err
	}
	if len(m.ours) > 0 && m.ours[0].Name == entry.Name {
		if err := m.s.emptyGone(m.ctx, m.claim, m.dir.Join(entry.Name), m.ours[0], entry); err != nil {
			return err
		}
		m.ours = m.ours[1:]
	}
	return m.push(namespace.SyncEntry{Entry: entry})
}

// goneBefore reports known children below name (all, without bounded) as gone.
func (m *merge) goneBefore(name string, bounded bool) error {
	for {
		if err := m.refill(); err != nil {
			return err
		}
		if len(m.ours) == 0 || bounded && m.ours[0].Name >= name {
			return nil
		}
		gone := namespace.SyncEntry{Entry: ufs.Entry{Name: m.ours[0].Name}, Gone: true}
		if err := m.s.emptyGone(m.ctx, m.claim, m.dir.Join(gone.Name), m.ours[0], ufs.Entry{}); err != nil {
			return err
		}
		m.ours = m.ours[1:]
		if err := m.push(gone); err != nil {
			return err
		}
	}
}

// refill takes the next page of known children when the last is used up. The claim keeps others from making and
// renaming entries meanwhile, and what this merge itself changes lies behind it.
func (m *merge) refill() error {
	if len(m.ours) > 0 || m.drained {
		return nil
	}
	n, _, _, err := m.s.m.Peek(m.dir)
	if err != nil || n == nil {
		m.drained = true
		return err
	}
	m.ours, err = m.s.page(n.ID, m.after)
	m.drained = len(m.ours) < batchEntries
	if len(m.ours) > 0 {
		m.after = m.ours[len(m.ours)-1].Name
	}
	return err
}

// push adds one finding, and logs them when there are enough for an entry.
func (m *merge) push(entry namespace.SyncEntry) error {
	m.batch = append(m.batch, entry)
	if len(m.batch) < batchEntries {
		return nil
	}
	return m.flush(false)
}

// flush logs what was found so far. loaded says that this was the last of a whole listing.
// The batch is empty afterwards also when it failed: the merge is over then.
func (m *merge) flush(loaded bool) error {
	_, err := m.s.e.SyncChildren(m.ctx, m.claim, m.dir, m.batch, loaded, m.s.onRemoved)
	m.batch = m.batch[:0]
	return err
}

// finish is for a listing that came to its end: what the namespace has beyond its last entry is gone, and the
// directory is loaded.
func (m *merge) finish() error {
	if err := m.goneBefore("", false); err != nil {
		return err
	}
	return m.flush(true)
}
