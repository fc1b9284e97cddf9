package client

import (
	"context"
	"slices"
	"sync"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	pb "github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

// maxMasters bounds the masters known to a client: those configured, and those that NotLeader answers have named.
const maxMasters = 16

// masters knows the addresses of the masters, and which of them probably leads. All callers share that guess, so that
// after a failover one caller's discovery serves all.
//
// INV-1: addresses is never empty and never shrinks, and current is in it: there is always somebody to ask.
//
// mu is not held while a master is asked, and making a connection does not wait.
type masters struct {
	h     host.Host
	conns *rpc.Pool
	cfg   rpc.CoalescerConfig

	mu        sync.Mutex
	addresses []string
	current   int // in addresses: the probable leader
	known     map[string]*master
	closed    bool
}

// master is one master as this client reaches it. It stays for the client's life, whether it leads or not: a stream that
// broke is opened again by its next use.
type master struct {
	address string
	stream  *rpc.Coalescer
}

// newMasters begins with the first configured master as the guess.
func newMasters(h host.Host, conns *rpc.Pool, cfg Config) *masters {
	return &masters{
		h: h, conns: conns, cfg: cfg.Coalescer, addresses: slices.Clone(cfg.Masters), known: make(map[string]*master),
	}
}

// leader returns the probable leader, with its stream, which is made at first use. Canceled: the client is closed.
// A master whose stream is known is given without a look at closed: close empties known before anybody can ask again.
func (m *masters) leader() (*master, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	address := m.addresses[m.current]
	if known := m.known[address]; known != nil {
		return known, nil
	}
	if m.closed {
		return nil, dfs.Errorf(dfs.Canceled, "call master", address, "the client is closed")
	}
	conn, err := m.conns.Get(address)
	if err != nil {
		return nil, err
	}
	made := &master{address: address, stream: rpc.NewCoalescer(m.h, pb.NewMetadataClient(conn), m.cfg)}
	m.known[address] = made
	return made, nil
}

// failed takes note that the master at address did not serve a call: the guess moves to hint if it is given, otherwise
// to the next master, unless another caller has moved it already.
//
// Only who asked the present guess moves it. A thousand callers that fail at one dead master move it by one step, and not
// past the leader that the first of them has found. A hint at the bound of maxMasters is passed over.
func (m *masters) failed(address, hint string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.addresses[m.current] != address {
		return
	}
	if hint == "" || hint == address {
		m.current = (m.current + 1) % len(m.addresses)
		return
	}
	at := slices.Index(m.addresses, hint)
	if at < 0 && len(m.addresses) < maxMasters {
		m.addresses = append(m.addresses, hint)
		at = len(m.addresses) - 1
	}
	if at >= 0 {
		m.current = at
	} else {
		m.current = (m.current + 1) % len(m.addresses)
	}
}

// close ends the streams. What is in flight fails with Canceled. A leader asked for later is refused.
func (m *masters) close() {
	m.mu.Lock()
	m.closed = true
	known := m.known
	m.known = make(map[string]*master)
	m.mu.Unlock()
	for _, one := range known {
		one.stream.Close()
	}
}

// route is how an operation travels.
type route int

const (
	shared route = iota // in a batch with other callers': for operations that are answered at once
	alone               // in a call of its own: for slow ones, and those with large answers
	routes
)

// do executes the operation at this master, once. The error is the operation's own, or that of the way there. timeoutNs is
// what the server is told of the caller's time when the operation goes alone; a batch has its own.
//
// A batch's error is that of its one operation as well. A result that is missing is Unknown, which is not retried.
func (m *master) do(ctx context.Context, caller *rpc.Caller, operation *pb.Operation, way route, timeoutNs int64) (*pb.Result, error) {
	if way == shared {
		return m.stream.Do(ctx, caller, operation)
	}
	batch := &pb.OperationBatch{
		Session: caller.Session, Identity: caller.Identity, TimeoutNs: timeoutNs, Operations: []*pb.Operation{operation},
	}
	if caller.AckedBelow != nil {
		batch.AckedBelow = caller.AckedBelow()
	}
	answer, err := m.stream.Call(ctx, batch)
	if err != nil {
		return nil, err
	}
	if err := rpc.ErrorFromProto(answer.Error); err != nil {
		return nil, err
	}
	if len(answer.Results) != 1 {
		return nil, dfs.Errorf(dfs.Unknown, "call master", m.address, "%d results for one operation: see its log", len(answer.Results))
	}
	return answer.Results[0], rpc.ErrorFromProto(answer.Results[0].Error)
}
