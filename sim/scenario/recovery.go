package scenario

import "time"

// Trial is one fault and what users saw of it. It ends with the next fault, or trialLasts after its own end.
type Trial struct {
	Kind   string        `json:"kind"`
	At     time.Duration `json:"atNs"`
	For    time.Duration `json:"forNs"`
	Failed int           `json:"failed"` // operations
	// LastFailure is how long after At the last of them failed; Worst the longest operation that was under way.
	LastFailure time.Duration `json:"lastFailureNs"`
	Worst       time.Duration `json:"worstNs"`
	// Of faults of the leader: how long after At a master served, and one knew all blocks of all living workers again, which
	// were Blocks then. 0: it was not seen, or nothing was lost.
	Serving  time.Duration `json:"servingNs,omitempty"`
	Complete time.Duration `json:"blockMapNs,omitempty"`
	Blocks   int64         `json:"blocks,omitempty"`

	leader bool // the fault is the leader's
	over   bool // of a leader's fault: Complete is known
}

const (
	maxTrials  = 1000 // further faults are not told of
	trialLasts = time.Minute
	// recoveryStep is how exactly a recovery is measured.
	recoveryStep = 10 * time.Millisecond
)

// begin notes a fault that has begun.
func (r *run) beginTrial(f Fault) {
	t := &Trial{Kind: f.Kind, At: r.w.Sched.Elapsed(), For: f.For, leader: f.Kind == kindKillLeader || f.Kind == kindCutLeader}
	if len(r.report.Trials) < maxTrials {
		r.report.Trials = append(r.report.Trials, t)
	}
}

// trial is the present one; nil when there is none.
func (r *run) trial() *Trial {
	if n := len(r.report.Trials); n > 0 {
		if t := r.report.Trials[n-1]; r.w.Sched.Elapsed() <= t.At+t.For+trialLasts || t.recovering() {
			return t
		}
	}
	return nil
}

func (t *Trial) recovering() bool { return t.leader && !t.over }

// ended notes an operation that began at before, and has ended.
func (r *run) ended(before time.Duration, err error) {
	t := r.trial()
	if t == nil {
		return
	}
	now := r.w.Sched.Elapsed()
	t.Worst = max(t.Worst, now-before)
	if err != nil {
		t.Failed++
		t.LastFailure = now - t.At
	}
}

// recover looks whether a leader serves again, and whether it knows everything. Workers that are cut off and not yet missed
// are waited for as others are; what is known of those that died is the cluster's to forget.
func (r *run) recover() {
	t := r.trial()
	if t == nil || !t.recovering() {
		return
	}
	i := r.cluster.Leader()
	if i < 0 {
		return
	}
	now := r.w.Sched.Elapsed()
	if t.Serving == 0 {
		t.Serving = now - t.At
	}
	living := 0
	for _, n := range r.cluster.Workers {
		if n.Alive() {
			living++
		}
	}
	m := r.cluster.Master(i)
	if m.RegisteredWorkers() >= living {
		t.Complete, t.Blocks, t.over = now-t.At, int64(m.Gauges()["blocks"]()), true
	}
}

// nextStep is how far the world may run until somebody has to look at it.
func (r *run) nextStep(at, limit time.Duration) time.Duration {
	next := min(at-at%r.sampler.series.Step+r.sampler.series.Step, limit)
	if t := r.trial(); t != nil && t.recovering() {
		next = min(next, at+recoveryStep)
	}
	return next
}
