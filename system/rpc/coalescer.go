package rpc

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	pb "github.com/forebay/forebay/system/proto"
)

// Defaults of CoalescerConfig. Four batches in flight hide the round trip; more of them would be smaller ones, and it is
// the size of the batches that saves work. The queue's bound is far above what is in flight (2,048 operations): it leaves
// room for callers that wait out a failover.
const (
	DefaultBatchOperations = 512
	DefaultBatchesInFlight = 4
	DefaultQueueOperations = 16384
	DefaultCallTimeout     = 30 * time.Second
	DefaultProbeInterval   = time.Second
)

// CoalescerConfig bounds a Coalescer. Zero values mean the defaults.
type CoalescerConfig struct {
	BatchOperations int           // operations in one batch
	BatchesInFlight int           // batches sent and not yet answered
	QueueOperations int           // operations waiting and in flight; further callers wait
	CallTimeout     time.Duration // what the server is told when a caller has no deadline
	ProbeInterval   time.Duration // of silence before the server is asked whether it lives; it has twice that to answer
	// Observe, if set, sees every answer before its callers do, from any task. It must not wait, nor change the answer.
	Observe func(answer *pb.ResultBatch)
}

// withDefaults replaces what is zero or negative.
func (c CoalescerConfig) withDefaults() CoalescerConfig {
	if c.BatchOperations <= 0 {
		c.BatchOperations = DefaultBatchOperations
	}
	if c.BatchesInFlight <= 0 {
		c.BatchesInFlight = DefaultBatchesInFlight
	}
	if c.QueueOperations <= 0 {
		c.QueueOperations = DefaultQueueOperations
	}
	if c.CallTimeout <= 0 {
		c.CallTimeout = DefaultCallTimeout
	}
	if c.ProbeInterval <= 0 {
		c.ProbeInterval = DefaultProbeInterval
	}
	return c
}

// Caller is on whose behalf operations are done. Operations of one Caller (the same pointer) share batches; those of
// different ones cannot, since a batch has one identity and one session.
type Caller struct {
	Identity *pb.Identity
	Session  uint64
	// AckedBelow, if set, is asked when a batch leaves; see OperationBatch.acked_below. It must not wait.
	AckedBelow func() uint64
}

// Coalescer is a group commit for calls: it packs concurrent callers' operations into batches on one stream to one
// master. A caller alone is not delayed: its operation leaves at once. Whatever arrives while a batch is being sent, or
// while BatchesInFlight are unanswered, goes into the next ones.
//
// INV-1: at most QueueOperations operations are queued or in flight. At the bound callers wait, in order.
// INV-2: at most BatchesInFlight batches are unanswered, of at most BatchOperations operations each.
// INV-3: every batch is finished exactly once: answered, or failed with its stream.
// INV-4: one task sends at a time, so that batches of one Caller leave in the order in which they were begun.
//
// When the stream breaks, all operations in flight fail as Unavailable, and the next batch opens a new stream. Whether
// their effects took place is then unknown; the caller may repeat a read, and a mutation with its sequence. A server that
// is silent while it owes answers is probed, and a paused or cut-off one makes the stream break in about four probe
// intervals, earlier than the connection's own keep-alive. An operation that cannot be encoded (text that is not UTF-8)
// breaks the stream too; it is refused then, and everything else that was in flight may be tried again. One slow operation
// holds up the answers of its whole batch, so that known slow ones belong in Call.
type Coalescer struct {
	h      host.Host
	master pb.MetadataClient
	cfg    CoalescerConfig
	room   *host.Semaphore // INV-1

	mu       sync.Mutex
	queue    []*callBatch           // not yet sent, oldest first
	forming  map[*Caller]*callBatch // those in queue that have room
	inFlight map[uint64]*callBatch  // sent on stream, by batch id
	stream   *callStream            // nil when there is none
	sending  bool                   // a sender task runs (INV-4)
	lastID   uint64
	answers  uint64     // received so far
	begun    host.Event // set when a batch is sent; nil while no watch waits for one
	closed   bool
}

// callBatch collects operations until it is sent, then its answer. Its fields up to done are guarded by
// Coalescer.mu; those below are written before done is set and only read afterwards.
//
// Its life: forming (callers may join), queued and full or taken by the sender (no longer), in flight, finished. Only the
// step into flight gives it an id.
type callBatch struct {
	caller     *Caller
	operations []*pb.Operation
	deadline   time.Time // the latest of the callers'; zero: none has one
	unbounded  bool      // a caller has no deadline
	done       host.Event

	results []*pb.Result
	err     error
}

// callStream is one stream and what ends it. Only cancel is called by several tasks: the sender alone sends, the receiver
// alone receives, as gRPC wants it.
type callStream struct {
	pb.Metadata_StreamClient
	cancel context.CancelFunc
}

// NewCoalescer makes a coalescer for one master. It opens its stream at first use.
func NewCoalescer(h host.Host, master pb.MetadataClient, cfg CoalescerConfig) *Coalescer {
	cfg = cfg.withDefaults()
	return &Coalescer{
		h: h, master: master, cfg: cfg,
		room:     host.NewSemaphore(h, int64(cfg.QueueOperations)),
		forming:  make(map[*Caller]*callBatch),
		inFlight: make(map[uint64]*callBatch),
	}
}

// Do executes one operation and returns its result, or the error in it. When ctx ends first the operation may still be
// done. operation must not change any more, even after Do returned. Errors: those of the operation; Unavailable when the
// stream broke, and the outcome is unknown; DeadlineExceeded and Canceled for ctx and Close; InvalidArgument for an operation
// that cannot be encoded.
func (c *Coalescer) Do(ctx context.Context, caller *Caller, operation *pb.Operation) (*pb.Result, error) {
	if err := ctx.Err(); err != nil { // room may be free: it would be sent although nobody waits
		return nil, FromStatus(err)
	}
	if err := c.room.Acquire(ctx, 1); err != nil {
		return nil, FromStatus(err)
	}
	b, position, err := c.join(ctx, caller, operation)
	if err != nil {
		c.room.Release(1)
		return nil, err
	}
	if err := b.done.Wait(ctx); err != nil {
		return nil, FromStatus(err)
	}
	if b.err != nil {
		return nil, b.err
	}
	result := b.results[position]
	return result, ErrorFromProto(result.Error)
}

// join puts the operation into the caller's forming batch and sees to it that a sender runs.
// A batch that is formed stays in the queue until it is sent or failed: a caller who gives up does not take its
// operation out, since the positions of the others would move.
func (c *Coalescer) join(ctx context.Context, caller *Caller, operation *pb.Operation) (*callBatch, int, error) {
	deadline, bounded := ctx.Deadline()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, 0, errClosed()
	}
	b := c.forming[caller]
	if b == nil {
		b = &callBatch{caller: caller, done: c.h.NewEvent()}
		c.forming[caller] = b
		c.queue = append(c.queue, b)
	}
	position := len(b.operations)
	b.operations = append(b.operations, operation)
	if len(b.operations) >= c.cfg.BatchOperations {
		delete(c.forming, caller)
	}
	if !bounded {
		b.unbounded = true
	} else if deadline.After(b.deadline) {
		b.deadline = deadline
	}
	c.startSenderLocked()
	return b, position, nil
}

// startSenderLocked starts a sender when there is something to send and room in flight for it. It is called at each
// change of either (join, answered, broke), so that no batch is left without one.
func (c *Coalescer) startSenderLocked() {
	if c.sending || len(c.queue) == 0 || len(c.inFlight) >= c.cfg.BatchesInFlight {
		return
	}
	c.sending = true
	c.h.Go("metadata-send", c.send)
}

// send sends batches until there are none, or too many are unanswered.
// It ends by itself, with sending set to false under mu in the step that found nothing to do: who adds work after that step
// starts another.
func (c *Coalescer) send() {
	for more := true; more; more = c.sendNext() {
		// Let callers that are ready to run join the next batch. Nothing waits when there are none.
		runtime.Gosched()
	}
}

// sendNext sends the oldest batch. It is false when the sender's turn is over.
func (c *Coalescer) sendNext() bool {
	stream, err := c.ensureStream()
	if err != nil {
		c.failQueue(err)
		return false
	}
	id, b, more := c.take(stream)
	if b == nil {
		return more
	}
	if err := stream.Send(c.message(id, b)); err != nil {
		stream.cancel() // the receiver finds out why, and fails what is in flight
	}
	return true
}

// take moves the oldest batch into flight on stream. Without one it says whether the sender should go on, which is so
// when the stream broke meanwhile.
//
// The bound of batches in flight is looked at again here, since it was looked at for the first batch of a turn only
// (INV-2).
func (c *Coalescer) take(stream *callStream) (id uint64, b *callBatch, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stream != stream {
		return 0, nil, true
	}
	if len(c.queue) == 0 || len(c.inFlight) >= c.cfg.BatchesInFlight {
		c.sending = false
		return 0, nil, false
	}
	b = c.queue[0]
	c.queue[0] = nil
	c.queue = c.queue[1:]
	if c.forming[b.caller] == b {
		delete(c.forming, b.caller)
	}
	c.lastID++
	c.inFlight[c.lastID] = b
	if c.begun != nil {
		c.begun.Set()
		c.begun = nil
	}
	return c.lastID, b, true
}

// message is b as it is sent. b is in flight: nobody adds to it any more.
// Without a caller that has no deadline, the batch's time is that of the most patient one: the others give up on their own.
func (c *Coalescer) message(id uint64, b *callBatch) *pb.OperationBatch {
	m := &pb.OperationBatch{
		BatchId: id, Session: b.caller.Session, Identity: b.caller.Identity,
		TimeoutNs: int64(c.cfg.CallTimeout), Operations: b.operations,
	}
	if !b.unbounded {
		m.TimeoutNs = max(int64(b.deadline.Sub(c.h.Now())), 1) // 1: too late, but the form must be right
	}
	if b.caller.AckedBelow != nil {
		m.AckedBelow = b.caller.AckedBelow()
	}
	return m
}

// Close fails what is queued and in flight with Canceled, and refuses what comes later. It does not wait for the tasks, which
// end by themselves. It may be called more than once.
//
// A stream that is being opened meanwhile is cancelled by ensureStream, which looks at closed again: one of the two always
// sees the other.
func (c *Coalescer) Close() {
	c.mu.Lock()
	c.closed = true
	stream := c.stream
	c.mu.Unlock()
	if stream != nil {
		stream.cancel() // the receiver fails what is in flight
	}
	c.failQueue(errClosed())
}

// errClosed is what callers of a closed Coalescer get.
func errClosed() error {
	return dfs.Errorf(dfs.Canceled, "call master", "", "the client is closed")
}
