// Package trace is the record of a run at the level of a person: what users did, which calls went where and how they ended,
// which faults began and ended, who led, which processes died and came back. It owns the record (Recorder), its two forms
// (Timeline: text to read; Chrome: a file that opens in Perfetto) and what is left out of them (Filter). Package scenario
// fills a Recorder, and package lab's commands write it.
//
// It changes nothing of what happens: a run with a record has the history of one without. It knows nothing of turns, tasks
// and single messages, which sched.Trace tells; nor of commits, of which there are as many as of batches of operations.
//
// # Spans
//
// A thing that takes time is a Span: it is begun, and recorded when it ends. Both ends of a call are spans, joined by
// Event.Flow. Of the stream that carries metadata operations each batch is a call of its own besides the stream, since
// that is what somebody waits for. What a dead process had begun ends with it.
//
// Memory is bounded: of the events that pass the filter the last are kept, and those dropped are counted.
package trace
