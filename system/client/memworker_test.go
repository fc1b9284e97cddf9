package client_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	pb "github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
	"github.com/forebay/forebay/system/ufs"
)

// memWorker is a small true worker: it keeps blocks in memory, fills them from the under store, and registers with the
// master. Its faults are what the tests of failover need and a real worker cannot be asked for.
type memWorker struct {
	pb.UnimplementedDataServer
	id     string
	h      host.Host
	store  ufs.Store
	server host.Server
	stop   context.CancelFunc

	mu       sync.Mutex
	blocks   map[dfs.BlockID][]byte
	reads    int
	writes   int                                    // chunks received
	fault    func(w *memWorker, event string) error // called with mu held: "read", "write" or "commit"
	miscount int64                                  // added to the lengths that it answers
	damage   int                                    // so many read chunks get a wrong checksum
	stall    func()                                 // called before each chunk that is read; may take its time
	hold     func(event string)                     // called without mu before each "write" and "commit"; may take its time
}

func startWorker(t testing.TB, h host.Host, id string, master pb.BlocksClient, store ufs.Store) *memWorker {
	t.Helper()
	server, err := h.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	w := &memWorker{id: id, h: h, store: store, server: server, stop: stop, blocks: make(map[dfs.BlockID][]byte)}
	pb.RegisterDataServer(server, w)
	server.Serve()
	t.Cleanup(w.kill)
	lease, err := w.register(ctx, master)
	if err != nil {
		t.Fatal(err)
	}
	go w.beat(ctx, master, lease)
	return w
}

// kill ends the worker at once, its streams included.
func (w *memWorker) kill() {
	w.stop()
	now, cancel := context.WithCancel(context.Background())
	cancel()
	w.server.Stop(now)
}

func (w *memWorker) tiers() []*pb.TierInfo {
	return []*pb.TierInfo{{Name: "MEM", CapacityBytes: 1 << 30}}
}

func (w *memWorker) register(ctx context.Context, master pb.BlocksClient) (uint64, error) {
	stream, err := master.Register(ctx)
	if err != nil {
		return 0, err
	}
	info := &pb.WorkerInfo{Id: w.id, Address: w.server.Addr(), Tiers: w.tiers()}
	if err := stream.Send(&pb.RegisterRequest{Worker: info, Files: w.held(), Last: true}); err != nil {
		return 0, err
	}
	answer, err := stream.Recv()
	return answer.GetLease(), err
}

// held is what the worker holds, for a master that has given it up.
func (w *memWorker) held() (files []*pb.HeldFile) {
	w.with(func() {
		for b := range w.blocks {
			files = append(files, &pb.HeldFile{Inode: uint64(b.File.Inode), Version: b.File.Version, Blocks: []uint32{b.Index}})
		}
	})
	return files
}

// beat registers anew when it is told to: on a busy machine the master may have missed it for longer than it waits.
func (w *memWorker) beat(ctx context.Context, master pb.BlocksClient, lease uint64) {
	for w.h.Sleep(ctx, 100*time.Millisecond) == nil {
		bounded, cancel := w.h.WithTimeout(ctx, time.Second)
		answer, err := master.Heartbeat(bounded, &pb.HeartbeatRequest{Worker: w.id, Lease: lease, Tiers: w.tiers()})
		if err == nil && answer.Register {
			if again, err := w.register(bounded, master); err == nil { // or after the next beat
				lease = again
			}
		}
		cancel()
	}
}

// with runs f under the lock.
func (w *memWorker) with(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func blockOf(f *pb.FileRef, offset int64) dfs.BlockID {
	return dfs.BlockID{
		File: dfs.FileVersion{Inode: dfs.InodeID(f.Inode), Version: f.Version}, Index: uint32(offset / f.BlockSize),
	}
}

func (w *memWorker) Write(stream grpc.ClientStreamingServer[pb.WriteRequest, pb.WriteResponse]) error {
	return rpc.ToStatus(w.write(stream))
}

func (w *memWorker) write(stream grpc.ClientStreamingServer[pb.WriteRequest, pb.WriteResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	answer := &pb.WriteResponse{}
	kept := make(map[dfs.BlockID][]byte)
	var out ufs.Writer
	if first.Header.ToUfs {
		if out, err = w.store.Create(stream.Context(), first.Header.File.UfsPath, first.Header.Mode); err != nil {
			return err
		}
		defer out.Abort()
	}
	for {
		m, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return dfs.Errorf(dfs.Canceled, "write", "", "the stream ended without its last message")
		case err != nil:
			return err
		case m.Last:
			return w.commit(stream, answer, kept, out)
		}
		if err := w.chunk(first.Header, m, kept, out); err != nil {
			return err
		}
		answer.Length += int64(len(m.Data))
	}
}

// await runs the hold, if there is one.
func (w *memWorker) await(event string) {
	w.mu.Lock()
	hold := w.hold
	w.mu.Unlock()
	if hold != nil {
		hold(event)
	}
}

func (w *memWorker) chunk(header *pb.WriteHeader, m *pb.WriteRequest, kept map[dfs.BlockID][]byte, out ufs.Writer) error {
	w.await("write")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes++
	if w.fault != nil {
		if err := w.fault(w, "write"); err != nil {
			return err
		}
	}
	if crc32.Checksum(m.Data, crc32.MakeTable(crc32.Castagnoli)) != m.Crc32C {
		return dfs.Errorf(dfs.Corrupted, "write", "", "a chunk was damaged on its way")
	}
	if m.Cache {
		b := blockOf(header.File, m.Offset)
		if int64(len(kept[b])) != m.Offset%header.File.BlockSize {
			return dfs.Errorf(dfs.InvalidArgument, "write", b.String(), "chunks come out of order")
		}
		kept[b] = append(kept[b], m.Data...)
	}
	if out != nil {
		_, err := out.Write(m.Data)
		return err
	}
	return nil
}

func (w *memWorker) commit(stream grpc.ClientStreamingServer[pb.WriteRequest, pb.WriteResponse], answer *pb.WriteResponse, kept map[dfs.BlockID][]byte, out ufs.Writer) error {
	w.await("commit")
	w.mu.Lock()
	fault := w.fault
	var err error
	if fault != nil {
		err = fault(w, "commit")
	}
	w.mu.Unlock()
	if err != nil {
		return err
	}
	if out != nil {
		entry, err := out.Commit(stream.Context())
		if err != nil {
			return err
		}
		answer.Fingerprint = entry.Fingerprint
	}
	w.mu.Lock()
	for b, data := range kept {
		w.blocks[b] = data
		answer.Blocks = append(answer.Blocks, b.Index)
	}
	w.mu.Unlock()
	w.with(func() { answer.Length += w.miscount })
	return stream.SendAndClose(answer)
}

func (w *memWorker) Read(r *pb.ReadRequest, stream grpc.ServerStreamingServer[pb.ReadResponse]) error {
	const chunkBytes = 700_000 // chunks need not be pages
	for offset, end := r.Offset, r.Offset+r.Length; offset < end; {
		block, cached, err := w.block(stream.Context(), r.File, offset)
		if err != nil {
			return rpc.ToStatus(err)
		}
		data := block[offset%r.File.BlockSize:]
		data = data[:min(int64(len(data)), end-offset, chunkBytes)]
		if err := w.send(stream, offset, data, cached); err != nil {
			return rpc.ToStatus(err)
		}
		offset += int64(len(data))
	}
	return nil
}

func (w *memWorker) send(stream grpc.ServerStreamingServer[pb.ReadResponse], offset int64, data []byte, cached bool) error {
	sum := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
	w.mu.Lock()
	stall := w.stall
	w.mu.Unlock()
	if stall != nil {
		stall()
	}
	w.mu.Lock()
	w.reads++
	var err error
	if w.fault != nil {
		err = w.fault(w, "read")
	}
	if w.damage > 0 {
		w.damage--
		sum++
	}
	w.mu.Unlock()
	if err != nil {
		return err
	}
	return stream.Send(&pb.ReadResponse{Offset: offset, Cached: cached, Crc32C: sum, Data: data})
}

// block returns the block at offset, from memory or, if the under store has the file, from there.
func (w *memWorker) block(ctx context.Context, f *pb.FileRef, offset int64) (data []byte, cached bool, err error) {
	b := blockOf(f, offset)
	w.mu.Lock()
	data, cached = w.blocks[b]
	w.mu.Unlock()
	if cached {
		return data, true, nil
	}
	if !f.Persisted {
		return nil, false, dfs.Errorf(dfs.NotFound, "read", b.String(), "worker %s does not hold it", w.id)
	}
	entry, err := w.store.Stat(ctx, f.UfsPath)
	if err != nil {
		return nil, false, err
	}
	if entry.Fingerprint != f.Fingerprint {
		return nil, false, dfs.Errorf(dfs.Stale, "read", f.UfsPath, "the under store has other content now")
	}
	from, err := w.store.Open(ctx, f.UfsPath, int64(b.Index)*f.BlockSize, f.BlockSize)
	if err != nil {
		return nil, false, err
	}
	defer from.Close()
	if data, err = io.ReadAll(from); err != nil {
		return nil, false, fmt.Errorf("fill %v: %w", b, err)
	}
	w.with(func() { w.blocks[b] = data })
	return data, false, nil
}
