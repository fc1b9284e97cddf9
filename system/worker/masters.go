package worker

import (
	"context"
	"sync"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

// callTimeout bounds one call to one master.
const callTimeout = 5 * time.Second

// masters finds the leader among the masters, and remembers it.
// The report loop and the mounts' readers share it: what one finds out of the leader, the others use. Connections stay
// open in the pool, one for each master that was ever asked.
type masters struct {
	h         host.Host
	addresses []string
	pool      *rpc.Pool

	mu      sync.Mutex
	current string // the leader as far as is known
	next    int    // in addresses, to try when it is not
}

func newMasters(h host.Host, addresses []string) *masters {
	return &masters{h: h, addresses: addresses, pool: rpc.NewPool(h, 0), current: addresses[0], next: 1}
}

func (m *masters) close() { _ = m.pool.Close() } // nothing is in flight any more

// leader is whom to ask.
func (m *masters) leader() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current
}

// failed turns to whom the answer names as the leader, else to the next master.
// A hint is believed although its address need not be among the configured ones: the quorum may have grown since.
// One that leads nowhere costs a call, after which the list is gone on with.
func (m *masters) failed(address string, err error) {
	hint := leaderHint(err)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current != address {
		return // another task has moved on already
	}
	if hint != "" && hint != address {
		m.current = hint
		return
	}
	m.current = m.addresses[m.next%len(m.addresses)]
	m.next++
}

// call asks the leader, trying each master once or twice until one answers as the leader.
// Errors that another master would not answer otherwise are returned at once; of the others the last one is.
// UnsupportedFeature counts among the latter, since during an upgrade another master may know the call. ctx bounds all tries together; a bound on each is for do to set.
func (m *masters) call(ctx context.Context, do func(ctx context.Context, stub proto.BlocksClient) error) error {
	var err error
	for range 2*len(m.addresses) + 1 {
		address := m.leader()
		if err = m.callOne(ctx, address, do); err == nil {
			return nil
		}
		switch dfs.KindOf(err) {
		case dfs.NotLeader, dfs.Unavailable, dfs.DeadlineExceeded, dfs.UnsupportedFeature:
		default:
			return err
		}
		if ctx.Err() != nil {
			return err
		}
		m.failed(address, err)
	}
	return err
}

// callOne asks the master at address, whoever leads. Errors come as dfs.Errors.
func (m *masters) callOne(ctx context.Context, address string, do func(ctx context.Context, stub proto.BlocksClient) error) error {
	conn, err := m.pool.Get(address)
	if err != nil {
		return err
	}
	return rpc.FromStatus(do(ctx, proto.NewBlocksClient(conn)))
}

// mounts asks for the mount table, or for one mount of it.
func (m *masters) mounts(ctx context.Context, id dfs.MountID) (mounts []*proto.Mount, err error) {
	err = m.call(ctx, func(ctx context.Context, stub proto.BlocksClient) error {
		ctx, cancel := m.h.WithTimeout(ctx, callTimeout)
		defer cancel()
		response, err := stub.Mounts(ctx, &proto.MountsRequest{Id: uint64(id)})
		mounts = response.GetMounts()
		return err
	})
	return mounts, err
}
