package client

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/forebay/forebay/system/dfs"
	pb "github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

// abandonTimeout bounds the farewell of a writer that gives up; the master drops an unfinished file by itself later.
const abandonTimeout = 5 * time.Second

// Writer writes a new file from its beginning to its end. The file is visible to readers once Close has returned nil.
// A Writer is for one task at a time.
//
// The first error sticks: everything after it fails alike, and the file is dropped.
//
// INV-1: page holds the file's bytes [length-filled, length), and lies within one block.
// INV-2: blocks names only workers that have acknowledged the whole block.
//
// Close or Abort must be called, also after an error: until then the Writer holds a page, its streams, and what it keeps to
// send again, of which the process has a bounded sum.
type Writer struct {
	c      *Client
	ctx    context.Context
	cancel context.CancelFunc
	o      options
	status *dfs.FileStatus
	ref    *pb.FileRef
	sink   sink

	page        *rpc.PageBuffer // being filled; nil when there is none
	filled      int             // bytes of page
	length      int64           // of the file so far, page included
	blocks      map[uint32][]string
	fingerprint string
	err         error // sticky
	done        bool
}

// Create starts a new file. Writing ends with ctx, and so does the file when it was not closed before. Options:
// WithWriteType, WithBlockSize, WithMode, WithOverwrite, WithParents, WithTTL, WithReplication, WithDurableReplicas.
//
// Until Close the file is there for the master and not for readers. A client that dies leaves it so; what workers hold of
// it is freed when the master clears it away.
// Data goes nowhere yet: a sink connects with its first chunk; that of an empty file at Close, if at all.
func (c *Client) Create(ctx context.Context, path dfs.Path, opts ...Option) (*Writer, error) {
	o := c.options(append([]Option{WithMode(0o644)}, opts...))
	result, err := c.mutate(ctx, "create", string(path), &pb.Operation{Kind: &pb.Operation_CreateFile{
		CreateFile: &pb.CreateFile{
			Path: string(path), BlockSize: o.blockSize, Mode: o.mode, Overwrite: o.overwrite, Recursive: o.recursive,
			WriteType: uint32(o.writeType), ReplicationMin: o.minReplicas, ReplicationMax: o.maxReplicas,
			ReplicationDurable: o.replication, Ttl: int64(o.ttl), TtlAction: uint32(o.ttlAction),
		},
	}}, shared)
	if err != nil {
		return nil, err
	}
	status, err := statusOf(result, "create", path)
	if err != nil {
		return nil, err
	}
	w := &Writer{c: c, o: o, status: status, ref: refOf(status), blocks: make(map[uint32][]string)}
	w.ctx, w.cancel = c.core.h.WithCancel(ctx)
	w.sink = w.newSink()
	return w, nil
}

// Status is the file as it was created: its id, version and block size.
func (w *Writer) Status() *dfs.FileStatus { return w.status }

// Length is the number of bytes written so far.
func (w *Writer) Length() int64 { return w.length }

// block is the id of one block of the file being written.
func (w *Writer) block(index uint32) dfs.BlockID {
	return dfs.BlockID{File: w.status.File(), Index: index}
}

// blockSize is the file's, as the master settled it.
func (w *Writer) blockSize() int64 {
	if w.status.BlockSize > 0 {
		return w.status.BlockSize
	}
	return dfs.DefaultBlockSizeBytes
}

// blockIndex is the block that the byte at offset belongs to.
func (w *Writer) blockIndex(offset int64) uint32 { return uint32(offset / w.blockSize()) }

// located notes that a worker has acknowledged a block.
func (w *Writer) located(index uint32, id dfs.WorkerID) {
	w.blocks[index] = append(w.blocks[index], string(id))
}

// Write implements io.Writer. It returns once p is copied or sent, not when workers have it; an error may belong to bytes of
// an earlier Write. p is not kept.
// After an error n counts what was taken over, which may be more than what was sent: the file is of no use any more.
func (w *Writer) Write(p []byte) (n int, err error) {
	for n < len(p) {
		room, err := w.room()
		if err != nil {
			return n, err
		}
		copied := copy(room, p[n:])
		n += copied
		if err := w.filledBy(copied); err != nil {
			return n, err
		}
	}
	return n, w.err
}

// ReadFrom implements io.ReaderFrom: r reads straight into pages. An error of r is returned as it is and does not stick: more
// may be written, or the file closed. A hundred reads in a row without a byte or an error are io.ErrNoProgress.
// Nothing is copied beside what r itself does: pages are sent from where r has put the bytes.
func (w *Writer) ReadFrom(r io.Reader) (total int64, err error) {
	const maxEmptyReads = 100 // as bufio has it: a reader that gives neither bytes nor an error would spin for ever
	for empty := 0; empty < maxEmptyReads; empty++ {
		room, err := w.room()
		if err != nil {
			return total, err
		}
		n, readErr := r.Read(room)
		total += int64(n)
		if err := w.filledBy(n); err != nil {
			return total, err
		}
		if errors.Is(readErr, io.EOF) {
			return total, nil
		}
		if readErr != nil {
			return total, readErr
		}
		if n > 0 {
			empty = 0
		}
	}
	return total, io.ErrNoProgress
}

// room is where the next bytes of the file go, at least one.
func (w *Writer) room() ([]byte, error) {
	switch {
	case w.err != nil:
		return nil, w.err
	case w.done:
		return nil, dfs.Errorf(dfs.InvalidArgument, "write", string(w.status.Path), "the file is closed")
	}
	if w.page == nil {
		size := int64(dfs.PageSizeBytes)
		size = min(size-w.length%size, w.blockSize()-w.length%w.blockSize()) // pages are aligned, and end with their block
		w.page = rpc.NewPageBuffer(int(size))
	}
	return w.page.Bytes()[w.filled:], nil
}

// filledBy takes note that n bytes of room were used, and sends the page when it is full.
func (w *Writer) filledBy(n int) error {
	w.filled += n
	w.length += int64(n)
	if w.filled < len(w.page.Bytes()) {
		return nil
	}
	return w.flush()
}

// flush sends what the page holds.
// The page is given back in any case; whoever needs it for longer, to send it again or because gRPC is not done with it,
// has taken a reference of its own.
func (w *Writer) flush() error {
	if w.filled == 0 {
		return nil
	}
	w.page.Truncate(w.filled)
	offset := w.length - int64(w.filled)
	err := w.sink.write(w.blockIndex(offset), newChunk(offset, w.page))
	w.c.core.stats.bytesWritten.Add(int64(w.filled))
	w.page.Free()
	w.page, w.filled = nil, 0
	if err != nil {
		w.err = dfs.Wrap(err, "write", string(w.status.Path))
	}
	return w.err
}

// Close commits the file. When it returns an error the file is dropped, unless the error says that the outcome is
// unknown. A second call returns what the first one did.
//
// It takes as long as the sink's commit, the master's answer and, after an error, the farewell, each with an end of its own.
func (w *Writer) Close() error {
	if w.done {
		return w.err
	}
	if w.err == nil {
		w.err = w.commit()
	}
	w.end(w.err != nil)
	return w.err
}

// CloseWithError is Abort when err is not nil, and Close otherwise, for use with defer. It returns err or Close's error.
func (w *Writer) CloseWithError(err error) error {
	if err == nil {
		return w.Close()
	}
	w.Abort()
	return err
}

// Abort drops the file. It tells the master, for which it waits at most abandonTimeout, and which frees what workers hold. A
// file that it would have replaced stays. It does nothing after Close.
func (w *Writer) Abort() {
	if w.done {
		return
	}
	w.err = dfs.Errorf(dfs.Canceled, "write", string(w.status.Path), "the writer was aborted")
	w.end(true)
}

// commit brings the rest to the sink, then tells the master: the file appears with its data in place, or not at all. A
// client that dies between the two leaves an unfinished file, which nobody can read and the master clears away later.
func (w *Writer) commit() error {
	err := w.flush()
	if err == nil {
		err = w.sink.commit()
	}
	if err != nil {
		return dfs.Wrap(err, "write", string(w.status.Path))
	}
	complete := &pb.CompleteFile{
		Inode: uint64(w.status.ID), Version: w.status.Version, Length: w.length, Fingerprint: w.fingerprint,
		WriteType: uint32(w.o.writeType), Path: string(w.status.Path),
	}
	for _, index := range slices.Sorted(maps.Keys(w.blocks)) {
		complete.Blocks = append(complete.Blocks, &pb.BlockLocations{Index: index, Workers: w.blocks[index]})
	}
	_, err = w.c.mutate(w.ctx, "complete", complete.Path, &pb.Operation{Kind: &pb.Operation_CompleteFile{CompleteFile: complete}}, shared)
	return err
}

// end releases everything and, if the file was not completed, tells the master. The farewell has a time of its own: the
// writer's context has ended already when that is why it gives up.
// Afterwards nothing of the process is held. Room for kept bytes is given back before the master is told, so that other
// writers have it also while no master answers.
func (w *Writer) end(abandon bool) {
	w.done = true
	w.sink.abort()
	w.page.Free()
	w.page = nil
	w.cancel()
	if !abandon {
		return
	}
	ctx, cancel := w.c.core.h.WithTimeout(context.WithoutCancel(w.ctx), abandonTimeout)
	defer cancel()
	// Should it not reach the master, the file stays incomplete and unreadable until the master's own clean-up. A file
	// that was completed after all is not touched: the master refuses to abandon it.
	_, _ = w.c.mutate(ctx, "abandon", string(w.status.Path), &pb.Operation{Kind: &pb.Operation_AbandonFile{
		AbandonFile: &pb.AbandonFile{Inode: uint64(w.status.ID), Version: w.status.Version},
	}}, shared)
}
