package dataserver_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/mem"
	"github.com/forebay/forebay/system/worker/blockstore"
	"github.com/forebay/forebay/system/worker/dataserver"
	"github.com/forebay/forebay/system/worker/dataserver/fetch"
	"github.com/forebay/forebay/system/worker/tier"
)

// BenchmarkRead measures a warm stream of 1 MiB pages over loopback.
func BenchmarkRead(b *testing.B) {
	benchmarkRead(b, 64*mib)
}

func benchmarkRead(b *testing.B, size int64) {
	h := host.NewReal()
	store, err := blockstore.Open(b.Context(), h, blockstore.Config{Tiers: []tier.Config{{Name: "MEM", Dir: "/dev/shm/forebay-bench", CapacityBytes: 200 * mib}}, ScrubBytesPerSecond: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer h.FS().RemoveAll("/dev/shm/forebay-bench")
	defer store.Close()
	under := mem.New(h)
	mount := func(context.Context, dfs.MountID) (ufs.Store, error) { return under, nil }
	fetcher := fetch.New(h, fetch.Config{Store: store, Mount: mount})
	defer fetcher.Close()
	server, _ := h.Listen("127.0.0.1:0")
	proto.RegisterDataServer(server, dataserver.New(h, dataserver.Config{Store: store, Fetcher: fetcher, Mount: mount}))
	server.Serve()
	defer server.Stop(b.Context())
	conn, _ := h.Dial(server.Addr())
	defer conn.Close()
	ref := file(7, size)
	ref.Persisted = true
	ref.BlockSize = 64 * mib
	w, _ := under.Create(b.Context(), ref.UfsPath, 0o644)
	_, _ = w.Write(make([]byte, size))
	_, _ = w.Commit(b.Context())
	stub := proto.NewDataClient(conn)
	b.SetBytes(size)
	for b.Loop() {
		stream, err := stub.Read(b.Context(), &proto.ReadRequest{File: ref, Length: size}, rpc.PageCodec())
		if err != nil {
			b.Fatal(err)
		}
		page := rpc.NewReadPage()
		for {
			if err := stream.RecvMsg(page); err != nil {
				if !errors.Is(err, io.EOF) {
					b.Fatal(err)
				}
				break
			}
		}
		page.Free()
	}
}
