package scenario

import (
	"errors"
	"fmt"
	"math/bits"
	"time"
)

// Demand is what a client does, how often, and to which of the shared files. A scenario has one, or groups of clients with one
// each.
type Demand struct {
	Rate  float64        `yaml:"rate,omitempty"`  // operations a second and client
	Batch int            `yaml:"batch,omitempty"` // operations without a pause; pauses are longer by as much; 0: one
	Order string         `yaml:"order,omitempty"` // of the shared files: random, or epochs; empty: random
	Hot   Hot            `yaml:"hot,omitempty"`   // with random
	Mix   map[string]int `yaml:"mix,omitempty"`   // weights of the operations
}

// Hot makes the first of the shared files hot: Share of all choices fall on Files of them.
type Hot struct {
	Files int     `yaml:"files"`
	Share float64 `yaml:"share"`
}

// Group is a part of the clients, by weight.
type Group struct {
	Name   string `yaml:"name"`
	Weight int    `yaml:"weight"`
	Demand `yaml:",inline"`
}

// The orders in which a client takes shared files.
const (
	orderRandom = "random"
	// orderEpochs: all clients of the group together take every file once, in an order that looks random, and then in another
	// one, as the shuffled epochs of a training job with a data loader in each client do.
	orderEpochs = "epochs"
)

const maxGroups = 16

// check tells what cannot be; where names the demand's place in the file.
func (d *Demand) check(where string, files int) error {
	var err error
	if d.Rate <= 0 || d.Rate > 1000 {
		err = fmt.Errorf("%srate is %v: want more than 0 and at most 1000 operations a second and client", where, d.Rate)
	}
	err = errors.Join(err, within(where+"batch", d.Batch, 0, 10_000), within(where+"hot.files", d.Hot.Files, 0, files))
	if d.Order != "" && d.Order != orderRandom && d.Order != orderEpochs {
		err = errors.Join(err, fmt.Errorf("%sorder is %q: want %s or %s", where, d.Order, orderRandom, orderEpochs))
	}
	if d.Hot.Share < 0 || d.Hot.Share > 1 || (d.Hot.Share > 0) != (d.Hot.Files > 0) {
		err = errors.Join(err, fmt.Errorf("%shot has %d files and a share of %v: want both, the share at most 1, or neither", where, d.Hot.Files, d.Hot.Share))
	}
	if d.Hot.Files > 0 && d.Order == orderEpochs {
		err = errors.Join(err, fmt.Errorf("%sorder is epochs, in which every file comes once: hot means nothing then", where))
	}
	return errors.Join(err, checkMix(where, d.Mix))
}

// demand is that of a scenario without groups.
func (s *Scenario) demand() Demand { return Demand{s.Rate, s.Batch, s.Order, s.Hot, s.Mix} }

// checkGroups: a scenario with groups has no demand of its own, which would be nobody's.
func (s *Scenario) checkGroups() error {
	if len(s.Groups) == 0 {
		d := s.demand()
		return d.check("", s.Files)
	}
	err := within("the number of groups", len(s.Groups), 1, min(maxGroups, max(s.Clients, 1)))
	if s.Batch != 0 || s.Order != "" || s.Hot != (Hot{}) || len(s.Mix) > 0 {
		err = errors.Join(err, errors.New("batch, order, hot and mix belong into the groups"))
	}
	if s.Rate != 0 {
		err = errors.Join(err, errors.New("rate belongs into the groups"))
	}
	for i := range s.Groups {
		g := &s.Groups[i]
		where := fmt.Sprintf("group %d: ", i+1)
		err = errors.Join(err, within(where+"weight", g.Weight, 1, maxWeight), g.Demand.check(where, s.Files))
	}
	return err
}

// group is a Demand with what its clients share.
type group struct {
	Demand
	mix     []string // operations by weight
	clients int
}

// groups are the run's, with clients dealt out by weight: each group's share to the nearest, and at least one.
func (s *Scenario) groups() []*group {
	if len(s.Groups) == 0 {
		return []*group{{Demand: s.demand(), mix: spread(s.Mix), clients: s.Clients}}
	}
	weights, clients := 0, s.Clients
	for _, g := range s.Groups {
		weights += g.Weight
	}
	var all []*group
	for i, g := range s.Groups {
		n := (clients*g.Weight + weights/2) / weights
		n = max(1, min(n, clients-(len(s.Groups)-i-1)))
		all = append(all, &group{Demand: g.Demand, mix: spread(g.Mix), clients: n})
		clients, weights = clients-n, weights-g.Weight
	}
	return all
}

// pause is how long a client rests until its next operation, of which it has done n. Pauses are exponential, so that clients do
// not march in step.
func (u *user) pause(n int) time.Duration {
	batch := max(u.group.Batch, 1)
	if n%batch != 0 {
		return 0
	}
	return time.Duration(u.rng.ExpFloat64() * float64(batch) * float64(time.Second) / u.group.Rate)
}

// shared chooses one of the files that all users read.
func (u *user) shared() (i int, ok bool) {
	files := u.r.s.Files
	switch {
	case files == 0:
		return 0, false
	case u.group.Order == orderEpochs:
		at := u.number + u.taken*u.group.clients
		u.taken++
		return shuffled(at%files, files, uint64(at/files)), true
	case u.group.Hot.Files > 0 && u.rng.Float64() < u.group.Hot.Share:
		return u.rng.IntN(u.group.Hot.Files), true
	}
	return u.rng.IntN(files), true
}

// shuffled is the i-th of n files in an epoch's order: a permutation that takes no memory. Four rounds of a Feistel network
// over the next even number of bits; what falls outside of n is permuted again, which ends, since the network permutes.
func shuffled(i, n int, epoch uint64) int {
	half := (bits.Len(uint(max(n-1, 1))) + 1) / 2
	mask := uint64(1)<<half - 1
	for x := uint64(i); ; {
		for round := range uint64(4) {
			left, right := x>>half, x&mask
			f := (right + epoch*0x9e3779b97f4a7c15 + round + 1) * 0xbf58476d1ce4e5b9
			x = right<<half | (left^(f^f>>29)*0x94d049bb133111eb>>40)&mask
		}
		if x < uint64(n) {
			return int(x)
		}
	}
}
