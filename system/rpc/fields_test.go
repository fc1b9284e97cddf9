package rpc

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/forebay/forebay/system/proto"
)

// filled sets every field of m but data to something that is not its default.
func filled(m proto.Message) {
	fields := m.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		r := m.ProtoReflect()
		switch f.Kind() {
		case protoreflect.BoolKind:
			r.Set(f, protoreflect.ValueOfBool(true))
		case protoreflect.Int64Kind:
			r.Set(f, protoreflect.ValueOfInt64(7))
		case protoreflect.Uint64Kind:
			r.Set(f, protoreflect.ValueOfUint64(7))
		case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
			r.Set(f, protoreflect.ValueOfUint32(7))
		case protoreflect.MessageKind:
			r.Mutable(f)
		}
	}
}

// TestCodecKeepsEveryField: no field of the two page messages is lost on its way, also one that is added later.
func TestCodecKeepsEveryField(t *testing.T) {
	for _, size := range []int{1, copyBelowBytes, 1 << 20} {
		read, write := &pb.ReadResponse{}, &pb.WriteRequest{}
		filled(read)
		filled(write)
		read.Data, write.Data = pattern(size), pattern(size)
		for _, want := range []proto.Message{read, write, &ReadPage{ReadResponse: read}, &WritePage{WriteRequest: write}} {
			out, err := pageCodec{}.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			got := want.ProtoReflect().New().Interface()
			if err := (pageCodec{}).Unmarshal(out, got); err != nil || !proto.Equal(got, want) {
				t.Errorf("%T of %d bytes lost something: %v", want, size, err)
			}
		}
	}
}

// TestCodecRefusesOthers: what is no message is an error, not a panic.
func TestCodecRefusesOthers(t *testing.T) {
	if _, err := (pageCodec{}).Marshal(7); err == nil {
		t.Error("a number was marshaled")
	}
	if err := (pageCodec{}).Unmarshal(nil, 7); err == nil {
		t.Error("a number was unmarshaled into")
	}
}

// TestPageBufferSizes: a buffer has the length asked for, whatever pool it came from, and keeps it until the last free.
func TestPageBufferSizes(t *testing.T) {
	for _, n := range []int{0, 1, smallBufferBytes, smallBufferBytes + 1, pageBufferBytes, pageBufferBytes + 1} {
		b := NewPageBuffer(n)
		if len(b.Bytes()) != n || cap(b.Bytes()) != n {
			t.Errorf("%d bytes: length %d, capacity %d", n, len(b.Bytes()), cap(b.Bytes()))
		}
		b.Ref()
		b.Free()
		b.Truncate(n / 2)
		if len(b.Bytes()) != n/2 {
			t.Errorf("%d bytes cut in half: %d", n, len(b.Bytes()))
		}
		b.Free()
	}
	var none *PageBuffer
	none.Free()
}
