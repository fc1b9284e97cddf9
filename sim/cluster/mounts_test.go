package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/dfs"
)

// TestMountTableIsAskedForBySpreadWorkers: workers that were started together ask the master for the mount table each in its
// own moment.
func TestMountTableIsAskedForBySpreadWorkers(t *testing.T) {
	const workers = 40
	w := world.New(5)
	defer w.Close()
	var asked []time.Duration
	w.CPU = func(method string, _ int) time.Duration {
		if strings.HasSuffix(method, "/Mounts") && w.Sched.Elapsed() > 20*time.Second {
			asked = append(asked, w.Sched.Elapsed())
		}
		return 0
	}
	c := New(w, Config{Workers: workers})
	n := w.NewNode("c1", world.NodeConfig{})
	n.Go("writer", func() { // so that all have the store open
		_ = n.Sleep(context.Background(), 3*time.Second)
		cl, err := c.Client(n)
		if err != nil {
			t.Error(err)
			return
		}
		ctx, cancel := n.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for i := range 12 * workers {
			if err := cl.WriteFile(ctx, dfs.Path(fmt.Sprintf("/f%d", i)), []byte("x")); err != nil {
				t.Error(err)
			}
		}
	})
	if err := w.Sched.Run(30 * time.Second); err != nil {
		t.Fatal(err)
	}
	if len(asked) < workers*8/10 {
		t.Fatalf("%d questions in ten seconds by %d workers", len(asked), workers)
	}
	slices.Sort(asked)
	for i := range len(asked) - workers/4 {
		if d := asked[i+workers/4] - asked[i]; d < time.Second {
			t.Errorf("%d workers asked within %v", workers/4+1, d)
		}
	}
}
