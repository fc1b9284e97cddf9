package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
	pb "github.com/forebay/forebay/system/proto"
)

// errDying is what a worker's fault answers.
func errDying(w *memWorker) error { return dfs.Errorf(dfs.Unavailable, "serve", w.id, "it is dying") }

// TestDamagedChunkMidStream (contract C5): a bad chunk behind good ones is read again too, whatever the way of reading.
func TestDamagedChunkMidStream(t *testing.T) {
	c := newCluster(t, 2)
	want := content(14, 2*blockBytes)
	c.ok(c.client.WriteFile(c.ctx, "/f", want, client.WithWriteType(dfs.WriteThrough)))
	var chunks atomic.Int32
	for _, w := range c.workers {
		w.with(func() {
			w.fault = func(w *memWorker, event string) error {
				if n := chunks.Add(1); event == "read" && (n == 2 || n == 5) { // n 1: the first chunk of the first range
					w.damage = 1
				}
				return nil
			}
		})
	}
	if got, err := c.client.ReadFile(c.ctx, "/f"); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if s := c.client.Stats(); s.CorruptChunks != 2 || s.Failovers != 2 {
		t.Errorf("the counts do not fit: %+v, want 2 corrupt chunks", s)
	}
}

// TestReaderAgainstModel: whatever is read from wherever, in whatever order, while workers fail at random, each byte is
// the right one, and ends of file are where they belong.
func TestReaderAgainstModel(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			c := newCluster(t, 4)
			rnd := rand.New(rand.NewPCG(seed, 99))
			want := content(seed, 3*blockBytes+rnd.IntN(blockBytes))
			c.ok(c.client.WriteFile(c.ctx, "/f", want, client.WithWriteType(dfs.WriteThrough)))
			for i, w := range c.workers {
				faults := rand.New(rand.NewPCG(seed, uint64(i)))
				w.with(func() { w.fault = randomFault(faults) })
			}
			f, err := c.client.Open(c.ctx, "/f")
			c.ok(err)
			defer f.Close()
			model := bytes.NewReader(want)
			for step := range 100 {
				if err := modelStep(rnd, f, model, len(want)); err != nil {
					t.Fatalf("step %d: %v", step, err)
				}
			}
		})
	}
}

// randomFault fails or damages one chunk in eight. It is called with the worker's lock held.
func randomFault(rnd *rand.Rand) func(w *memWorker, event string) error {
	return func(w *memWorker, event string) error {
		switch rnd.IntN(16) {
		case 0:
			return errDying(w)
		case 1:
			w.damage = 1
		}
		return nil
	}
}

// modelStep does one random thing to both readers and compares.
func modelStep(rnd *rand.Rand, f *client.File, model *bytes.Reader, size int) error {
	p, q := make([]byte, rnd.IntN(blockBytes)), []byte(nil)
	q = make([]byte, len(p))
	switch rnd.IntN(4) {
	case 0:
		offset, whence := int64(rnd.IntN(size+10)), io.SeekStart
		if rnd.IntN(3) == 0 {
			offset, whence = -int64(rnd.IntN(size)), io.SeekEnd
		}
		a, errA := f.Seek(offset, whence)
		b, errB := model.Seek(offset, whence)
		if a != b || (errA == nil) != (errB == nil) {
			return fmt.Errorf("seek(%d, %d): %d, %v; want %d, %v", offset, whence, a, errA, b, errB)
		}
		return nil
	case 1:
		offset := int64(rnd.IntN(size + 10))
		a, errA := f.ReadAt(p, offset)
		b, errB := model.ReadAt(q, offset)
		return sameRead(fmt.Sprintf("ReadAt(+%d, %d)", len(p), offset), p, q, a, b, errA, errB)
	case 2:
		a, errA := io.ReadFull(f, p)
		b, errB := io.ReadFull(model, q)
		return sameRead(fmt.Sprintf("ReadFull(+%d)", len(p)), p, q, a, b, errA, errB)
	}
	// One Read may give less than was asked, so the model takes what was given.
	a, errA := f.Read(p)
	b, errB := model.Read(q[:a])
	if a == 0 && len(p) > 0 {
		b, errB = model.Read(q)
	}
	return sameRead(fmt.Sprintf("Read(+%d)", len(p)), p, q, a, b, errA, errB)
}

func sameRead(what string, p, q []byte, a, b int, errA, errB error) error {
	eof := func(err error) error {
		if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		return fmt.Errorf("not an end: %w", err)
	}
	if a != b || !bytes.Equal(p[:a], q[:b]) || fmt.Sprint(eof(errA)) != fmt.Sprint(errB) {
		return fmt.Errorf("%s: %d bytes, %v; want %d, %v (equal %v)", what, a, errA, b, errB, bytes.Equal(p[:min(a, b)], q[:min(a, b)]))
	}
	return nil
}

// TestWriterAgainstModel: files written in pieces of random sizes, by Write and ReadFrom in turn, with workers that fail
// at random, hold what was written or are not there at all.
func TestWriterAgainstModel(t *testing.T) {
	c := newCluster(t, 4)
	for i, w := range c.workers {
		faults := rand.New(rand.NewPCG(5, uint64(i)))
		w.with(func() {
			w.fault = func(w *memWorker, event string) error {
				if event == "write" && faults.IntN(12) == 0 {
					return errDying(w)
				}
				return nil
			}
		})
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 24 {
		path := dfs.MustPath(fmt.Sprintf("/f%d", i))
		writeType := dfs.WriteType(i % 4)
		w, err := c.client.Create(c.ctx, path, client.WithWriteType(writeType), client.WithBlockSize(1<<20), client.WithDurableReplicas(2))
		c.ok(err)
		var model bytes.Buffer
		for range rnd.IntN(6) {
			piece := content(rnd.Uint64(), rnd.IntN(900_000))
			model.Write(piece)
			if rnd.IntN(2) == 0 {
				_, err = w.Write(piece)
			} else {
				_, err = w.ReadFrom(io.MultiReader(bytes.NewReader(piece[:len(piece)/3]), bytes.NewReader(piece[len(piece)/3:])))
			}
			c.ok(err)
			if w.Length() != int64(model.Len()) {
				t.Fatalf("%s: length %d, want %d", path, w.Length(), model.Len())
			}
		}
		if i%5 == 4 {
			w.Abort()
			_, err := c.client.Stat(c.ctx, path)
			c.wants(dfs.NotFound, err)
			continue
		}
		c.ok(w.Close())
		c.ok(w.Close())
		if _, err := w.Write([]byte("x")); !dfs.IsKind(err, dfs.InvalidArgument) {
			t.Errorf("a write after Close: %v", err)
		}
		if got, err := c.client.ReadFile(c.ctx, path); err != nil || !bytes.Equal(got, model.Bytes()) {
			t.Fatalf("%s (%v): %d bytes, want %d, %v", path, writeType, len(got), model.Len(), err)
		}
	}
}

// idleReader gives neither bytes nor an error.
type idleReader struct{}

func (idleReader) Read([]byte) (int, error) { return 0, nil }

// TestReadFromIdleReader: a reader that makes no progress ends the copy, as in package bufio.
func TestReadFromIdleReader(t *testing.T) {
	c := newCluster(t, 1)
	w, err := c.client.Create(c.ctx, "/f")
	c.ok(err)
	if _, err := w.ReadFrom(idleReader{}); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("got %v, want no progress", err)
	}
	boom := errors.New("boom")
	if err := w.CloseWithError(boom); !errors.Is(err, boom) {
		t.Errorf("CloseWithError gave %v", err)
	}
	_, err = c.client.Stat(c.ctx, "/f")
	c.wants(dfs.NotFound, err)
}

// TestFileContracts: what io.ReaderAt, io.Seeker and io.Closer promise at the edges.
func TestFileContracts(t *testing.T) {
	c := newCluster(t, 1)
	c.ok(c.client.WriteFile(c.ctx, "/f", []byte("0123456789")))
	c.ok(c.client.Mkdir(c.ctx, "/d"))
	f, err := c.client.Open(c.ctx, "/f")
	c.ok(err)
	if n, err := f.ReadAt(nil, 100); n != 0 || err != nil {
		t.Errorf("an empty ReadAt: %d, %v", n, err)
	}
	if n, err := f.ReadAt(make([]byte, 10), 0); n != 10 || err != nil {
		t.Errorf("to the very end: %d, %v", n, err)
	}
	if n, err := f.ReadAt(make([]byte, 1), 10); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %d, %v", n, err)
	}
	_, err = f.ReadAt(make([]byte, 1), -1)
	c.wants(dfs.InvalidArgument, err)
	for _, bad := range [][2]int{{-1, io.SeekStart}, {-11, io.SeekEnd}, {0, 3}, {0, -1}} {
		_, err = f.Seek(int64(bad[0]), bad[1])
		c.wants(dfs.InvalidArgument, err)
	}
	if at, err := f.Seek(100, io.SeekStart); at != 100 || err != nil {
		t.Errorf("past the end: %d, %v", at, err)
	}
	if n, err := f.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read past the end: %d, %v", n, err)
	}
	if n, err := f.Read(nil); n != 0 || err != nil {
		t.Errorf("an empty Read: %d, %v", n, err)
	}
	c.ok(f.Close())
	c.ok(f.Close())
	for _, read := range []func() error{
		func() error { _, err := f.ReadAt(make([]byte, 1), 0); return err },
		func() error {
			_, err := f.Seek(0, io.SeekStart)
			c.ok(err)
			_, err = f.Read(make([]byte, 1))
			return err
		},
	} {
		c.wants(dfs.InvalidArgument, read())
	}
	_, err = c.client.Open(c.ctx, "/d")
	c.wants(dfs.IsDirectory, err)
	_, err = c.client.Open(c.ctx, "/none")
	c.wants(dfs.NotFound, err)
}

// shortWriter takes half of what it is given.
type shortWriter struct{ n int }

func (w *shortWriter) Write(p []byte) (int, error) { w.n += len(p) / 2; return len(p) / 2, nil }

// TestWriteToShort: a writer that takes less is told of, and the position is behind what it took.
func TestWriteToShort(t *testing.T) {
	c := newCluster(t, 1)
	want := content(3, 5000)
	c.ok(c.client.WriteFile(c.ctx, "/f", want))
	f, err := c.client.Open(c.ctx, "/f")
	c.ok(err)
	defer f.Close()
	out := &shortWriter{}
	if n, err := f.WriteTo(out); !errors.Is(err, io.ErrShortWrite) || n != int64(out.n) {
		t.Errorf("%d bytes, %v", n, err)
	}
	if rest, err := io.ReadAll(f); err != nil || !bytes.Equal(rest, want[out.n:]) {
		t.Errorf("the rest: %d bytes, %v", len(rest), err)
	}
}

// TestStaleForManyReaders: readers that meet one stale version together all get the new one, and never parts of both.
func TestStaleForManyReaders(t *testing.T) {
	c := newCluster(t, 2)
	for round := range 20 {
		path := dfs.MustPath(fmt.Sprintf("/f%d", round))
		c.ok(c.client.WriteFile(c.ctx, path, content(1, 1000), client.WithWriteType(dfs.WriteThrough)))
		f, err := c.client.Open(c.ctx, path)
		c.ok(err)
		want := content(uint64(round), 2000)
		w, err := c.store.Create(c.ctx, string(path[1:]), 0o644)
		c.ok(err)
		_, err = w.Write(want)
		c.ok(err)
		_, err = w.Commit(c.ctx)
		c.ok(err)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				p := make([]byte, 100)
				if _, err := f.ReadAt(p, int64(i*100)); err != nil || !bytes.Equal(p, want[i*100:i*100+100]) {
					t.Errorf("round %d, reader %d: %v, equal %v", round, i, err, bytes.Equal(p, want[i*100:i*100+100]))
				}
			})
		}
		wg.Wait()
		c.ok(f.Close())
	}
}

// impatient is a client of the cluster with a short timeout.
func (c *cluster) impatient(timeout time.Duration, masters ...string) *client.Client {
	fs, err := client.New(client.Config{
		Host: c.h, Masters: masters, Identity: dfs.Identity{User: "root"}, Timeout: timeout, WriteType: dfs.WriteMustCache,
		WorkerListAge: 20 * time.Millisecond,
	})
	c.ok(err)
	c.t.Cleanup(func() { _ = fs.Close() })
	return fs
}

// TestNoMasterEndsInTime: without a deadline of their own, callers that wait together end together, after one timeout,
// with the reason why the masters did not answer.
func TestNoMasterEndsInTime(t *testing.T) {
	c := newCluster(t, 0)
	const timeout = 300 * time.Millisecond
	fs := c.impatient(timeout, "127.0.0.1:1")
	began := time.Now()
	var wg sync.WaitGroup
	for i := range 24 { // one behind the other at the lock of the session, or of the worker list
		wg.Go(func() {
			var err error
			switch i % 4 {
			case 0:
				err = fs.Mkdir(context.Background(), "/a")
			case 1:
				_, err = fs.Stat(context.Background(), "/a")
			case 2:
				err = fs.Rename(context.Background(), "/a", "/b")
			default:
				_, err = fs.Workers(context.Background())
			}
			if !dfs.IsKind(err, dfs.DeadlineExceeded) {
				t.Errorf("caller %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(began); took > 6*timeout {
		t.Errorf("the last caller ended after %v, each has %v", took, timeout)
	}
}

// TestHungMaster: a master that takes operations and never answers ends callers at the client's timeout, by batch and by
// single call.
func TestHungMaster(t *testing.T) {
	c := newCluster(t, 0)
	hung := make(chan struct{})
	c.door.lose = func(b *pb.OperationBatch) error {
		if len(b.Operations) > 0 {
			<-hung
		}
		return nil
	}
	defer close(hung)
	fs := c.impatient(400*time.Millisecond, c.address)
	for name, call := range map[string]func() error{
		"batch": func() error { _, err := fs.Stat(context.Background(), "/"); return err },
		"call":  func() error { _, err := fs.Mounts(context.Background()); return err },
	} {
		began := time.Now()
		c.wants(dfs.DeadlineExceeded, call())
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%s: ended after %v", name, took)
		}
	}
}

// TestHungWorker: a worker that answers the connection's pings but not the read is given up for another one.
func TestHungWorker(t *testing.T) {
	c := newCluster(t, 2)
	want := content(8, 1000)
	c.ok(c.client.WriteFile(c.ctx, "/f", want, client.WithWriteType(dfs.WriteThrough)))
	hung := make(chan struct{})
	defer close(hung)
	var once sync.Once
	for _, w := range c.workers {
		w.with(func() {
			w.stall = func() {
				first := false
				once.Do(func() { first = true })
				if first {
					<-hung
				}
			}
		})
	}
	fs := c.impatient(400*time.Millisecond, c.address)
	f, err := fs.Open(context.Background(), "/f")
	c.ok(err)
	defer f.Close()
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if s := fs.Stats(); s.Failovers != 1 {
		t.Errorf("%+v, want one failover", s)
	}
}

// TestReadersGoOnWithoutMaster: an open file is read to its end while no master answers, without a wait for each block.
func TestReadersGoOnWithoutMaster(t *testing.T) {
	c := newCluster(t, 2)
	want := content(9, 4*blockBytes)
	c.ok(c.client.WriteFile(c.ctx, "/f", want, client.WithWriteType(dfs.WriteThrough)))
	fs := c.impatient(10*time.Second, c.address)
	f, err := fs.Open(c.ctx, "/f")
	c.ok(err)
	defer f.Close()
	p := make([]byte, 10)
	_, err = f.ReadAt(p, 0) // the worker list is known now
	c.ok(err)
	c.door.down.Store(true)
	time.Sleep(50 * time.Millisecond) // and old
	began := time.Now()
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestNotUTF8: what cannot be encoded is refused by itself, and does not keep others from being served.
func TestNotUTF8(t *testing.T) {
	c := newCluster(t, 0)
	c.ok(c.client.Mkdir(c.ctx, "/a"))
	bad := "\xff\xfe"
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := c.client.Stat(c.ctx, "/a"); err != nil {
					t.Errorf("an innocent caller: %v", err)
					return
				}
			}
		})
	}
	for _, err := range []error{
		c.client.SetAttr(c.ctx, "/a", client.Attributes{Owner: &bad}),
		c.client.SetXattr(c.ctx, "/a", bad, nil, client.XattrAny),
		c.client.Mount(c.ctx, client.Mount{Path: "/m", URI: bad}),
		c.client.As(dfs.Identity{User: bad}).Mkdir(c.ctx, "/b"),
	} {
		if !dfs.IsKind(err, dfs.InvalidArgument) {
			t.Errorf("got %v, want invalid argument", err)
		}
	}
	close(stop)
	wg.Wait()
	c.ok(c.client.Mkdir(c.ctx, "/c"))
}

// TestCanceledContext: an operation whose context has ended does not start, and says so.
func TestCanceledContext(t *testing.T) {
	c := newCluster(t, 1)
	ended, cancel := context.WithCancel(c.ctx)
	cancel()
	_, err := c.client.Stat(ended, "/")
	c.wants(dfs.Canceled, err)
	c.wants(dfs.Canceled, c.client.Mkdir(ended, "/never"))
	exists, err := c.client.Exists(c.ctx, "/never")
	if exists || err != nil {
		t.Errorf("an operation that was given up before it began took place: %v, %v", exists, err)
	}
	w, err := c.client.Create(c.ctx, "/f")
	c.ok(err)
	w.Abort()
	life, end := context.WithCancel(c.ctx)
	w, err = c.client.Create(life, "/g")
	c.ok(err)
	_, err = w.Write([]byte("x"))
	c.ok(err)
	end() // Ctrl-C in the middle: the file is dropped
	c.wants(dfs.Canceled, w.Close())
	_, err = c.client.Stat(c.ctx, "/g")
	c.wants(dfs.NotFound, err)
}

// TestClosedClient: everything of a closed client fails at once as Canceled.
func TestClosedClient(t *testing.T) {
	c := newCluster(t, 1)
	c.ok(c.client.WriteFile(c.ctx, "/f", []byte("x")))
	c.ok(c.client.Close())
	view := c.client.As(dfs.Identity{User: "ann"})
	_, err := view.Stat(c.ctx, "/f")
	for _, err := range []error{err, c.client.Mkdir(c.ctx, "/d"), c.client.Rename(c.ctx, "/f", "/g"), c.client.Remove(c.ctx, "/f", client.RemoveOptions{Recursive: true})} {
		c.wants(dfs.Canceled, err)
	}
}
