package fidelity

import (
	"context"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc"

	"github.com/forebay/forebay/system/host"
)

// counts are the messages of one client's connections, sent and received. Counting costs the same in both worlds: next to
// nothing.
type counts struct{ metadata, data atomic.Int64 }

// of is the count that a method's messages belong to.
func (c *counts) of(method string) *atomic.Int64 {
	if strings.HasPrefix(method, dataService) {
		return &c.data
	}
	return &c.metadata
}

const dataService = "/forebay.v1.Data/"

// counting is a host whose connections count their messages.
type counting struct {
	host.Host
	counts *counts
}

// Dial implements host.Host.
func (h counting) Dial(target string) (host.Conn, error) {
	c, err := h.Host.Dial(target)
	if err != nil {
		return nil, err
	}
	return &countedConn{c, h.counts}, nil
}

type countedConn struct {
	host.Conn
	counts *counts
}

// Invoke implements grpc.ClientConnInterface.
func (c *countedConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	c.counts.of(method).Add(2)
	return c.Conn.Invoke(ctx, method, args, reply, opts...)
}

// NewStream implements grpc.ClientConnInterface.
func (c *countedConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := c.Conn.NewStream(ctx, desc, method, opts...)
	if err != nil {
		return nil, err
	}
	return &countedStream{s, c.counts.of(method)}, nil
}

type countedStream struct {
	grpc.ClientStream
	count *atomic.Int64
}

// SendMsg implements grpc.ClientStream.
func (s *countedStream) SendMsg(m any) error {
	s.count.Add(1)
	return s.ClientStream.SendMsg(m)
}

// RecvMsg implements grpc.ClientStream.
func (s *countedStream) RecvMsg(m any) error {
	s.count.Add(1)
	return s.ClientStream.RecvMsg(m)
}
