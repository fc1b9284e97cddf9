package cluster

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
)

func TestScale(t *testing.T) {
	workers, _ := strconv.Atoi(os.Getenv("W"))
	clients, _ := strconv.Atoi(os.Getenv("C"))
	if workers == 0 {
		t.Skip()
	}
	w := world.New(7)
	c := New(w, Config{Workers: workers, Racks: 30, WorkerBytes: 1 << 30})
	ops := 0
	for i := range clients {
		n := w.NewNode(fmt.Sprintf("c%d", i), c.place(i))
		n.Go("client", func() {
			ctx := context.Background()
			_ = n.Sleep(ctx, 3*time.Second+time.Duration(n.Rand().IntN(10_000))*time.Millisecond)
			cl, err := c.Client(n)
			if err != nil {
				t.Error(err)
				return
			}
			p := dfs.Path(fmt.Sprintf("/f%d", i))
			if err := cl.WriteFile(ctx, p, []byte("hello"), client.WithWriteType(dfs.WriteMustCache)); err != nil {
				t.Error(err)
			}
			for {
				_ = n.Sleep(ctx, time.Duration(n.Rand().IntN(20_000))*time.Millisecond)
				if n.Rand().IntN(2) == 0 {
					_, err = cl.Stat(ctx, p)
				} else {
					_, err = cl.ReadFile(ctx, p)
				}
				if err != nil {
					t.Error(w.Sched.Elapsed(), err)
				}
				ops++
			}
		})
	}
	start := time.Now()
	for s := 10; s <= 60; s += 10 {
		before, ev := time.Now(), w.Sched.Events()
		if err := w.Sched.Run(time.Duration(s) * time.Second); err != nil {
			t.Fatal(err)
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		t.Logf("t=%d s: wall %v, events %d, ops %d, heap %d MB, sys %d MB, msgs %d", s, time.Since(before), w.Sched.Events()-ev, ops, m.HeapAlloc>>20, m.Sys>>20, w.Net.Messages)
	}
	t.Log(time.Since(start))
}
