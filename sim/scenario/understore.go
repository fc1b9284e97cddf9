package scenario

import (
	"errors"
	"fmt"

	"github.com/forebay/forebay/sim/store"
)

// UnderStore is how fast the under store is and what it bears. Its keys replace those of the model that is named.
type UnderStore struct {
	Model           string  `yaml:"model,omitempty"`           // instant, which takes no time, or object: a cloud's object store; empty: instant
	StreamBandwidth Size    `yaml:"streamBandwidth,omitempty"` // bytes a second of each stream
	TotalBandwidth  Size    `yaml:"totalBandwidth,omitempty"`  // of all streams
	Requests        int     `yaml:"requests,omitempty"`        // at a time; more are throttled
	RequestRate     float64 `yaml:"requestRate,omitempty"`     // a second; more are throttled
	ErrorRate       float64 `yaml:"errorRate,omitempty"`       // share of the requests that fail
}

const (
	storeInstant = "instant"
	storeObject  = "object"
)

// model is the simulator's, which checks itself.
func (u UnderStore) model() (m store.Model, err error) {
	switch u.Model {
	case "", storeInstant:
	case storeObject:
		m = store.ObjectStore
	default:
		return m, fmt.Errorf("store.model is %q: want %s or %s", u.Model, storeInstant, storeObject)
	}
	for _, replace := range []struct {
		by float64
		of *float64
	}{{float64(u.StreamBandwidth), &m.StreamBytes}, {float64(u.TotalBandwidth), &m.TotalBytes}, {u.RequestRate, &m.RequestRate}, {u.ErrorRate, &m.ErrorRate}} {
		if replace.by != 0 {
			*replace.of = replace.by
		}
	}
	if u.Requests < 0 {
		return m, fmt.Errorf("store.requests is %d: want 0 or more", u.Requests)
	}
	if u.Requests > 0 {
		m.Requests = u.Requests
	}
	if err = m.Check(); err != nil {
		err = fmt.Errorf("store: %w", err)
	}
	return m, err
}

// Faults of the under store. Swarms leave them out: what they show is how slow things get and how errors reach users, and not
// what state a cluster ends in.
const (
	kindBrownout = "brownout"
	kindOutage   = "outage"
)

// trouble is what a fault of the under store makes of it.
func (f Fault) trouble() store.Trouble {
	if f.Kind == kindOutage {
		return store.Trouble{Down: true}
	}
	return store.Trouble{Slow: f.Slow, Errors: f.Errors, Capacity: f.Capacity}
}

// checkStore tells what cannot be of the keys that faults of the under store have.
func (f Fault) checkStore() error {
	if f.Kind != kindBrownout {
		if f.Slow != 0 || f.Errors != 0 || f.Capacity != 0 {
			return fmt.Errorf("slow, errors and capacity are for %s", kindBrownout)
		}
		return nil
	}
	if f.Slow == 0 && f.Errors == 0 && f.Capacity == 0 {
		return errors.New("give slow, errors or capacity: a brownout without them is none")
	}
	return f.trouble().Check()
}

// troubleStore gives the store a trouble. One at a time: the end of any ends what is there.
func troubleStore(r *run, f Fault, _ int) func() {
	_ = r.cluster.Store.Set(f.trouble()) // Check has looked
	return func() { _ = r.cluster.Store.Set(store.Trouble{}) }
}
