package client_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
)

var allWriteTypes = []dfs.WriteType{dfs.WriteMustCache, dfs.WriteAsyncThrough, dfs.WriteThrough, dfs.WriteCacheThrough}

// holder makes workers hang at chosen events until the test ends.
type holder struct{ release chan struct{} }

// newHolder makes one; its workers are released before the cluster is taken down.
func newHolder(c *cluster) *holder {
	h := &holder{release: make(chan struct{})}
	c.t.Cleanup(func() { close(h.release) })
	return h
}

// at hangs the workers' events of this name for as long as there are some left.
func (h *holder) at(event string, left *atomic.Int32, workers ...*memWorker) {
	for _, w := range workers {
		w.with(func() {
			w.hold = func(e string) {
				if e == event && left.Add(-1) >= 0 {
					<-h.release
				}
			}
		})
	}
}

// released fails the test when writers of the client still keep bytes.
func (c *cluster) released(fs *client.Client) {
	c.t.Helper()
	if held := client.ReplayHeld(fs); held != 0 {
		c.t.Errorf("%d kept bytes were not given back", held)
	}
}

// TestStalledUploadGoesElsewhere: a worker that hangs in the middle of a write or at its commit, with its connection well, is
// given up, and the file is written whole at another one, though no context has a deadline.
func TestStalledUploadGoesElsewhere(t *testing.T) {
	for _, writeType := range allWriteTypes {
		for _, event := range []string{"write", "commit"} {
			t.Run(fmt.Sprintf("%v/%s", writeType, event), func(t *testing.T) {
				t.Parallel()
				c := newCluster(t, 3)
				var left atomic.Int32
				left.Store(1)
				newHolder(c).at(event, &left, c.workers...)
				fs := c.impatient(700*time.Millisecond, c.address)
				want := content(1, blockBytes/2)
				c.ok(fs.WriteFile(context.Background(), "/f", want, client.WithWriteType(writeType)))
				if left.Load() >= 1 {
					t.Error("no worker hung: the test tests nothing")
				}
				if got, err := c.client.ReadFile(c.ctx, "/f"); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				if s := fs.Stats(); s.Failovers < 1 {
					t.Errorf("%+v, want a failover", s)
				}
				c.released(fs)
			})
		}
	}
}

// TestAllWorkersStall: when no worker acknowledges anything, Close ends by itself, as Unavailable, and says that the file is
// to be written again.
func TestAllWorkersStall(t *testing.T) {
	for _, event := range []string{"write", "commit"} {
		t.Run(event, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, 2)
			var left atomic.Int32
			left.Store(1 << 30)
			newHolder(c).at(event, &left, c.workers...)
			fs := c.impatient(200*time.Millisecond, c.address)
			err := fs.WriteFile(context.Background(), "/f", content(1, 1000))
			c.wants(dfs.Unavailable, err)
			for _, word := range []string{"write the file again", "did not acknowledge", "paused"} {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
			_, err = c.client.Stat(c.ctx, "/f")
			c.wants(dfs.NotFound, err)
			c.released(fs)
		})
	}
}

// TestStallsAreFew: with many workers that all hang, a write does not wait for each of them: its search has an end.
func TestStallsAreFew(t *testing.T) {
	c := newCluster(t, 9)
	var left atomic.Int32
	left.Store(1 << 30)
	newHolder(c).at("commit", &left, c.workers...)
	fs := c.impatient(200*time.Millisecond, c.address)
	c.wants(dfs.Unavailable, fs.WriteFile(context.Background(), "/f", content(1, 1000)))
	// The search lasts as long as two stalls at most, and begins after the first.
	if n := 1<<30 - left.Load(); n < 2 || n > 5 {
		t.Errorf("%d of 9 workers were waited for", n)
	}
}

// TestFlowControlStall: a worker that stops taking data blocks the writer in the middle, behind the flow control window; it
// is given up there too, and what it got is sent to another one.
func TestFlowControlStall(t *testing.T) {
	c := newCluster(t, 2)
	var left atomic.Int32
	left.Store(1)
	newHolder(c).at("write", &left, c.workers...)
	fs := c.impatient(1500*time.Millisecond, c.address)
	want := content(2, 24<<20) // more than the windows of stream and connection
	c.ok(fs.WriteFile(context.Background(), "/f", want, client.WithWriteType(dfs.WriteThrough)))
	if got, err := c.client.ReadFile(c.ctx, "/f"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	c.released(fs)
}

// TestSlowCommitInUnderStore: a commit in the under store may take longer than a chunk: it is waited for.
func TestSlowCommitInUnderStore(t *testing.T) {
	c := newCluster(t, 1)
	c.workers[0].with(func() {
		c.workers[0].hold = func(event string) {
			if event == "commit" {
				time.Sleep(1100 * time.Millisecond) // a store that takes its time
			}
		}
	})
	fs := c.impatient(time.Second, c.address)
	c.ok(fs.WriteFile(c.ctx, "/f", content(1, 100), client.WithWriteType(dfs.WriteThrough)))
	if s := fs.Stats(); s.Failovers != 0 {
		t.Errorf("%+v, want no failover", s)
	}
}

// TestWorkersThatAlwaysFail: workers that take the data and then refuse it, each time, end the write by themselves, with
// the kind and the words of the refusal.
func TestWorkersThatAlwaysFail(t *testing.T) {
	for _, kind := range []dfs.Kind{dfs.Unavailable, dfs.ResourceExhausted, dfs.NoSpace, dfs.Corrupted} {
		for _, event := range []string{"write", "commit"} {
			t.Run(fmt.Sprintf("%v/%s", kind, event), func(t *testing.T) {
				t.Parallel()
				c := newCluster(t, 2)
				var attempts atomic.Int32
				for _, w := range c.workers {
					w.with(func() {
						w.fault = func(w *memWorker, e string) error {
							if e != event {
								return nil
							}
							attempts.Add(1)
							return dfs.Errorf(kind, "write", w.id, "it always says so")
						}
					})
				}
				fs := c.impatient(300*time.Millisecond, c.address)
				err := fs.WriteFile(context.Background(), "/f", content(1, 1000))
				c.wants(kind, err)
				if !strings.Contains(err.Error(), "it always says so") {
					t.Errorf("%v has not the worker's words", err)
				}
				if n := attempts.Load(); n < 2 {
					t.Errorf("%d attempts at two workers", n)
				}
				c.released(fs)
			})
		}
	}
}

// TestRequestsFault: what would fail at every worker alike is not tried at another.
func TestRequestsFault(t *testing.T) {
	for _, kind := range []dfs.Kind{dfs.UnderStore, dfs.PermissionDenied, dfs.InvalidArgument, dfs.ReadOnly, dfs.Stale} {
		c := newCluster(t, 3)
		var attempts atomic.Int32
		for _, w := range c.workers {
			w.with(func() {
				w.fault = func(*memWorker, string) error {
					attempts.Add(1)
					return dfs.Errorf(kind, "write", "", "no")
				}
			})
		}
		c.wants(kind, c.client.WriteFile(c.ctx, "/f", content(1, 100), client.WithWriteType(dfs.WriteThrough)))
		if n := attempts.Load(); n != 1 {
			t.Errorf("%v: tried %d times", kind, n)
		}
	}
}

// TestDeathBehindWhatIsKept: a worker that fails after more than is kept for another one fails the file, and the error says
// what to do; everything kept is given back.
func TestDeathBehindWhatIsKept(t *testing.T) {
	c := newCluster(t, 2)
	const size = client.MaxKeptBytes + 4<<20
	for _, w := range c.workers {
		w.with(func() {
			written := 0
			w.fault = func(w *memWorker, event string) error {
				if event != "write" {
					return nil
				}
				if written++; written > client.MaxKeptBytes/dfs.PageSizeBytes+2 {
					return errDying(w)
				}
				return nil
			}
		})
	}
	w, err := c.client.Create(c.ctx, "/f", client.WithWriteType(dfs.WriteThrough))
	c.ok(err)
	page := content(1, 1<<20)
	most := int64(0)
	for written := 0; written < size && err == nil; written += len(page) {
		_, err = w.Write(page)
		most = max(most, client.ReplayHeld(c.client))
	}
	if err == nil {
		err = w.Close()
	}
	c.wants(dfs.Unavailable, err)
	if !strings.Contains(err.Error(), "write the file again") {
		t.Errorf("%v does not say what to do", err)
	}
	if most == 0 || most > client.MaxKeptBytes {
		t.Errorf("at most %d bytes were kept, the bound is %d", most, client.MaxKeptBytes)
	}
	if again := w.Close(); again == nil || again.Error() != err.Error() {
		t.Errorf("the first error does not stick: %v, then %v", err, again)
	}
	c.released(c.client)
}

// TestCopiesNeedWorkers: more durable copies than there are workers is an error with a remedy, after a wait for more; with
// a worker that joins meanwhile the write goes on.
func TestCopiesNeedWorkers(t *testing.T) {
	c := newCluster(t, 1)
	fs := c.impatient(300*time.Millisecond, c.address)
	twice := []client.Option{client.WithWriteType(dfs.WriteAsyncThrough), client.WithDurableReplicas(2)}
	err := fs.WriteFile(context.Background(), "/f", []byte("x"), twice...)
	c.wants(dfs.Unavailable, err)
	if !strings.Contains(err.Error(), "too few live workers") {
		t.Errorf("%v does not say why", err)
	}
	done := make(chan error, 1)
	go func() { done <- c.client.WriteFile(c.ctx, "/g", []byte("x"), twice...) }()
	c.workers = append(c.workers, startWorker(t, c.h, "late", c.blocks, c.store))
	c.ok(<-done)
	blocks, err := c.client.Locate(c.ctx, "/g")
	c.ok(err)
	if len(blocks) != 1 || len(blocks[0].Workers) != 2 {
		t.Errorf("located %v, want one block on two workers", blocks)
	}
}

// TestSideCopiesAreOptional: with CACHE_THROUGH, workers that only keep copies may fail or hang; the file is whole and in the
// under store, a copy that failed is not told to the master, and a hanging worker is waited for once, not for each block.
func TestSideCopiesAreOptional(t *testing.T) {
	for name, hang := range map[string]bool{"fails": false, "hangs": true} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 3)
			var main atomic.Pointer[memWorker]
			release := make(chan struct{})
			defer close(release)
			var stalls atomic.Int32
			for _, w := range c.workers {
				w.with(func() {
					w.hold = func(event string) {
						if main.CompareAndSwap(nil, w) || main.Load() == w || !hang || event != "commit" {
							return
						}
						stalls.Add(1)
						<-release
					}
					w.fault = func(w *memWorker, event string) error {
						if event == "commit" && main.Load() != w {
							return errDying(w)
						}
						return nil
					}
				})
			}
			fs := c.impatient(800*time.Millisecond, c.address)
			want := content(4, 12*blockBytes)
			c.ok(fs.WriteFile(c.ctx, "/f", want, client.WithWriteType(dfs.WriteCacheThrough)))
			blocks, err := c.client.Locate(c.ctx, "/f")
			c.ok(err)
			for _, b := range blocks {
				for _, id := range b.Workers {
					if string(id) != main.Load().id {
						t.Errorf("block %d is said to be at %s, which never acknowledged it", b.Index, id)
					}
				}
			}
			if hang && stalls.Load() > 2 {
				t.Errorf("two hanging workers were waited for %d times", stalls.Load())
			}
			if got, err := c.client.ReadFile(c.ctx, "/f"); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			c.released(fs)
		})
	}
}

// TestAbortGivesBack: a writer that is aborted, at whatever point, gives back what it kept and leaves no file.
func TestAbortGivesBack(t *testing.T) {
	c := newCluster(t, 3)
	for i, writeType := range allWriteTypes {
		for _, size := range []int{0, 100, 1 << 20, blockBytes + 100, 3 * blockBytes} {
			path := dfs.MustPath(fmt.Sprintf("/%d-%d", i, size))
			w, err := c.client.Create(c.ctx, path, client.WithWriteType(writeType), client.WithDurableReplicas(2))
			c.ok(err)
			if w.Status().BlockSize != blockBytes {
				t.Errorf("blocks of %d bytes", w.Status().BlockSize)
			}
			n, err := w.Write(content(1, size))
			if n != size || err != nil {
				t.Errorf("%s: wrote %d, %v", path, n, err)
			}
			w.Abort()
			w.Abort()
			c.released(c.client)
			c.wants(dfs.Canceled, w.Close())
			_, err = w.Write([]byte("x"))
			c.wants(dfs.Canceled, err)
			_, err = c.client.Stat(c.ctx, path)
			c.wants(dfs.NotFound, err)
		}
	}
}

// TestLengthIsCompared: a worker that counted other bytes than were sent is not believed.
func TestLengthIsCompared(t *testing.T) {
	c := newCluster(t, 1)
	c.workers[0].with(func() { c.workers[0].miscount = 1 })
	fs := c.impatient(300*time.Millisecond, c.address)
	err := fs.WriteFile(context.Background(), "/f", content(1, 100))
	c.wants(dfs.Unknown, err)
	if !strings.Contains(err.Error(), "101 bytes of 100") {
		t.Errorf("%v does not tell the two counts", err)
	}
}

// TestWriterSeesItsContextEnd: Write and Close of a writer that waits for a hanging worker end with their context.
func TestWriterSeesItsContextEnd(t *testing.T) {
	c := newCluster(t, 1)
	var left atomic.Int32
	left.Store(1 << 30)
	newHolder(c).at("write", &left, c.workers...)
	ctx, cancel := context.WithCancel(c.ctx)
	w, err := c.client.Create(ctx, "/f")
	c.ok(err)
	_, err = w.Write(content(1, 1<<20))
	c.ok(err)
	time.AfterFunc(50*time.Millisecond, cancel)
	c.wants(dfs.Canceled, w.Close())
	c.released(c.client)
}
