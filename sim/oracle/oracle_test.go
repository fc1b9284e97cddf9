package oracle

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/proto"
)

// newBook is a book whose clock and history the test sees.
func newBook() (b *Book, mixed *int) {
	mixed = new(int)
	return &Book{Now: func() time.Duration { return 7 * time.Second }, Mix: func(string) { *mixed++ }}, mixed
}

// expect takes the violations out of a book: exactly one with each of the texts, or none.
func expect(t *testing.T, b *Book, when string, texts ...string) {
	t.Helper()
	if b.Count != len(texts) {
		t.Errorf("%s: %d violations %v, want %q", when, b.Count, b.Told, texts)
	}
	for i, text := range texts {
		if i < len(b.Told) && !strings.Contains(b.Told[i].String(), text) {
			t.Errorf("%s: %q, want %q", when, b.Told[i], text)
		}
	}
	b.Count, b.Told = 0, nil
}

func failed(kind dfs.Kind) error { return dfs.Errorf(kind, "test", "/x", "of a test") }

// TestBook: all violations are counted and in the history, the first twenty are told with time and oracle.
func TestBook(t *testing.T) {
	b, mixed := newBook()
	heard := 0
	b.Heard = func(Violation) { heard++ }
	for i := range 50 {
		b.Violation("test", "number %d", i)
	}
	if b.Count != 50 || *mixed != 50 || heard != 50 || len(b.Told) != mostTold || b.Told[19].String() != "at 7s: test: number 19" {
		t.Errorf("%d counted, %d in the history, %d heard, told %v", b.Count, *mixed, heard, b.Told)
	}
}

// TestContents: a read is right only with exactly the bytes of its write, place and length.
func TestContents(t *testing.T) {
	b, _ := newBook()
	c := Content{Name: "/a/b", Write: 3, Size: 3000}
	whole := c.Bytes()
	if int64(len(whole)) != c.Size || c.ID() == (Content{Name: "/a/b", Write: 4}).ID() || c.ID() == (Content{Name: "/a/c", Write: 3}).ID() {
		t.Fatal("two writes have one content")
	}
	damaged := slices.Clone(whole)
	damaged[2047] ^= 1
	for _, tt := range []struct {
		when         string
		got          []byte
		offset, want int64
		at           int64
	}{
		{"all", whole, 0, 3000, -1},
		{"a part", whole[5:17], 5, 12, -1},
		{"a part up to the end", whole[2990:], 2990, 50, -1},
		{"nothing behind the end", nil, 3000, 10, -1},
		{"a wrong bit", damaged, 0, 3000, 2047},
		{"too short", whole[:2999], 0, 3000, 2999},
		{"too long", append(slices.Clone(whole), 0), 0, 3001, 3000},
		{"another place", whole[6:18], 5, 12, 5},
		{"an older write", Content{Name: "/a/b", Write: 2, Size: 3000}.Bytes(), 0, 3000, 0},
	} {
		if at := c.Differs(tt.got, tt.offset, tt.want); (at < 0) != (tt.at < 0) || tt.at == 2999 && at != 2999 {
			t.Errorf("%s: differs at %d, want %d", tt.when, at, tt.at)
		}
		right := Contents{b}.Read(4, "/now/here", c, tt.got, tt.offset, tt.want)
		if right != (tt.at < 0) {
			t.Errorf("%s: right %v", tt.when, right)
		}
		if right {
			expect(t, b, tt.when)
		} else {
			expect(t, b, tt.when, "contents: client 4: /now/here has wrong bytes")
		}
	}
}

// TestOnce: a change that is refused because it was made already was made twice; what leaves its outcome open was not.
func TestOnce(t *testing.T) {
	b, _ := newBook()
	for _, k := range []dfs.Kind{dfs.NotFound, dfs.AlreadyExists, dfs.Stale, dfs.NotEmpty, dfs.IsDirectory, dfs.NotDirectory} {
		Once{b}.Changed(1, "rename", "/f", failed(k))
		expect(t, b, k.String(), "once: client 1: rename of /f")
	}
	for _, err := range []error{nil, failed(dfs.DeadlineExceeded), failed(dfs.Unavailable), failed(dfs.SessionExpired), failed(dfs.NoSpace), errors.New("other")} {
		Once{b}.Changed(1, "rename", "/f", err)
		expect(t, b, fmt.Sprint(err))
	}
}

// TestBoards: who looks after a number was acknowledged or seen is told that or a later one, unless the look began before;
// a number whose write failed may come at any time.
func TestBoards(t *testing.T) {
	b, _ := newBook()
	o := NewBoards(b, 2)
	write := func(err error) uint64 {
		n, ok := o.Write(0)
		if _, again := o.Write(0); again || !ok {
			t.Fatalf("a board was written by two at a time: %v", ok)
		}
		o.Written(0, 3, n, err)
		return n
	}
	early := o.Look(0, 9)
	o.Missing(o.Look(0, 9), nil)
	if n := write(nil) + write(nil); n != 3 {
		t.Fatalf("numbers 1 and 2 are %d together", n)
	}
	o.Saw(early, []byte("1")) // it began before both
	expect(t, b, "before and during")
	o.Saw(o.Look(0, 9), []byte("1"))
	expect(t, b, "stale", "boards: client 9: board 0 shows 1")
	o.Saw(o.Look(0, 9), []byte("3"))
	expect(t, b, "never written", "shows 3, and 2 is the last")
	o = NewBoards(b, 2)
	write(nil)
	o.Saw(o.Look(0, 9), []byte("one"))
	expect(t, b, "no number", `shows "one"`)
	o.Missing(o.Look(0, 9), failed(dfs.NotFound))
	expect(t, b, "gone", "board 0 is gone")
	open := write(failed(dfs.DeadlineExceeded))
	write(nil)
	o.Saw(o.Look(0, 9), fmt.Append(nil, open)) // it came late
	expect(t, b, "an open number")
	o.Saw(o.Look(0, 9), []byte("1"))
	expect(t, b, "older than the open one", "shows 1")
	if n, _ := o.Write(0); n != 4 {
		t.Fatal("not the fourth")
	}
	o.Saw(o.Look(0, 8), []byte("4")) // seen before it is acknowledged
	o.Saw(o.Look(0, 9), []byte("3"))
	expect(t, b, "two readers go back", "client 8 saw it")
	for range maxOpen {
		o.Written(0, 3, 4, failed(dfs.Unavailable))
	}
	if _, ok := o.Write(0); ok {
		t.Error("a board with many open numbers is still written")
	}
	if o.InContent(0) || !o.InContent(1) || o.BoardPath(1) != "/boards/b1" || o.Len() != 2 {
		t.Error("of two boards one is an attribute and one a content")
	}
}

// TestVersions: versions grow by the acknowledged writes at least and by the begun ones at most.
func TestVersions(t *testing.T) {
	b, _ := newBook()
	c := Count{Begun: 2, Acknowledged: 1}
	for _, tt := range []struct {
		version, acknowledged, begun uint32
		right                        bool
	}{{5, 0, 0, true}, {5, 0, 0, true}, {6, 0, 0, false}, {4, 0, 0, false}, {6, 1, 2, true}, {7, 1, 2, true}, {5, 1, 2, false}, {8, 1, 2, false}} {
		if c.First != 0 {
			c.Acknowledged, c.Begun = tt.acknowledged, tt.begun
		}
		Versions{b}.Saw(1, "/f", &c, tt.version)
		if tt.right {
			expect(t, b, fmt.Sprint(tt))
		} else {
			expect(t, b, fmt.Sprint(tt), "versions: client 1: /f has version")
		}
	}
}

// TestRaces: one wins, all see the winner's content, and nobody loses against nobody.
func TestRaces(t *testing.T) {
	b, _ := newBook()
	o := NewRaces(b)
	const p = dfs.Path("/races/1")
	if o.Winner(p) != 0 {
		t.Error("a race that was not begun has a winner")
	}
	o.Begin(p)
	o.Made(p, 1, failed(dfs.AlreadyExists))
	expect(t, b, "alone", "made twice by its only writer")
	o.Begin(p)
	o.Made(p, 2, nil)
	o.Made(p, 1, failed(dfs.AlreadyExists))
	o.Saw(3, p, o.Winner(p), 2)
	o.Saw(3, p, 0, 1)
	expect(t, b, "one wins")
	o.Saw(3, p, o.Winner(p), 1)
	expect(t, b, "another's content", "holds what client 1 wrote")
	o.Saw(3, p, 0, 0)
	expect(t, b, "nobody's content", "holds what client 0")
	o.Made(p, 1, nil)
	expect(t, b, "a second winner", "client 2 was told")
}

// TestCapacityAndLeaks: what is above the bound is told, what is at it is not.
func TestCapacityAndLeaks(t *testing.T) {
	b, _ := newBook()
	look := func(used int64) {
		Capacity{b}.Look("w1", []*proto.TierInfo{{Name: "MEM", CapacityBytes: 5}, {Name: "SSD", CapacityBytes: 10, UsedBytes: used}})
	}
	look(10)
	look(0)
	Leaks{b}.Left("claims", 3, 3)
	expect(t, b, "within")
	look(11)
	look(-1)
	Leaks{b}.Left("claims", 4, 3)
	expect(t, b, "without", "SSD holds 11", "SSD holds -1", "leaks: 4 claims")
}
