package node

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/metrics"
)

// stopTimeout bounds an orderly stop; after it, what is left is cut off.
const stopTimeout = 15 * time.Second

// once makes a Stop idempotent: the first call does the work, and every other one, also at the same time, waits for it and
// returns what it returned. Closing a journal or a store twice panics or reports a fault that is none, and both happen: an
// operator's stop crosses the one of a start that failed half-way.
//
// The work's own context is that of the first caller. One that comes later with more time does not give it more.
type once struct {
	mu   sync.Mutex // guards what follows; not held while the work runs
	done host.Event // nil before the first call
	err  error      // of the work; set before done, and only read after it
}

// do runs stop if nobody has yet. A caller that waits for another one's work gives up with ctx; the work goes on.
func (o *once) do(ctx context.Context, h host.Host, stop func() error) error {
	o.mu.Lock()
	done := o.done
	if done == nil {
		o.done = h.NewEvent()
	}
	o.mu.Unlock()
	if done != nil {
		if err := done.Wait(ctx); err != nil {
			return dfs.Wrap(err, "stop", "")
		}
		return o.err
	}
	o.err = stop()
	o.done.Set()
	return o.err
}

// door is the HTTP door of a process: probes and metrics. nil is a door that was never opened.
type door struct {
	server   *http.Server
	listener net.Listener
}

// openDoor listens on address; an empty one opens none. It answers at once: the checks must be ready before.
//
// It is the machine's own port, not the host's: people and monitoring are no part of what is simulated. A client gets 5 seconds
// for the header of a request, so that one that sends nothing holds no task for ever.
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

// Addr is where the door listens; "" when it was never opened.
func (d *door) Addr() string {
	if d == nil || d.listener == nil {
		return ""
	}
	return d.listener.Addr().String()
}

// close cuts open requests off: a probe or a scrape can be asked again. It may be called more than once.
func (d *door) close() {
	if d != nil && d.server != nil {
		_ = d.server.Close()
		_ = d.listener.Close() // the server knows it only once its task runs, and then would close it some time later
	}
}

// stoppable is a process's service between listening and stopping. Stop ends it within ctx, and may be called again.
type stoppable interface {
	Stop(ctx context.Context) error
}

// run is the life of a process: start it, wait for ctx, stop it within stopTimeout. A start that fails is the caller's to
// print; it has given back what it took. The stop's time does not depend on ctx, which has ended by then.
//
// It waits on ctx's own channel, which virtual time does not see: it is for real processes only.
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

// stopServer ends a gRPC server within ctx. Calls get a grace to end by themselves, then their contexts are cancelled.
//
// Streams of clients stay open for as long as the clients do, so that without the grace's end each stop would take all of
// its time.
func stopServer(ctx context.Context, h host.Host, s host.Server) {
	const grace = 2 * time.Second // streams of clients do not end by themselves
	inner, cancel := h.WithTimeout(ctx, grace)
	defer cancel()
	s.Stop(inner)
}

// lower is for metric names, which have no capitals.
func lower(s string) string { return strings.ToLower(s) }
