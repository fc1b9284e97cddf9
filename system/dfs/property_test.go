package dfs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"testing"
)

// randomPath is a clean path of names that share beginnings, which is where prefix rules go wrong.
func randomPath(rnd *rand.Rand) Path {
	p := Root
	for range rnd.IntN(5) {
		p = p.Join([]string{"a", "ab", "abc", "b", "...", "a\nb", "ü"}[rnd.IntN(7)])
	}
	return p
}

// TestPathAlgebra: the operations on paths agree with each other and with the standard library.
func TestPathAlgebra(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 20_000 {
		p, q := randomPath(rnd), randomPath(rnd)
		if parsed, err := ParsePath(string(p)); err != nil || parsed != p {
			t.Fatalf("%q is not clean: %q, %v", p, parsed, err)
		}
		if !p.IsRoot() && (p.Parent().Join(p.Name()) != p || p.Parent().Depth() != p.Depth()-1 || path.Base(string(p)) != p.Name()) {
			t.Fatalf("%q: parent %q, name %q", p, p.Parent(), p.Name())
		}
		if string(p.Parent()) != path.Dir(string(p)) {
			t.Fatalf("%q: parent %q", p, p.Parent())
		}
		under := false
		for at := q; ; at = at.Parent() {
			under = under || at == p
			if at.IsRoot() {
				break
			}
		}
		if p.Contains(q) != under {
			t.Fatalf("%q contains %q: %v, want %v", p, q, p.Contains(q), under)
		}
		if under {
			back, err := ParsePath(string(p) + "/" + p.Relative(q))
			if err != nil || back != q {
				t.Fatalf("%q relative to %q is %q: back to %q, %v", q, p, p.Relative(q), back, err)
			}
		}
	}
}

// TestParsePathAgrees: the fast way for clean paths and the slow way for all give the same.
func TestParsePathAgrees(t *testing.T) {
	rnd := rand.New(rand.NewPCG(2, 2))
	pieces := []string{"/", "/", "a", "..", ".", "\x00", "\xff", "b", "ü", strings.Repeat("n", 255), "//"}
	for range 20_000 {
		var text strings.Builder
		for range rnd.IntN(8) {
			text.WriteString(pieces[rnd.IntN(len(pieces))])
		}
		s := text.String()
		slow, slowErr := ParsePath(s + "/") // a trailing slash is never clean, and never changes the meaning
		if s == "" {
			continue
		}
		fast, err := ParsePath(s)
		if fast != slow || KindOf(err) != KindOf(slowErr) || (err == nil) != (slowErr == nil) {
			t.Fatalf("%q: %q, %v; with a slash: %q, %v", s, fast, err, slow, slowErr)
		}
	}
}

// TestCheckName: every name that may be joined parses as a component, and no other.
func TestCheckName(t *testing.T) {
	for name, want := range map[string]Kind{
		"": InvalidArgument, ".": InvalidArgument, "..": InvalidArgument, "a/b": InvalidArgument, "a\x00": InvalidArgument, "\xff": InvalidArgument,
		strings.Repeat("x", 256): NameTooLong, strings.Repeat("ü", 128): NameTooLong, "...": Unknown, "a\nb": Unknown, strings.Repeat("ü", 127): Unknown,
	} {
		err := CheckName(name)
		if KindOf(err) != want && want != Unknown || (err == nil) != (want == Unknown) {
			t.Errorf("%.20q: %v, want %v", name, err, want)
		}
		if err == nil && Root.Join(name).Name() != name {
			t.Errorf("%q is not the name of its path", name)
		}
	}
}

// TestMustPathPanics: a constant that is no path is a broken invariant.
func TestMustPathPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a relative path passed")
		}
	}()
	MustPath("relative")
}

// TestErrorText: the words of an error, with and without its parts, escape what would break a line.
func TestErrorText(t *testing.T) {
	for want, err := range map[string]error{
		`open "/a": not found: why`:       Errorf(NotFound, "open", "/a", "why"),
		`open: not found`:                 Errorf(NotFound, "open", "", ""),
		`open "/a\nb": kind 99: x`:        Errorf(99, "open", "/a\nb", "x"),
		`copy: not found: open "/a": why`: Wrap(Errorf(NotFound, "open", "/a", "why"), "copy", ""),
		`copy "/a": stale: open: why`:     Wrap(Errorf(Stale, "open", "", "why"), "copy", "/a"),
		`copy "/a": unknown: plain`:       Wrap(errors.New("plain"), "copy", "/a"),
	} {
		if err.Error() != want {
			t.Errorf("got %s\nwant %s", err, want)
		}
	}
}

// TestWrapKeeps: however often an error is wrapped, its kind, its leader and its cause stay.
func TestWrapKeeps(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 3))
	for range 500 {
		cause := fmt.Errorf("cause: %w", context.Canceled)
		var err error = &Error{Kind: Kind(rnd.IntN(25)), Op: "call", Path: "x:1", Detail: "d", Leader: "y:2", Err: cause}
		kind := KindOf(err)
		for range rnd.IntN(5) {
			switch rnd.IntN(3) {
			case 0:
				err = fmt.Errorf("outer: %w", err)
			case 1:
				err = Wrap(err, "open", "/a")
			default:
				err = Wrap(err, "call", "x:1")
			}
		}
		var e *Error
		if KindOf(err) != kind || !errors.As(err, &e) || e.Leader != "y:2" || !errors.Is(err, context.Canceled) || !strings.Contains(DetailOf(err), "d") {
			t.Fatalf("lost something: %v (%+v)", err, e)
		}
	}
	if DetailOf(errors.New("plain")) != "plain" {
		t.Error("a plain error's words are its detail")
	}
}
