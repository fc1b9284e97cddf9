package rpc

import (
	"errors"
	"sync"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

// DefaultPoolConnections bounds a Pool: room for the largest cluster that we aim at, 3,000 workers and their masters.
const DefaultPoolConnections = 4096

// Pool keeps one connection per server address, shared by all tasks of a process.
//
// INV-1: at most limit connections are open. At the bound Get refuses with ResourceExhausted; Drop makes room.
//
// mu is held over Dial, which does not wait, so that no address gets two connections; and not over Close of a connection.
type Pool struct {
	h     host.Host
	limit int

	mu     sync.Mutex
	conns  map[string]host.Conn
	closed bool
}

// NewPool makes a pool of at most limit connections (0: DefaultPoolConnections).
func NewPool(h host.Host, limit int) *Pool {
	if limit <= 0 {
		limit = DefaultPoolConnections
	}
	return &Pool{h: h, limit: limit, conns: make(map[string]host.Conn)}
}

// Get returns the connection to address, making it at first use. It does not wait for the server: a server that is not
// there shows as Unavailable in calls. The connection stays the pool's: do not close it.
func (p *Pool) Get(address string) (host.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if conn, ok := p.conns[address]; ok {
		return conn, nil
	}
	if p.closed {
		return nil, dfs.Errorf(dfs.Canceled, "connect", address, "the connection pool is closed")
	}
	if len(p.conns) >= p.limit {
		return nil, dfs.Errorf(dfs.ResourceExhausted, "connect", address,
			"%d connections are open, the limit; drop those of servers that are gone", p.limit)
	}
	conn, err := p.h.Dial(address) // does not block: it only prepares the connection
	if err != nil {
		return nil, dfs.Errorf(dfs.InvalidArgument, "connect", address, "%v; give the address as host:port", err)
	}
	p.conns[address] = conn
	return conn, nil
}

// Drop closes the connection to address, for a server that is gone. Calls on it fail.
// A later Get makes another connection.
func (p *Pool) Drop(address string) {
	p.mu.Lock()
	conn, ok := p.conns[address]
	delete(p.conns, address)
	p.mu.Unlock()
	if ok {
		_ = conn.Close() // it has no state to lose
	}
}

// Close closes every connection; Get refuses from now on. It tells every failure to close, and may be called more than
// once.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	conns := p.conns
	p.conns = make(map[string]host.Conn)
	p.mu.Unlock()
	var failures []error
	for _, conn := range conns {
		failures = append(failures, conn.Close())
	}
	return errors.Join(failures...)
}
