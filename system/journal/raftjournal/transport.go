package raftjournal

import (
	"context"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/forebay/forebay/system/dfs"
)

// streamLayer is TCP with an advertised address that may be a name: unlike raft's own it resolves names when it dials, so
// that a member may move.
type streamLayer struct {
	net.Listener
	advertised advertisedAddr
}

// advertisedAddr is a "host:port" that others dial.
type advertisedAddr string

// Network implements net.Addr.
func (advertisedAddr) Network() string { return "tcp" }

// String implements net.Addr.
func (a advertisedAddr) String() string { return string(a) }

// Addr implements net.Listener.
//
// It is the address that goes into messages and configurations, not the one that is bound.
func (s *streamLayer) Addr() net.Addr { return s.advertised }

// Dial implements raft.StreamLayer.
// timeout covers the look-up of the name as well as the connection.
func (s *streamLayer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", string(address), timeout)
}

// listen opens the transport.
// The address is taken before anything of Raft runs, so a second process of the same member fails here or at the lock.
func listen(c *Config, logger hclog.Logger) (*raft.NetworkTransport, error) {
	l, err := net.Listen("tcp", c.BindAddr)
	if err != nil {
		return nil, &dfs.Error{Kind: dfs.Unavailable, Op: "listen for the journal", Path: c.BindAddr, Err: err,
			Detail: err.Error() + "; give this member another address, or port 0 for any"}
	}
	advertised := c.AdvertiseAddr
	if advertised == "" {
		advertised = l.Addr().String()
	}
	return raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: &streamLayer{l, advertisedAddr(advertised)},
		// A call's timeout. It bounds how long a member that hangs, rather than being gone, holds up one task.
		Timeout: 5 * time.Second,
		MaxPool: 4,
		Logger:  logger,
	}), nil
}

// raftLogger passes what the library logs to slog, one level lower: what it calls information is of use to those who debug
// it, and each election warns several times.
func raftLogger(to *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "journal", Output: io.Discard, Level: hclog.Info})
	l.RegisterSink(slogSink{to})
	return l
}

// slogSink drops what is below information: the library traces each message.
type slogSink struct{ to *slog.Logger }

// Accept implements hclog.SinkAdapter.
func (s slogSink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	to, ctx := slog.LevelDebug, context.Background()
	switch level {
	case hclog.Error:
		to = slog.LevelWarn
	case hclog.Warn:
		to = slog.LevelInfo
	}
	if level >= hclog.Info && s.to.Enabled(ctx, to) {
		s.to.Log(ctx, to, "journal: "+msg, args...)
	}
}
