package metasync

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

// target is one thing to look at: a path by itself, or a directory's children.
// The two are apart, since listing a directory tells nothing of its own attributes and looking at it nothing of its
// entries.
type target struct {
	path     dfs.Path
	children bool
}

// flight is one look under way; err is valid once done.
type flight struct {
	done host.Event
	err  error
}

// once lets one of many callers for the same target do the work, and the others share its outcome. A caller whose
// leader gave up (its deadline was shorter) tries for itself. A fresh caller does not share what was under way when it
// came, which may have looked before the change that it must see; the next one serves all that waited.
func (s *Syncer) once(ctx context.Context, t target, fresh bool, work func(context.Context, dfs.Path) error) error {
	for first := true; ; first = false {
		s.mu.Lock()
		f := s.flights[t]
		if f == nil {
			f = &flight{done: s.h.NewEvent()}
			s.flights[t] = f
			s.mu.Unlock()
			f.err = s.lead(ctx, t, work)
			f.done.Set()
			return f.err
		}
		s.mu.Unlock()
		if err := f.done.Wait(ctx); err != nil {
			return err
		}
		if fresh && first {
			continue
		}
		if k := dfs.KindOf(f.err); f.err == nil || k != dfs.Canceled && k != dfs.DeadlineExceeded {
			return f.err
		}
	}
}

// lead does the work. What counts as the time of the look is its start: a change that came while it ran may be unseen.
// A failure is not remembered as a look: the next caller asks the store again. The memory of looks is bounded by
// forgetting all of them at once, which costs a look more for each path.
func (s *Syncer) lead(ctx context.Context, t target, work func(context.Context, dfs.Path) error) error {
	at := s.h.Now()
	err := s.slots.Acquire(ctx, 1)
	if err == nil {
		at = s.h.Now()
		err = work(ctx, t.path)
		s.slots.Release(1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.flights, t)
	if err == nil {
		if len(s.synced) >= maxRememberedN {
			clear(s.synced)
		}
		s.synced[t] = at
	}
	return err
}
