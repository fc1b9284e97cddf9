package worker_test

import (
	"context"
	"strings"
	"testing"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/worker"
	"github.com/forebay/forebay/system/worker/tier"
	"github.com/forebay/forebay/system/worker/workertest"
)

// TestConfig checks that a worker which cannot work says so.
func TestConfig(t *testing.T) {
	h := workertest.NewNode()
	good := worker.Config{Host: h, Dir: "/state", Address: "a:1", Masters: []string{"m:1"}, Tiers: []tier.Config{{Name: "MEM", Dir: "/mem", CapacityBytes: 64 * mib}},
		OpenUFS: func(context.Context, *proto.Mount) (ufs.Store, error) { return nil, nil }}
	for name, change := range map[string]func(*worker.Config){
		"host": func(c *worker.Config) { c.Host = nil }, "dir": func(c *worker.Config) { c.Dir = "" }, "address": func(c *worker.Config) { c.Address = "" },
		"masters": func(c *worker.Config) { c.Masters = nil }, "tiers": func(c *worker.Config) { c.Tiers = nil },
		"policy": func(c *worker.Config) { c.Store.Policy = "magic" },
	} {
		c := good
		change(&c)
		if _, err := worker.New(t.Context(), c); !dfs.IsKind(err, dfs.InvalidArgument) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	w, err := worker.New(t.Context(), good)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := worker.New(t.Context(), good); !dfs.IsKind(err, dfs.Unavailable) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second worker in one directory: %v", err)
	}
	if err := w.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
