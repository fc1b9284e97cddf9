package world

import (
	"fmt"
	"strings"
	"time"
)

// Observer hears of what happens between nodes and to them, as it happens. It runs on the stack of whoever does it, and must
// neither wait nor change anything of the world, its messages included, nor keep a message: a run with an observer has the
// history of one without.
type Observer interface {
	Call(CallStep)
	// Note is told what a package says of a node: of its process here, of who leads in package simjournal.
	Note(node, kind, text string)
}

// Step is where a call is.
type Step uint8

// The steps. A call has one CallBegan and one CallEnded at its client, unless the client dies first, and one CallArrived
// and CallAnswered at its server, if it gets there and the server lives. Messages come in between, each when it is sent
// and when it is taken; those of one way that nobody takes are never CallTook.
const (
	CallBegan Step = iota
	CallSent
	CallArrived
	CallTook
	CallAnswered
	CallEnded
)

// CallStep is one step of one call.
type CallStep struct {
	Step     Step
	ID       uint64 // of the call in this world, from 1
	From, To string // the client's node and the server's
	Method   string
	AtServer bool
	Since    time.Duration // CallBegan: when the caller asked, which is before a connection was made
	Message  any           // CallSent, CallTook; CallEnded of a unary call that succeeded
	Err      error         // CallAnswered, CallEnded
}

// Observe makes o hear of everything from now on; nil ends it.
func (w *World) Observe(o Observer) { w.observer = o }

// Note tells the observer, if there is one, about a node. Kinds are words by which a reader may choose.
func (w *World) Note(node, kind, text string) {
	if w.observer != nil {
		w.observer.Note(node, kind, text)
	}
}

// observed tells the observer about a step of k.
func (k *call) observed(s CallStep) {
	o := k.x.client.w.observer
	if o == nil {
		return
	}
	s.ID, s.From, s.To, s.Method = k.id, k.x.client.name, k.x.server.node.name, k.method
	o.Call(s)
}

// message tells the observer about a message that was sent or taken at one end; an error means that none was.
func (k *call) message(step Step, atServer bool, m any, err error) {
	if err == nil {
		k.observed(CallStep{Step: step, AtServer: atServer, Message: m})
	}
}

// unreached tells the observer about a call that got no connection: it began, and ended with the error.
func (c *conn) unreached(method string, since time.Duration, err error) {
	w := c.node.w
	if w.observer == nil {
		return
	}
	w.calls++
	s := CallStep{Step: CallBegan, ID: w.calls, From: c.node.name, To: hostOf(c.target), Method: method, Since: since}
	w.observer.Call(s)
	s.Step, s.Err = CallEnded, err
	w.observer.Call(s)
}

// mostNoted is how many names a note tells, and how many nodes of a side that is cut off.
const mostNoted = 8

// notePartition tells the observer what becomes of the ways between the nodes of a and those of b.
func (n *Net) notePartition(a, b []string, what string) {
	if n.w.observer == nil {
		return
	}
	others := strings.Join(b[:min(len(b), mostNoted)], ", ")
	if more := len(b) - mostNoted; more > 0 {
		others += fmt.Sprintf(" and %d more", more)
	}
	for i, node := range a {
		if more := len(a) - mostNoted; i == mostNoted-1 && more > 0 {
			n.w.Note(node, "network", fmt.Sprintf("%s %s, with %d nodes more", what, others, more))
			return
		}
		n.w.Note(node, "network", what+" "+others)
	}
}

// text tells what is wrong with a disk.
func (f DiskFaults) text() string {
	if f == (DiskFaults{}) {
		return "is well"
	}
	var words []string
	say := func(is bool, format string, args ...any) {
		if is {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	say(f.Full, "is full")
	say(f.ReadErrors > 0, "fails %v of reads", f.ReadErrors)
	say(f.WriteErrors > 0, "fails %v of writes", f.WriteErrors)
	say(f.SyncErrors > 0, "fails %v of syncs", f.SyncErrors)
	say(f.Slow > 1, "is slow by %v", f.Slow)
	say(f.RotReads > 0, "reads %v bits of a MiB wrong", f.RotReads)
	say(f.RotWrites > 0, "stores %v bits of a MiB wrong", f.RotWrites)
	return strings.Join(words, ", ")
}
