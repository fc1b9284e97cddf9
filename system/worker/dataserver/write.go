package dataserver

import (
	"context"
	"hash/crc32"

	"google.golang.org/grpc"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/worker/blockstore"
)

// Write implements proto.DataServer.
// Its answer is the acknowledgement: with it the data is where the write's type promises, and without it nothing
// of it may be relied on. The caller may repeat a failed write as a new stream.
func (s *Server) Write(stream grpc.ClientStreamingServer[proto.WriteRequest, proto.WriteResponse]) error {
	response, err := s.write(stream)
	if err != nil {
		return rpc.ToStatus(err)
	}
	return stream.SendAndClose(response)
}

// A slot is taken before the header is read and held to the end, so MaxWrites bounds the buffers of all writes.
// Whatever ends the stream before its last message, the upload is aborted, and nothing of it is kept.
func (s *Server) write(stream grpc.ServerStream) (*proto.WriteResponse, error) {
	ctx := stream.Context()
	if err := s.writes.Acquire(ctx, 1); err != nil {
		return nil, dfs.Wrap(err, "write", "")
	}
	defer s.writes.Release(1)
	page := rpc.NewWritePage()
	defer page.Free()
	if err := stream.RecvMsg(page); err != nil {
		return nil, ended(err, "")
	}
	if len(page.Data) > 0 { // it would be dropped without a word
		return nil, dfs.Errorf(dfs.InvalidArgument, "write", page.Header.GetFile().GetUfsPath(), "the first message has data besides the header: send it in the next")
	}
	u, err := s.begin(ctx, page.Header)
	if err != nil {
		return nil, err
	}
	defer u.abort()
	for !page.Last {
		page.Free()
		if err := stream.RecvMsg(page); err != nil {
			return nil, ended(err, u.name)
		}
		if len(page.Data) > 0 {
			if err := u.take(ctx, page.WriteRequest); err != nil {
				return nil, err
			}
		}
	}
	return u.commit(ctx)
}

// ended says why a stream brought no more.
func ended(err error, name string) error {
	if err := rpc.FromStatus(err); dfs.KindOf(err) != dfs.Unknown {
		return err
	}
	return dfs.Errorf(dfs.Canceled, "write", name, "the stream ended without its last message: nothing of it was kept")
}

// upload is one write stream: to the block store, to the under store, or both at once.
// One task uses it, that of its stream. INV-1: what is in cache is never visible before what is in ufs (commit).
// INV-2: abort may be called after commit, in any state, and then does nothing to what was committed.
type upload struct {
	s        *Server
	header   *proto.WriteHeader
	name     string
	cache    *blockstore.Writer // nil once it failed, if the file is whole without it
	ufs      ufs.Writer         // nil without to_ufs
	received int64
	next     int64 // with to_ufs: the offset that must come
}

// begin checks the header and opens what the write goes to. With an error nothing is left open.
func (s *Server) begin(ctx context.Context, header *proto.WriteHeader) (*upload, error) {
	if header == nil || header.File == nil {
		return nil, dfs.Errorf(dfs.InvalidArgument, "write", "", "the first message of a write must have a header that names the file")
	}
	file := header.File
	u := &upload{s: s, header: header, name: file.UfsPath}
	ref := blockstore.Ref{File: dfs.FileVersion{Inode: dfs.InodeID(file.Inode), Version: file.Version}, BlockSize: file.BlockSize,
		Pinned: file.Pinned, Name: file.UfsPath}
	var err error
	if u.cache, err = s.c.Store.NewWriter(ref); err != nil {
		return nil, err
	}
	if header.ToUfs {
		if u.ufs, err = s.create(ctx, header); err != nil {
			u.abort()
			return nil, err
		}
	}
	return u, nil
}

// Errors of the mount and of the under store keep their kinds: NotFound says that the mount is gone.
func (s *Server) create(ctx context.Context, header *proto.WriteHeader) (ufs.Writer, error) {
	store, err := s.c.Mount(ctx, dfs.MountID(header.File.MountId))
	if err != nil {
		return nil, dfs.Wrap(err, "write", header.File.UfsPath)
	}
	w, err := store.Create(ctx, header.File.UfsPath, header.Mode)
	return w, dfs.Wrap(err, "write", header.File.UfsPath)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// take takes one chunk. Its checksum is compared before anything keeps it.
// The under store takes it first: it is what the client's answer is about. A chunk that is for one of the two alone
// does not go to the other.
func (u *upload) take(ctx context.Context, m *proto.WriteRequest) error {
	if got := crc32.Checksum(m.Data, castagnoli); got != m.Crc32C {
		return dfs.Errorf(dfs.Corrupted, "write", u.name, "the chunk at %d arrived with checksum %08x, sent was %08x: send it again", m.Offset, got, m.Crc32C)
	}
	if u.ufs == nil && !m.Cache { // an answer would acknowledge what nobody keeps
		return dfs.Errorf(dfs.InvalidArgument, "write", u.name, "the chunk at %d is for neither the cache nor the under store", m.Offset)
	}
	if u.ufs != nil {
		if m.Offset != u.next {
			return dfs.Errorf(dfs.InvalidArgument, "write", u.name, "offset %d after %d bytes: a write to the under store has no gaps", m.Offset, u.next)
		}
		if _, err := u.ufs.Write(m.Data); err != nil {
			return dfs.Wrap(err, "write", u.name)
		}
		u.next += int64(len(m.Data))
	}
	if m.Cache && u.cache != nil {
		if err := u.cache.Append(ctx, m.Offset, m.Data); err != nil {
			if !u.cacheIsExtra() || ctx.Err() != nil || dfs.IsKind(err, dfs.InvalidArgument) {
				return err
			}
			u.dropCache(err)
		}
	}
	u.received += int64(len(m.Data))
	return nil
}

// cacheIsExtra tells whether the file is whole without this worker's copy.
func (u *upload) cacheIsExtra() bool { return u.ufs != nil }

// dropCache goes on without this worker's copy: the under store's write decides.
func (u *upload) dropCache(err error) {
	u.s.c.Logger.Warn("a write through to the under store is not cached", "file", u.name, "error", err)
	u.cache.Abort()
	u.cache = nil
}

// persisted tells whether what is cached here is, or will be, in the under store whatever becomes of this worker: the
// stream itself writes it there, or another one does (the side copies of a write through). That the file is said to be
// persisted says nothing: it is of the version before, when a file is overwritten.
func (u *upload) persisted() bool {
	t := dfs.WriteType(u.header.WriteType)
	return u.ufs != nil || t == dfs.WriteCacheThrough || t == dfs.WriteThrough
}

// commit makes the under store's object visible first: a cached copy of something that is not there must not be.
func (u *upload) commit(ctx context.Context) (*proto.WriteResponse, error) {
	response := &proto.WriteResponse{Length: u.received}
	if u.ufs != nil {
		e, err := u.ufs.Commit(ctx)
		if err != nil {
			return nil, dfs.Wrap(err, "write", u.name)
		}
		response.Fingerprint = e.Fingerprint
	}
	if u.cache == nil {
		return response, nil
	}
	blocks, err := u.cache.Commit(ctx, u.persisted())
	if err != nil && !u.cacheIsExtra() {
		return nil, err
	}
	if err != nil {
		u.dropCache(err)
	}
	// A copy that could not be committed is not told: the blocks are nil then, and the client has its write all
	// the same.
	response.Blocks = blocks
	return response, nil
}

// abort drops what was not committed.
func (u *upload) abort() {
	if u.cache != nil {
		u.cache.Abort()
	}
	if u.ufs != nil {
		u.ufs.Abort()
	}
}
