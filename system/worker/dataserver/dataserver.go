// Package dataserver is the Data service: what clients and other workers ask of a worker. It owns the limits on streams
// and the order of a write's steps; pages come from package fetch and go to package blockstore. It decides nothing about
// placement, eviction or metadata.
package dataserver

import (
	"context"
	"log/slog"

	"google.golang.org/grpc"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/worker/blockstore"
	"github.com/forebay/forebay/system/worker/dataserver/fetch"
)

var pathReadBreaks = host.NewPath("a worker breaks off a read")

// Config is what a server is made of. Zero fields take the defaults.
type Config struct {
	Store   *blockstore.Store
	Fetcher *fetch.Fetcher
	Mount   func(ctx context.Context, id dfs.MountID) (ufs.Store, error)
	// MaxReads and MaxWrites bound the streams served at a time; 4096 and 512. A read holds at most a few pages of
	// memory, a write two and what its under store's writer buffers. Over the bound a stream waits for its turn.
	MaxReads, MaxWrites int64
	Logger              *slog.Logger
}

// Server implements proto.DataServer.
// It is safe for concurrent use, and owns nothing that must be closed: streams end with their contexts.
type Server struct {
	proto.UnimplementedDataServer
	h      host.Host
	c      Config
	reads  *host.Semaphore
	writes *host.Semaphore
}

// New makes a server. Register it with proto.RegisterDataServer.
func New(h host.Host, c Config) *Server {
	if c.MaxReads == 0 {
		c.MaxReads = 4096
	}
	if c.MaxWrites == 0 {
		c.MaxWrites = 512
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{h: h, c: c, reads: host.NewSemaphore(h, c.MaxReads), writes: host.NewSemaphore(h, c.MaxWrites)}
}

// maxRanges bounds the ranges of one request.
// It keeps one request from holding its slot without end.
const maxRanges = 10_000

// Read implements proto.DataServer.
func (s *Server) Read(q *proto.ReadRequest, stream grpc.ServerStreamingServer[proto.ReadResponse]) error {
	return rpc.ToStatus(s.read(q, stream))
}

// The ranges are answered in the order of the request, each with its pieces in order; only the last one prefetches. A
// piece's bytes are sent from the page's buffer, which the codec holds on to until they are on the wire. A client that
// takes nothing holds its slot and one page; what it holds of the fetcher's memory it loses when others want it (fetch,
// INV-4).
func (s *Server) read(q *proto.ReadRequest, stream grpc.ServerStream) error {
	ctx := stream.Context()
	switch {
	case q.File == nil:
		return dfs.Errorf(dfs.InvalidArgument, "read", "", "the request names no file")
	case len(q.More) > maxRanges:
		return dfs.Errorf(dfs.InvalidArgument, "read", q.File.UfsPath, "%d ranges in one request, the limit is %d: send several", len(q.More), maxRanges)
	}
	if err := s.reads.Acquire(ctx, 1); err != nil {
		return dfs.Wrap(err, "read", q.File.UfsPath)
	}
	defer s.reads.Release(1)
	response := &proto.ReadResponse{}
	page := &rpc.ReadPage{ReadResponse: response}
	send := func(p fetch.Piece) error {
		if pathReadBreaks.Taken(s.h) {
			return dfs.Errorf(dfs.Unavailable, "read", q.File.UfsPath, "as if the worker went away")
		}
		response.Reset()
		response.Offset, response.Cached, response.Crc32C, response.Data = p.Offset, p.Cached, p.CRC32C, p.Data
		page.Buffer = p.Buffer
		return stream.SendMsg(page)
	}
	for i := -1; i < len(q.More); i++ {
		r := fetch.Request{File: q.File, Offset: q.Offset, Length: q.Length, ReadType: dfs.ReadType(q.ReadType), CachedOnly: q.CachedOnly}
		if i >= 0 {
			r.Offset, r.Length = q.More[i].Offset, q.More[i].Length
		}
		if i == len(q.More)-1 {
			r.Prefetch = q.Prefetch
		}
		if err := s.c.Fetcher.Read(ctx, r, send); err != nil {
			return err
		}
	}
	return nil
}

// Check implements proto.DataServer.
// It holds no slot, and runs as long as the caller's context lets it; the caller gets what is bad by numbers only.
func (s *Server) Check(ctx context.Context, q *proto.CheckRequest) (*proto.CheckResponse, error) {
	if q.File == nil {
		return nil, rpc.ToStatus(dfs.Errorf(dfs.InvalidArgument, "check", "", "the request names no file"))
	}
	r, err := s.c.Store.Check(ctx, dfs.FileVersion{Inode: dfs.InodeID(q.File.Inode), Version: q.File.Version})
	if err != nil {
		return nil, rpc.ToStatus(err)
	}
	return &proto.CheckResponse{Pages: r.Pages, BadPages: r.BadPages, Bytes: r.Bytes, Tiers: s.c.Store.Tiers()}, nil
}
