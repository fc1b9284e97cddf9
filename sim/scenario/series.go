package scenario

import (
	"time"

	"github.com/forebay/forebay/sim/world"
)

// Sample is what happened within one step of a run. What is counted is of the step alone; Leader, Registered, Blocks and
// MasterQueue at its end, are of the master that leads then.
type Sample struct {
	At         time.Duration `json:"atNs"` // the step's end
	Operations int           `json:"operations"`
	Failed     int           `json:"failed"`
	Median     time.Duration `json:"medianNs"` // of the operations that ended, those that failed included
	P99        time.Duration `json:"p99Ns"`
	Max        time.Duration `json:"maxNs"`
	Hits       int64         `json:"hits"` // pages that workers had
	Misses     int64         `json:"misses"`
	// MasterCores is how many cores the busiest master kept busy; MasterQueue how long the request waited for a core that
	// waited longest.
	MasterCores     float64       `json:"masterCores"`
	MasterQueue     time.Duration `json:"masterQueueNs"`
	NetworkBytes    uint64        `json:"networkBytes"`
	StoreReadBytes  uint64        `json:"storeReadBytes"` // from the under store
	StoreWriteBytes uint64        `json:"storeWriteBytes"`
	StoreRequests   uint64        `json:"storeRequests"`
	StoreRefused    uint64        `json:"storeRefused"` // throttled, or failed
	Leader          int           `json:"leader"`       // -1: none
	Registered      int           `json:"registered"`   // workers, all of whose blocks the leader knows
	Blocks          int64         `json:"blocks"`       // in its map
}

// Series is a run's samples, at most maxSamples: longer runs have longer steps.
type Series struct {
	Step    time.Duration `json:"stepNs"`
	Samples []Sample      `json:"samples"`
}

const maxSamples = 1800

// sampler makes a run's series. It looks between two turns of the world and takes no part in it: a run's history is the same
// without it.
type sampler struct {
	r      *run
	series Series
	times  histogram // of the present step
	ops    int
	failed int

	masters        []time.Duration // CPU used before the step
	hits, misses   map[*world.Node]int64
	bytes          uint64
	read, write    uint64
	requests, lost uint64
}

func newSampler(r *run) *sampler {
	step := time.Second * max(1, (r.s.Duration+maxSamples*time.Second-1)/(maxSamples*time.Second))
	return &sampler{r: r, series: Series{Step: step}, masters: make([]time.Duration, len(r.cluster.Masters)),
		hits: map[*world.Node]int64{}, misses: map[*world.Node]int64{}}
}

func (s *sampler) add(took time.Duration, err error) {
	s.times.add(took)
	s.ops++
	if err != nil {
		s.failed++
	}
}

// take ends a step.
func (s *sampler) take() {
	one := Sample{At: s.r.w.Sched.Elapsed(), Operations: s.ops, Failed: s.failed,
		Median: s.times.quantile(0.5), P99: s.times.quantile(0.99), Max: s.times.most, Leader: s.r.cluster.Leader()}
	s.times, s.ops, s.failed = histogram{}, 0, 0
	s.takeMasters(&one)
	one.Hits, one.Misses = s.takeCaches()
	s.takeStore(&one)
	s.series.Samples = append(s.series.Samples, one)
}

func (s *sampler) takeMasters(one *Sample) {
	for i, n := range s.r.cluster.Masters {
		used := n.Used()
		one.MasterCores = max(one.MasterCores, float64(used-s.masters[i])/float64(s.series.Step))
		s.masters[i] = used
		one.MasterQueue = max(one.MasterQueue, n.LongestQueue())
	}
	if one.Leader >= 0 {
		m := s.r.cluster.Master(one.Leader)
		one.Registered, one.Blocks = m.RegisteredWorkers(), int64(m.Gauges()["blocks"]())
	}
}

// takeCaches counts what each life of a worker counted since it was looked at last: what a life did between that and its end is
// left out.
func (s *sampler) takeCaches() (hits, misses int64) {
	for i, n := range s.r.cluster.Workers {
		w := s.r.cluster.Worker(i)
		if w == nil {
			continue
		}
		c := &w.Store().Counters
		hits += since(s.hits, n, c.Hits.Load())
		misses += since(s.misses, n, c.Misses.Load())
	}
	return hits, misses
}

// since is what a counter has grown by; one that is less than it was began anew with a new process.
func since(before map[*world.Node]int64, n *world.Node, now int64) int64 {
	grown := now - before[n]
	if grown < 0 {
		grown = now
	}
	before[n] = now
	return grown
}

func (s *sampler) takeStore(one *Sample) {
	c, net := s.r.cluster.Store.Counts(), s.r.w.Net
	one.NetworkBytes = net.Bytes - s.bytes
	one.StoreReadBytes, one.StoreWriteBytes = c.ReadBytes-s.read, c.WrittenBytes-s.write
	one.StoreRequests, one.StoreRefused = c.Requests-s.requests, c.Throttled+c.Errors-s.lost
	s.bytes, s.read, s.write, s.requests, s.lost = net.Bytes, c.ReadBytes, c.WrittenBytes, c.Requests, c.Throttled+c.Errors
}

// Totals are a whole run's, up to the end of its load.
type Totals struct {
	PerSecond    float64       `json:"operationsPerSecond"` // that succeeded, after the cluster came up
	Hits         int64         `json:"hits"`                // pages that workers had
	Misses       int64         `json:"misses"`
	HitRatio     float64       `json:"hitRatio"`
	MasterCores  float64       `json:"masterCores"`    // that the busiest master kept busy, on the average
	MasterPeak   float64       `json:"masterCoresMax"` // in a step
	MasterQueue  time.Duration `json:"masterQueueMaxNs"`
	StoreRead    uint64        `json:"storeReadBytes"`
	StoreWritten uint64        `json:"storeWrittenBytes"`
	StoreAsked   uint64        `json:"storeRequests"`
	StoreRefused uint64        `json:"storeRefused"`
}

func (s *Series) totals() (t Totals) {
	done := 0
	for _, one := range s.Samples {
		done += one.Operations - one.Failed
		t.Hits, t.Misses = t.Hits+one.Hits, t.Misses+one.Misses
		t.MasterCores += one.MasterCores
		t.MasterPeak, t.MasterQueue = max(t.MasterPeak, one.MasterCores), max(t.MasterQueue, one.MasterQueue)
		t.StoreRead, t.StoreWritten = t.StoreRead+one.StoreReadBytes, t.StoreWritten+one.StoreWriteBytes
		t.StoreAsked, t.StoreRefused = t.StoreAsked+one.StoreRequests, t.StoreRefused+one.StoreRefused
	}
	t.MasterCores /= float64(max(len(s.Samples), 1))
	if t.Hits+t.Misses > 0 {
		t.HitRatio = float64(t.Hits) / float64(t.Hits+t.Misses)
	}
	if n := len(s.Samples); n > 0 && s.Samples[n-1].At > warmUp {
		t.PerSecond = float64(done) / (s.Samples[n-1].At - warmUp).Seconds()
	}
	return t
}
