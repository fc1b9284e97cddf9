package store

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Request is a kind of request, for which a model has a latency.
type Request int

// The kinds. A listing is a request for each 1000 entries; a file is read by Open and written by Create, its bytes and Commit.
const (
	Stat Request = iota
	List
	Open
	Create
	Commit
	Remove
	Rename
	Mkdir
	SetAttr
	requests
)

var requestNames = [requests]string{"stat", "list", "open", "create", "commit", "remove", "rename", "mkdir", "set attributes"}

// String is the name that errors have for it.
func (r Request) String() string { return requestNames[r] }

// changes tells whether requests of the kind change what is stored. Create only looks: nothing is there before Commit.
func (r Request) changes() bool { return r >= Commit }

// Latency is how long a request takes until its answer, besides the bytes: lognormal, which latencies of object stores are
// near to. The zero value takes no time.
type Latency struct{ Median, P99 time.Duration }

// z99 is the 99th percentile of the standard normal distribution.
const z99 = 2.3263478740408408

// at is the latency of one draw of the standard normal distribution.
func (l Latency) at(z float64) time.Duration {
	if l.Median <= 0 {
		return 0
	}
	sigma := 0.0
	if l.P99 > l.Median {
		sigma = math.Log(float64(l.P99)/float64(l.Median)) / z99
	}
	return time.Duration(float64(l.Median) * math.Exp(sigma*z))
}

// Latencies are those of all kinds, indexed by Request.
type Latencies [requests]Latency

// Model is how fast a store is and how much it bears. The zero value takes no time and bears everything.
//
// Left out: that a directory's rename costs an object store a copy of each file, that a prefix has limits of its own, and that
// a stream begins slowly. Rates and limits are of the whole store, over all nodes.
type Model struct {
	Latency     Latencies
	StreamBytes float64 // a second, of each stream; 0: no limit
	TotalBytes  float64 // a second, of all streams together; 0: no limit
	Requests    int     // at a time; more are throttled; 0: no limit
	RequestRate float64 // a second, of which one second's worth may come at once; more are throttled; 0: no limit
	ErrorRate   float64 // the share of requests that fail before the store has done anything
	LostReplies float64 // the share of changes that are done and answered by an error
	Breaks      float64 // of streams, a MiB
}

// ObjectStore is a model of a public cloud's object store, as seen from machines in its region. Its numbers are assumptions of
// the right magnitude, not measured ones.
var ObjectStore = Model{
	Latency: Latencies{
		Stat: {15 * time.Millisecond, 80 * time.Millisecond}, List: {40 * time.Millisecond, 250 * time.Millisecond},
		Open: {25 * time.Millisecond, 150 * time.Millisecond}, Create: {20 * time.Millisecond, 100 * time.Millisecond},
		Commit: {50 * time.Millisecond, 300 * time.Millisecond}, Remove: {25 * time.Millisecond, 120 * time.Millisecond},
		Rename: {80 * time.Millisecond, 500 * time.Millisecond}, Mkdir: {25 * time.Millisecond, 150 * time.Millisecond},
		SetAttr: {40 * time.Millisecond, 200 * time.Millisecond},
	},
	StreamBytes: 90e6, TotalBytes: 50e9, RequestRate: 20_000, ErrorRate: 1e-5, LostReplies: 1e-6, Breaks: 1e-6,
}

// Check tells what of a model cannot be, all at once.
func (m Model) Check() error {
	var err error
	for kind, l := range m.Latency {
		if l.Median < 0 || l.P99 < 0 || l.P99 > 0 && l.P99 < l.Median {
			err = errors.Join(err, fmt.Errorf("latency of %v is %v, 99%% within %v: want 0 or more, and the second no less than the first", Request(kind), l.Median, l.P99))
		}
	}
	limit := func(name string, value float64) {
		if !(value >= 0) { // not a number either
			err = errors.Join(err, fmt.Errorf("%s: %v, want 0 (no limit) or more", name, value))
		}
	}
	limit("bytes a second of a stream", m.StreamBytes)
	limit("bytes a second in total", m.TotalBytes)
	limit("requests at a time", float64(m.Requests))
	limit("requests a second", m.RequestRate)
	share := func(name string, value float64) {
		if !(value >= 0 && value < 1) {
			err = errors.Join(err, fmt.Errorf("%s: %v, want at least 0 and less than 1", name, value))
		}
	}
	share("error rate", m.ErrorRate)
	share("lost replies", m.LostReplies)
	share("breaks a MiB", m.Breaks)
	return err
}

// Trouble is what is wrong with the store for a while: all of it at once, and the zero value is nothing.
type Trouble struct {
	Down     bool    // an outage: nothing is done, and what streams break
	Slow     float64 // a brownout: latencies times this, bandwidth by this; 0: 1
	Errors   float64 // a brownout: further requests that fail
	Capacity float64 // the share of the limits that is left; 0: 1
}

// Check tells what of a trouble cannot be, all at once.
func (t Trouble) Check() error {
	var err error
	if !(t.Slow == 0 || t.Slow >= 1 && t.Slow <= 1e6) {
		err = fmt.Errorf("slow by %v: want 1 to 1e6", t.Slow)
	}
	if !(t.Errors >= 0 && t.Errors <= 1) {
		err = errors.Join(err, fmt.Errorf("errors: %v, want 0 to 1", t.Errors))
	}
	if !(t.Capacity >= 0 && t.Capacity <= 1) {
		err = errors.Join(err, fmt.Errorf("capacity: %v, want 0 to 1", t.Capacity))
	}
	return err
}

func (t Trouble) slow() float64 { return max(t.Slow, 1) }

func (t Trouble) capacity() float64 {
	if t.Capacity == 0 {
		return 1
	}
	return t.Capacity
}
