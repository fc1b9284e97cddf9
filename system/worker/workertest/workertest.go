// Package workertest is what tests of the worker's packages share: a host on a disk of the test's own, content that is a
// function of its file and place, and one data server over real gRPC with a client that checks what it gets. It is imported
// by tests only.
package workertest

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

// MiB is the size of a page.
const MiB = 1 << 20

// Table is the polynomial of the data service's checksums.
var Table = crc32.MakeTable(crc32.Castagnoli)

// Node is the real host on another disk.
type Node struct {
	*host.Real
	Disk vfs.FS
}

// NewNode is a host on an empty disk in memory.
func NewNode() Node { return Node{host.NewReal(), vfs.NewMem()} }

// FS implements host.Host.
func (n Node) FS() vfs.FS { return n.Disk }

// Content is the first n bytes of a file.
func Content(inode uint64, n int64) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(uint64(i)*7 + uint64(i)>>12 + uint64(i)>>20*3 + inode)
	}
	return b
}

// Ref is version 1 of a file of blocks of 2 MiB on mount 1, at "dir/INODE".
func Ref(inode uint64, length int64) *proto.FileRef {
	return &proto.FileRef{Inode: inode, Version: 1, Length: length, BlockSize: 2 * MiB, MountId: 1, UfsPath: fmt.Sprintf("dir/%d", inode)}
}

// Serve serves a data service on loopback until the test ends, and gives a client and the server's address. register is
// called before it serves.
func Serve(t testing.TB, h host.Host, register func(host.Server)) Client {
	t.Helper()
	server, err := h.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	register(server)
	server.Serve()
	t.Cleanup(func() { Stop(server) })
	return Dial(t, h, server.Addr())
}

// Stop stops a server and gives its streams a second.
func Stop(server host.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	server.Stop(ctx)
}

// Dial is a client of the data service at address.
func Dial(t testing.TB, h host.Host, address string) Client {
	t.Helper()
	conn, err := h.Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return Client{t, proto.NewDataClient(conn)}
}

// Client speaks to one data service. Its calls end after ten seconds.
type Client struct {
	testing.TB
	Stub proto.DataClient
}

// Upload writes content from offset in chunks of the given size, and says that it is whole if last. change may edit each
// chunk's message.
func (c Client) Upload(header *proto.WriteHeader, offset int64, content []byte, chunk int, last bool, change func(*proto.WriteRequest)) (*proto.WriteResponse, error) {
	ctx, cancel := context.WithTimeout(c.Context(), 10*time.Second)
	defer cancel()
	stream, err := c.Stub.Write(ctx, rpc.PageCodec())
	if err != nil {
		return nil, err
	}
	if err := stream.Send(&proto.WriteRequest{Header: header}); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for at := 0; at < len(content); at += chunk {
		m := Chunk(offset+int64(at), content[at:min(at+chunk, len(content))])
		if change != nil {
			change(m)
		}
		if err := stream.Send(m); err != nil {
			break // the answer says why
		}
	}
	if last {
		_ = stream.Send(&proto.WriteRequest{Last: true})
	}
	response, err := stream.CloseAndRecv()
	return response, rpc.FromStatus(err)
}

// Chunk is the message that carries data, for the cache.
func Chunk(offset int64, data []byte) *proto.WriteRequest {
	return &proto.WriteRequest{Offset: offset, Cache: true, Crc32C: crc32.Checksum(data, Table), Data: data}
}

// Download reads what q asks for, with or without the page codec, checking each piece's sum. cached tells whether all of it
// came from the worker's pages. With an error, content is what came before it.
func (c Client) Download(q *proto.ReadRequest, codec bool) (content []byte, cached bool, err error) {
	ctx, cancel := context.WithTimeout(c.Context(), 10*time.Second)
	defer cancel()
	stream, err := c.Stub.Read(ctx, q)
	if codec {
		stream, err = c.Stub.Read(ctx, q, rpc.PageCodec())
	}
	if err != nil {
		return nil, false, err
	}
	cached = true
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return content, cached, nil
		}
		if err != nil {
			return content, cached, rpc.FromStatus(err)
		}
		if crc32.Checksum(m.Data, Table) != m.Crc32C {
			c.Errorf("checksum of the piece at %d", m.Offset)
		}
		cached = cached && m.Cached
		content = append(content, m.Data...)
	}
}

// WaitFor polls until done, and ends the test when that takes half a minute.
func WaitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}
