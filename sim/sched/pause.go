package sched

// A paused group's tasks do not go on: what would wake them, and the timers of their contexts, is held until Resume, as a
// process has it that is stopped for a while (SIGSTOP, a long collection, a machine that is moved). What the rest of the
// world does to the group goes on meanwhile: events are set, contexts are cancelled, messages arrive and start tasks, which
// is all seen on Resume.
//
// Left out: a context that others end while the group is paused runs its callbacks (OnDone) at once.

// Pause stops the group until Resume. The running task is not stopped before its next wait. Pausing what is paused or
// dead does nothing.
func (g *Group) Pause() { g.paused = !g.dead }

// Resumes counts the calls of Resume, which tells one pause from the next.
func (g *Group) Resumes() int { return g.resumes }

// Paused tells whether the group is.
func (g *Group) Paused() bool { return g.paused }

// Resume lets the group go on. All that was held happens now, in the order that the seed gives: a process that wakes up late
// knows no order of what it missed.
func (g *Group) Resume() {
	held := g.held
	g.paused, g.held = false, nil
	g.resumes++
	for _, e := range held {
		if !e.stale() {
			g.s.push(event{at: g.s.local(), timer: e.timer, task: e.task, turn: e.turn})
		} else if e.timer != nil {
			g.s.events.stale = max(g.s.events.stale-1, 0) // it was counted when it was stopped, and is on no heap
		}
	}
}

// hold keeps an event that came up while its group is paused, and tells whether it did.
func (s *Scheduler) hold(e event) bool {
	g := e.group()
	if g == nil || !g.paused {
		return false
	}
	if e.sleep {
		e.task.sleeping = false
	}
	s.now = max(s.now, e.at)
	g.held = append(g.held, e)
	return true
}

// group is whose event it is; nil when it is nobody's.
func (e *event) group() *Group {
	if e.timer != nil {
		return e.timer.group
	}
	return e.task.group
}

// owner is the group of the running task; nil between tasks.
func (s *Scheduler) owner() *Group {
	if s.current == nil {
		return nil
	}
	return s.current.group
}

// holds tells whether anything waits for a Resume.
func (s *Scheduler) holds() bool {
	for _, g := range s.groups {
		if len(g.held) > 0 {
			return true
		}
	}
	return false
}
