package dfs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestParsePath(t *testing.T) {
	long := strings.Repeat("x", MaxNameBytes)
	for _, c := range []struct {
		text string
		want Path
		kind Kind
	}{
		{"/", "/", 0},
		{"/a", "/a", 0},
		{"//a///b/", "/a/b", 0},
		{"/a b/ü/日本", "/a b/ü/日本", 0},
		{"/with\nnewline", "/with\nnewline", 0},
		{"/" + long, Path("/" + long), 0},
		{"/.../..a/a..", "/.../..a/a..", 0},
		{"", "", InvalidArgument},
		{"a/b", "", InvalidArgument},
		{"/a/../b", "", InvalidArgument},
		{"/..", "", InvalidArgument},
		{"/a/./b", "", InvalidArgument},
		{"/a\x00b", "", InvalidArgument},
		{"/\xff\xfe", "", InvalidArgument},
		{"/" + long + "x", "", NameTooLong},
		{strings.Repeat("/"+long, 17), "", NameTooLong},
	} {
		got, err := ParsePath(c.text)
		if got != c.want || err != nil && KindOf(err) != c.kind || err == nil && c.kind != 0 {
			t.Errorf("ParsePath(%.40q) = %.40q, %v; want %.40q, %v", c.text, got, err, c.want, c.kind)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"/", "/a/b", "//", "/../x", "/\xff", "/a\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePath(text)
		if err != nil {
			return
		}
		again, err := ParsePath(string(p))
		if err != nil || again != p {
			t.Fatalf("%q is not a fixed point: %q %v", p, again, err)
		}
		rebuilt := Root
		for _, name := range p.Components() {
			rebuilt = rebuilt.Join(name)
		}
		if rebuilt != p || p.Depth() != len(p.Components()) || !p.Parent().Contains(p) || !Root.Contains(p) {
			t.Fatalf("%q: components %q, depth %d, parent %q", p, p.Components(), p.Depth(), p.Parent())
		}
	})
}

func TestPathParts(t *testing.T) {
	for _, c := range []struct {
		p            Path
		name         string
		parent       Path
		depth, parts int
	}{{"/", "", "/", 0, 0}, {"/a", "a", "/", 1, 1}, {"/a/b", "b", "/a", 2, 2}} {
		if c.p.Name() != c.name || c.p.Parent() != c.parent || c.p.Depth() != c.depth || len(c.p.Components()) != c.parts {
			t.Errorf("%q: name %q parent %q depth %d components %q", c.p, c.p.Name(), c.p.Parent(), c.p.Depth(), c.p.Components())
		}
	}
}

func TestPathContains(t *testing.T) {
	for _, c := range []struct {
		p, q Path
		want bool
		rel  string
	}{
		{"/", "/a/b", true, "a/b"}, {"/a", "/a", true, ""}, {"/a", "/a/b", true, "b"}, {"/a", "/ab", false, ""},
		{"/a/b", "/a", false, ""}, {"/a", "/b", false, ""},
	} {
		if got := c.p.Contains(c.q); got != c.want {
			t.Errorf("%q contains %q: %v", c.p, c.q, got)
		} else if got && c.p.Relative(c.q) != c.rel {
			t.Errorf("%q relative to %q: %q", c.q, c.p, c.p.Relative(c.q))
		}
	}
}

func TestErrorKeepsKindThroughWrapping(t *testing.T) {
	base := Errorf(NotFound, "open", "/f", "no such file")
	wrapped := fmt.Errorf("reading: %w", Wrap(base, "copy", "/g"))
	if !IsKind(wrapped, NotFound) || !errors.Is(wrapped, &Error{Kind: NotFound}) || errors.Is(wrapped, &Error{Kind: NotEmpty}) {
		t.Errorf("kind lost: %v", wrapped)
	}
	if got := Wrap(base, "copy", "/g").Error(); got != `copy "/g": not found: open "/f": no such file` {
		t.Errorf("message %q", got)
	}
	if Wrap(nil, "a", "b") != nil || IsKind(nil, Unknown) {
		t.Error("nil became an error")
	}
	if same := Wrap(base, "open", "/f"); same != error(base) {
		t.Errorf("wrapped twice with the same words: %v", same)
	}
}

func TestKindOfContextErrors(t *testing.T) {
	for err, want := range map[error]Kind{
		context.Canceled: Canceled, context.DeadlineExceeded: DeadlineExceeded, errors.New("x"): Unknown,
	} {
		if got := KindOf(fmt.Errorf("w: %w", err)); got != want {
			t.Errorf("%v: kind %v, want %v", err, got, want)
		}
	}
	if !NotLeader.Retryable() || NotFound.Retryable() {
		t.Error("retryable kinds are wrong")
	}
	if len(kindNames) != int(Stale)+1 || Kind(200).String() != "kind 200" {
		t.Errorf("%d names for %d kinds", len(kindNames), Stale+1)
	}
}

func TestTypesParseTheirNames(t *testing.T) {
	for i := range 4 {
		if w, err := ParseWriteType(strings.ToLower(WriteType(i).String())); err != nil || w != WriteType(i) {
			t.Errorf("write type %d: %v %v", i, w, err)
		}
	}
	for i := range 3 {
		if r, err := ParseReadType(ReadType(i).String()); err != nil || r != ReadType(i) {
			t.Errorf("read type %d: %v %v", i, r, err)
		}
	}
	if _, err := ParseTTLAction("EXPLODE"); !IsKind(err, InvalidArgument) || !strings.Contains(err.Error(), "DELETE, FREE") {
		t.Errorf("unknown action: %v", err)
	}
	if WriteType(9).String() != "type 9" || PersistState(1).String() != "TO_BE_PERSISTED" {
		t.Error("names")
	}
}

func TestFileStatusBlocks(t *testing.T) {
	for _, c := range []struct{ length, block, want int64 }{{0, 64, 0}, {1, 64, 1}, {64, 64, 1}, {65, 64, 2}, {5, 0, 0}} {
		s := FileStatus{ID: 3, Version: 2, Length: c.length, BlockSize: c.block}
		if int64(s.Blocks()) != c.want {
			t.Errorf("%+v: %d blocks", c, s.Blocks())
		}
		if s.File().String() != "3.2" || (BlockID{s.File(), 7}).String() != "3.2/7" {
			t.Error("ids read wrongly")
		}
	}
}

func TestIdentity(t *testing.T) {
	id := Identity{User: "ann", Groups: []string{"x", "y"}}
	if !id.MemberOf("y") || id.MemberOf("z") || id.Superuser("root") || !id.Superuser("ann") || !(Identity{User: "root"}).Superuser("svc") {
		t.Error("identity")
	}
}
