package rpc

import (
	"bytes"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	pb "github.com/forebay/forebay/system/proto"
)

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 31)
	}
	return b
}

// slices cuts wire into buffers of at most size bytes, as HTTP/2 frames would.
func slices(wire []byte, size int) mem.BufferSlice {
	var out mem.BufferSlice
	for len(wire) > size {
		out = append(out, mem.SliceBuffer(wire[:size]))
		wire = wire[size:]
	}
	return append(out, mem.SliceBuffer(wire))
}

// TestCodecIsProtobuf: what either codec writes the other reads, at every size class and however it is cut.
func TestCodecIsProtobuf(t *testing.T) {
	for _, n := range []int{0, 1, copyBelowBytes - 1, copyBelowBytes, 64 << 10, 64<<10 + 1, 1 << 20, 1<<20 + 1} {
		want := &pb.WriteRequest{
			Header: &pb.WriteHeader{File: &pb.FileRef{Inode: 9, UfsPath: "a/b"}, Mode: 0o600},
			Offset: 1 << 40, Cache: true, Crc32C: 0xffffffff, Last: true, Data: pattern(n),
		}
		out, err := pageCodec{}.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var plain pb.WriteRequest
		if err := proto.Unmarshal(out.Materialize(), &plain); err != nil || !proto.Equal(want, &plain) {
			t.Errorf("%d bytes: protobuf does not read what the codec wrote (%v)", n, err)
		}
		wire, _ := proto.Marshal(want)
		for _, cut := range []int{1, 7, 16 << 10, len(wire)} {
			if cut < 16<<10 && n > 64<<10 {
				continue
			}
			page := NewWritePage()
			if err := (pageCodec{}).Unmarshal(slices(wire, cut), page); err != nil || !proto.Equal(want, page) {
				t.Errorf("%d bytes cut by %d: the codec does not read what protobuf wrote (%v)", n, cut, err)
			}
			page.Free()
		}
	}
}

// TestCodecSharesData: a page is sent from the memory in which it lies, and stays there until gRPC frees it.
func TestCodecSharesData(t *testing.T) {
	buffer := NewPageBuffer(1 << 20)
	copy(buffer.Bytes(), pattern(1<<20))
	page := &ReadPage{ReadResponse: &pb.ReadResponse{Offset: 5, Data: buffer.Bytes()}, Buffer: buffer}
	out, err := pageCodec{}.Marshal(page)
	if err != nil {
		t.Fatal(err)
	}
	if len(out) != 2 || &out[1].ReadOnlyData()[0] != &buffer.Bytes()[0] {
		t.Fatal("the data was copied")
	}
	buffer.Free()
	if !bytes.Equal(out[1].ReadOnlyData(), pattern(1<<20)) {
		t.Fatal("the data changed while gRPC held it")
	}
	out.Free()
	if got := buffer.refs.Load(); got != 0 {
		t.Fatalf("%d references are left", got)
	}
}

// TestPageBufferDoubleFree: a reference freed twice is a broken invariant.
func TestPageBufferDoubleFree(t *testing.T) {
	b := NewPageBuffer(2 << 20) // not pooled: nobody else can have got it
	b.Free()
	defer func() {
		if recover() == nil {
			t.Error("the second Free went unnoticed")
		}
	}()
	b.Free()
}

// FuzzCodecUnmarshal: the codec accepts what protobuf accepts and understands the same by it.
func FuzzCodecUnmarshal(f *testing.F) {
	for _, m := range []proto.Message{
		&pb.WriteRequest{}, &pb.WriteRequest{Data: []byte("x")},
		&pb.WriteRequest{Offset: 1, Crc32C: 2, Cache: true, Last: true, Data: pattern(300)},
		&pb.WriteRequest{Header: &pb.WriteHeader{File: &pb.FileRef{UfsPath: "p"}}},
	} {
		wire, _ := proto.Marshal(m)
		f.Add(wire, 16)
		f.Add(append(wire, wire...), 3)
		f.Add(append(wire, 0xf8, 0x07, 0x01), 300)
	}
	f.Fuzz(func(t *testing.T, wire []byte, cut int) {
		in := slices(wire, max(cut, 1))
		var want pb.WriteRequest
		wantErr := proto.Unmarshal(wire, &want)
		page, plain := NewWritePage(), &pb.WriteRequest{}
		defer page.Free()
		for _, got := range []proto.Message{page, plain} {
			err := pageCodec{}.Unmarshal(in, got)
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("%T: error %v, protobuf says %v", got, err, wantErr)
			}
			if err == nil && !proto.Equal(got, &want) {
				t.Fatalf("%T: got %v, protobuf says %v", got, got, &want)
			}
		}
		if wantErr != nil {
			return
		}
		out, err := pageCodec{}.Marshal(page)
		if err != nil {
			t.Fatal(err)
		}
		var back pb.WriteRequest
		if err := proto.Unmarshal(out.Materialize(), &back); err != nil || !proto.Equal(&back, &want) {
			t.Fatalf("written again: %v, %v; want %v", err, &back, &want)
		}
		out.Free()
	})
}
