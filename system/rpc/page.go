package rpc

import (
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/mem"

	"github.com/forebay/forebay/system/dfs"
	pb "github.com/forebay/forebay/system/proto"
)

// Size classes of pooled buffers, in bytes. Pages are the common case; the small class serves small files and tails
// without holding a whole page.
const (
	smallBufferBytes = 64 << 10
	pageBufferBytes  = dfs.PageSizeBytes
)

var (
	smallPool = sync.Pool{New: func() any { return &PageBuffer{room: make([]byte, smallBufferBytes)} }}
	pagePool  = sync.Pool{New: func() any { return &PageBuffer{room: make([]byte, pageBufferBytes)} }}
)

// PageBuffer is pooled memory for one page, counted by references.
//
// INV-1: the memory goes back to the pool when the last reference is freed, and not before.
// INV-2: its bytes change only while there is one reference, its maker's: Ref means that they are final.
//
// A reference that is not freed costs no correctness: the collector takes the memory, and the pool makes another. One that
// is freed too often would hand the same memory to two owners, and so panics.
type PageBuffer struct {
	refs atomic.Int32
	room []byte // the whole memory
	data []byte // the part in use
}

// NewPageBuffer returns a buffer of length bytes with undefined content and one reference. Lengths over a page are not
// pooled.
func NewPageBuffer(length int) *PageBuffer {
	var b *PageBuffer
	switch {
	case length <= smallBufferBytes:
		b = smallPool.Get().(*PageBuffer)
	case length <= pageBufferBytes:
		b = pagePool.Get().(*PageBuffer)
	default:
		b = &PageBuffer{room: make([]byte, length)}
	}
	b.refs.Store(1)
	b.data = b.room[:length:length]
	return b
}

// Bytes is the buffer's content, valid until the caller's reference is freed.
func (b *PageBuffer) Bytes() []byte { return b.data }

// Truncate shortens the content to its first n bytes, for a page that was not filled. Only the maker may, before any Ref
// (INV-2).
func (b *PageBuffer) Truncate(n int) { b.data = b.data[:n:n] }

// Ref adds a reference, for another holder to free.
// Only who holds a reference may: with none left the memory may be somebody else's already.
func (b *PageBuffer) Ref() {
	if b.refs.Add(1) <= 1 {
		panic("rpc: reference to a freed page buffer (INV-1)")
	}
}

// Free drops a reference. On nil it does nothing.
// The caller must not touch the bytes after it, nor free the same reference again.
func (b *PageBuffer) Free() {
	if b == nil {
		return
	}
	switch refs := b.refs.Add(-1); {
	case refs > 0:
		return
	case refs < 0:
		panic("rpc: page buffer freed twice (INV-1)")
	}
	b.data = nil
	switch len(b.room) {
	case smallBufferBytes:
		smallPool.Put(b)
	case pageBufferBytes:
		pagePool.Put(b)
	}
}

// ReadPage is a proto.ReadResponse whose Data may lie in a pooled buffer. It is a protobuf message itself, so that every
// codec and transport can carry it.
type ReadPage struct {
	*pb.ReadResponse
	Buffer *PageBuffer
}

// WritePage is a proto.WriteRequest whose Data may lie in a pooled buffer.
// Free it after each receive; receiving into it again does so too.
type WritePage struct {
	*pb.WriteRequest
	Buffer *PageBuffer
}

// NewReadPage returns an empty one to receive into.
func NewReadPage() *ReadPage { return &ReadPage{ReadResponse: &pb.ReadResponse{}} }

// NewWritePage returns an empty one to receive into.
func NewWritePage() *WritePage { return &WritePage{WriteRequest: &pb.WriteRequest{}} }

// Free frees the buffer and forgets the data, so that the page can be received into again.
func (p *ReadPage) Free() {
	p.Buffer.Free()
	p.Buffer, p.Data = nil, nil
}

// Free frees the buffer and forgets the data, so that the page can be received into again.
func (p *WritePage) Free() {
	p.Buffer.Free()
	p.Buffer, p.Data = nil, nil
}

// sentView lends data, which lies in owner's memory, to gRPC. It is the pool to which gRPC returns the bytes.
type sentView struct {
	owner *PageBuffer
	data  []byte
}

// lend makes a mem.Buffer of data. Its release frees a reference of owner; without an owner the collector does it.
// gRPC counts no references of data under its own threshold, whose memory could then be used again too early. None so small
// comes here from an owner: the codec copies what is under copyBelowBytes.
func lend(data []byte, owner *PageBuffer) mem.Buffer {
	if owner == nil || mem.IsBelowBufferPoolingThreshold(cap(data)) {
		return mem.SliceBuffer(data)
	}
	owner.Ref()
	v := &sentView{owner: owner, data: data}
	return mem.NewBuffer(&v.data, v)
}

// Get implements mem.BufferPool; gRPC never asks this one.
func (*sentView) Get(length int) *[]byte { b := make([]byte, length); return &b }

// Put implements mem.BufferPool: gRPC is done with the bytes.
func (v *sentView) Put(*[]byte) { v.owner.Free() }
