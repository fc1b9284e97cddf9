package world

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/forebay/forebay/system/host"
)

// The conversation test: the same random script of calls runs over real gRPC on loopback and over the simulated network,
// and both ends must have seen the same. A script leaves nothing to chance that the wire may decide: a client cancels only
// when the server is known to wait.

// script is one call.
type script struct {
	Kind     int   // of kinds
	Sends    []int // sizes of the client's messages
	Replies  []int // sizes of the server's
	Turns    bool  // of a bidirectional stream: one reply for each message, in turn
	Code     codes.Code
	Header   bool // the server sends a header at once
	Trailer  bool
	End      int // how the client ends it: see ends
	Metadata string
}

const (
	unary = iota
	serverStreams
	clientStreams
	bothStream
	kinds
)

// How a call ends.
const (
	normally = iota
	canceled // by the client, when the server waits
	timedOut // by the client's deadline, when the server waits
	hurried  // the deadline has passed before the call begins
	ends
)

func randomScript(rng *rand.Rand) script {
	sizes := func(most int) []int {
		out := make([]int, rng.IntN(most))
		for i := range out {
			out[i] = []int{0, 1, 100, 70_000, 300_000}[rng.IntN(5)]
		}
		return out
	}
	s := script{Kind: rng.IntN(kinds), Sends: sizes(5), Replies: sizes(5), Turns: rng.IntN(2) == 0,
		Header: rng.IntN(2) == 0, Trailer: rng.IntN(2) == 0, Metadata: fmt.Sprint("v", rng.IntN(100))}
	if rng.IntN(3) == 0 {
		s.Code = codes.Code(1 + rng.IntN(16))
	}
	if rng.IntN(3) == 0 {
		s.End = rng.IntN(ends)
	}
	if s.End != normally { // what flies when the call is given up may arrive or not
		s.Replies, s.Header = nil, false
	}
	return s
}

// sight is what one end saw.
type sight struct {
	mu    sync.Mutex
	lines []string
}

func (s *sight) saw(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

// talker serves scripts.
type talker struct {
	testpb.UnimplementedTestServiceServer
	h       host.Host
	script  script
	sight   *sight
	waits   host.Event // set when the server waits for the client to give up
	through host.Event // set when the handler has ended
}

func payload(size int) *testpb.Payload { return &testpb.Payload{Body: bytes.Repeat([]byte{7}, size)} }

// begin notes the request's metadata and sends the header.
func (s *talker) begin(ctx context.Context) {
	md, _ := metadata.FromIncomingContext(ctx)
	_, bounded := ctx.Deadline()
	s.sight.saw("metadata %v, deadline %v", md.Get("x-script"), bounded)
	if s.script.Header {
		s.sight.saw("header sent: %v", grpc.SendHeader(ctx, metadata.Pairs("x-header", "h")) == nil)
		s.sight.saw("second header: %v", grpc.SendHeader(ctx, metadata.Pairs("x-header", "late")) == nil)
	}
	if s.script.Trailer {
		_ = grpc.SetTrailer(ctx, metadata.Pairs("x-trailer", "t"))
	}
}

// end waits for the client to give up, if the script says so, and returns the script's status.
func (s *talker) end(ctx context.Context) error {
	defer s.through.Set()
	if s.script.End == canceled || s.script.End == timedOut {
		s.waits.Set()
		err := s.h.Sleep(ctx, time.Hour)
		s.sight.saw("gave up: %v", err != nil) // of a deadline the server hears from its own clock or from the client
		return status.FromContextError(err).Err()
	}
	if s.script.Code != codes.OK {
		return status.Error(s.script.Code, "as the script says")
	}
	return nil
}

func (s *talker) UnaryCall(ctx context.Context, in *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	s.begin(ctx)
	s.sight.saw("got %d", len(in.GetPayload().GetBody()))
	if err := s.end(ctx); err != nil {
		return nil, err
	}
	return &testpb.SimpleResponse{Payload: payload(len(s.script.Replies) * 1000)}, nil
}

func (s *talker) StreamingOutputCall(in *testpb.StreamingOutputCallRequest, stream grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
	s.begin(stream.Context())
	s.sight.saw("got %d", len(in.GetPayload().GetBody()))
	for _, size := range s.script.Replies {
		s.sight.saw("sent: %v", stream.Send(&testpb.StreamingOutputCallResponse{Payload: payload(size)}) == nil)
	}
	return s.end(stream.Context())
}

func (s *talker) StreamingInputCall(stream grpc.ClientStreamingServer[testpb.StreamingInputCallRequest, testpb.StreamingInputCallResponse]) error {
	s.begin(stream.Context())
	total := int32(0)
	for {
		in, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		total += int32(len(in.GetPayload().GetBody()))
	}
	s.sight.saw("got %d in all", total)
	if err := s.end(stream.Context()); err != nil {
		return err
	}
	return stream.SendAndClose(&testpb.StreamingInputCallResponse{AggregatedPayloadSize: total})
}

func (s *talker) FullDuplexCall(stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
	s.begin(stream.Context())
	for {
		in, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			s.sight.saw("half-closed")
			break
		}
		if err != nil {
			return err
		}
		s.sight.saw("got %d", len(in.GetPayload().GetBody()))
		if s.script.Turns {
			s.sight.saw("sent: %v", stream.Send(&testpb.StreamingOutputCallResponse{Payload: in.GetPayload()}) == nil)
		}
	}
	for _, size := range s.script.Replies {
		s.sight.saw("sent: %v", stream.Send(&testpb.StreamingOutputCallResponse{Payload: payload(size)}) == nil)
	}
	return s.end(stream.Context())
}

// converse runs a script and returns what client and server saw.
func converse(client, server host.Host, listen string, sc script) (seen, served []string, err error) {
	listener, err := server.Listen(listen)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := &sight{}, &sight{}
	t := &talker{h: server, script: sc, sight: theirs, waits: server.NewEvent(), through: server.NewEvent()}
	testpb.RegisterTestServiceServer(listener, t)
	listener.Serve()
	conn, err := client.Dial(listener.Addr())
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := client.WithTimeout(context.Background(), time.Minute)
	switch sc.End {
	case timedOut:
		ctx, cancel = client.WithTimeout(context.Background(), 150*time.Millisecond)
	case hurried:
		ctx, cancel = client.WithTimeout(context.Background(), -time.Second)
	}
	if sc.End == canceled {
		client.Go("cancel", func() {
			_ = t.waits.Wait(context.Background())
			cancel()
		})
	}
	speak(metadata.AppendToOutgoingContext(ctx, "x-script", sc.Metadata), testpb.NewTestServiceClient(conn), sc, ours)
	if sc.End != hurried {
		patience, done := server.WithTimeout(context.Background(), 20*time.Second)
		if t.through.Wait(patience) != nil {
			err = errUnheard
		}
		done()
	}
	cancel()
	_ = conn.Close()
	stop, cancelStop := server.WithTimeout(context.Background(), 10*time.Second)
	listener.Stop(stop)
	cancelStop()
	return ours.lines, theirs.lines, err
}

// errUnheard: the server never heard of the call, as when a real machine stands still until the call's deadline is over.
var errUnheard = errors.New("the server did not hear of the call in 20 s")

// speak is the client's part.
func speak(ctx context.Context, c testpb.TestServiceClient, sc script, saw *sight) {
	var header, trailer metadata.MD
	opts := []grpc.CallOption{grpc.Header(&header), grpc.Trailer(&trailer)}
	var err error
	switch sc.Kind {
	case unary:
		var out *testpb.SimpleResponse
		if out, err = c.UnaryCall(ctx, &testpb.SimpleRequest{Payload: payload(len(sc.Sends) * 500)}, opts...); err == nil {
			saw.saw("got %d", len(out.GetPayload().GetBody()))
		}
	case serverStreams:
		var stream grpc.ServerStreamingClient[testpb.StreamingOutputCallResponse]
		if stream, err = c.StreamingOutputCall(ctx, &testpb.StreamingOutputCallRequest{Payload: payload(len(sc.Sends) * 500)}, opts...); err == nil {
			err = drain(stream, saw)
		}
	case clientStreams:
		var stream grpc.ClientStreamingClient[testpb.StreamingInputCallRequest, testpb.StreamingInputCallResponse]
		if stream, err = c.StreamingInputCall(ctx, opts...); err == nil {
			for _, size := range sc.Sends {
				if stream.Send(&testpb.StreamingInputCallRequest{Payload: payload(size)}) != nil {
					break
				}
			}
			var out *testpb.StreamingInputCallResponse
			if out, err = stream.CloseAndRecv(); err == nil {
				saw.saw("got %d in all", out.GetAggregatedPayloadSize())
			}
		}
	case bothStream:
		err = bidirectional(ctx, c, sc, saw, opts)
	}
	st := status.Convert(err)
	message, after := st.Message(), trailer.Get("x-trailer")
	if sc.End == timedOut || sc.End == hurried { // gRPC has several words for it
		message = ""
	}
	// Both ends have the same deadline: the server's last word is there before the client's own clock, or it is not.
	if st.Code() == codes.DeadlineExceeded {
		after = nil
	}
	saw.saw("status %v %q, header %v, trailer %v", st.Code(), message, header.Get("x-header"), after)
}

func bidirectional(ctx context.Context, c testpb.TestServiceClient, sc script, saw *sight, opts []grpc.CallOption) error {
	stream, err := c.FullDuplexCall(ctx, opts...)
	if err != nil {
		return err
	}
	for _, size := range sc.Sends {
		if stream.Send(&testpb.StreamingOutputCallRequest{Payload: payload(size)}) != nil {
			break
		}
		if sc.Turns {
			out, err := stream.Recv()
			if err != nil {
				return err
			}
			saw.saw("echo %d", len(out.GetPayload().GetBody()))
		}
	}
	if sc.Header && sc.Turns && len(sc.Sends) > 0 {
		md, err := stream.Header()
		saw.saw("header %v, %v", md.Get("x-header"), err)
	}
	saw.saw("half-closed: %v", stream.CloseSend() == nil)
	return drain(stream, saw)
}

// drain reads a stream to its end, whose status it returns.
func drain(stream interface {
	Recv() (*testpb.StreamingOutputCallResponse, error)
}, saw *sight) error {
	for {
		out, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			saw.saw("end")
			return nil
		}
		if err != nil {
			return err
		}
		saw.saw("got %d", len(out.GetPayload().GetBody()))
	}
}

// simulated runs a script in a world of its own.
func simulated(t *testing.T, seed uint64, sc script) (seen, served []string) {
	t.Helper()
	w := New(seed)
	defer w.Close()
	client, server := w.NewNode("client", NodeConfig{}), w.NewNode("server", NodeConfig{})
	var err error
	client.Go("conversation", func() {
		seen, served, err = converse(client, server, "server:1", sc)
		w.Sched.Stop()
	})
	if runErr := w.Sched.Run(time.Hour); runErr != nil || err != nil {
		t.Fatalf("%+v: %v, %v", sc, runErr, err)
	}
	return seen, served
}

// TestConversations: thousands of random calls have equal outcomes over real gRPC and over the simulated network, at both
// ends: messages, metadata, headers, trailers, statuses, cancellation and deadlines.
func TestConversations(t *testing.T) {
	const scripts = 2000
	scriptsByEnd := map[int]int{}
	real := host.NewReal()
	for seed := range uint64(scripts) {
		sc := randomScript(rand.New(rand.NewPCG(seed, 42)))
		scriptsByEnd[sc.End]++
		if sc.End == timedOut && scriptsByEnd[timedOut] > 40 {
			sc.End = normally // each takes real time
		}
		wantSeen, wantServed, err := converse(real, real, "127.0.0.1:0", sc)
		if sc.End == timedOut && errors.Is(err, errUnheard) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		seen, served := simulated(t, seed, sc)
		if sc.End == hurried { // whether the server hears of it at all is the wire's to decide
			served, wantServed = nil, nil
		}
		if !slices.Equal(seen, wantSeen) || !slices.Equal(served, wantServed) {
			t.Fatalf("seed %d: %+v\nclient, real:\n  %s\nclient, simulated:\n  %s\nserver, real:\n  %s\nserver, simulated:\n  %s", seed, sc,
				strings.Join(wantSeen, "\n  "), strings.Join(seen, "\n  "), strings.Join(wantServed, "\n  "), strings.Join(served, "\n  "))
		}
	}
	t.Logf("%d conversations; canceled %d, timed out %d, too late %d", scripts, scriptsByEnd[canceled], scriptsByEnd[timedOut], scriptsByEnd[hurried])
}
