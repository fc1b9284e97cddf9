package dataserver_test

import (
	"context"
	"hash/crc32"
	"math"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
	"github.com/forebay/forebay/system/ufs/ufstest"
	"github.com/forebay/forebay/system/worker/workertest"
)

// hostileRequest asks c for a range and tells how many bytes came.
func (c *cluster) hostileRequest(q *proto.ReadRequest) (n int, err error) {
	content, _, err := c.client.Download(q, false)
	return len(content), err
}

// TestHostileReads sends requests that no client of ours sends: none ends the server, hangs, or gives a byte too much.
func TestHostileReads(t *testing.T) {
	c := start(t, 20*mib)
	content := random(3*mib + 9)
	e := ufstest.Put(t.Context(), t, c.ufs, "dir/1", content)
	good := func() *proto.FileRef {
		r := file(1, int64(len(content)))
		r.Persisted, r.Fingerprint = true, e.Fingerprint
		return r
	}
	if n, err := c.hostileRequest(&proto.ReadRequest{File: good(), Length: math.MaxInt64}); err != nil || n != len(content) {
		t.Fatalf("%d bytes, %v", n, err)
	}
	for _, test := range []struct {
		name   string
		change func(*proto.ReadRequest)
		kind   dfs.Kind // 0: no error
		bytes  int
	}{
		{"no file", func(q *proto.ReadRequest) { q.File = nil }, dfs.InvalidArgument, 0},
		{"inode 0", func(q *proto.ReadRequest) { q.File.Inode = 0 }, dfs.InvalidArgument, 0},
		{"block size 0", func(q *proto.ReadRequest) { q.File.BlockSize = 0 }, dfs.InvalidArgument, 0},
		{"negative block size", func(q *proto.ReadRequest) { q.File.BlockSize = math.MinInt64 }, dfs.InvalidArgument, 0},
		{"largest block size", func(q *proto.ReadRequest) { q.File.BlockSize = math.MaxInt64 }, dfs.InvalidArgument, 0},
		{"negative length of the file", func(q *proto.ReadRequest) { q.File.Length = -1 }, dfs.InvalidArgument, 0},
		{"largest length of the file", func(q *proto.ReadRequest) { q.File.Length = math.MaxInt64 }, dfs.InvalidArgument, 0},
		{"an index past 32 bits", func(q *proto.ReadRequest) { q.File.BlockSize, q.File.Length, q.Offset = 1, 1<<40, 1<<32 }, dfs.InvalidArgument, 0},
		{"negative offset", func(q *proto.ReadRequest) { q.Offset = -1 }, dfs.InvalidArgument, 0},
		{"least offset", func(q *proto.ReadRequest) { q.Offset = math.MinInt64 }, dfs.InvalidArgument, 0},
		{"negative length", func(q *proto.ReadRequest) { q.Length = -1 }, dfs.InvalidArgument, 0},
		{"largest offset", func(q *proto.ReadRequest) { q.Offset = math.MaxInt64; q.Prefetch = 1 << 40 }, 0, 0},
		{"largest offset and length", func(q *proto.ReadRequest) {
			q.Offset, q.Length, q.Prefetch = math.MaxInt64-1, math.MaxInt64, math.MaxInt64
		}, 0, 0},
		{"negative prefetch", func(q *proto.ReadRequest) { q.Length, q.Prefetch = 5, math.MinInt64 }, 0, 5},
		{"endless prefetch", func(q *proto.ReadRequest) { q.Length, q.Prefetch = 5, math.MaxInt64 }, 0, 5},
		{"unknown read type", func(q *proto.ReadRequest) { q.Length, q.ReadType = 5, math.MaxUint32 }, 0, 5},
		{"a further range that is broken", func(q *proto.ReadRequest) { q.Length, q.More = 5, []*proto.Range{{Offset: -5, Length: 1}} }, dfs.InvalidArgument, 5},
		{"further ranges of nothing", func(q *proto.ReadRequest) { q.Length, q.More = 5, make([]*proto.Range, 0, 1) }, 0, 5},
		{"too many ranges", func(q *proto.ReadRequest) {
			for range 10_001 {
				q.More = append(q.More, &proto.Range{})
			}
		}, dfs.InvalidArgument, 0},
		{"a longer file", func(q *proto.ReadRequest) { q.Offset, q.Length, q.File.Length = 3*mib, mib, 4*mib }, dfs.Stale, 0},
		{"a shorter file", func(q *proto.ReadRequest) { q.Offset, q.Length, q.File.Length = 3*mib, mib, 3*mib+4 }, 0, 4},
		{"another version", func(q *proto.ReadRequest) { q.Length, q.File.Version, q.File.Fingerprint = 5, 9, "x" }, dfs.Stale, 0},
		{"a path out of the store", func(q *proto.ReadRequest) { q.Length, q.File.Inode, q.File.UfsPath = 5, 9, "../../etc/passwd" }, dfs.InvalidArgument, 0},
		{"not persisted and not here", func(q *proto.ReadRequest) { q.Length, q.File.Inode, q.File.Persisted = 5, 9, false }, dfs.NotFound, 0},
		{"cached only and not here", func(q *proto.ReadRequest) { q.Length, q.File.Inode, q.CachedOnly = 5, 9, true }, dfs.NotFound, 0},
	} {
		q := &proto.ReadRequest{File: good()}
		test.change(q)
		n, err := c.hostileRequest(q)
		if (test.kind == 0 && err != nil) || (test.kind != 0 && !dfs.IsKind(err, test.kind)) || n != test.bytes {
			t.Errorf("%s: %d bytes, %v; want %d, %v", test.name, n, err, test.bytes, test.kind)
		}
	}
	if n, err := c.hostileRequest(&proto.ReadRequest{File: good(), Length: math.MaxInt64}); err != nil || n != len(content) {
		t.Errorf("afterwards: %d bytes, %v", n, err)
	}
	if c.store.Counters.BadPages.Load() != 0 {
		t.Error("good pages were taken for bad ones")
	}
}

// answers takes what Read sends, in process.
type answers struct {
	grpc.ServerStream
	ctx   context.Context
	bytes int64
}

func (a *answers) Context() context.Context { return a.ctx }
func (a *answers) SendMsg(m any) error {
	a.bytes += int64(len(m.(*rpc.ReadPage).Data))
	return nil
}
func (a *answers) Send(*proto.ReadResponse) error { return nil }

// FuzzRead answers requests of any numbers: it ends, never panics, and gives no more than was asked for.
func FuzzRead(f *testing.F) {
	for _, n := range []int64{0, 1, -1, mib, 3*mib + 9, 1 << 32, 1 << 60, math.MaxInt64, math.MinInt64} {
		f.Add(int64(3*mib+9), int64(2*mib), n, int64(10), n, true)
		f.Add(n, int64(2*mib), int64(5), n, int64(0), false)
		f.Add(int64(3*mib+9), n, mib/2+n/2, int64(10), int64(0), true)
	}
	f.Fuzz(func(t *testing.T, fileLength, blockSize, offset, length, prefetch int64, persisted bool) {
		if blockSize > 0 && blockSize < 10_000 {
			blockSize += 10_000 // pages of a few bytes only take time
		}
		c := serve(t, 4*mib)
		ufstest.Put(t.Context(), t, c.ufs, "dir/1", make([]byte, 3*mib+9))
		r := file(1, fileLength)
		r.BlockSize, r.Persisted = blockSize, persisted
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		a := &answers{ctx: ctx}
		err := c.server.Read(&proto.ReadRequest{File: r, Offset: offset, Length: length, Prefetch: prefetch}, a)
		if ctx.Err() != nil {
			t.Error("it does not end")
		}
		if a.bytes > max(length, 0) || (err == nil && length > 0 && offset >= 0 && offset < fileLength && a.bytes != min(length, fileLength-offset)) {
			t.Errorf("%d bytes, %v", a.bytes, err)
		}
	})
}

// TestCutAtEveryMessage cuts write streams off behind each of their messages, in two ways: nothing is kept, nothing is
// left in use, and the one slot for writes is given back each time.
func TestCutAtEveryMessage(t *testing.T) {
	c := start(t, 20*mib)
	content := random(2*mib + 100)
	for messages := range 5 {
		for _, polite := range []bool{true, false} {
			for _, toUfs := range []bool{true, false} {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				stream, err := c.client.Stub.Write(ctx, rpc.PageCodec())
				if err != nil {
					t.Fatal(err)
				}
				for i := range messages {
					if i == 0 {
						_ = stream.Send(&proto.WriteRequest{Header: &proto.WriteHeader{File: file(1, 0), ToUfs: toUfs}})
						continue
					}
					at := (i - 1) * mib
					data := content[at:min(at+mib, len(content))]
					_ = stream.Send(workertest.Chunk(int64(at), data))
				}
				if polite {
					_, err = stream.CloseAndRecv()
					if err := rpc.FromStatus(err); !dfs.IsKind(err, dfs.Canceled) {
						t.Errorf("%d messages: %v", messages, err)
					}
				}
				cancel()
			}
		}
	}
	workertest.WaitFor(t, "room to be given back", func() bool { return c.store.Tiers()[0].UsedBytes == 0 })
	for e, err := range c.ufs.List(t.Context(), "", "") {
		t.Errorf("left in the under store: %+v, %v", e, err)
	}
	if response, err := c.upload(&proto.WriteHeader{File: file(1, 0)}, content, mib, true, nil); err != nil || len(response.Blocks) != 2 {
		t.Errorf("a whole write afterwards: %v, %v", response, err)
	}
}

// TestSilentLoss refuses writes of which an answer would acknowledge what nobody keeps.
func TestSilentLoss(t *testing.T) {
	c := start(t, 20*mib)
	header := &proto.WriteHeader{File: file(1, 0), WriteType: uint32(dfs.WriteMustCache)}
	if _, err := c.upload(header, random(mib), mib, true, func(m *proto.WriteRequest) { m.Cache = false }); !dfs.IsKind(err, dfs.InvalidArgument) {
		t.Errorf("a chunk for nobody: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	stream, err := c.client.Stub.Write(ctx, rpc.PageCodec())
	if err != nil {
		t.Fatal(err)
	}
	data := random(100)
	_ = stream.Send(&proto.WriteRequest{Header: header, Cache: true, Crc32C: crc32.Checksum(data, workertest.Table), Data: data})
	_ = stream.Send(&proto.WriteRequest{Last: true})
	if _, err := stream.CloseAndRecv(); !dfs.IsKind(rpc.FromStatus(err), dfs.InvalidArgument) {
		t.Errorf("data in the header's message: %v", err)
	}
}
