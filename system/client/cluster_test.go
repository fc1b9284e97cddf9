package client_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
	"github.com/forebay/forebay/system/journal/memjournal"
	"github.com/forebay/forebay/system/master"
	"github.com/forebay/forebay/system/master/inodestore"
	pb "github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/mem"
)

const blockBytes = 2 << 20

// cluster is a true master on a journal in memory, and workers in memory, over loopback gRPC.
type cluster struct {
	t       testing.TB
	h       host.Host
	ctx     context.Context
	store   *mem.Store // the under store at /
	master  *master.Master
	door    *door
	address string // of door
	blocks  pb.BlocksClient
	workers []*memWorker
	client  *client.Client
}

// door is the master's Metadata service as clients meet it. Tests make it lose answers.
type door struct {
	pb.UnimplementedMetadataServer
	h      host.Host
	master *master.Master
	lose   func(*pb.OperationBatch) error // what the client gets instead of the answer; nil: the answer
	down   atomic.Bool                    // nothing is done any more
}

func (d *door) Execute(ctx context.Context, b *pb.OperationBatch) (*pb.ResultBatch, error) {
	answer := d.execute(ctx, b)
	answer.BatchId = b.BatchId
	return answer, nil
}

func (d *door) Stream(stream rpc.OperationStream) error {
	return rpc.ServeStream(d.h, stream, 16, d.execute)
}

func (d *door) execute(ctx context.Context, b *pb.OperationBatch) *pb.ResultBatch {
	if d.down.Load() {
		return &pb.ResultBatch{Error: rpc.ErrorToProto(dfs.Errorf(dfs.Unavailable, "execute", "", "the master is down"))}
	}
	answer, err := d.master.Execute(ctx, b)
	if err == nil && d.lose != nil {
		err = d.lose(b)
	}
	if err != nil {
		return &pb.ResultBatch{Error: rpc.ErrorToProto(err)}
	}
	return answer
}

func newCluster(t testing.TB, workers int) *cluster {
	t.Helper()
	c := &cluster{t: t, h: host.NewReal()}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	c.ctx = ctx
	space := &mem.Space{}
	c.store = space.Open(c.h, "root")
	address := c.startMaster(space)
	c.address = address
	for i := range workers {
		c.workers = append(c.workers, startWorker(t, c.h, string(rune('a'+i)), c.blocks, c.store))
	}
	c.client = c.newClient(address)
	return c
}

func (c *cluster) startMaster(space *mem.Space) (address string) {
	t := c.t
	server, err := c.h.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	store, err := inodestore.OpenHeap(c.h, "")
	if err != nil {
		t.Fatal(err)
	}
	c.master, err = master.New(master.Config{
		Host: c.h, ID: memjournal.MemberID, Address: server.Addr(), Store: store, Superuser: "root", Group: "root",
		RootURI: "mem://root", BlockSizeBytes: blockBytes, SafeStart: time.Millisecond, WorkerLostAfter: time.Second,
		OpenJournal: func(sm journal.StateMachine) (journal.Journal, error) { return memjournal.Open(c.h, sm), nil },
		OpenStore: func(_ context.Context, uri string, _ map[string]string) (ufs.Store, error) {
			return space.Open(c.h, strings.TrimPrefix(uri, "mem://")), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.door = &door{h: c.h, master: c.master}
	pb.RegisterMetadataServer(server, c.door)
	pb.RegisterBlocksServer(server, c.master)
	pb.RegisterAdminServer(server, c.master)
	server.Serve()
	if err := c.master.Start(); err != nil {
		t.Fatal(err)
	}
	conn, err := c.h.Dial(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	c.blocks = pb.NewBlocksClient(conn)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close()
		server.Stop(ctx)
		if err := c.master.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	for !c.master.Serving() {
		time.Sleep(time.Millisecond)
	}
	return server.Addr()
}

func (c *cluster) newClient(address string) *client.Client {
	fs, err := client.New(client.Config{
		Host: c.h, Masters: []string{address}, Identity: dfs.Identity{User: "root"}, Timeout: 20 * time.Second,
		WriteType: dfs.WriteMustCache, WorkerListAge: 50 * time.Millisecond,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = fs.Close() })
	return fs
}

// ok fails the test on an error.
func (c *cluster) ok(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// wants fails the test unless err has the kind.
func (c *cluster) wants(kind dfs.Kind, err error) {
	c.t.Helper()
	if !dfs.IsKind(err, kind) {
		c.t.Fatalf("got %v, want kind %v", err, kind)
	}
}
