package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/forebay/forebay/system/dfs"
)

// The exit codes. Scripts depend on them: append only.
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitExists      = 4
	exitPermission  = 5
	exitUnavailable = 6
	exitDataLost    = 7
	exitWrongState  = 8
	exitNoSpace     = 9
	exitUnderStore  = 10
	exitUnsupported = 11
	exitInterrupted = 130
)

// exitMeanings gives every kind of error its code. A kind is in it once; a test holds that none is missing. New kinds join the
// code that asks the same of a script, and get a new one only when a script would do something else.
var exitMeanings = []struct {
	code    int
	meaning string
	kinds   []dfs.Kind
}{
	{exitOK, "done; with `fs test`: true", nil},
	{exitError, "any other error; with `fs test`: false; with `admin doctor`: problems were found", []dfs.Kind{dfs.Unknown}},
	{exitUsage, "the command line or the configuration is wrong", []dfs.Kind{dfs.InvalidArgument, dfs.NameTooLong}},
	{exitNotFound, "the path does not exist", []dfs.Kind{dfs.NotFound}},
	{exitExists, "the target exists", []dfs.Kind{dfs.AlreadyExists}},
	{exitPermission, "permission denied, or read-only", []dfs.Kind{dfs.PermissionDenied, dfs.ReadOnly}},
	{exitUnavailable, "the cluster did not answer in time: try again", []dfs.Kind{
		dfs.Unavailable, dfs.NotLeader, dfs.DeadlineExceeded, dfs.ResourceExhausted, dfs.SessionExpired,
	}},
	{exitDataLost, "data is lost or corrupted", []dfs.Kind{dfs.DataLost, dfs.Corrupted}},
	{exitWrongState, "the object is not what the command needs (a directory, not empty, incomplete, changed)", []dfs.Kind{
		dfs.NotDirectory, dfs.IsDirectory, dfs.NotEmpty, dfs.Incomplete, dfs.CrossMount, dfs.Conflict, dfs.Stale,
	}},
	{exitNoSpace, "no space is left", []dfs.Kind{dfs.NoSpace}},
	{exitUnderStore, "the under store answered with an error", []dfs.Kind{dfs.UnderStore}},
	{exitUnsupported, "this build or store cannot do it", []dfs.Kind{dfs.UnsupportedFeature}},
	{exitInterrupted, "interrupted", []dfs.Kind{dfs.Canceled}},
}

// errFalse is the outcome of a test that is not true: exit code 1 without a word.
var errFalse = errors.New("false")

// exit prints err, unless it was printed already, and returns the exit code. An error from before the command ran that is none of
// ours is cobra's or the flags' own, about the command line: it has no kind yet.
func (a *app) exit(err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errFalse):
		return exitError
	}
	if !a.started && !isDFS(err) {
		err = dfs.Errorf(dfs.InvalidArgument, "parse command line", "", "%v; see `forebay help`", err)
	}
	if !wasPrinted(err) {
		a.complain(err)
	}
	return exitCode(err)
}

// isDFS tells our errors, which have a kind and a remedy, from those of libraries.
func isDFS(err error) bool {
	var e *dfs.Error
	return errors.As(err, &e)
}

// exitCode is the code of err's kind; a kind from a newer cluster has the general one.
func exitCode(err error) int {
	kind := dfs.KindOf(err)
	for _, m := range exitMeanings {
		for _, k := range m.kinds {
			if k == kind {
				return m.code
			}
		}
	}
	return exitError
}

// complain prints one line to standard error: control characters of names in it are escaped. An interrupt reads as one, and not
// as the library's "context canceled".
func (a *app) complain(err error) {
	if errors.Is(err, context.Canceled) && !isDFS(err) {
		err = errors.New("interrupted")
	}
	fmt.Fprintf(a.Err, "forebay: %s\n", escape(err.Error()))
}

// exitCodesTopic makes `forebay help exit-codes` from the table that decides them, so that the two cannot differ.
func exitCodesTopic() *cobra.Command {
	var text strings.Builder
	text.WriteString("Exit codes of all commands. They are stable: scripts may rely on them.\n\n")
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, m := range exitMeanings {
		fmt.Fprintf(table, "  %d\t%s\n", m.code, m.meaning)
	}
	_ = table.Flush() // a strings.Builder does not fail
	text.WriteString("\nA command with several paths goes on after an error and exits with the code of the first one.")
	return &cobra.Command{Use: "exit-codes", Short: "What exit codes mean", Long: text.String()}
}
