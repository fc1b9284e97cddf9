package fetch

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host/hosttest"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/worker/blockstore"
)

// TestWindow: reads that follow each other double what is fetched ahead, up to MaxWindow; a jump begins anew, a hint counts at
// once, and what cannot be fetched or kept has none.
func TestWindow(t *testing.T) {
	const page = dfs.PageSizeBytes
	f := New(hosttest.NewVirtual(1), Config{MaxWindow: 4 * page})
	ref := &blockstore.Ref{File: dfs.FileVersion{Inode: 1, Version: 1}, Length: 100 * page, Persisted: true}
	for i, step := range []struct {
		offset, length, hint, want int64
	}{
		{0, page, 0, 0}, {page, page, 0, page}, {2 * page, page, 0, 2 * page}, {3 * page, page, 0, 4 * page}, {4 * page, page, 0, 4 * page},
		{50 * page, page, 0, 0}, {51 * page, 10, 0, page}, {51*page + 10, 10, 3 * page, 3 * page}, {51*page + 20, 10, 100 * page, 4 * page},
		{51*page + 20, 10, 0, 0}, {0, page, 2 * page, 2 * page}, {0, page, 0, 0}, {99 * page, page, 4 * page, 0},
	} {
		q := &Request{Offset: step.offset, Length: step.length, Prefetch: step.hint}
		if got := f.window(q, ref, step.offset+step.length); got != step.want {
			t.Errorf("step %d, %+v: %d", i, step, got)
		}
	}
	own := *ref
	own.Persisted = false
	for name, q := range map[string]*Request{"not kept": {ReadType: dfs.ReadNoCache, Prefetch: page}, "cached only": {CachedOnly: true, Prefetch: page}} {
		if got := f.window(q, ref, page); got != 0 {
			t.Errorf("%s: %d", name, got)
		}
	}
	if got := f.window(&Request{Prefetch: page}, &own, page); got != 0 {
		t.Errorf("of what no under store has: %d", got)
	}
}

// TestRememberedFilesAreBounded: reads of ever new files do not grow what is remembered of them.
func TestRememberedFilesAreBounded(t *testing.T) {
	f := New(hosttest.NewVirtual(1), Config{})
	for i := range 3 * maxRemembered {
		ref := &blockstore.Ref{File: dfs.FileVersion{Inode: dfs.InodeID(i), Version: 1}, Length: 100 * dfs.PageSizeBytes, Persisted: true}
		f.window(&Request{}, ref, dfs.PageSizeBytes)
		if len(f.streams) > maxRemembered {
			t.Fatalf("%d files are remembered", len(f.streams))
		}
	}
}

// TestFailedRunKinds: what a failed fetch tells its readers: their own deadline is never meant by the fetch's, an error of the
// store passes as it is, and a fetcher that is being closed sends them to another worker. No flight stays in the map.
func TestFailedRunKinds(t *testing.T) {
	for _, test := range []struct {
		name   string
		closed bool
		err    error
		want   dfs.Kind
		word   string
	}{
		{"time is up", false, dfs.Errorf(dfs.DeadlineExceeded, "read", "o", "late"), dfs.UnderStore, "within 3s"},
		{"canceled inside", false, dfs.Errorf(dfs.Canceled, "read", "o", "late"), dfs.UnderStore, "within 3s"},
		{"the store's own", false, dfs.Errorf(dfs.PermissionDenied, "read", "o", "no"), dfs.PermissionDenied, "no"},
		{"closing", true, dfs.Errorf(dfs.Canceled, "read", "o", "cut off"), dfs.Unavailable, "another one"},
		{"closing hides all", true, dfs.Errorf(dfs.PermissionDenied, "read", "o", "no"), dfs.Unavailable, "another one"},
	} {
		v := hosttest.NewVirtual(1)
		err := v.Run(func() {
			f := New(v, Config{Timeout: 3 * time.Second})
			run := []*flight{}
			f.mu.Lock()
			for i := range int64(3) {
				run = append(run, f.newFlight(pageKey{start: i}, i+1))
				run[i].board()
			}
			f.mu.Unlock()
			if test.closed {
				f.cancel()
			}
			f.failRun(run, test.err)
			for _, fl := range run {
				buffer, err := f.wait(t.Context(), fl)
				if buffer != nil || !dfs.IsKind(err, test.want) || !strings.Contains(err.Error(), test.word) {
					t.Errorf("%s: %v, want %v with %q", test.name, err, test.want, test.word)
				}
			}
			if n := f.InFlight(); n != 0 {
				t.Errorf("%s: %d flights are left", test.name, n)
			}
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// TestReadFull: pages are filled through short reads; an object that ends early is another content (Stale, and counted), and
// any other error is the store's.
func TestReadFull(t *testing.T) {
	f := New(hosttest.NewVirtual(1), Config{})
	m := &proto.FileRef{UfsPath: "dir/o", Length: 10}
	p := make([]byte, 10)
	if err := f.readFull(iotest.OneByteReader(strings.NewReader("0123456789rest")), p, m, 0); err != nil || string(p) != "0123456789" {
		t.Errorf("read %q, %v", p, err)
	}
	for i, content := range []string{"", "012345678"} {
		err := f.readFull(strings.NewReader(content), p, m, 0)
		if !dfs.IsKind(err, dfs.Stale) || !strings.Contains(err.Error(), "forebay fs load") || f.Counters.StaleReads.Load() != int64(i+1) {
			t.Errorf("%d bytes: %v, %d stale reads", len(content), err, f.Counters.StaleReads.Load())
		}
	}
	broken := dfs.Errorf(dfs.Unavailable, "read", "dir/o", "broken")
	err := f.readFull(io.MultiReader(strings.NewReader("01"), iotest.ErrReader(broken)), p, m, 0)
	if !dfs.IsKind(err, dfs.Unavailable) || !errors.Is(err, broken) || f.Counters.StaleReads.Load() != 2 {
		t.Errorf("a broken stream: %v", err)
	}
}

// TestRefOfAMessage: a reference that makes no sense is refused before anything is looked at.
func TestRefOfAMessage(t *testing.T) {
	const block = 4 * dfs.PageSizeBytes
	for name, m := range map[string]*proto.FileRef{
		"none": nil, "no block size": {Inode: 1, Version: 1, Length: 1}, "a negative length": {Inode: 1, Version: 1, Length: -1, BlockSize: block},
		"a negative block size": {Inode: 1, Version: 1, Length: 1, BlockSize: -block},
	} {
		if _, err := Ref(m); !dfs.IsKind(err, dfs.InvalidArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r, err := Ref(&proto.FileRef{Inode: 7, Version: 3, Length: 5, BlockSize: block, Persisted: true, Pinned: true, UfsPath: "d/o"})
	want := blockstore.Ref{File: dfs.FileVersion{Inode: 7, Version: 3}, Length: 5, BlockSize: block, Persisted: true, Pinned: true, Name: "d/o"}
	if err != nil || *r != want {
		t.Errorf("%+v, %v", r, err)
	}
}
