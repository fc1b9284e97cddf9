package dataserver_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/mem"
	"github.com/forebay/forebay/system/ufs/ufstest"
	"github.com/forebay/forebay/system/worker/blockstore"
	"github.com/forebay/forebay/system/worker/dataserver"
	"github.com/forebay/forebay/system/worker/dataserver/fetch"
	"github.com/forebay/forebay/system/worker/tier"
	"github.com/forebay/forebay/system/worker/workertest"
)

const mib = workertest.MiB

// cluster is one data server over real gRPC on loopback.
type cluster struct {
	*testing.T
	store  *blockstore.Store
	ufs    *mem.Store
	server *dataserver.Server
	client workertest.Client // with start
}

// serve makes the server without a network.
func serve(t *testing.T, capacity int64) *cluster {
	h := workertest.NewNode()
	c := &cluster{T: t, ufs: mem.New(h)}
	mount := func(context.Context, dfs.MountID) (ufs.Store, error) { return c.ufs, nil }
	store, err := blockstore.Open(t.Context(), h, blockstore.Config{Tiers: []tier.Config{{Name: "MEM", Dir: "/mem", CapacityBytes: capacity}},
		WriteWait: 50 * time.Millisecond, ScrubBytesPerSecond: -1})
	if err != nil {
		t.Fatal(err)
	}
	c.store = store
	fetcher := fetch.New(h, fetch.Config{Store: store, Mount: mount})
	c.server = dataserver.New(h, dataserver.Config{Store: store, Fetcher: fetcher, Mount: mount, MaxWrites: 1})
	t.Cleanup(func() { fetcher.Close(); store.Close() })
	return c
}

func start(t *testing.T, capacity int64) *cluster {
	c := serve(t, capacity)
	c.client = workertest.Serve(t, host.NewReal(), func(s host.Server) { proto.RegisterDataServer(s, c.server) })
	return c
}

func (c *cluster) upload(header *proto.WriteHeader, content []byte, chunk int, last bool, change func(*proto.WriteRequest)) (*proto.WriteResponse, error) {
	return c.client.Upload(header, 0, content, chunk, last, change)
}

func random(n int64) []byte { return workertest.Content(uint64(n), n) }

func file(inode uint64, length int64) *proto.FileRef { return workertest.Ref(inode, length) }

// TestWriteRead writes with each write type and reads it back, from the cache and from the under store.
func TestWriteRead(t *testing.T) {
	c := start(t, 100*mib)
	content := random(5*mib + 321)
	for i, test := range []struct {
		name         string
		writeType    dfs.WriteType
		toUfs, cache bool
	}{
		{"MUST_CACHE", dfs.WriteMustCache, false, true}, {"ASYNC_THROUGH", dfs.WriteAsyncThrough, false, true},
		{"CACHE_THROUGH", dfs.WriteCacheThrough, true, true}, {"THROUGH", dfs.WriteThrough, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			ref := file(uint64(i+1), int64(len(content)))
			header := &proto.WriteHeader{File: ref, ToUfs: test.toUfs, WriteType: uint32(test.writeType), Mode: 0o640}
			response, err := c.upload(header, content, 700_000, true, func(m *proto.WriteRequest) { m.Cache = test.cache })
			if err != nil || response.Length != int64(len(content)) || (len(response.Blocks) == 3) != test.cache || (response.Fingerprint != "") != header.ToUfs {
				t.Fatalf("response %v, %v", response, err)
			}
			if header.ToUfs {
				e, err := c.ufs.Stat(t.Context(), ref.UfsPath)
				if err != nil || e.Mode != 0o640 || e.Fingerprint != response.Fingerprint {
					t.Errorf("in the under store: %+v, %v", e, err)
				}
				ref.Persisted, ref.Fingerprint = true, response.Fingerprint
			}
			for _, codec := range []bool{true, false} {
				got, cached, err := c.client.Download(&proto.ReadRequest{File: ref, Length: ref.Length}, codec)
				if err != nil || !bytes.Equal(got, content) || (codec && cached != test.cache) {
					t.Errorf("read: %d bytes, cached %v, %v", len(got), cached, err)
				}
			}
		})
	}
}

// TestBrokenWrites checks that a write that is cut off, damaged or confused leaves no trace and says why.
func TestBrokenWrites(t *testing.T) {
	c := start(t, 100*mib)
	content := random(3 * mib)
	tests := []struct {
		name   string
		header *proto.WriteHeader
		last   bool
		change func(*proto.WriteRequest)
		kind   dfs.Kind
	}{
		{"no last message", &proto.WriteHeader{File: file(1, 0), ToUfs: true}, false, nil, dfs.Canceled},
		{"damaged", &proto.WriteHeader{File: file(2, 0), ToUfs: true}, true, func(m *proto.WriteRequest) { m.Crc32C++ }, dfs.Corrupted},
		{"gap", &proto.WriteHeader{File: file(3, 0), ToUfs: true}, true, func(m *proto.WriteRequest) { m.Offset *= 2 }, dfs.InvalidArgument},
		{"backwards", &proto.WriteHeader{File: file(4, 0)}, true, func(m *proto.WriteRequest) { m.Offset = 10 - m.Offset/mib }, dfs.InvalidArgument},
		{"no header", nil, true, nil, dfs.InvalidArgument},
		{"no block size", &proto.WriteHeader{File: &proto.FileRef{Inode: 1}}, true, nil, dfs.InvalidArgument},
		{"outside", &proto.WriteHeader{File: &proto.FileRef{Inode: 9, BlockSize: mib, UfsPath: "../x"}, ToUfs: true}, true, nil, dfs.InvalidArgument},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := c.upload(test.header, content, mib, test.last, test.change)
			if !dfs.IsKind(err, test.kind) {
				t.Errorf("got %v, want %v", err, test.kind)
			}
		})
	}
	workertest.WaitFor(t, "room to be given back", func() bool { return c.store.Tiers()[0].UsedBytes == 0 })
	for e, err := range c.ufs.List(t.Context(), "", "") {
		t.Errorf("left in the under store: %+v, %v", e, err)
	}
}

// TestFullCache checks that a write through goes on without a copy, and that a write to the cache alone is refused.
func TestFullCache(t *testing.T) {
	c := start(t, 2*mib)
	over := file(1, 0)
	over.Persisted = true // the version before it: what is written here is in no other place, and stays
	if _, err := c.upload(&proto.WriteHeader{File: over, WriteType: uint32(dfs.WriteMustCache)}, random(2*mib), mib, true, nil); err != nil {
		t.Fatal(err)
	}
	_, err := c.upload(&proto.WriteHeader{File: file(2, 0), WriteType: uint32(dfs.WriteMustCache)}, random(2*mib), mib, true, nil)
	if !dfs.IsKind(err, dfs.ResourceExhausted) || !strings.Contains(err.Error(), "dir/2") {
		t.Errorf("a full cache: %v", err)
	}
	response, err := c.upload(&proto.WriteHeader{File: file(3, 0), ToUfs: true}, random(2*mib), mib, true, nil)
	if err != nil || len(response.Blocks) != 0 || response.Length != 2*mib {
		t.Errorf("a write through: %v, %v", response, err)
	}
}

// TestRanges reads many small ranges in one request, and checks the doctor's call.
func TestRanges(t *testing.T) {
	c := start(t, 100*mib)
	content := random(9 * mib)
	e := ufstest.Put(t.Context(), t, c.ufs, "dir/7", content)
	ref := file(7, int64(len(content)))
	ref.Persisted, ref.Fingerprint = true, e.Fingerprint
	q := &proto.ReadRequest{File: ref, Offset: 100, Length: 50}
	want := append([]byte{}, content[100:150]...)
	for at := int64(8*mib + 1_000_000); at > 0; at -= 900_001 {
		q.More = append(q.More, &proto.Range{Offset: at, Length: 60_000})
		want = append(want, content[at:min(at+60_000, int64(len(content)))]...)
	}
	got, _, err := c.client.Download(q, true)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want %d, %v", len(got), len(want), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	workertest.WaitFor(t, "every page to be stored", func() bool {
		check, err := c.client.Stub.Check(ctx, &proto.CheckRequest{File: ref})
		return err == nil && check.Pages == 9 && check.BadPages == 0 && check.Bytes == 9*mib && len(check.Tiers) == 1
	})
}
