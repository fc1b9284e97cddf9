package dataserver_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/mem"
	"github.com/forebay/forebay/system/ufs/ufstest"
	"github.com/forebay/forebay/system/worker/blockstore"
	"github.com/forebay/forebay/system/worker/dataserver"
	"github.com/forebay/forebay/system/worker/dataserver/fetch"
	"github.com/forebay/forebay/system/worker/tier"
	"github.com/forebay/forebay/system/worker/workertest"
)

// TestClientsThatReadNothing opens cold streams over real connections and takes nothing from them, until they hold all the
// memory for fetches. Another client's cold read is answered all the same, and theirs are whole when they take again.
func TestClientsThatReadNothing(t *testing.T) {
	const size, stalled = 24 * mib, 3
	h := host.NewReal() // whose disk is faster than one in memory under the race detector
	under := mem.New(h)
	mount := func(context.Context, dfs.MountID) (ufs.Store, error) { return under, nil }
	store, err := blockstore.Open(t.Context(), h, blockstore.Config{Tiers: []tier.Config{{Name: "MEM", Dir: t.TempDir(), CapacityBytes: 8 * mib}},
		ScrubBytesPerSecond: -1, FillWait: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	fetcher := fetch.New(h, fetch.Config{Store: store, Mount: mount, MaxBytes: stalled * 2 * mib, MaxRunBytes: 2 * mib, StallTimeout: 100 * time.Millisecond})
	defer fetcher.Close()
	server := dataserver.New(h, dataserver.Config{Store: store, Fetcher: fetcher, Mount: mount})
	content := workertest.Content(1, size)
	e := ufstest.Put(t.Context(), t, under, "dir/1", content)
	ref := func(version uint32) *proto.FileRef {
		r := file(1, size)
		r.Version, r.Persisted, r.Fingerprint = version, true, e.Fingerprint
		return r
	}
	// The clients that stall have connections of their own, whose windows fill up with what they do not take.
	register := func(s host.Server) { proto.RegisterDataServer(s, server) }
	other := workertest.Serve(t, host.NewReal(), register)
	stream := func(version uint32) func() ([]byte, error) {
		c := workertest.Serve(t, host.NewReal(), register)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		t.Cleanup(cancel)
		s, err := c.Stub.Read(ctx, &proto.ReadRequest{File: ref(version), Length: size}, rpc.PageCodec())
		if err != nil {
			t.Fatal(err)
		}
		return func() (all []byte, err error) {
			for {
				m, err := s.Recv()
				if errors.Is(err, io.EOF) {
					return all, nil
				}
				if err != nil {
					return all, err
				}
				all = append(all, m.Data...)
			}
		}
	}
	var rest []func() ([]byte, error)
	for version := range uint32(stalled) {
		rest = append(rest, stream(version+1))
	}
	for range 3 { // whoever stalls meanwhile is another one each time
		got, _, err := other.Download(&proto.ReadRequest{File: ref(9), Length: 4 * mib}, true)
		if err != nil || !bytes.Equal(got, content[:4*mib]) {
			t.Fatalf("beside clients that read nothing: %d bytes, %v", len(got), err)
		}
		store.Free(1, 9)
	}
	for i, read := range rest {
		if got, err := read(); err != nil || !bytes.Equal(got, content) {
			t.Errorf("client %d, when it takes again: %d bytes, %v", i, len(got), err)
		}
	}
}

// TestReadsWaitForTheirTurn: over MaxReads a stream waits, and hears of its deadline; the slot of one that ended, in
// whatever way, is given back.
func TestReadsWaitForTheirTurn(t *testing.T) {
	h := workertest.NewNode()
	under := mem.New(h)
	ufstest.Put(t.Context(), t, under, "dir/1", workertest.Content(1, mib))
	entered, goOn := make(chan struct{}, 10), make(chan struct{})
	mount := func(ctx context.Context, _ dfs.MountID) (ufs.Store, error) {
		entered <- struct{}{}
		select {
		case <-goOn:
			return under, nil
		case <-ctx.Done():
			return nil, dfs.Wrap(ctx.Err(), "mount", "")
		}
	}
	store, err := blockstore.Open(t.Context(), h, blockstore.Config{Tiers: []tier.Config{{Name: "MEM", Dir: "/mem", CapacityBytes: 8 * mib}}, ScrubBytesPerSecond: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	fetcher := fetch.New(h, fetch.Config{Store: store, Mount: mount})
	defer fetcher.Close()
	server := dataserver.New(h, dataserver.Config{Store: store, Fetcher: fetcher, Mount: mount, MaxReads: 1})
	read := func(ctx context.Context) error {
		r := file(1, mib)
		r.Persisted = true
		return rpc.FromStatus(server.Read(&proto.ReadRequest{File: r, Length: 10}, &answers{ctx: ctx}))
	}
	first := make(chan error, 1)
	go func() { first <- read(t.Context()) }()
	<-entered
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := read(short); !dfs.IsKind(err, dfs.DeadlineExceeded) {
		t.Errorf("over the bound: %v", err)
	}
	close(goOn)
	if err := <-first; err != nil {
		t.Errorf("the first: %v", err)
	}
	if err := read(t.Context()); err != nil {
		t.Errorf("a later one: %v", err)
	}
}
