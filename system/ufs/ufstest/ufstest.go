// Package ufstest is the conformance suite of under stores: what ufs.Store promises, as tests that every driver and
// every wrapper runs. It is imported by tests only.
package ufstest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/ufs"
)

// Options tell the suite what a store does not have.
type Options struct {
	// BigObjectBytes is the size of the object that must go through the driver's path for large ones.
	BigObjectBytes int64
	// NoAttributes is set for stores without mode and owner.
	NoAttributes bool
	// NoFileAsDirectory is set for stores which let an object and a directory below it coexist (S3): a path through an
	// object is NotFound or works there, not NotDirectory.
	NoFileAsDirectory bool
	// Retried is set for stores that take a second attempt's NotFound for the first one's success.
	Retried bool
	// Model makes the store to compare random operations with, package mem's; without it there are none.
	Model func() ufs.Store
}

// Run runs the suite. open makes a fresh, empty store for each test.
func Run(t *testing.T, open func(t *testing.T) ufs.Store, options Options) {
	tests := []struct {
		name string
		run  func(*testing.T, *fixture)
	}{
		{"CreateOpen", testCreateOpen}, {"Ranges", testRanges}, {"Replace", testReplace}, {"Abort", testAbort},
		{"Big", testBig}, {"Stat", testStat}, {"List", testList}, {"ListOrder", testListOrder},
		{"ListAfter", testListAfter}, {"Remove", testRemove}, {"RenameObject", testRenameObject},
		{"RenameDirectory", testRenameDirectory}, {"RenameErrors", testRenameErrors}, {"Mkdir", testMkdir},
		{"Confinement", testConfinement}, {"Staged", testStaged}, {"Names", testNames}, {"SetAttr", testSetAttr}, {"Canceled", testCanceled},
		{"Fingerprint", testFingerprint}, {"Concurrent", testConcurrent}, {"Random", testRandom},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := open(t)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			f := &fixture{TB: t, ctx: ctx, s: s, o: options}
			defer func() {
				cancel()
				if err := s.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			}()
			test.run(t, f)
		})
	}
}

type fixture struct {
	testing.TB
	ctx context.Context
	s   ufs.Store
	o   Options
}

// Put writes one object, failing the test on any error.
func Put(ctx context.Context, t testing.TB, s ufs.Store, path string, content []byte) ufs.Entry {
	t.Helper()
	w, err := s.Create(ctx, path, 0o644)
	if err != nil {
		t.Fatalf("create %q: %v", path, err)
	}
	defer w.Abort()
	if n, err := w.Write(content); err != nil || n != len(content) {
		t.Fatalf("write %q: %d, %v", path, n, err)
	}
	e, err := w.Commit(ctx)
	if err != nil {
		t.Fatalf("commit %q: %v", path, err)
	}
	return e
}

// Get reads a range, failing the test on any error.
func Get(ctx context.Context, t testing.TB, s ufs.Store, path string, offset, length int64) []byte {
	t.Helper()
	r, err := s.Open(ctx, path, offset, length)
	if err != nil {
		t.Fatalf("open %q: %v", path, err)
	}
	defer func() { _ = r.Close() }()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read %q: %v", path, err)
	}
	return b
}

func (f *fixture) put(path, content string) ufs.Entry {
	f.Helper()
	return Put(f.ctx, f, f.s, path, []byte(content))
}

func (f *fixture) get(path string) string {
	f.Helper()
	return string(Get(f.ctx, f, f.s, path, 0, 1<<40))
}

// list describes the entries: "name" or "name/".
func (f *fixture) list(dir, after string) []string {
	f.Helper()
	names := []string{}
	for e, err := range f.s.List(f.ctx, dir, after) {
		if err != nil {
			f.Fatalf("list %q after %q: %v", dir, after, err)
		}
		if e.Dir {
			e.Name += "/"
		}
		names = append(names, e.Name)
	}
	return names
}

func (f *fixture) wantList(dir, after string, want ...string) {
	f.Helper()
	if got := f.list(dir, after); fmt.Sprint(got) != fmt.Sprint(want) {
		f.Errorf("list %q after %q = %q, want %q", dir, after, got, want)
	}
}

func (f *fixture) want(kind dfs.Kind, what string, err error) {
	f.Helper()
	if !dfs.IsKind(err, kind) {
		f.Errorf("%s: got %v, want %v", what, err, kind)
	}
}

func (f *fixture) ok(what string, err error) {
	f.Helper()
	if err != nil {
		f.Fatalf("%s: %v", what, err)
	}
}

func (f *fixture) statKind(path string) dfs.Kind {
	_, err := f.s.Stat(f.ctx, path)
	if err == nil {
		return dfs.Unknown
	}
	return dfs.KindOf(err)
}

func testCreateOpen(t *testing.T, f *fixture) {
	for _, content := range []string{"", "x", string(make([]byte, 100_000))} {
		e := f.put("d1/d2/object", content)
		if e.Name != "object" || e.Dir || e.Size != int64(len(content)) || e.Fingerprint == "" || e.ModTime.IsZero() {
			t.Errorf("commit's entry: %+v", e)
		}
		if got := f.get("d1/d2/object"); got != content {
			t.Errorf("got %d bytes, want %d", len(got), len(content))
		}
	}
	_, err := f.s.Open(f.ctx, "missing", 0, 1)
	f.want(dfs.NotFound, "open of a missing object", err)
	_, err = f.s.Open(f.ctx, "d1", 0, 1)
	f.want(dfs.IsDirectory, "open of a directory", err)
	_, err = f.s.Create(f.ctx, "", 0o644)
	f.want(dfs.IsDirectory, "create of the root", err)
	if !f.o.NoFileAsDirectory {
		_, err = f.s.Create(f.ctx, "d1", 0o644)
		f.want(dfs.IsDirectory, "create over a directory", err)
		_, err = f.s.Stat(f.ctx, "d1/d2/object/below")
		f.want(dfs.NotDirectory, "stat through an object", err)
	}
}

func testRanges(t *testing.T, f *fixture) {
	content := "0123456789"
	f.put("o", content)
	f.put("empty", "")
	for _, r := range []struct{ offset, length int64 }{{0, 10}, {0, 0}, {0, 1}, {3, 4}, {9, 1}, {9, 100}, {10, 5}, {50, 5}, {5, 0}} {
		from := min(r.offset, 10)
		want := content[from:min(from+r.length, 10)]
		if got := string(Get(f.ctx, f, f.s, "o", r.offset, r.length)); got != want {
			t.Errorf("range %d+%d = %q, want %q", r.offset, r.length, got, want)
		}
	}
	if got := Get(f.ctx, f, f.s, "empty", 0, 10); len(got) != 0 {
		t.Errorf("empty object reads %q", got)
	}
	_, err := f.s.Open(f.ctx, "o", -1, 5)
	f.want(dfs.InvalidArgument, "negative offset", err)
	_, err = f.s.Open(f.ctx, "missing", 5, 0)
	f.want(dfs.NotFound, "empty range of a missing object", err)
}

func testReplace(t *testing.T, f *fixture) {
	f.put("o", "first content")
	w, err := f.s.Create(f.ctx, "o", 0o644)
	f.ok("create", err)
	_, err = w.Write([]byte("second"))
	f.ok("write", err)
	if got := f.get("o"); got != "first content" {
		t.Errorf("before the commit: %q", got)
	}
	_, err = w.Commit(f.ctx)
	f.ok("commit", err)
	w.Abort() // safe after Commit
	if got := f.get("o"); got != "second" {
		t.Errorf("after the commit: %q", got)
	}
}

func testAbort(t *testing.T, f *fixture) {
	w, err := f.s.Create(f.ctx, "o", 0o644)
	f.ok("create", err)
	_, err = w.Write([]byte("never seen"))
	f.ok("write", err)
	f.wantList("", "")
	w.Abort()
	w.Abort()
	f.wantList("", "")
	if k := f.statKind("o"); k != dfs.NotFound {
		t.Errorf("stat after abort: %v", k)
	}
}

// testBig writes and reads through the path for large objects, in odd pieces, and checks content and ranges.
func testBig(t *testing.T, f *fixture) {
	size := f.o.BigObjectBytes
	if size == 0 {
		size = 3 << 20
	}
	r := rand.New(rand.NewPCG(1, 2))
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(r.Uint32())
	}
	w, err := f.s.Create(f.ctx, "big", 0o600)
	f.ok("create", err)
	defer w.Abort()
	for rest := content; len(rest) > 0; {
		n := min(len(rest), 1+r.IntN(1<<20))
		_, err := w.Write(rest[:n])
		f.ok("write", err)
		rest = rest[n:]
	}
	e, err := w.Commit(f.ctx)
	f.ok("commit", err)
	if e.Size != size {
		t.Errorf("size %d, want %d", e.Size, size)
	}
	if sha256.Sum256(Get(f.ctx, f, f.s, "big", 0, size)) != sha256.Sum256(content) {
		t.Error("content differs")
	}
	if got := Get(f.ctx, f, f.s, "big", size-1000, 5000); !bytes.Equal(got, content[size-1000:]) {
		t.Error("the tail differs")
	}
}

func testStat(t *testing.T, f *fixture) {
	root, err := f.s.Stat(f.ctx, "")
	f.ok("stat root", err)
	if !root.Dir || root.Name != "" {
		t.Errorf("root: %+v", root)
	}
	committed := f.put("a/b/c", "content")
	for _, dir := range []string{"a", "a/b"} {
		e, err := f.s.Stat(f.ctx, dir)
		f.ok("stat "+dir, err)
		_, name := ufs.Split(dir)
		if !e.Dir || e.Name != name || e.Fingerprint != "" || e.Size != 0 {
			t.Errorf("%q: %+v", dir, e)
		}
	}
	e, err := f.s.Stat(f.ctx, "a/b/c")
	f.ok("stat", err)
	if e.Dir || e.Name != "c" || e.Size != 7 || e.Fingerprint != committed.Fingerprint {
		t.Errorf("stat %+v, commit said %+v", e, committed)
	}
	for _, missing := range []string{"x", "a/x", "x/y/z", "a/b/cc", "a/b/"[:3] + "x"} {
		if k := f.statKind(missing); k != dfs.NotFound {
			t.Errorf("stat %q: %v", missing, k)
		}
	}
}

func testFingerprint(t *testing.T, f *fixture) {
	first := f.put("o", "aaaa")
	r, err := f.s.Open(f.ctx, "o", 0, 4)
	f.ok("open", err)
	if got := ufs.FingerprintOf(r); got != "" && got != first.Fingerprint {
		t.Errorf("the reader's fingerprint %q, commit's %q", got, first.Fingerprint)
	}
	f.ok("close", r.Close())
	for e, err := range f.s.List(f.ctx, "", "") {
		f.ok("list", err)
		if e.Fingerprint != first.Fingerprint {
			t.Errorf("the listing's fingerprint %q, commit's %q", e.Fingerprint, first.Fingerprint)
		}
	}
	if second := f.put("o", "bbbb"); second.Fingerprint == first.Fingerprint {
		t.Error("the same fingerprint for another content")
	}
}

func testCanceled(t *testing.T, f *fixture) {
	f.put("o", "x")
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	_, err := f.s.Stat(ctx, "o")
	if err != nil {
		f.want(dfs.Canceled, "stat", err)
	}
	for _, err = range f.s.List(ctx, "", "") {
		if err != nil {
			break
		}
	}
	f.want(dfs.Canceled, "list", err)
}

// testConcurrent checks that concurrent writers of one path leave one whole content, and others do not disturb it.
func testConcurrent(t *testing.T, f *fixture) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 5 {
				content := bytes.Repeat([]byte{byte(i)}, 10_000)
				w, err := f.s.Create(f.ctx, "shared", 0o644)
				if err != nil {
					t.Errorf("create: %v", err)
					return
				}
				_, err = w.Write(content)
				if err == nil {
					_, err = w.Commit(f.ctx)
				}
				if err != nil {
					t.Errorf("write: %v", err)
				}
				f.put(fmt.Sprintf("own/%d/%d", i, j), "x")
			}
		})
	}
	wg.Wait()
	got := f.get("shared")
	if len(got) != 10_000 || got != string(bytes.Repeat([]byte{got[0]}, 10_000)) {
		t.Errorf("a torn content of %d bytes", len(got))
	}
	f.wantList("own", "", "0/", "1/", "2/", "3/", "4/", "5/", "6/", "7/")
}
