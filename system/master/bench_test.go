package master

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
	"github.com/forebay/forebay/system/journal/raftjournal"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/proto"
)

// BenchmarkCreate: durable creates on one master, in process, by 64 callers with 64 operations each. The table of
// results/ is made by forebay-lab bench; this is for profiles.
func BenchmarkCreate(b *testing.B) {
	r := newRig(b, func(c *Config) {
		h := host.NewReal()
		store, err := inodestore.OpenPebble(h, b.TempDir(), inodestore.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		c.Store = store
		dir := b.TempDir()
		c.ID = "m1"
		c.OpenJournal = func(sm journal.StateMachine) (journal.Journal, error) {
			return raftjournal.Open(raftjournal.Config{Host: h, ID: "m1", Dir: dir, BindAddr: "127.0.0.1:0",
				Peers: []journal.Member{{ID: "m1", Address: "127.0.0.1:0", Voter: true}}, Logger: slog.New(slog.DiscardHandler)}, sm)
		}
	})
	const callers, size = 64, 64
	var sessions [callers]uint64
	for i := range sessions {
		sessions[i] = r.must(&proto.Operation{Kind: &proto.Operation_OpenSession{OpenSession: &proto.OpenSession{Nonce: uint64(i + 1)}}}).Session
		r.must(opMkdir(fmt.Sprintf("/d%d", i)))
	}
	b.ResetTimer()
	var next atomic.Int64
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			seq := uint64(0)
			for int(next.Add(size)) <= b.N+size {
				batch := &proto.OperationBatch{Session: sessions[c], AckedBelow: seq + 1, TimeoutNs: int64(time.Minute), Identity: &proto.Identity{User: "root"}}
				for range size {
					seq++
					op := opCreate(fmt.Sprintf("/d%d/file-%08d", c, seq), dfs.WriteMustCache)
					op.Sequence = seq
					batch.Operations = append(batch.Operations, op)
				}
				res, err := r.m.Execute(context.Background(), batch)
				if err != nil || res.Error != nil || res.Results[0].Error != nil {
					b.Errorf("%v %v", err, res)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "creates/s")
}
