// Package replay has saved runs again: it makes a saved.Run of a run that was, and runs one that is read. It owns the rule that
// a replay is the run of the file or an error; the file's form is package saved's, and what runs is package scenario's. Package
// lab's commands and package shrink call it.
package replay

import (
	"context"
	"errors"
	"fmt"

	"github.com/forebay/forebay/sim/saved"
	"github.com/forebay/forebay/sim/scenario"
)

// Save makes of a run what is needed to have it again. A run that was interrupted (ctx tells) has no history to compare with.
func Save(ctx context.Context, o scenario.Outcome) (saved.Run, error) {
	text, err := o.Scenario.Text()
	if err != nil {
		return saved.Run{}, err
	}
	r := saved.Run{Format: saved.Format, Version: saved.Version(), Name: o.Scenario.Name, Seed: o.Seed, Sort: o.Failure.Sort, Failure: o.Failure.What, Scenario: text}
	if o.Report != nil && ctx.Err() == nil {
		r.History = o.Report.History
	}
	return r, nil
}

// Scenario is what a saved run was a run of.
func Scenario(r saved.Run) (*scenario.Scenario, error) {
	s, err := scenario.Parse([]byte(r.Scenario))
	if err != nil {
		return nil, fmt.Errorf("the scenario of the saved run: %w", err)
	}
	s.Name = r.Name
	return s, nil
}

// ErrOtherVersion says that a saved run is of other code.
var ErrOtherVersion = errors.New("another version")

// Run runs a saved run again, with o's outputs and the saved seed. It is an error when the history is another one, and an
// ErrOtherVersion, before anything is run, when the code is another: with anyVersion it is run all the same, and its
// history is not compared. The outcome is whole also with an error of the history.
func Run(ctx context.Context, r saved.Run, o scenario.Options, anyVersion bool) (scenario.Outcome, error) {
	if err := r.Check(saved.Version()); err != nil && !anyVersion {
		return scenario.Outcome{}, fmt.Errorf("%w: %w; build the commit that is named, or run it all the same with --any-version", ErrOtherVersion, err)
	}
	s, err := Scenario(r)
	if err != nil {
		return scenario.Outcome{}, err
	}
	o.Seed = r.Seed
	report, err := scenario.Run(ctx, s, o)
	out := scenario.Outcome{Seed: r.Seed, Scenario: s, Report: report, Failure: scenario.FailureOf(report, err)}
	if ctx.Err() != nil {
		return out, err
	}
	if anyVersion {
		return out, nil
	}
	return out, r.CheckHistory(report.History)
}
