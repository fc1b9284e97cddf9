package cluster

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
)

// bed is a cluster with a client, driven in steps: each step is a task of the client's, between which nodes die.
type bed struct {
	t *testing.T
	w *world.World
	c *Cluster
	n *world.Node
	k *client.Client
}

func newBed(t *testing.T, seed uint64, cfg Config) *bed {
	b := &bed{t: t, w: world.New(seed)}
	t.Cleanup(b.w.Close)
	b.c = New(b.w, cfg)
	b.n = b.w.NewNode("c1", world.NodeConfig{Rack: "r0", Zone: "z0"})
	b.pass(3 * time.Second)
	b.step("client", func(context.Context) (err error) {
		b.k, err = b.c.Client(b.n)
		return err
	})
	return b
}

// pass lets time pass.
func (b *bed) pass(d time.Duration) {
	b.t.Helper()
	if err := b.w.Sched.Run(b.w.Sched.Elapsed() + d); err != nil {
		b.t.Fatal(err)
	}
}

// step runs do to its end, which must be within a minute and without an error.
func (b *bed) step(what string, do func(ctx context.Context) error) {
	b.t.Helper()
	err, ended := error(nil), false
	b.n.Go(what, func() {
		ctx, cancel := b.n.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err = do(ctx)
		ended = true
	})
	for range 700 {
		if ended {
			break
		}
		b.pass(100 * time.Millisecond)
	}
	if !ended || err != nil {
		b.t.Fatalf("%s at %v: ended %v, %v", what, b.w.Sched.Elapsed(), ended, err)
	}
}

func data(i int) []byte { return bytes.Repeat([]byte{byte(i + 1)}, 50_000) }

func name(i int) dfs.Path { return dfs.Path(fmt.Sprintf("/f%d", i)) }

func (b *bed) write(from, to int) {
	b.t.Helper()
	b.step("write", func(ctx context.Context) error {
		for i := from; i < to; i++ {
			if err := b.k.WriteFile(ctx, name(i), data(i)); err != nil {
				return fmt.Errorf("%s: %w", name(i), err)
			}
		}
		return nil
	})
}

// read reads all files below to and checks every byte.
func (b *bed) read(to int) {
	b.t.Helper()
	b.step("read", func(ctx context.Context) error {
		for i := range to {
			if got, err := b.k.ReadFile(ctx, name(i)); err != nil || !bytes.Equal(got, data(i)) {
				return fmt.Errorf("%s: %d bytes, %w", name(i), len(got), err)
			}
		}
		return nil
	})
}

// TestMasterComesBack: one master alone dies and comes back with all files, again and again.
func TestMasterComesBack(t *testing.T) {
	b := newBed(t, 1, Config{Workers: 2})
	for round := range 4 {
		b.write(round*3, round*3+3)
		b.c.CrashMaster(0)
		if b.c.Leader() != -1 {
			t.Errorf("master %d serves after its death", b.c.Leader())
		}
		b.pass(time.Second)
		b.c.Masters[0].Restart()
		b.c.StartMaster(0)
		b.read(round*3 + 3)
	}
}

// TestThreeMastersFailOver: each leader's death is survived, the dead come back as followers, and nothing that was
// acknowledged is lost, also when all three die at once.
func TestThreeMastersFailOver(t *testing.T) {
	for seed := range uint64(5) {
		b := newBed(t, seed, Config{Masters: 3, Workers: 2, Racks: 3})
		led := map[int]bool{}
		for round := range 4 {
			b.write(round*2, round*2+2)
			l := b.c.Leader()
			if l < 0 {
				t.Fatalf("seed %d: nobody leads", seed)
			}
			led[l] = true
			b.c.CrashMaster(l)
			b.read(round*2 + 2)
			if now := b.c.Leader(); now < 0 || now == l {
				t.Errorf("seed %d: master %d leads after the death of %d", seed, now, l)
			}
			b.c.Masters[l].Restart()
			b.c.StartMaster(l)
			b.pass(2 * time.Second)
		}
		if len(led) < 2 {
			t.Errorf("seed %d: only %v ever led", seed, led)
		}
		for i := range b.c.Masters {
			b.c.CrashMaster(i)
		}
		b.pass(time.Second)
		for i := range b.c.Masters {
			b.c.Masters[i].Restart()
			b.c.StartMaster(i)
		}
		b.read(8)
	}
}

// TestWorkerDies: reads go on from the under store and other workers while one worker after the other is dead, and each
// comes back on its disk.
func TestWorkerDies(t *testing.T) {
	b := newBed(t, 2, Config{Workers: 3, Racks: 3})
	b.write(0, 12)
	for i, n := range b.c.Workers {
		n.Crash()
		b.read(12)
		n.Restart()
		b.c.StartWorker(i)
		b.pass(time.Second)
		b.read(12)
	}
	b.write(12, 14)
	b.read(14)
}

// TestAllWorkersDie: without any worker a read of what was never cached fails or is answered by the under store, but does
// not answer wrong; when they are back it succeeds.
func TestAllWorkersDie(t *testing.T) {
	b := newBed(t, 3, Config{Workers: 2})
	b.write(0, 3)
	for _, n := range b.c.Workers {
		n.Crash()
	}
	b.step("read without workers", func(ctx context.Context) error {
		short, cancel := b.n.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		if got, err := b.k.ReadFile(short, name(0)); err == nil && !bytes.Equal(got, data(0)) {
			return fmt.Errorf("%d wrong bytes", len(got))
		}
		return nil
	})
	for i, n := range b.c.Workers {
		n.Restart()
		b.c.StartWorker(i)
	}
	b.pass(2 * time.Second)
	b.read(3)
}

// TestPlaces: nodes are spread over the racks, racks over three zones, and defaults fill what a configuration leaves open.
func TestPlaces(t *testing.T) {
	w := world.New(1)
	defer w.Close()
	c := New(w, Config{Masters: 3, Workers: 7, Racks: 6})
	zones := map[string]int{}
	for i, n := range c.Workers {
		zones[n.Zone()]++
		if want := fmt.Sprint("w", i+1); n.Name() != want {
			t.Errorf("worker %d is %s", i, n.Name())
		}
	}
	if zones["z0"] != 3 || zones["z1"] != 2 || zones["z2"] != 2 || c.Place(0) != c.Place(6) {
		t.Errorf("zones %v", zones)
	}
	if got := strings.Join(c.Addresses(), " "); got != "m1:19998 m2:19998 m3:19998" {
		t.Errorf("addresses %s", got)
	}
	if d := (Config{}).withDefaults(); d.Masters != 1 || d.Workers != 1 || d.Racks != 1 || d.WorkerBytes != 1<<30 || d.Log == nil {
		t.Errorf("defaults %+v", d)
	}
}
