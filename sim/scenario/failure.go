package scenario

import (
	"context"
	"errors"

	"github.com/forebay/forebay/sim/sched"
)

// Failure is how a run failed; the zero value says that it held. Two failures are of one sort when Sort is equal: the oracle that
// saw the first violation, or the way in which the simulation itself ended.
type Failure struct{ Sort, What string }

// FailureOf tells how the run failed of which Run returned r and err. An interrupted run did not fail: its caller's context says
// so.
func FailureOf(r *Report, err error) Failure {
	var fault *sched.Fault
	var deadlock *sched.Deadlock
	switch {
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return Failure{}
	case errors.As(err, &fault):
		return Failure{"fault of task " + fault.Task, err.Error()}
	case errors.As(err, &deadlock):
		return Failure{"deadlock", err.Error()}
	case err != nil:
		return Failure{"error", err.Error()}
	case r.ViolationCount > 0:
		return Failure{r.Oracle, r.Violations[0]}
	}
	return Failure{}
}

// Outcome is one seed of a sweep.
type Outcome struct {
	Seed     uint64
	Scenario *Scenario
	Report   *Report // nil when the run could not begin
	Failure  Failure
}
