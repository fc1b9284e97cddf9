package namespace

import (
	"github.com/cespare/xxhash/v2"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
)

// Bounds of what is remembered of directories' names.
const (
	maxNames          = 4 << 20 // hashes in all; beyond it everything is forgotten and learnt anew
	learnAfterMisses  = 128     // lookups in vain before a directory's names are read
	maxLearnedEntries = 20_000  // a directory with more is left to the store's filters
	dirWeight         = 8       // what an empty set costs, in hashes
)

// absence answers the question that every create asks, whether a name is free, without asking the store: a random read
// there costs more than all the rest of a create (61–76 thousand creates a second against 283–559 thousand without). It
// holds hashes of all names of a directory, for directories made in this leadership and for those that were asked often.
// It errs on one side only: what it calls absent is absent. The leader alone changes the tree, so nothing comes in
// unseen. Evaluator.mu guards it.
type absence struct {
	dirs  map[dfs.InodeID]*nameSet
	total int // hashes, and dirWeight for each directory: a million directories with no name are not free either
}

// nameSet is the hashes of a directory's names; nil hashes while the names are not known.
// Names that go are not taken out: their hashes then cost a lookup, and never an answer that is wrong.
type nameSet struct {
	hashes map[uint64]struct{}
	misses int
	refuse bool // too large to learn
}

func newAbsence() *absence { return &absence{dirs: map[dfs.InodeID]*nameSet{}} }

// made notes a directory that is empty since it is new.
func (a *absence) made(dir dfs.InodeID) { a.add(dir, &nameSet{hashes: map[uint64]struct{}{}}) }

// add counts a directory in; at the bound everything is forgotten, which costs lookups and no truth.
func (a *absence) add(dir dfs.InodeID, s *nameSet) {
	if a.total+dirWeight > maxNames {
		*a = *newAbsence()
	}
	a.drop(dir)
	a.dirs[dir] = s
	a.total += dirWeight
}

// put notes a name.
func (a *absence) put(dir dfs.InodeID, name string) {
	s := a.dirs[dir]
	if s == nil || s.hashes == nil {
		return
	}
	before := len(s.hashes)
	s.hashes[xxhash.Sum64String(name)] = struct{}{}
	a.total += len(s.hashes) - before
	if a.total > maxNames {
		*a = *newAbsence()
	}
}

// drop forgets a directory that was removed.
func (a *absence) drop(dir dfs.InodeID) {
	if s := a.dirs[dir]; s != nil {
		a.total -= len(s.hashes) + dirWeight
		delete(a.dirs, dir)
	}
}

// absent tells that a directory surely has no such name.
func (a *absence) absent(dir dfs.InodeID, name string) bool {
	s := a.dirs[dir]
	if s == nil || s.hashes == nil {
		return false
	}
	_, may := s.hashes[xxhash.Sum64String(name)]
	return !may
}

// missed notes that the store was asked in vain, and learns the names of a directory where that happens often. pending
// holds names that are proposed and not in the store yet. A directory that is too large to learn is left to the store
// for good. The bound on the total is kept by the next add or put.
func (a *absence) missed(base inodestore.Reader, dir dfs.InodeID, pending map[string]pendingInode) error {
	s := a.dirs[dir]
	if s == nil {
		s = &nameSet{}
		a.add(dir, s)
	}
	if s.misses++; s.misses < learnAfterMisses || s.refuse || s.hashes != nil {
		return nil
	}
	hashes := make(map[uint64]struct{})
	err := base.List(dir, "", func(n *inodestore.Inode) bool {
		hashes[xxhash.Sum64String(n.Name)] = struct{}{}
		return len(hashes) <= maxLearnedEntries
	})
	if err != nil {
		return err
	}
	if len(hashes) > maxLearnedEntries {
		s.refuse = true
		return nil
	}
	for name, p := range pending {
		if p.inode != nil {
			hashes[xxhash.Sum64String(name)] = struct{}{}
		}
	}
	s.hashes = hashes
	a.total += len(hashes)
	return nil
}
