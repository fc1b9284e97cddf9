package client

import (
	"context"
	"sync"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	pb "github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

// Client is one identity's view of a cluster. The zero value is of no use: make the first one with New, others with As.
//
// A view holds nothing that must be given back, beside what all views share. mu guards memory, and is not held while
// anything waits.
type Client struct {
	core  *core
	who   dfs.Identity
	reads *rpc.Caller // without a session

	mu        sync.Mutex
	mutations [routes]*rpc.Caller // of the current sessions; nil before the first mutation
}

// core is what all identities of a client share.
// Everything in it is made by New and lives until Close. Its parts have locks of their own; itself it needs none.
type core struct {
	h        host.Host
	cfg      Config
	conns    *rpc.Pool
	masters  *masters
	sessions [routes]*sessions // apart, since a slow mutation keeps the master from forgetting all later answers
	workers  *workerList
	own      *rpc.Caller // for questions on behalf of no view
	budget   *retryBudget
	replay   *host.Semaphore // bytes kept by writers, to be sent again should a worker die
	stats    counters

	life context.Context // ends at Close
	end  context.CancelFunc
}

// New makes a client. It talks to nobody yet, so that it succeeds while the cluster is down; close it in the end. What is
// missing in cfg is InvalidArgument.
//
// It starts no task. The first mutation of each route starts one that keeps the session, until Close.
func New(cfg Config) (*Client, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	h := cfg.Host
	c := &core{h: h, cfg: cfg, conns: rpc.NewPool(h, 0), budget: newRetryBudget(h.Now())}
	c.replay = host.NewSemaphore(h, maxReplayBytes)
	c.life, c.end = h.WithCancel(context.Background())
	cfg.Coalescer.Observe = func(answer *pb.ResultBatch) { c.workers.observe(answer.WorkersVersion) }
	c.masters = newMasters(h, c.conns, cfg)
	for way := range c.sessions {
		c.sessions[way] = newSessions(c)
	}
	c.workers = newWorkerList(c)
	c.own = &rpc.Caller{Identity: rpc.IdentityToProto(cfg.Identity)}
	return c.as(cfg.Identity), nil
}

// as makes a view that has its own identity and Callers, and shares all else.
func (c *core) as(who dfs.Identity) *Client {
	return &Client{core: c, who: who, reads: &rpc.Caller{Identity: rpc.IdentityToProto(who)}}
}

// As is this client on another identity's behalf. It shares everything else, the closing too. Keep it: operations of one
// view travel together.
// The identity is taken as it is given: whoever uses this has established it, as a gateway does for its users.
func (c *Client) As(who dfs.Identity) *Client { return c.core.as(who) }

// Identity is on whose behalf this client works.
func (c *Client) Identity() dfs.Identity { return c.who }

// Close ends the client and all views of it. Operations under way fail with Canceled, later ones too; open Files and
// Writers fail with their next request. It does not end the sessions at the master, which forgets them by itself. It may
// be called more than once.
// Its error is of connections that failed to close; the client is closed all the same.
func (c *Client) Close() error {
	c.core.end()
	c.core.masters.close()
	return c.core.conns.Close()
}

// caller is the Caller of this view's mutations in session s, the same one every time, so that they share batches: the
// coalescer tells callers apart by their pointers. A session that was replaced gets its Caller anew, for mutations that
// are still being retried in it.
//
// Two sessions at a time are possible while one is being replaced; the view remembers the Caller of the one asked for last.
func (c *Client) caller(s *session, way route) *rpc.Caller {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.mutations[way]; known != nil && known.Session == s.id {
		return known
	}
	made := &rpc.Caller{Identity: c.reads.Identity, Session: s.id, AckedBelow: s.ackedBelow}
	c.mutations[way] = made
	return made
}

// read executes an operation that changes nothing, outside of any session. It may be executed more than once. Its errors
// have no path of the caller's yet.
// It may be answered by any execution of it, and is never in doubt.
func (c *Client) read(ctx context.Context, operation *pb.Operation, way route) (*pb.Result, error) {
	result, _, err := c.core.execute(ctx, c.reads, operation, way)
	return result, err
}
