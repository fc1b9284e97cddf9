// Package store is the under store of a simulated cluster: one set of files that all nodes see, each through a handle of its
// own that implements ufs.Store and waits in that node's virtual time. It owns the files, the model of the store's speed and
// limits, and what is wrong with it at present; it never retries, which is for production's wrappers around a handle.
// Package cluster wires it; scenarios fill it, switch its troubles, and read its counts.
//
// # Contents
//
// Files that are there before the run are declared (Declare) and cost no memory, however many: names, sizes and bytes are
// computed when somebody asks. Put makes one such file, or changes one behind Forebay's back. What clients write is kept,
// unless its bytes follow from package content's function: then the store keeps eight of them.
//
// # The life of a request
//
// A request is admitted or refused when it arrives: by an outage, by the limits, by chance. A refusal is dfs.Unavailable, which
// ufs.Retry knows, and comes after a latency. What is admitted is done at the end of its latency when it only looks, and in
// the middle when it changes something: a caller that gives up or dies in between does not know whether it was done. Streams wait for each piece of their bytes, at
// the stream's rate, in the queue of the whole store, and in that of the node's network card.
//
// All randomness is the store's own stream, so that what a node does elsewhere changes nothing here. Nothing in this package
// waits but in a handle, and it is used by the tasks and timers of one scheduler: there is no lock.
package store

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/forebay/forebay/sim/sched"
	"github.com/forebay/forebay/sim/store/content"
	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/ufs"
)

// Store is one under store. Its own methods of ufs.Store are its owner's, who works at the store itself: they take no time, are
// neither counted nor refused, and may be called outside of tasks too.
type Store struct {
	ufs.Store
	w       *world.World
	name    string // of its node: cuts of the network name it
	files   tree
	model   Model
	trouble Trouble
	rng     *rand.Rand
	counts  Counts

	free   int64   // when the last byte that was asked for will have passed
	ends   []int64 // of requests under way, when there is a limit of them
	tokens float64 // requests that may come now
	filled int64   // when tokens were reckoned
}

// Counts is what a store was asked so far, by all nodes.
type Counts struct {
	Requests, Throttled, Errors uint64 // Errors are those of outages and chance
	ReadBytes, WrittenBytes     uint64
}

// New makes an empty store, on a node of its own called name: a network cut between that node and another keeps the other from
// the store. A model that cannot be is an error.
func New(w *world.World, name string, m Model) (*Store, error) {
	if err := m.Check(); err != nil {
		return nil, fmt.Errorf("under store %s: %w", name, err)
	}
	w.NewNode(name, world.NodeConfig{})
	s := &Store{w: w, name: name, files: newTree(), model: m, rng: w.Stream("under store " + name), tokens: m.RequestRate}
	s.Store = &handle{s: s}
	return s, nil
}

// Declare puts a dataset into the store, whose directory may hold nothing yet. It takes no time, and may be called at any.
func (s *Store) Declare(d Dataset) error {
	set, err := d.check()
	if err != nil {
		return err
	}
	if n := s.files.get(set.parent); n != nil && !s.files.isEmpty(n, set.parent) {
		return fmt.Errorf("dataset at %q: %q is not empty; declare into a directory of its own", d.Dir, set.parent)
	}
	if err := s.files.mkdir("declare", set.parent, 0o755, before); err != nil {
		return err
	}
	n := *s.files.get(set.parent)
	n.below = set.top()
	s.files.forget(set.parent)
	s.files.set(set.parent, &n)
	return nil
}

// Put makes a file of size bytes of a content, or replaces one: behind Forebay's back, at no cost of time or memory.
func (s *Store) Put(path string, id content.ID, size int64) error {
	if err := s.files.canCreate(path); err != nil {
		return err
	}
	return s.files.put("put", path, &node{id: id, size: size, mode: 0o644, modTime: s.clock()})
}

// Look tells about one path, for those who have no context.
func (s *Store) Look(path string) (ufs.Entry, error) {
	n, err := s.files.lookup("look at", path)
	if err != nil {
		return ufs.Entry{}, err
	}
	_, name := ufs.Split(path)
	return n.entry(name), nil
}

// Set makes t the store's trouble from now on; the zero Trouble ends it.
func (s *Store) Set(t Trouble) error {
	if err := t.Check(); err != nil {
		return fmt.Errorf("trouble of the under store: %w", err)
	}
	s.trouble = t
	return nil
}

// Counts tells what was asked so far.
func (s *Store) Counts() Counts { return s.counts }

// On is the store as a node sees it, without wrappers. Nodes may have several; they share everything.
func (s *Store) On(n *world.Node) ufs.Store { return &handle{s: s, n: n} }

func (s *Store) clock() time.Time { return time.Unix(sched.Epoch, 0).Add(s.w.Sched.Elapsed()) }

// admit tells how long a request takes to the store and back, whether its answer will be lost, and what it is refused for.
// What only looks is done at the end of its time, since until then its answer may change. The same chances are drawn at
// each request, also when rates are zero: one that is switched on does not shift the latencies.
func (s *Store) admit(kind Request, path string) (there, back time.Duration, lost bool, err error) {
	s.counts.Requests++
	z, chance, reply := s.rng.NormFloat64(), s.rng.Float64(), s.rng.Float64()
	now := int64(s.w.Sched.Elapsed())
	switch {
	case s.trouble.Down:
		s.counts.Errors++
		err = dfs.Errorf(dfs.Unavailable, kind.String(), path, "the store is down: wait until it is back")
	case !s.room(now):
		s.counts.Throttled++
		err = dfs.Errorf(dfs.Unavailable, kind.String(), path, "the store is asked too much: reduce the rate of requests")
		kind = Stat // it is not looked at for longer
	case chance < s.model.ErrorRate+s.trouble.Errors:
		s.counts.Errors++
		err = dfs.Errorf(dfs.Unavailable, kind.String(), path, "the store had an internal error: try again")
	}
	d := time.Duration(float64(s.model.Latency[kind].at(z)) * s.trouble.slow())
	if err == nil {
		s.busy(now + int64(d))
	}
	if !kind.changes() {
		return d, 0, false, err
	}
	return d / 2, d - d/2, reply < s.model.LostReplies, err
}

// room takes a request's place among those of this moment and this second, if there is one.
func (s *Store) room(now int64) bool {
	left := s.trouble.capacity()
	if limit := int(float64(s.model.Requests) * left); s.model.Requests > 0 && len(s.ends) >= limit {
		s.prune(now)
		if len(s.ends) >= limit {
			return false
		}
	}
	if rate := s.model.RequestRate * left; rate > 0 {
		s.tokens = min(s.tokens+rate*float64(max(now-s.filled, 0))/1e9, rate)
		s.filled = max(s.filled, now)
		if s.tokens < 1 {
			return false
		}
		s.tokens--
	}
	return true
}

// busy counts a request, or the piece of a stream, among those under way until end. An end is a time and no call, since the task
// that waits for it may die.
func (s *Store) busy(end int64) {
	if s.model.Requests <= 0 {
		return
	}
	if len(s.ends) >= 2*s.model.Requests {
		s.prune(int64(s.w.Sched.Elapsed()))
	}
	s.ends = append(s.ends, end)
}

func (s *Store) prune(now int64) {
	kept := s.ends[:0]
	for _, end := range s.ends {
		if end > now {
			kept = append(kept, end)
		}
	}
	s.ends = kept
}

// transfer tells how long a piece of a stream takes to or from a node.
func (s *Store) transfer(n *world.Node, size int, to bool) time.Duration {
	now := int64(s.w.Sched.Elapsed())
	bytes, end := float64(size)*s.trouble.slow(), now
	if s.model.StreamBytes > 0 {
		end += int64(bytes / s.model.StreamBytes * 1e9)
	}
	if s.model.TotalBytes > 0 {
		s.free = max(s.free, now) + int64(bytes/s.model.TotalBytes*1e9)
		end = max(end, s.free)
	}
	if s.model.StreamBytes > 0 || s.model.TotalBytes > 0 {
		end = max(end, now+int64(n.Card(size, to)))
		s.busy(end)
	}
	return time.Duration(end - now)
}

// breaks tells whether a stream breaks within its next size bytes.
func (s *Store) breaks(size int) bool {
	return s.rng.Float64() < s.model.Breaks*float64(size)/(1<<20)
}
