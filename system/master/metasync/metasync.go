// Package metasync keeps the namespace in line with the under stores: it loads what was not seen before and compares
// again what was seen longer ago than its mount's sync interval. It decides when to look and asks the store; what a
// difference means is decided by the namespace's Evaluator, under a claim that keeps other under-store operations off
// the directory meanwhile. The master is its caller.
//
// A look goes like this. Path asks the store about one path and Children lists one directory; callers who want the
// same at the same time share one look (once). The look takes a claim, asks, and hands what it saw to the evaluator in
// batches, each one entry of the journal. What is written through Forebay meanwhile waits for the claim, so a listing
// can never call gone what was made while it ran.
//
// Errors are the store's, with their kinds, and leave what is known as it is; the caller decides whether that may be
// served. A look that failed is not remembered, so that the next caller tries again. The end of a caller's context
// ends its look between two entries; whoever shared it looks again by itself.
package metasync

import (
	"context"
	"sync"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/mounttable"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/ufs"
)

// Bounds.
const (
	batchEntries   = 1000    // children compared in one journal entry
	maxConcurrent  = 16      // syncs under way
	maxRememberedN = 500_000 // paths whose last sync is remembered; forgotten ones are due again
)

// Never, as an interval, means: load once and do not look again.
const Never time.Duration = -1

// Syncer serves one leadership.
//
// INV-1: the store is asked and its answer is logged under one claim, so no under-store operation of ours comes between;
// what changes the store behind our back comes before or after the look, and is seen by the next.
// INV-2: a child is called gone only by a listing that went past its name, or a look at itself. A listing that fails in
// the middle leaves what lies beyond alone, and the directory not marked as loaded.
// INV-3: a directory that the store lost is emptied from below first; what only Forebay has stays, with the way to it.
// INV-4: memory is bounded by a page (batchEntries) for each of maxConcurrent syncs, and one for each level when a lost
// directory is emptied; a directory of millions
// passes through in steps of as many journal entries. A leader that dies between steps leaves a directory half compared,
// which is true as far as it goes, and not marked as loaded.
type Syncer struct {
	h         host.Host
	m         *namespace.Machine
	e         *namespace.Evaluator
	open      func(context.Context, *mounttable.Mount) (ufs.Store, error)
	onRemoved namespace.Removed
	slots     *host.Semaphore

	mu      sync.Mutex
	synced  map[target]time.Time
	flights map[target]*flight
}

// New makes a syncer. open gives the store of a mount; onRemoved is told of files that vanished.
func New(h host.Host, m *namespace.Machine, e *namespace.Evaluator,
	open func(context.Context, *mounttable.Mount) (ufs.Store, error), onRemoved namespace.Removed) *Syncer {
	return &Syncer{h: h, m: m, e: e, open: open, onRemoved: onRemoved, slots: host.NewSemaphore(h, maxConcurrent),
		synced: map[target]time.Time{}, flights: map[target]*flight{}}
}

// Due tells whether p (or its children) should be compared again before it is served, although it is known.
func (s *Syncer) Due(p dfs.Path, children bool, interval time.Duration) bool {
	if interval < 0 {
		return false
	}
	if interval == 0 {
		return true
	}
	s.mu.Lock()
	at, ok := s.synced[target{p, children}]
	if !ok && !children { // listing the parent looked at p too
		at, ok = s.synced[target{p.Parent(), true}]
	}
	s.mu.Unlock()
	since := s.h.Now().Sub(at)
	return !ok || since >= interval || since < 0 // a clock that was set back must not put the next look off for long
}

// Path loads or compares one path. A path that its store does not have is no error. An unknown directory on the way is
// found with it. The errors are the store's and ctx's.
func (s *Syncer) Path(ctx context.Context, p dfs.Path) error {
	return s.once(ctx, target{p, false}, false, s.syncPath)
}

// Children loads or compares the direct children of a directory. A directory that the store has lost is settled from
// its parent, and is no error; the root of a mount that is missing is one (UnderStore), and nothing is forgotten for
// it: a disk that is not mounted looks like that.
func (s *Syncer) Children(ctx context.Context, p dfs.Path) error {
	return s.once(ctx, target{p, true}, false, s.syncChildren)
}

// Fresh is Path or Children for a caller who is promised the store as it is no earlier than this call (interval 0).
func (s *Syncer) Fresh(ctx context.Context, p dfs.Path, children bool) error {
	work := s.syncPath
	if children {
		work = s.syncChildren
	}
	return s.once(ctx, target{p, children}, true, work)
}

// syncPath looks at one path, and when the namespace cannot place the answer, at its parent, up to the root of the
// mount. Each step has its own claim, which is given back before the next: claims on a path and its parent at once
// would stand in each other's way.
func (s *Syncer) syncPath(ctx context.Context, p dfs.Path) error {
	mount, rel := s.m.Mounts().Resolve(p)
	if mount == nil || rel == "" || ufs.IsStaged(rel) {
		return nil
	}
	store, err := s.open(ctx, mount)
	if err != nil {
		return err
	}
	claim, err := s.e.Claim(ctx, p)
	if err != nil {
		return err
	}
	known, err := s.syncClaimed(ctx, claim, store, p, rel)
	claim.Release()
	if err != nil || known {
		return err
	}
	blocked := s.blocked(p)
	if err := s.syncPath(ctx, p.Parent()); err != nil { // perhaps the directory on the way is new too
		return err
	}
	if blocked && !s.blocked(p) {
		return s.syncPath(ctx, p) // what was a file on the way is a directory now
	}
	return nil
}

// blocked tells whether the namespace has a file on the way to p.
func (s *Syncer) blocked(p dfs.Path) bool {
	_, _, _, err := s.m.Peek(p)
	return dfs.IsKind(err, dfs.NotDirectory)
}

// isFile tells whether the namespace has a file at p or on the way to it.
func (s *Syncer) isFile(p dfs.Path) bool {
	n, _, _, err := s.m.Peek(p)
	return n != nil && !n.IsDir() || dfs.IsKind(err, dfs.NotDirectory)
}

// syncClaimed returns false when p is absent from the store and its parent is unknown here.
func (s *Syncer) syncClaimed(ctx context.Context, claim *namespace.Claim, store ufs.Store, p dfs.Path, rel string) (bool, error) {
	entry, err := store.Stat(ctx, rel)
	gone := dfs.IsKind(err, dfs.NotFound) || dfs.IsKind(err, dfs.NotDirectory)
	if err != nil && !gone {
		return true, dfs.Wrap(err, "look up in the under store", string(p))
	}
	n, _, missing, err := s.m.Peek(p)
	if dfs.IsKind(err, dfs.NotDirectory) {
		return false, nil // the namespace has a file on the way: its own sync says whether it still is one
	}
	if err != nil {
		return true, err
	}
	if gone && n == nil {
		return missing <= 1, nil
	}
	entry.Name = p.Name()
	if err := s.emptyGone(ctx, claim, p, n, entry); err != nil {
		return true, err
	}
	_, err = s.e.SyncChildren(ctx, claim, p.Parent(), []namespace.SyncEntry{{Entry: entry, Gone: gone}}, false, s.onRemoved)
	return true, err
}

// syncChildren compares the entries of a directory with a listing. Where the namespace has a file, that is looked at
// first: a listing cannot say what became of it.
func (s *Syncer) syncChildren(ctx context.Context, dir dfs.Path) error {
	mount, rel := s.m.Mounts().Resolve(dir)
	if mount == nil {
		return nil
	}
	store, err := s.open(ctx, mount)
	if err != nil {
		return err
	}
	if s.isFile(dir) { // a file here or on the way: first see what is there now
		if err := s.syncPath(ctx, dir); err != nil || s.isFile(dir) {
			return err
		}
	}
	claim, err := s.e.Claim(ctx, dir)
	if err != nil {
		return err
	}
	gone, err := s.listClaimed(ctx, claim, store, dir, rel)
	claim.Release()
	if err != nil || !gone {
		return err
	}
	if rel == "" {
		return dfs.Errorf(dfs.UnderStore, "list the under store", string(dir),
			"the root of the mount at %s is missing in its store: is its disk mounted? What is known is kept", mount.Path)
	}
	return s.syncPath(ctx, dir)
}
