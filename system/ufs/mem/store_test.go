package mem_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/mem"
	"github.com/forebay/forebay/system/ufs/ufstest"
)

// paths is every path of a store, in the order of a walk.
func paths(t *testing.T, s ufs.Store, dir string) (all []string) {
	t.Helper()
	for e, err := range s.List(t.Context(), dir, "") {
		if err != nil {
			t.Fatal(err)
		}
		path := ufs.Join(dir, e.Name)
		if all = append(all, path); e.Dir {
			all = append(all, paths(t, s, path)...)
		}
	}
	return all
}

// TestMoves renames trees and checks where everything is then, siblings with a common prefix left alone.
func TestMoves(t *testing.T) {
	for _, test := range []struct {
		from, to string
		want     []string
	}{
		{"a", "z", []string{"ab", "ab/x", "z", "z/b", "z/b/c", "z/b/c/x", "z/y"}},
		{"a/b", "b", []string{"a", "a/y", "ab", "ab/x", "b", "b/c", "b/c/x"}},
		{"a/b", "new/deep", []string{"a", "a/y", "ab", "ab/x", "new", "new/deep", "new/deep/c", "new/deep/c/x"}},
		{"a/y", "ab/x", []string{"a", "a/b", "a/b/c", "a/b/c/x", "ab", "ab/x"}},
		{"ab", "a/b/d", []string{"a", "a/b", "a/b/c", "a/b/c/x", "a/b/d", "a/b/d/x", "a/y"}},
		{"a", "a", []string{"a", "a/b", "a/b/c", "a/b/c/x", "a/y", "ab", "ab/x"}},
	} {
		s := mem.New(host.NewReal())
		for _, path := range []string{"a/b/c/x", "a/y", "ab/x"} {
			ufstest.Put(t.Context(), t, s, path, []byte(path))
		}
		if err := s.Rename(t.Context(), test.from, test.to); err != nil {
			t.Errorf("%s to %s: %v", test.from, test.to, err)
		}
		if got := paths(t, s, ""); !slices.Equal(got, test.want) {
			t.Errorf("%s to %s: %v, want %v", test.from, test.to, got, test.want)
		}
	}
}

// TestRefusedMoves: a rename that is refused says why and changes nothing, not even a parent of the target.
func TestRefusedMoves(t *testing.T) {
	s := mem.New(host.NewReal())
	for _, path := range []string{"d/o", "e/o", "o"} {
		ufstest.Put(t.Context(), t, s, path, []byte(path))
	}
	before := paths(t, s, "")
	for _, test := range []struct {
		from, to string
		kind     dfs.Kind
	}{
		{"missing", "new/x", dfs.NotFound}, {"o/x", "y", dfs.NotDirectory}, {"d", "e", dfs.NotEmpty}, {"d", "o", dfs.NotDirectory},
		{"o", "d", dfs.IsDirectory}, {"d", "d/o/x", dfs.InvalidArgument}, {"", "x", dfs.InvalidArgument}, {"o", "", dfs.InvalidArgument},
		{"d", "o/x", dfs.NotDirectory}, {"d", "o/x/y", dfs.NotDirectory}, {"missing", "missing", dfs.NotFound},
	} {
		if err := s.Rename(t.Context(), test.from, test.to); !dfs.IsKind(err, test.kind) {
			t.Errorf("%q to %q: %v, want %v", test.from, test.to, err, test.kind)
		}
	}
	if after := paths(t, s, ""); !slices.Equal(after, before) {
		t.Errorf("%v became %v", before, after)
	}
}

// TestWritersMeet: a path that was taken by a directory, or led through a file, since Create is refused at Commit; the writer
// may be committed once the way is free, and only once.
func TestWritersMeet(t *testing.T) {
	s := mem.New(host.NewReal())
	begin := func(path string) ufs.Writer {
		w, err := s.Create(t.Context(), path, 0o7_0644)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, path); err != nil {
			t.Fatal(err)
		}
		return w
	}
	taken, through := begin("a"), begin("b/c")
	if err := s.Mkdir(t.Context(), "a", 0); err != nil {
		t.Fatal(err)
	}
	ufstest.Put(t.Context(), t, s, "b", nil)
	if _, err := taken.Commit(t.Context()); !dfs.IsKind(err, dfs.IsDirectory) {
		t.Errorf("over a directory: %v", err)
	}
	if _, err := through.Commit(t.Context()); !dfs.IsKind(err, dfs.NotDirectory) {
		t.Errorf("through a file: %v", err)
	}
	for _, path := range []string{"a", "b"} {
		if err := s.Remove(t.Context(), path); err != nil {
			t.Error(err)
		}
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for path, w := range map[string]ufs.Writer{"a": taken, "b/c": through} {
		if _, err := w.Commit(canceled); !dfs.IsKind(err, dfs.Canceled) {
			t.Errorf("%s for a caller that gave up: %v", path, err)
		}
		if e, err := w.Commit(t.Context()); err != nil || e.Size != int64(len(path)) || e.Mode != 0o644 {
			t.Errorf("%s: %+v, %v", path, e, err)
		}
		w.Abort()
		if _, err := w.Commit(t.Context()); !dfs.IsKind(err, dfs.InvalidArgument) {
			t.Errorf("%s again: %v", path, err)
		}
		if got := ufstest.Get(t.Context(), t, s, path, 0, 100); string(got) != path {
			t.Errorf("%s holds %q", path, got)
		}
	}
}

// TestReadersKeepTheirContent: a reader goes on with what it opened when the object is replaced and when it is removed.
func TestReadersKeepTheirContent(t *testing.T) {
	s := mem.New(host.NewReal())
	first := ufstest.Put(t.Context(), t, s, "o", []byte("first"))
	var readers []io.ReadCloser
	for range 2 {
		r, err := s.Open(t.Context(), "o", 1, 100)
		if err != nil {
			t.Fatal(err)
		}
		readers = append(readers, r)
	}
	second := ufstest.Put(t.Context(), t, s, "o", []byte("other"))
	if second.Fingerprint == first.Fingerprint {
		t.Error("two contents of one length share a fingerprint")
	}
	for i, r := range readers {
		if b, err := io.ReadAll(r); string(b) != "irst" || err != nil || ufs.FingerprintOf(r) != first.Fingerprint {
			t.Errorf("reader %d: %q, %v, fingerprint %q", i, b, err, ufs.FingerprintOf(r))
		}
		_ = s.Remove(t.Context(), "o")
	}
}

// TestPagesOfAListing: a listing over many pages gives each name that stays once, in order, while others come and go between
// the entries, and stops when its consumer or its context does.
func TestPagesOfAListing(t *testing.T) {
	s := mem.New(host.NewReal())
	const n = 2500
	for i := range n {
		if err := s.Mkdir(t.Context(), fmt.Sprintf("d/%05d", 2*i), 0); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	i := 0
	for e, err := range s.List(t.Context(), "d", "00000") {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, e.Name); i%3 == 0 { // behind, and at the place
			_ = s.Mkdir(t.Context(), "d/"+e.Name+"-new", 0)
			_ = s.Remove(t.Context(), "d/"+e.Name)
		}
		i++
	}
	even := slices.DeleteFunc(slices.Clone(got), func(name string) bool { return len(name) != 5 })
	if len(even) != n-1 || !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Errorf("%d names that stayed, want %d; sorted: %v", len(even), n-1, slices.IsSorted(got))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := 0
	var last error
	for _, err := range s.List(ctx, "d", "") {
		if last = err; err == nil {
			seen++
		}
		cancel()
	}
	if !dfs.IsKind(last, dfs.Canceled) || seen > 1000 {
		t.Errorf("%d entries for a caller that gave up, then %v", seen, last)
	}
}

// TestSetAttr: what is nil stays, the type bits of a mode are cut off, and a path that is not there has no attributes.
func TestSetAttr(t *testing.T) {
	s := mem.New(host.NewReal())
	before := ufstest.Put(t.Context(), t, s, "o", []byte("x"))
	mode, owner, group, when := uint32(0o104711), "ann", "staff", time.Unix(1_600_000_000, 0)
	if err := s.SetAttr(t.Context(), "o", nil, nil, nil, nil); err != nil {
		t.Error(err)
	}
	if e, err := s.Stat(t.Context(), "o"); err != nil || e != before {
		t.Errorf("nothing set: %+v, %v", e, err)
	}
	if err := s.SetAttr(t.Context(), "o", &mode, &owner, nil, &when); err != nil {
		t.Error(err)
	}
	if e, _ := s.Stat(t.Context(), "o"); e.Mode != 0o4711 || e.Owner != owner || e.Group != "" || !e.ModTime.Equal(when) || e.Fingerprint != before.Fingerprint {
		t.Errorf("set: %+v", e)
	}
	for path, kind := range map[string]dfs.Kind{"missing": dfs.NotFound, "o/x": dfs.NotDirectory, "../o": dfs.InvalidArgument} {
		if err := s.SetAttr(t.Context(), path, &mode, nil, &group, nil); !dfs.IsKind(err, kind) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
