package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	pb "github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

// TestErrorsTravel: every kind, one from a newer build included, keeps all its parts over a status.
func TestErrorsTravel(t *testing.T) {
	for kind := dfs.Unknown; kind <= dfs.Stale+3; kind++ {
		want := &dfs.Error{Kind: kind, Op: "rename", Path: "/a\nb", Detail: "why", Leader: "10.0.0.1:19998"}
		got := rpc.FromStatus(rpc.ToStatus(fmt.Errorf("outer: %w", want)))
		var e *dfs.Error
		if !errors.As(got, &e) {
			t.Fatalf("%v: got %T", kind, got)
		}
		bare := *e
		bare.Err = nil
		if bare != *want {
			t.Errorf("got %+v, want %+v", bare, *want)
		}
	}
}

// TestTransportErrors: gRPC's own errors get a kind and say what to do.
func TestTransportErrors(t *testing.T) {
	tests := []struct {
		err  error
		want dfs.Kind
	}{
		{status.Error(codes.Unavailable, "connection refused"), dfs.Unavailable},
		{status.Error(codes.DeadlineExceeded, "x"), dfs.DeadlineExceeded},
		{status.Error(codes.Canceled, "x"), dfs.Canceled},
		{status.Error(codes.ResourceExhausted, "x"), dfs.ResourceExhausted},
		{status.Error(codes.Unimplemented, "x"), dfs.UnsupportedFeature},
		{status.Error(codes.Internal, "x"), dfs.Unknown},
		{context.DeadlineExceeded, dfs.DeadlineExceeded},
		{context.Canceled, dfs.Canceled},
		{io.ErrUnexpectedEOF, dfs.Unknown},
	}
	for _, tt := range tests {
		got := rpc.FromStatus(tt.err)
		if dfs.KindOf(got) != tt.want || dfs.DetailOf(got) == "" {
			t.Errorf("%v: got %v, want kind %v and a remedy", tt.err, got, tt.want)
		}
		if !errors.Is(got, tt.err) {
			t.Errorf("%v: the cause is lost", tt.err)
		}
	}
	if rpc.FromStatus(nil) != nil || rpc.ToStatus(nil) != nil || rpc.ErrorToProto(nil) != nil || rpc.ErrorFromProto(nil) != nil {
		t.Error("nil is not nil")
	}
}

// TestStatusRoundTrip: every field of a file status survives; a new field that is not converted fails here.
func TestStatusRoundTrip(t *testing.T) {
	want := &dfs.FileStatus{Path: "/a/b", Name: "b", ModTime: time.Unix(12, 34).UTC(), Xattr: map[string][]byte{"k": []byte("v")}}
	v := reflect.ValueOf(want).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.IsZero() {
			fill(t, f, v.Type().Field(i).Name)
		}
	}
	if got := rpc.StatusFromProto(rpc.StatusToProto(want)); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if rpc.StatusFromProto(nil) != nil || rpc.StatusToProto(nil) != nil {
		t.Error("nil is not nil")
	}
}

func fill(t *testing.T, f reflect.Value, name string) {
	switch {
	case f.Kind() == reflect.String:
		f.SetString(name)
	case f.Kind() == reflect.Bool:
		f.SetBool(true)
	case f.CanInt():
		f.SetInt(1)
	case f.CanUint():
		f.SetUint(1)
	default:
		t.Fatalf("field %s has a new kind of type: extend the test", name)
	}
}

// TestPool: one connection an address, a bound, and none after Close.
func TestPool(t *testing.T) {
	p := rpc.NewPool(host.NewReal(), 2)
	a, err := p.Get("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := p.Get("127.0.0.1:1"); again != a {
		t.Error("the connection is not shared")
	}
	if _, err := p.Get("127.0.0.1:2"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Get("127.0.0.1:3"); !dfs.IsKind(err, dfs.ResourceExhausted) {
		t.Errorf("over the bound: got %v", err)
	}
	p.Drop("127.0.0.1:2")
	if _, err := p.Get("127.0.0.1:3"); err != nil {
		t.Errorf("after Drop: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := p.Get("127.0.0.1:1"); !dfs.IsKind(err, dfs.Canceled) {
		t.Errorf("after Close: got %v", err)
	}
}

// pageServer streams pages, as a worker does.
type pageServer struct{ pb.UnimplementedDataServer }

func (pageServer) Read(r *pb.ReadRequest, stream pb.Data_ReadServer) error {
	for offset := r.Offset; offset < r.Offset+r.Length; offset += dfs.PageSizeBytes {
		b := rpc.NewPageBuffer(dfs.PageSizeBytes)
		b.Bytes()[0] = byte(offset >> 20)
		page := &rpc.ReadPage{ReadResponse: &pb.ReadResponse{Offset: offset, Data: b.Bytes()}, Buffer: b}
		err := stream.SendMsg(page)
		b.Free()
		if err != nil {
			return err
		}
	}
	return nil
}

func dataStub(tb testing.TB) pb.DataClient {
	h := host.NewReal()
	server, err := h.Listen("127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	pb.RegisterDataServer(server, pageServer{})
	server.Serve()
	conn, err := h.Dial(server.Addr())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = conn.Close()
		server.Stop(context.Background())
	})
	return pb.NewDataClient(conn)
}

// TestPagesOverGRPC: pages keep their content while buffers are reused, with either codec at the client.
func TestPagesOverGRPC(t *testing.T) {
	stub := dataStub(t)
	for _, option := range []string{rpc.CodecName, "proto"} {
		stream, err := stub.Read(testContext(t), &pb.ReadRequest{Length: 200 << 20}, contentSubtype(option))
		if err != nil {
			t.Fatal(err)
		}
		page := rpc.NewReadPage()
		for n := int64(0); ; n++ {
			err := stream.RecvMsg(page)
			if errors.Is(err, io.EOF) && n == 200 {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if page.Offset != n<<20 || len(page.Data) != 1<<20 || page.Data[0] != byte(n) {
				t.Fatalf("page %d: offset %d, %d bytes", n, page.Offset, len(page.Data))
			}
		}
		page.Free()
	}
}

func BenchmarkPageStream(b *testing.B) {
	stub := dataStub(b)
	for _, option := range []string{rpc.CodecName, "proto"} {
		b.Run("codec="+option, func(b *testing.B) {
			b.SetBytes(1 << 20)
			cpu := cpuTime()
			stream, err := stub.Read(testContext(b), &pb.ReadRequest{Length: int64(b.N) << 20}, contentSubtype(option))
			if err != nil {
				b.Fatal(err)
			}
			page := rpc.NewReadPage()
			for range b.N {
				if err := stream.RecvMsg(page); err != nil {
					b.Fatal(err)
				}
			}
			page.Free()
			b.ReportMetric((cpuTime()-cpu).Seconds()/(float64(b.N)/1000), "cpu-s/GB")
		})
	}
}
