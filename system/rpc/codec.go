package rpc

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec that everything else falls back to
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "github.com/forebay/forebay/system/proto"
)

// CodecName is the content subtype of the page codec.
const CodecName = "forebay-page"

const (
	dataField = 15 // of ReadResponse and WriteRequest

	// copyBelowBytes is the size under which data rides in the header's buffer: a buffer of its own would cost more.
	copyBelowBytes = 4 << 10

	// headRoomBytes bounds what is searched for the data field. The fields before it take under 40 bytes in a chunk; a
	// longer head is decoded the plain way.
	headRoomBytes = 256
)

// The codec is known to clients and servers of every process that has this package.
func init() { encoding.RegisterCodecV2(pageCodec{}) }

// PageCodec is the call option of clients of the Data service: pages are then sent and received without passing through
// protobuf.
func PageCodec() grpc.CallOption { return grpc.CallContentSubtype(CodecName) }

// pageCodec writes the bytes that protobuf would write, with data, the last field, in a buffer of its own.
//
// Why it exists: protobuf copies a bytes field on both ends, and allocates for each message when it receives. A chunk is a
// megabyte, so that these copies would be most of the work of a read. Here a page is sent from where it lies, and received
// with one copy into pooled memory.
//
// It takes no locks and has no state; gRPC may call it from any task.
type pageCodec struct{}

// Name implements encoding.CodecV2.
func (pageCodec) Name() string { return CodecName }

// Marshal implements encoding.CodecV2. The result of a page refers to the page's memory, and holds a reference of its buffer
// until gRPC frees it.
// An error leaves no reference behind: the buffer is lent as the last step.
func (pageCodec) Marshal(v any) (mem.BufferSlice, error) {
	switch m := v.(type) {
	case *ReadPage:
		return marshalPage(m.ReadResponse, readHead(m.ReadResponse), m.Data, m.Buffer)
	case *pb.ReadResponse:
		return marshalPage(m, readHead(m), m.Data, nil)
	case *WritePage:
		return marshalPage(m.WriteRequest, writeHead(m.WriteRequest), m.Data, m.Buffer)
	case *pb.WriteRequest:
		return marshalPage(m, writeHead(m), m.Data, nil)
	case proto.Message:
		return marshalPlain(m)
	}
	return nil, fmt.Errorf("rpc: cannot marshal %T: it is not a protobuf message", v)
}

// readHead is a chunk without its data: all fields before dataField. A new field must be added here, or the codec drops
// it; TestCodecKeepsEveryField sees to it.
func readHead(m *pb.ReadResponse) proto.Message {
	return &pb.ReadResponse{Offset: m.Offset, Cached: m.Cached, Crc32C: m.Crc32C}
}

// writeHead is the same of a chunk that is written.
func writeHead(m *pb.WriteRequest) proto.Message {
	return &pb.WriteRequest{Header: m.Header, Offset: m.Offset, Cache: m.Cache, Crc32C: m.Crc32C, Last: m.Last}
}

// marshalPage writes head (whole without its data), then the data field. Fields from a newer build are rare and go the
// plain way.
// whole's data is not touched, and must not change until gRPC has sent it.
func marshalPage(whole, head proto.Message, data []byte, owner *PageBuffer) (mem.BufferSlice, error) {
	if len(data) < copyBelowBytes || len(whole.ProtoReflect().GetUnknown()) > 0 {
		return marshalPlain(whole)
	}
	const tagAndLengthBytes = 12
	size := proto.Size(head)
	out, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(make([]byte, 0, size+tagAndLengthBytes), head)
	if err != nil {
		return nil, err
	}
	out = protowire.AppendTag(out, dataField, protowire.BytesType)
	out = protowire.AppendVarint(out, uint64(len(data)))
	return mem.BufferSlice{mem.SliceBuffer(out), lend(data, owner)}, nil
}

// marshalPlain is protobuf's own form, for small messages and all others of the service.
func marshalPlain(m proto.Message) (mem.BufferSlice, error) {
	out, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	return mem.BufferSlice{mem.SliceBuffer(out)}, nil
}

// Unmarshal implements encoding.CodecV2. A page that is received into again gives its old buffer back first. After an error
// v may be filled in part; a buffer that it holds is still its owner's to free.
func (pageCodec) Unmarshal(in mem.BufferSlice, v any) error {
	switch m := v.(type) {
	case *ReadPage:
		m.Free()
		return unmarshalPage(in, m.ReadResponse, &m.Data, &m.Buffer)
	case *WritePage:
		m.Free()
		return unmarshalPage(in, m.WriteRequest, &m.Data, &m.Buffer)
	case *pb.ReadResponse:
		return unmarshalPage(in, m, &m.Data, nil)
	case *pb.WriteRequest:
		return unmarshalPage(in, m, &m.Data, nil)
	case proto.Message:
		return unmarshalPlain(in, m)
	}
	return fmt.Errorf("rpc: cannot unmarshal into %T: it is not a protobuf message", v)
}

// unmarshalPage decodes the head with protobuf and copies data once, into pooled memory when there is a buffer to own it.
//
// What came from outside decides no sizes here but that of the message itself, which gRPC has bounded already: the length
// that the data field claims must be what is left of it (findData).
func unmarshalPage(in mem.BufferSlice, m proto.Message, data *[]byte, buffer **PageBuffer) error {
	var room [headRoomBytes]byte
	total := in.Len()
	prefix := room[:in.CopyTo(room[:min(total, headRoomBytes)])]
	headLength, dataStart, ok := findData(prefix, total)
	if !ok {
		return unmarshalPlain(in, m)
	}
	if err := proto.Unmarshal(prefix[:headLength], m); err != nil {
		return err
	}
	if buffer == nil {
		*data = make([]byte, total-dataStart)
	} else {
		*buffer = NewPageBuffer(total - dataStart)
		*data = (*buffer).Bytes()
	}
	copyFrom(*data, in, dataStart)
	return nil
}

// findData tells where the head of a message of total bytes ends and where its data begins, if data is its last field
// and comes once, which is what this codec and protobuf's own write. It is false for everything else: unusual but valid
// messages, and broken ones, whose error the plain decoder then finds.
func findData(prefix []byte, total int) (headLength, dataStart int, ok bool) {
	at := 0
	for at < len(prefix) {
		number, kind, tagLength := protowire.ConsumeTag(prefix[at:])
		if tagLength < 0 {
			return 0, 0, false
		}
		if number == dataField && kind == protowire.BytesType {
			length, n := protowire.ConsumeVarint(prefix[at+tagLength:])
			start := at + tagLength + n
			if n < 0 || length == 0 || length != uint64(total-start) {
				return 0, 0, false
			}
			return at, start, true
		}
		valueLength := protowire.ConsumeFieldValue(number, kind, prefix[at+tagLength:])
		if valueLength < 0 {
			return 0, 0, false
		}
		at += tagLength + valueLength
	}
	return 0, 0, false
}

// copyFrom fills dst with in's bytes from offset on. in has at least so many.
func copyFrom(dst []byte, in mem.BufferSlice, offset int) {
	for _, b := range in {
		piece := b.ReadOnlyData()
		if offset >= len(piece) {
			offset -= len(piece)
			continue
		}
		dst = dst[copy(dst, piece[offset:]):]
		offset = 0
	}
}

// unmarshalPlain needs the message in one piece, which costs a copy when it came in several.
func unmarshalPlain(in mem.BufferSlice, m proto.Message) error {
	whole := in.MaterializeToBuffer(mem.DefaultBufferPool())
	defer whole.Free()
	return proto.Unmarshal(whole.ReadOnlyData(), m)
}
