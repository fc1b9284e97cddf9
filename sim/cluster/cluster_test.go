package cluster

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/dfs"
)

// TestProductionCodeRuns: a cluster of production code writes and reads in virtual time, and does it alike each time.
func TestProductionCodeRuns(t *testing.T) {
	history := func(seed uint64) uint64 {
		w := world.New(seed)
		defer w.Close()
		c := New(w, Config{Workers: 3})
		n := w.NewNode("c1", world.NodeConfig{Rack: "r0", Zone: "z0"})
		done := false
		n.Go("test", func() {
			ctx, cancel := n.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			cl, err := c.Client(n)
			if err != nil {
				t.Error(err)
				return
			}
			for i := range 20 {
				p := dfs.Path(fmt.Sprintf("/f%d", i))
				data := bytes.Repeat([]byte{byte(i)}, 100_000)
				if err := cl.WriteFile(ctx, p, data); err != nil {
					t.Errorf("write %s at %v: %v", p, w.Sched.Elapsed(), err)
					return
				}
				if got, err := cl.ReadFile(ctx, p); err != nil || !bytes.Equal(got, data) {
					t.Errorf("read %s: %d bytes, %v", p, len(got), err)
					return
				}
			}
			done = true
			t.Logf("done at %v after %d events", w.Sched.Elapsed(), w.Sched.Events())
			w.Sched.Stop()
		})
		if err := w.Sched.Run(2 * time.Minute); err != nil {
			t.Fatal(err)
		}
		if !done {
			t.Errorf("not done at %v", w.Sched.Elapsed())
		}
		return w.Sched.History()
	}
	one := history(1)
	for range 3 {
		if again := history(1); again != one {
			t.Errorf("the same seed gave history %x, then %x", one, again)
		}
	}
	if history(2) == one {
		t.Error("another seed gave the same history")
	}
}
