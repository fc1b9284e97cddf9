package node

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/metrics"
)

// stopTimeout bounds an orderly stop; after it, what is left is cut off.
const stopTimeout = 15 * time.Second

// door is the HTTP door of a process: probes and metrics.
type door struct {
	server   *http.Server
	listener net.Listener
}

// openDoor listens on address; an empty one opens none.
func openDoor(address string, reg *metrics.Registry, healthy, ready metrics.Check) (*door, error) {
	if address == "" {
		return &door{}, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, dfs.Errorf(dfs.Unavailable, "open the http door", address, "%v: set http.address to a free port, or to nothing", err)
	}
	d := &door{listener: l, server: &http.Server{Handler: reg.Handler(healthy, ready), ReadHeaderTimeout: 5 * time.Second}}
	go func() { _ = d.server.Serve(l) }() // ends with close
	return d, nil
}

// Addr is where the door listens; "" when it is closed.
func (d *door) Addr() string {
	if d.listener == nil {
		return ""
	}
	return d.listener.Addr().String()
}

// close cuts open requests off: a probe or a scrape can be asked again.
func (d *door) close() {
	if d.server != nil {
		_ = d.server.Close()
	}
}

// stoppable is a process's service between listening and stopping.
type stoppable interface {
	Stop(ctx context.Context) error
}

// run starts a process, says so, and stops it when ctx ends.
func run(ctx context.Context, h host.Host, log *slog.Logger, what string, start func() (stoppable, error)) error {
	s, err := start()
	if err != nil {
		return err
	}
	<-ctx.Done()
	log.Info("stopping", "process", what)
	stop, cancel := h.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return s.Stop(stop)
}

// stopServer ends a gRPC server within ctx.
func stopServer(ctx context.Context, h host.Host, s host.Server) {
	const grace = 2 * time.Second // streams of clients do not end by themselves
	inner, cancel := h.WithTimeout(ctx, grace)
	defer cancel()
	s.Stop(inner)
}

// lower is for metric names, which have no capitals.
func lower(s string) string { return strings.ToLower(s) }
