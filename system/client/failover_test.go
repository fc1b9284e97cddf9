package client_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/config"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/host/hosttest"
	"github.com/forebay/forebay/system/node"
	"github.com/forebay/forebay/system/ufs/drivers"
)

// quorum is three real masters on a real journal, and one real worker, over loopback.
type quorum struct {
	t       *testing.T
	masters []*node.Master
	clients []string // addresses for clients
}

func startQuorum(t *testing.T) *quorum {
	t.Helper()
	const masters, ports = 3, 12
	h := host.NewReal()
	base, err := hosttest.FreePorts(ports)
	if err != nil {
		t.Fatal(err)
	}
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", base+i) }
	q := &quorum{t: t}
	var peers []string
	for i := range masters {
		q.clients = append(q.clients, at(2*i))
		peers = append(peers, fmt.Sprintf("m%d=%s/%s", i, at(2*i+1), at(2*i)))
	}
	dir, under, log := t.TempDir(), t.TempDir(), slog.New(slog.DiscardHandler)
	for i := range masters {
		cfg := config.Default()
		own := filepath.Join(dir, fmt.Sprint("m", i))
		cfg.Master.ID, cfg.Master.Address, cfg.Master.Journal.Address = fmt.Sprint("m", i), at(2*i), at(2*i+1)
		cfg.Master.HTTP.Address, cfg.Master.Peers, cfg.Master.Root.URI = "", peers, under
		cfg.Master.Journal.Dir, cfg.Master.Metadata.Dir = filepath.Join(own, "journal"), filepath.Join(own, "metadata")
		m, err := node.StartMaster(h, cfg, log, drivers.Drivers{})
		if err != nil {
			t.Fatal(err)
		}
		q.masters = append(q.masters, m)
	}
	t.Cleanup(func() {
		for _, m := range q.masters { // those that were not killed
			q.stop(m)
		}
	})
	q.leader()
	cfg := config.Default()
	cfg.Worker.Address, cfg.Worker.HTTP.Address, cfg.Worker.Masters = at(2*masters), "", q.clients
	cfg.Worker.Dir = filepath.Join(dir, "w")
	cfg.Worker.Tiers = []config.Tier{{Name: "SSD", Dir: filepath.Join(dir, "w", "ssd"), Capacity: 64 << 20}}
	w, err := node.StartWorker(h, cfg, log, drivers.Drivers{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = w.Stop(ctx)
	})
	return q
}

// stop cuts a master off, without a word to its clients.
func (q *quorum) stop(m *node.Master) {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	_ = m.Stop(now) // it was told to hurry
}

// leader waits for a master that serves.
func (q *quorum) leader() *node.Master {
	for range 3000 {
		for _, m := range q.masters {
			if m.Serving() {
				return m
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	q.t.Fatal("no master came to lead")
	return nil
}

// killLeader cuts the leader off with whatever is under way.
func (q *quorum) killLeader() {
	m := q.leader()
	for i, other := range q.masters {
		if other == m {
			q.masters = append(q.masters[:i], q.masters[i+1:]...)
			break
		}
	}
	q.stop(m)
}

// failoverWriter does mutations of which each tells, by its error, when it is done twice or not at all.
func failoverWriter(ctx context.Context, fs *client.Client, id int, stop *atomic.Bool) (rounds int, err error) {
	for ; !stop.Load(); rounds++ {
		dir := dfs.MustPath(fmt.Sprintf("/w%d-%d", id, rounds))
		steps := []func() error{
			// A second execution answers AlreadyExists.
			func() error { return fs.Mkdir(ctx, dir) },
			func() error { return fs.WriteFile(ctx, dir.Join("f"), nil, client.WithWriteType(dfs.WriteMustCache)) },
			func() error { return fs.RenameNoReplace(ctx, dir.Join("f"), dir.Join("g")) }, // NotFound
			func() error { return fs.SetXattr(ctx, dir.Join("g"), "user.k", []byte("v"), client.XattrCreate) },
			func() error { return fs.Remove(ctx, dir.Join("g"), client.RemoveOptions{}) }, // NotFound
		}
		for k, step := range steps {
			if err := step(); err != nil {
				return rounds, fmt.Errorf("%s, step %d: %w", dir, k, err)
			}
		}
	}
	return rounds, nil
}

// TestLeaderKilled (contracts C2 and C3): with three masters and the leader cut off in the middle, mutations under way
// happen once, everything acknowledged is there, and readers of open files notice nothing.
func TestLeaderKilled(t *testing.T) {
	q := startQuorum(t)
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	fs, err := client.New(client.Config{Host: host.NewReal(), Masters: q.clients, Identity: dfs.Identity{User: "root"}})
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	want := content(1, 3<<20)
	for err = io.EOF; err != nil; { // until the worker has registered
		if err = fs.WriteFile(ctx, "/data", want); ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	f, err := fs.Open(ctx, "/data")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()

	const writers = 8
	var stop atomic.Bool
	var rounds [writers]int
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			var err error
			if rounds[i], err = failoverWriter(ctx, fs, i, &stop); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Go(func() {
		for !stop.Load() {
			got := make([]byte, len(want))
			if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
				t.Errorf("a reader during the failover: %v, equal %v", err, bytes.Equal(got, want))
				return
			}
		}
	})
	time.Sleep(300 * time.Millisecond)
	q.killLeader()
	killed := time.Now()
	if err := fs.Mkdir(ctx, "/after"); err != nil {
		t.Errorf("the first mutation after the kill: %v", err)
	}
	t.Logf("a mutation was served %v after the kill", time.Since(killed))
	time.Sleep(500 * time.Millisecond)
	stop.Store(true)
	wg.Wait()
	for i, n := range rounds {
		if n == 0 {
			t.Errorf("writer %d did nothing", i)
		}
		for k := range n {
			if ok, err := fs.Exists(ctx, dfs.MustPath(fmt.Sprintf("/w%d-%d", i, k))); !ok || err != nil {
				t.Errorf("acknowledged directory /w%d-%d: exists %v, %v", i, k, ok, err)
			}
		}
	}
}
