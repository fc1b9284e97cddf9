package trace

import (
	"cmp"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/status"

	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/proto"
)

// Observe makes r record what happens in w: calls, processes, leadership.
func (r *Recorder) Observe(w *world.World) {
	if r != nil {
		w.Observe(&observer{r: r, now: w.Sched.Elapsed, open: map[end]*Span{}, flows: map[end]uint64{}})
	}
}

// observer makes spans of the steps of calls. INV-1: open holds nothing of a dead process, and flows nothing of a call that has
// ended at its client, or whose client died.
type observer struct {
	r     *Recorder
	now   func() time.Duration
	open  map[end]*Span
	flows map[end]uint64 // by client's ends
	flow  uint64
}

// end is one end of a call, or of one batch of a call's.
type end struct {
	call, batch uint64
	server      bool
}

// Note implements world.Observer.
func (o *observer) Note(node, kind, text string) {
	k := Machine
	switch kind {
	case "process":
		k = Process
	case "leadership":
		k = Leadership
	}
	o.r.Instant(Event{At: o.now(), Kind: k, Node: node, What: text})
	if k == Process && text == "crashes" {
		o.r.died(node, o.now())
		for e, s := range o.open { // in any order: nothing but the map changes
			if s.ended {
				delete(o.open, e)
				delete(o.flows, e)
			}
		}
	}
}

// Call implements world.Observer.
func (o *observer) Call(s world.CallStep) {
	e := end{call: s.ID, server: s.AtServer}
	switch s.Step {
	case world.CallBegan:
		o.begin(e, s, methodName(s.Method), s.Since)
	case world.CallArrived:
		o.begin(e, s, methodName(s.Method), o.now())
	case world.CallSent, world.CallTook:
		o.message(e, s)
	case world.CallAnswered, world.CallEnded:
		outcome := callOutcome(s.Err)
		if results, ok := s.Message.(*proto.ResultBatch); ok && outcome == "" {
			outcome = resultOutcome(results)
		}
		o.finish(e, outcome)
		o.finishBatches(e, outcome)
	}
}

// message reads what a person wants to know of a message: which operations a batch has, which file a stream is about.
func (o *observer) message(e end, s world.CallStep) {
	asked := (s.Step == world.CallSent) != s.AtServer // on its way to the server
	switch m := s.Message.(type) {
	case *proto.OperationBatch:
		if !strings.HasSuffix(s.Method, "/Stream") {
			o.says(e, describeBatch(m))
			return
		}
		e.batch = m.BatchId
		o.begin(e, s, describeBatch(m), o.now())
		o.path(s, describeBatch(m))
	case *proto.ResultBatch:
		if strings.HasSuffix(s.Method, "/Stream") {
			e.batch = m.BatchId
			o.finish(e, resultOutcome(m))
		}
	default:
		if asked {
			o.says(e, describe(m))
		}
	}
}

// begin begins one end of a call. The server's end is joined to the client's if that is known.
func (o *observer) begin(e end, s world.CallStep, what string, at time.Duration) {
	client := end{call: e.call, batch: e.batch}
	event := Event{At: at, Kind: Call, Node: s.From, Peer: s.To, What: what}
	if e.server {
		event.Kind, event.Node, event.Peer, event.Row = Serve, s.To, s.From, serviceName(s.Method)
	} else {
		o.flow++
		o.flows[client] = o.flow
	}
	event.Flow = o.flows[client]
	o.open[e] = o.r.Begin(event)
}

// says adds the first description of what a call is about to it, and to the operation that it is done for.
func (o *observer) says(e end, what string) {
	s := o.open[e]
	if s == nil || what == "" || strings.Contains(s.e.What, " ") {
		return
	}
	s.Says(what)
	if !e.server {
		o.path(world.CallStep{From: s.e.Node}, what)
	}
}

// path tells a user's operation which path it is about: that of the first call that names one.
func (o *observer) path(s world.CallStep, what string) {
	user := o.r.users[s.From]
	if user == nil || strings.Contains(user.e.What, " ") {
		return
	}
	for word := range strings.FieldsSeq(what) {
		if strings.HasPrefix(word, "/") {
			user.Says(strings.TrimSuffix(word, ","))
			return
		}
	}
}

func (o *observer) finish(e end, outcome string) {
	if s := o.open[e]; s != nil {
		s.End(o.now(), outcome)
		delete(o.open, e)
	}
	if !e.server {
		delete(o.flows, e)
	}
}

// finishBatches ends the batches that a stream leaves unanswered when it ends at one end. There are as many as are under way on
// one stream, which its sender bounds.
func (o *observer) finishBatches(e end, outcome string) {
	if outcome == "" {
		outcome = "the stream ended"
	}
	for _, s := range o.batchesOf(e) {
		o.finish(s, outcome)
	}
}

// batchesOf lists them in the order in which they began.
func (o *observer) batchesOf(e end) (all []end) {
	for other := range o.open { // sorted below
		if other.call == e.call && other.server == e.server && other.batch != 0 {
			all = append(all, other)
		}
	}
	slices.SortFunc(all, func(a, b end) int { return cmp.Compare(a.batch, b.batch) })
	return all
}

// callOutcome is a status in a few words; empty when it is good.
func callOutcome(err error) string {
	if err == nil || errors.Is(err, io.EOF) {
		return ""
	}
	s := status.Convert(err)
	return s.Code().String() + ": " + s.Message()
}
