package dfs

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestKindsAreAppendOnly: clients and servers of different versions share the numbers: each kind has its own for ever, and a
// name that people read.
func TestKindsAreAppendOnly(t *testing.T) {
	fixed := []Kind{Unknown, NotFound, AlreadyExists, NotDirectory, IsDirectory, NotEmpty, InvalidArgument, NameTooLong, PermissionDenied,
		Incomplete, NotLeader, Unavailable, DeadlineExceeded, Canceled, ResourceExhausted, SessionExpired, Corrupted, DataLost, ReadOnly,
		CrossMount, UnsupportedFeature, Conflict, NoSpace, UnderStore, Stale}
	if len(fixed) != len(kindNames) {
		t.Errorf("%d kinds and %d names", len(fixed), len(kindNames))
	}
	seen := map[string]bool{}
	for i, k := range fixed {
		if int(k) != i || seen[k.String()] || k.String() == "" {
			t.Errorf("%v is number %d, want %d, with a name of its own", k, uint32(k), i)
		}
		seen[k.String()] = true
		if want := k == NotLeader || k == Unavailable || k == ResourceExhausted; k.Retryable() != want {
			t.Errorf("%v: retryable %v", k, k.Retryable())
		}
	}
	if got := Kind(1000).String(); got != "kind 1000" {
		t.Errorf("a kind of a newer build is %q", got)
	}
	for i, name := range [][]string{readTypeNames, writeTypeNames, persistNames, ttlNames} {
		want := [][]string{{"CACHE", "CACHE_PROMOTE", "NO_CACHE"}, {"CACHE_THROUGH", "MUST_CACHE", "THROUGH", "ASYNC_THROUGH"},
			{"NOT_PERSISTED", "TO_BE_PERSISTED", "PERSISTED"}, {"DELETE", "FREE"}}[i]
		if fmt.Sprint(name) != fmt.Sprint(want) {
			t.Errorf("the numbers of %v changed their names to %v", want, name)
		}
	}
	if got := WriteType(99).String(); got != "type 99" {
		t.Errorf("a type of a newer build is %q", got)
	}
}

// TestWrapKeepsTheCause: through whatever chain of wraps, in this package and by others, the kind, the leader and the cause
// stay, the newest operation and path come first, and no word of the reason is lost.
func TestWrapKeepsTheCause(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[rnd.IntN(len(of))] }
	for range 2000 {
		kind := Kind(rnd.IntN(len(kindNames)))
		root := &Error{Kind: kind, Op: pick("read", "", "stat"), Path: pick("/a", "", "w:1"), Detail: "the root's words", Leader: pick("", "m:1")}
		var err error = root
		for range rnd.IntN(5) {
			op, p := pick("open", "read", "copy"), pick("/a", "/b", "")
			if rnd.IntN(3) == 0 {
				err = fmt.Errorf("by others: %w", err)
			} else {
				err = Wrap(err, op, p)
				var e *Error
				if !errors.As(err, &e) || e.Op != op || e.Path != p {
					t.Fatalf("wrapped as %q %q, got %v", op, p, err)
				}
			}
		}
		var e *Error
		if !IsKind(err, kind) || !errors.Is(err, root) || !errors.As(err, &e) || e.Leader != root.Leader || !strings.Contains(DetailOf(err), "the root's words") {
			t.Fatalf("%v became %v", root, err)
		}
		if !errors.Is(err, &Error{Kind: kind}) || errors.Is(err, &Error{Kind: kind + 1}) {
			t.Fatalf("%v is matched by another kind, or not by its own", err)
		}
		if again := Wrap(err, e.Op, e.Path); again != err {
			t.Fatalf("a wrap with the same words made another error: %v", again)
		}
	}
	if errors.Is(Errorf(NotFound, "a", "/b", ""), &Error{Kind: NotFound, Op: "a"}) {
		t.Error("a target with an operation matches by kind alone")
	}
	if Wrap(nil, "a", "b") != nil || IsKind(nil, Unknown) {
		t.Error("no error is one")
	}
	for cause, kind := range map[error]Kind{context.Canceled: Canceled, context.DeadlineExceeded: DeadlineExceeded, errors.New("x"): Unknown} {
		if err := Wrap(fmt.Errorf("deep: %w", cause), "op", "/p"); !IsKind(err, kind) || !errors.Is(err, cause) || DetailOf(err) != "deep: "+cause.Error() {
			t.Errorf("%v became %v", cause, err)
		}
	}
	if got := DetailOf(errors.New("plain")); got != "plain" {
		t.Errorf("a plain error's reason is %q", got)
	}
}

// TestErrorTexts: an error reads as operation, path, kind and reason, without holes for what is missing, and quotes paths so
// that none can forge a line of a log.
func TestErrorTexts(t *testing.T) {
	for _, tt := range []struct {
		err  *Error
		want string
	}{
		{&Error{Kind: NotFound, Op: "stat", Path: "/a", Detail: "there is none"}, `stat "/a": not found: there is none`},
		{&Error{Kind: NotFound, Op: "stat"}, "stat: not found"},
		{&Error{Kind: Unavailable, Op: "call", Detail: "x"}, "call: unavailable: x"},
		{&Error{Kind: Stale, Op: "read", Path: "/a\n2026 ERROR forged"}, `read "/a\n2026 ERROR forged": stale`},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// TestParsePathAgainstModel: on texts of few letters, where every odd form appears, ParsePath takes what a naive model takes
// and cleans it alike; what it gives, it takes again as it is.
func TestParsePathAgainstModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	const letters = "//ab..\x00\xff"
	for range 20_000 {
		b := make([]byte, rnd.IntN(12))
		for i := range b {
			b[i] = letters[rnd.IntN(len(letters))]
		}
		text := string(b)
		want, good := "/", strings.HasPrefix(text, "/")
		for _, part := range strings.Split(text, "/") {
			if part == "" {
				continue
			}
			good = good && part != "." && part != ".." && !strings.Contains(part, "\x00") && utf8.ValidString(part)
			want = path.Join(want, part)
		}
		got, err := ParsePath(text)
		if (err == nil) != good || (good && string(got) != want) {
			t.Fatalf("%q: %q, %v; the model says %q, %v", text, got, err, want, good)
		}
		if err != nil && !IsKind(err, InvalidArgument) {
			t.Fatalf("%q: %v", text, err)
		}
		if again, err := ParsePath(string(got)); good && (err != nil || again != got) {
			t.Fatalf("%q gave %q, which gives %q, %v", text, got, again, err)
		}
	}
}

// TestPathLimits: names and paths of exactly their limits pass, one byte more does not, whatever form they come in.
func TestPathLimits(t *testing.T) {
	name := strings.Repeat("n", MaxNameBytes)
	long := strings.Repeat("/"+strings.Repeat("x", 127), MaxPathBytes/128)
	for text, kind := range map[string]Kind{
		"/" + name: Unknown, "/" + name + "x": NameTooLong, "/a/" + name + "x/b": NameTooLong,
		long: Unknown, "/" + long + "/": Unknown, // as long as the limit once it is clean
		long + "/y": NameTooLong, long + "//y": NameTooLong,
		"/" + strings.Repeat("é", 127): Unknown, "/" + strings.Repeat("é", 128): NameTooLong, // bytes, not letters
	} {
		got, err := ParsePath(text)
		if (kind == Unknown) != (err == nil) || (err != nil && !IsKind(err, kind)) {
			t.Errorf("%d bytes: %v, want %v", len(text), err, kind)
		}
		if err == nil && len(got) > MaxPathBytes {
			t.Errorf("a path of %d bytes", len(got))
		}
		if err != nil && len(err.Error()) > 600 {
			t.Errorf("an error of %d bytes repeats the whole path", len(err.Error()))
		}
	}
}

// TestBlocksCover: the blocks of a file cover its bytes exactly, for every length around their borders.
func TestBlocksCover(t *testing.T) {
	for _, size := range []int64{1, 7, PageSizeBytes, DefaultBlockSizeBytes} {
		for _, length := range []int64{0, 1, size - 1, size, size + 1, 3*size - 1, 3 * size, 3*size + 1} {
			s := &FileStatus{BlockSize: size, Length: length}
			n := int64(s.Blocks())
			if n*size < length || (n > 0 && (n-1)*size >= length) || (length == 0) != (n == 0) {
				t.Errorf("%d bytes in blocks of %d: %d blocks", length, size, n)
			}
		}
	}
	for _, size := range []int64{0, -1, math.MinInt64} {
		if n := (&FileStatus{BlockSize: size, Length: 5}).Blocks(); n != 0 {
			t.Errorf("blocks of %d bytes: %d", size, n)
		}
	}
}

// TestIDsReadApart: ids of different things never read alike, since logs and fault rules name them.
func TestIDsReadApart(t *testing.T) {
	seen := map[string]BlockID{}
	for inode := range InodeID(12) {
		for version := range uint32(12) {
			for index := range uint32(12) {
				b := BlockID{FileVersion{inode, version}, index}
				if other, ok := seen[b.String()]; ok {
					t.Fatalf("%#v and %#v are both %s", b, other, b)
				}
				seen[b.String()] = b
			}
		}
	}
	if got := (BlockID{FileVersion{7, 2}, 3}).String(); got != "7.2/3" {
		t.Errorf("got %s", got)
	}
	s := &FileStatus{ID: 7, Version: 2, Type: TypeDirectory}
	if s.File() != (FileVersion{7, 2}) || !s.IsDir() {
		t.Errorf("a status's key is %v", s.File())
	}
}

// TestIdentities: who passes permission checks, and whose groups count.
func TestIdentities(t *testing.T) {
	for _, tt := range []struct {
		user, owner string
		super       bool
	}{{"root", "forebay", true}, {"forebay", "forebay", true}, {"ann", "forebay", false}, {"", "forebay", false}, {"Root", "forebay", false}} {
		if got := (Identity{User: tt.user}).Superuser(tt.owner); got != tt.super {
			t.Errorf("%q with the owner %q: %v", tt.user, tt.owner, got)
		}
	}
	id := Identity{User: "ann", Groups: []string{"dev", "ops"}}
	for group, want := range map[string]bool{"dev": true, "ops": true, "ann": false, "de": false, "": false} {
		if id.MemberOf(group) != want {
			t.Errorf("member of %q: %v", group, !want)
		}
	}
}
