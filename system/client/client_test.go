package client_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
	pb "github.com/forebay/forebay/system/proto"
)

// content is n bytes that depend on a seed and on their place.
func content(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, n)
	for i := 0; i+8 <= n; i += 8 {
		v := r.Uint64()
		for k := range 8 {
			b[i+k] = byte(v >> (8 * k))
		}
	}
	return b
}

// TestWriteTypesRoundTrip: at every write type and size around pages and blocks, all ways of reading give what was
// written, from any client, and the under store has it when the type says so.
func TestWriteTypesRoundTrip(t *testing.T) {
	c := newCluster(t, 3)
	sizes := []int{0, 1, 1<<20 - 1, 1 << 20, 1<<20 + 1, blockBytes, blockBytes + 1, 3*blockBytes + 12345}
	for _, writeType := range []dfs.WriteType{dfs.WriteMustCache, dfs.WriteAsyncThrough, dfs.WriteThrough, dfs.WriteCacheThrough} {
		for i, size := range sizes {
			t.Run(fmt.Sprintf("%v/%d", writeType, size), func(t *testing.T) {
				path := dfs.MustPath(fmt.Sprintf("/%v-%d", writeType, size))
				want := content(uint64(i), size)
				c.ok(c.client.WriteFile(c.ctx, path, want, client.WithWriteType(writeType)))
				status, err := c.client.Stat(c.ctx, path)
				c.ok(err)
				if status.Length != int64(size) || !status.Completed {
					t.Fatalf("length %d, completed %v", status.Length, status.Completed)
				}
				if through := writeType == dfs.WriteThrough || writeType == dfs.WriteCacheThrough; through {
					entry, err := c.store.Stat(c.ctx, string(path[1:]))
					if err != nil || entry.Size != int64(size) || status.Persist != dfs.Persisted {
						t.Fatalf("the under store has %+v (%v), the status says %v", entry, err, status.Persist)
					}
				}
				readEveryWay(t, c, path, want)
			})
		}
	}
}

func readEveryWay(t *testing.T, c *cluster, path dfs.Path, want []byte) {
	t.Helper()
	whole, err := c.client.ReadFile(c.ctx, path)
	if err != nil || !bytes.Equal(whole, want) {
		t.Fatalf("ReadFile: %d bytes, %v", len(whole), err)
	}
	f, err := c.client.Open(c.ctx, path)
	c.ok(err)
	defer f.Close()
	var out bytes.Buffer
	if _, err := f.WriteTo(&out); err != nil || !bytes.Equal(out.Bytes(), want) {
		t.Fatalf("WriteTo: %d bytes, %v", out.Len(), err)
	}
	_, err = f.Seek(0, io.SeekStart)
	c.ok(err)
	var slow []byte
	for buf := make([]byte, 99_991); ; {
		n, err := f.Read(buf)
		slow = append(slow, buf[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		c.ok(err)
	}
	if !bytes.Equal(slow, want) {
		t.Fatalf("Read: %d bytes that differ", len(slow))
	}
	r := rand.New(rand.NewPCG(1, uint64(len(want))))
	for range 8 {
		offset := r.IntN(len(want) + 1)
		p := make([]byte, r.IntN(blockBytes+1000))
		n, err := f.ReadAt(p, int64(offset))
		if end := min(offset+len(p), len(want)); n != end-offset || !bytes.Equal(p[:n], want[offset:end]) || (n < len(p)) != errors.Is(err, io.EOF) {
			t.Fatalf("ReadAt(%d,+%d): %d bytes, %v", offset, len(p), n, err)
		}
	}
}

// TestConcurrentReaders: one File serves concurrent ReadAt and a sequential reader.
func TestConcurrentReaders(t *testing.T) {
	c := newCluster(t, 2)
	want := content(3, 2*blockBytes)
	c.ok(c.client.WriteFile(c.ctx, "/f", want))
	f, err := c.client.Open(c.ctx, "/f")
	c.ok(err)
	defer f.Close()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			p := make([]byte, 300_000)
			at := i * 500_000
			if n, err := f.ReadAt(p, int64(at)); (err != nil && !errors.Is(err, io.EOF)) || !bytes.Equal(p[:n], want[at:at+n]) {
				t.Errorf("at %d: %d bytes, %v", at, n, err)
			}
		})
	}
	wg.Go(func() {
		if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, want) {
			t.Errorf("ReadAll: %d bytes, %v", len(got), err)
		}
	})
	wg.Wait()
}

// TestDamagedChunk (contract C5): a wrong checksum is read again from another worker, and counted; when no good copy is
// left the error says so and no wrong byte is returned.
func TestDamagedChunk(t *testing.T) {
	c := newCluster(t, 3)
	want := content(4, blockBytes)
	c.ok(c.client.WriteFile(c.ctx, "/through", want, client.WithWriteType(dfs.WriteThrough)))
	for _, w := range c.workers[:2] { // the third may be first in rank
		w.with(func() { w.damage = 1 })
	}
	if got, err := c.client.ReadFile(c.ctx, "/through"); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if s := c.client.Stats(); s.CorruptChunks != s.Failovers || s.CorruptChunks > 2 {
		t.Errorf("the counts do not fit: %+v", s)
	}
	c.ok(c.client.WriteFile(c.ctx, "/single", want))
	for _, w := range c.workers {
		w.with(func() { w.damage = 1 << 30 })
	}
	_, err := c.client.ReadFile(c.ctx, "/single")
	c.wants(dfs.Corrupted, err)
}

// TestWorkerDiesWhileWriting: what is not acknowledged is sent again to another worker, for every write type.
func TestWorkerDiesWhileWriting(t *testing.T) {
	for _, writeType := range []dfs.WriteType{dfs.WriteMustCache, dfs.WriteAsyncThrough, dfs.WriteThrough, dfs.WriteCacheThrough} {
		t.Run(writeType.String(), func(t *testing.T) {
			c := newCluster(t, 3)
			var faults atomic.Int32
			for _, w := range c.workers {
				w.fault = func(w *memWorker, event string) error {
					if event == "write" && w.writes == 2 && faults.Add(1) <= 2 {
						return dfs.Errorf(dfs.Unavailable, "write", w.id, "it is dying")
					}
					return nil
				}
			}
			want := content(5, 2*blockBytes+77)
			c.ok(c.client.WriteFile(c.ctx, "/f", want, client.WithWriteType(writeType)))
			if faults.Load() == 0 {
				t.Fatal("no worker failed: the test tests nothing")
			}
			if got, err := c.client.ReadFile(c.ctx, "/f"); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
		})
	}
}

// TestDurableReplicas (contract C3): with two durable copies, an acknowledged block survives its first worker's death,
// and without any it is reported as lost, not as unavailable. It has them whatever the file was made with that it replaces.
func TestDurableReplicas(t *testing.T) {
	c := newCluster(t, 3)
	want := content(6, blockBytes)
	c.ok(c.client.WriteFile(c.ctx, "/f", content(5, 10)))
	c.ok(c.client.WriteFile(c.ctx, "/f", want, client.WithWriteType(dfs.WriteAsyncThrough), client.WithDurableReplicas(2)))
	blocks, err := c.client.Locate(c.ctx, "/f")
	c.ok(err)
	if len(blocks) != 1 || len(blocks[0].Workers) != 2 {
		t.Fatalf("located %v, want one block on two workers", blocks)
	}
	f, err := c.client.Open(c.ctx, "/f")
	c.ok(err)
	for _, w := range c.workers {
		if w.id == string(blocks[0].Workers[0]) {
			w.kill()
		}
	}
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
}

// TestDataLost: a block whose only worker is gone is lost, with a remedy that names the worker.
func TestDataLost(t *testing.T) {
	c := newCluster(t, 2)
	c.ok(c.client.WriteFile(c.ctx, "/f", content(1, 100)))
	blocks, err := c.client.Locate(c.ctx, "/f")
	c.ok(err)
	for _, w := range c.workers {
		if w.id == string(blocks[0].Workers[0]) {
			w.kill()
		}
	}
	_, err = c.client.ReadFile(c.ctx, "/f")
	c.wants(dfs.DataLost, err)
}

// TestVersions (contract C4): an open file keeps its version while another one is written; a new open sees the new one;
// an incomplete file cannot be opened, and an aborted one is gone.
func TestVersions(t *testing.T) {
	c := newCluster(t, 2)
	first, second := content(1, 500_000), content(2, 400_000)
	c.ok(c.client.WriteFile(c.ctx, "/f", first))
	f, err := c.client.Open(c.ctx, "/f")
	c.ok(err)
	defer f.Close()
	w, err := c.client.Create(c.ctx, "/f", client.WithOverwrite())
	c.ok(err)
	_, err = w.Write(second)
	c.ok(err)
	if got, err := c.client.ReadFile(c.ctx, "/f"); err != nil || !bytes.Equal(got, first) {
		t.Errorf("before the close: %d bytes, %v, want the first version", len(got), err)
	}
	c.ok(w.Close())
	if got, err := c.client.ReadFile(c.ctx, "/f"); err != nil || !bytes.Equal(got, second) {
		t.Errorf("after the close: %d bytes, %v, want the second version", len(got), err)
	}
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, first) {
		t.Errorf("the open file: %d bytes, %v, want the first version", len(got), err)
	}
	w, err = c.client.Create(c.ctx, "/g")
	c.ok(err)
	_, err = c.client.Open(c.ctx, "/g")
	c.wants(dfs.Incomplete, err)
	w.Abort()
	c.wants(dfs.Canceled, w.Close())
	_, err = c.client.Stat(c.ctx, "/g")
	c.wants(dfs.NotFound, err)
}

// TestStaleUnderStore: a file whose object was replaced behind our back is opened anew when nothing of it was returned.
func TestStaleUnderStore(t *testing.T) {
	c := newCluster(t, 2)
	c.ok(c.client.WriteFile(c.ctx, "/f", content(1, 1000), client.WithWriteType(dfs.WriteThrough)))
	f, err := c.client.Open(c.ctx, "/f")
	c.ok(err)
	defer f.Close()
	want := content(2, 2000)
	w, err := c.store.Create(c.ctx, "f", 0o644)
	c.ok(err)
	_, err = w.Write(want)
	c.ok(err)
	_, err = w.Commit(c.ctx)
	c.ok(err)
	got, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes, %v, want the new content", len(got), err)
	}
}

// TestExactlyOnce (contract C2): answers that are lost on their way change nothing: every mutation happens once, by
// batches and by single calls.
func TestExactlyOnce(t *testing.T) {
	c := newCluster(t, 1)
	var lost atomic.Int64
	c.door.lose = func(*pb.OperationBatch) error {
		if lost.Add(1)%3 != 0 {
			return dfs.Errorf(dfs.Unavailable, "answer", "", "the answer was lost")
		}
		return nil
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			dir := dfs.MustPath(fmt.Sprintf("/d%d", i))
			steps := []error{
				c.client.Mkdir(c.ctx, dir), // a second execution would answer AlreadyExists
				c.client.WriteFile(c.ctx, dir.Join("f"), []byte("x")),
				c.client.RenameNoReplace(c.ctx, dir.Join("f"), dir.Join("g")), // NotFound
				c.client.SetXattr(c.ctx, dir.Join("g"), "user.k", []byte("v"), client.XattrCreate),
				c.client.Remove(c.ctx, dir.Join("g"), client.RemoveOptions{}), // NotFound
				c.client.Remove(c.ctx, dir, client.RemoveOptions{}),
			}
			for k, err := range steps {
				if err != nil {
					t.Errorf("%s, step %d: %v", dir, k, err)
				}
			}
		})
	}
	wg.Wait()
}

// TestSessionExpires: a session that the master forgot is replaced without anybody noticing, unless an outcome was in
// doubt, which the error then says.
func TestSessionExpires(t *testing.T) {
	c := newCluster(t, 0)
	c.ok(c.client.Mkdir(c.ctx, "/a"))
	var answers []error
	c.door.lose = func(b *pb.OperationBatch) error {
		if len(answers) == 0 || b.Operations[0].Sequence == 0 {
			return nil
		}
		next := answers[0]
		answers = answers[1:]
		return next
	}
	expired := dfs.Errorf(dfs.SessionExpired, "check session", "", "it is not known")
	answers = []error{expired}
	err := c.client.Mkdir(c.ctx, "/b", client.WithParents()) // it did happen in this test's first attempt
	c.ok(err)
	answers = []error{dfs.Errorf(dfs.Unavailable, "answer", "", "lost"), expired}
	err = c.client.Mkdir(c.ctx, "/c")
	c.wants(dfs.SessionExpired, err)
	if !bytes.Contains([]byte(err.Error()), []byte("outcome is unknown")) {
		t.Errorf("%v does not say that the outcome is unknown", err)
	}
}

// TestNamespace: the calls that the other tests do not use.
func TestNamespace(t *testing.T) {
	c := newCluster(t, 1)
	fsys := c.client
	c.ok(fsys.Mkdir(c.ctx, "/a/b/c", client.WithParents(), client.WithMode(0o700)))
	c.ok(fsys.WriteFile(c.ctx, "/a/b/f", []byte("hello")))
	c.ok(fsys.Copy(c.ctx, "/a/b/f", "/a/b/g"))
	ttl := 5 * time.Hour
	c.ok(fsys.SetTTL(c.ctx, "/a/b/f", ttl, dfs.TTLFree))
	c.ok(fsys.Pin(c.ctx, "/a/b/f"))
	s, err := fsys.Stat(c.ctx, "/a/b/f")
	c.ok(err)
	if !s.Pinned || s.TTL != ttl || s.TTLAction != dfs.TTLFree {
		t.Errorf("pinned %v, TTL %v %v", s.Pinned, s.TTL, s.TTLAction)
	}
	c.ok(fsys.Unpin(c.ctx, "/a/b/f"))
	c.ok(fsys.SetXattr(c.ctx, "/a/b/f", "user.k", []byte("v"), client.XattrCreate))
	c.wants(dfs.AlreadyExists, fsys.SetXattr(c.ctx, "/a/b/f", "user.k", nil, client.XattrCreate))
	if v, err := fsys.Xattr(c.ctx, "/a/b/f", "user.k"); err != nil || string(v) != "v" {
		t.Errorf("xattr %q, %v", v, err)
	}
	c.ok(fsys.RemoveXattr(c.ctx, "/a/b/f", "user.k"))
	_, err = fsys.Xattr(c.ctx, "/a/b/f", "user.k")
	c.wants(dfs.NotFound, err)
	var walked []dfs.Path
	c.ok(fsys.WalkDir(c.ctx, "/a", func(p dfs.Path, _ *dfs.FileStatus, err error) error {
		walked = append(walked, p)
		if p == "/a/b/f" {
			return fs.SkipDir // leaves the directory that f lies in
		}
		return err
	}))
	if got := fmt.Sprint(walked); got != "[/a /a/b /a/b/c /a/b/f]" {
		t.Errorf("walked %s", got)
	}
	if ok, err := fsys.Exists(c.ctx, "/a/b/none"); ok || err != nil {
		t.Errorf("exists: %v, %v", ok, err)
	}
	mounts, err := fsys.Mounts(c.ctx)
	if err != nil || len(mounts) != 1 || mounts[0].URI != "mem://root" {
		t.Errorf("mounts %v, %v", mounts, err)
	}
	workers, err := fsys.Workers(c.ctx)
	if err != nil || len(workers) != 1 || workers[0].CapacityBytes() != 1<<30 || !workers[0].Registered {
		t.Errorf("workers %v, %v", workers, err)
	}
	c.wants(dfs.NotEmpty, fsys.Remove(c.ctx, "/a", client.RemoveOptions{}))
	c.ok(fsys.Remove(c.ctx, "/a", client.RemoveOptions{Recursive: true}))
}

// TestListPages: a directory larger than a page is listed whole, in order, and a listing can be left early.
func TestListPages(t *testing.T) {
	c := newCluster(t, 0)
	const files = 2*client.DefaultListPageEntries + 10
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for k := i; k < files; k += 64 {
				if err := c.client.WriteFile(c.ctx, dfs.MustPath(fmt.Sprintf("/f%05d", k)), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	n := 0
	for s, err := range c.client.List(c.ctx, "/") {
		c.ok(err)
		if want := fmt.Sprintf("f%05d", n); s.Name != want {
			t.Fatalf("entry %d is %s", n, s.Name)
		}
		n++
	}
	if n != files {
		t.Errorf("%d entries, want %d", n, files)
	}
	for range c.client.List(c.ctx, "/") {
		break
	}
}

// TestFS: the io/fs view passes the standard library's own test.
func TestFS(t *testing.T) {
	c := newCluster(t, 1)
	c.ok(c.client.Mkdir(c.ctx, "/dir/sub", client.WithParents()))
	for _, p := range []dfs.Path{"/a.txt", "/dir/b.bin", "/dir/sub/c", "/dir/empty"} {
		c.ok(c.client.WriteFile(c.ctx, p, content(uint64(len(p)), len(p)*3)))
	}
	if err := fstest.TestFS(c.client.FS(c.ctx), "a.txt", "dir/b.bin", "dir/sub/c", "dir/empty"); err != nil {
		t.Error(err)
	}
	_, err := fs.Stat(c.client.FS(c.ctx), "none")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}
