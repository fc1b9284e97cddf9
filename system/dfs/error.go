package dfs

import (
	"context"
	"errors"
	"fmt"
)

// Kind says what went wrong and what the caller can do. Kinds are shared by clients and servers of different versions:
// append only, never renumber.
type Kind uint32

// The kinds.
const (
	Unknown            Kind = iota // no better kind: treat as a fault of the server
	NotFound                       // the path, inode, block or mount does not exist
	AlreadyExists                  // the target exists
	NotDirectory                   // a component on the way is not a directory
	IsDirectory                    // a file was needed, a directory was found
	NotEmpty                       // the directory has entries and recursive was not asked for
	InvalidArgument                // the request can never succeed as it is
	NameTooLong                    // a name or a path exceeds its limit
	PermissionDenied               // the identity lacks a permission
	Incomplete                     // the file is still being written
	NotLeader                      // ask the leader; Error.Leader may name it
	Unavailable                    // the server or store cannot answer now: retry with backoff
	DeadlineExceeded               // the caller's time ran out; a mutation's outcome is unknown until retried
	Canceled                       // the caller gave up
	ResourceExhausted              // a bound was met (queue, space, quota): retry later or free some
	SessionExpired                 // the session is unknown: open another; what was in doubt stays in doubt
	Corrupted                      // checksums do not match and no good copy was found
	DataLost                       // the only copies of this data are gone
	ReadOnly                       // the mount, store or disk refuses writes
	CrossMount                     // source and target lie on different mounts: copy instead of rename
	UnsupportedFeature             // this store or build cannot do it
	Conflict                       // the object changed underneath: read it again and retry
	NoSpace                        // the disk or store is full
	UnderStore                     // the under store answered with an error; the detail has its words
	Stale                          // an open version was replaced or removed
)

var kindNames = [...]string{"unknown", "not found", "already exists", "not a directory", "is a directory", "not empty",
	"invalid argument", "name too long", "permission denied", "incomplete", "not leader", "unavailable",
	"deadline exceeded", "canceled", "resource exhausted", "session expired", "corrupted", "data lost", "read-only",
	"cross-mount", "unsupported", "conflict", "no space", "under store error", "stale"}

// String is the kind's name as users read it.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint32(k))
}

// Retryable tells whether the same request may succeed later without anyone changing it.
// It speaks of the request as such. Whether a mutation may be repeated is another question, which sequences answer
// (contract C2).
func (k Kind) Retryable() bool {
	return k == NotLeader || k == Unavailable || k == ResourceExhausted
}

// Error is the one error type that crosses package and process borders. Match its Kind, never its text.
//
// It is not changed once it was returned, since several callers of one batch may be given the same: who wants to add to
// it copies it.
type Error struct {
	Kind   Kind
	Op     string // what was being done: "create", "read page"
	Path   string // to what: a path, block, address; may be empty
	Detail string // why, and what to do next
	Leader string // with NotLeader: the leader's address if known
	Err    error  // the cause, when it is worth unwrapping locally
}

// Error implements error: "op path: kind: detail".
func (e *Error) Error() string {
	s := e.Op
	if e.Path != "" {
		s += fmt.Sprintf(" %q", e.Path)
	}
	s += ": " + e.Kind.String()
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is lets errors.Is(err, &Error{Kind: k}) match by kind.
// An Error with an operation or a path is no pattern, and is equal to itself only.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Kind == e.Kind && t.Op == "" && t.Path == ""
}

// Errorf makes an Error. Use Wrap to keep a cause.
func Errorf(kind Kind, op, path, format string, args ...any) *Error {
	return &Error{Kind: kind, Op: op, Path: path, Detail: fmt.Sprintf(format, args...)}
}

// Wrap gives err an operation and a path, keeping its kind if it has one. It returns nil for nil.
//
// The operation and path that err had move into the detail, unless they are the same: wrapping twice with the same does
// nothing. The result has err as its cause, so that errors.Is and errors.As find what it holds.
func Wrap(err error, op, path string) error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		if e.Op == op && e.Path == path {
			return err
		}
		detail := e.Detail
		switch {
		case e.Path != "" && e.Path != path:
			detail = fmt.Sprintf("%s %q: %s", e.Op, e.Path, detail)
		case e.Op != "" && e.Op != op:
			detail = e.Op + ": " + detail
		}
		return &Error{Kind: e.Kind, Op: op, Path: path, Detail: detail, Leader: e.Leader, Err: err}
	}
	return &Error{Kind: KindOf(err), Op: op, Path: path, Detail: err.Error(), Err: err}
}

// KindOf is err's kind; context errors have theirs, anything else is Unknown.
//
// The outermost Error decides, also when a context error is below it. nil is Unknown too: compare first, or
// ask IsKind.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, context.DeadlineExceeded):
		return DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return Canceled
	}
	return Unknown
}

// IsKind tells whether err has kind k. It is false for nil.
func IsKind(err error, k Kind) bool { return err != nil && KindOf(err) == k }

// DetailOf is the reason without operation and path.
// It is err's text when it is no Error. err must not be nil.
func DetailOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Detail
	}
	return err.Error()
}
