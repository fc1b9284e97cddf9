package cluster

import (
	"context"
	"testing"
	"time"

	"github.com/forebay/forebay/sim/model"
	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
)

// dear is a model in which everything takes a time of its own.
func dear() *model.Model {
	end := model.End{CallNs: 1e4, MessageNs: 1e4, KiBNs: 100}
	return &model.Model{Version: model.Version, Cores: 2, LatencyNs: 2e4, TurnNs: 1e3, StartNs: 1e3,
		Methods:    map[string]model.Method{model.Other: {Client: end, Server: end}},
		Operations: map[string]model.Operation{model.Other: {}},
		Journal:    model.Journal{EntryNs: 1e5, SyncNs: 2e6},
		Disk:       model.Disk{CreateNs: 1e5, WriteKiBNs: 1e3, SyncCPUNs: 1e5, SyncNs: 3e6, BytesPerSecond: 1e8},
		Store:      model.Store{OpenNs: 4e6, ReadKiBNs: 1e5, WriteNs: 5e6, WriteKiBNs: 1e5, CommitNs: 20e6},
	}
}

// TestClusterOfAModel: a cluster by a model works as one without, and its requests take at least the times that the model has for
// what they do; without the model the same load takes less.
func TestClusterOfAModel(t *testing.T) {
	const size = 64 << 10
	took := func(cfg Config) (through, cold time.Duration, used time.Duration) {
		w := world.New(1)
		defer w.Close()
		c := New(w, cfg)
		n := w.NewNode("client", c.Place(0))
		done := false
		n.Go("load", func() {
			ctx := context.Background()
			_ = n.Sleep(ctx, 5*time.Second)
			cl, err := c.ClientOn(n, func(cfg *client.Config) { cfg.WriteType = dfs.WriteThrough })
			if err != nil {
				t.Error(err)
				return
			}
			at := w.Sched.Elapsed()
			if err := cl.WriteFile(ctx, "/file", make([]byte, size)); err != nil {
				t.Error(err)
			}
			through = w.Sched.Elapsed() - at
			at = w.Sched.Elapsed()
			if got, err := cl.ReadFile(ctx, "/file"); err != nil || len(got) != size {
				t.Errorf("read %d bytes: %v", len(got), err)
			}
			cold = w.Sched.Elapsed() - at
			done = true
			w.Sched.Stop()
		})
		if err := w.Sched.Run(time.Minute); err != nil || !done {
			t.Fatalf("%v, done %v", err, done)
		}
		for _, x := range w.Nodes() {
			used += x.Used()
		}
		return through, cold, used
	}
	m := dear()
	through, cold, used := took(Config{Model: m, OneMachine: true})
	freeThrough, freeCold, _ := took(Config{})
	// Two entries of the journal, a file begun, its bytes and its commit; and a file opened and its bytes read.
	if least := 2*2*time.Millisecond + (5+20)*time.Millisecond + size/1024*100*time.Microsecond; through < least || through > 3*least {
		t.Errorf("a write through took %v, want at least %v", through, least)
	}
	if least := 4*time.Millisecond + size/1024*100*time.Microsecond; cold < least || cold > 3*least {
		t.Errorf("a cold read took %v, want at least %v", cold, least)
	}
	if freeThrough > through/4 || freeCold > cold/4 {
		t.Errorf("without a model %v and %v, with it %v and %v", freeThrough, freeCold, through, cold)
	}
	if least := 9*time.Millisecond + 2*size/1024*100*time.Microsecond; used < least {
		t.Errorf("all nodes used %v of cores, want at least %v", used, least)
	}
	if apart, _, _ := took(Config{Model: m}); apart < through/2 {
		t.Errorf("on machines of their own a write takes %v", apart)
	}
}
