package world

import "slices"

// Pause stops the node's process without ending it, as SIGSTOP, a long collection or the moving of a virtual machine: none of
// its tasks runs, its timers are late, and its clock goes on. The machine still takes connections and what is sent on them.
// Peers notice only what is not answered: their deadlines, and their keep-alive, which breaks connections in the end.
// Pausing a dead or paused process does nothing. It is called between tasks, or by one of another node.
func (n *Node) Pause() {
	if n.Alive() && !n.Paused() {
		n.group.Pause()
		n.w.Note(n.name, "process", "is paused")
		n.unanswered(n.group.Resumes())
	}
}

// Resume lets a paused process go on: with all that arrived meanwhile, and all timers that are late, at once.
func (n *Node) Resume() {
	if n.Paused() {
		n.w.Note(n.name, "process", "goes on")
	}
	n.group.Resume()
}

// Paused tells whether the process is.
func (n *Node) Paused() bool { return n.group.Paused() }

// unanswered breaks the connections of a process that stays paused, again and again: others may be made meanwhile.
func (n *Node) unanswered(resumes int) {
	group := n.group
	n.w.Sched.After(brokenAfter, func() {
		if !group.Paused() || group.Resumes() != resumes {
			return
		}
		for _, x := range slices.Clone(n.w.Net.sessions) {
			if (x.client == n) != (x.server.node == n) { // a process that talks to itself sleeps at both ends
				x.broke("the peer did not answer for 15 s")
			}
		}
		n.unanswered(resumes)
	})
}
