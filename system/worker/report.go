package worker

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/worker/blockstore"
)

var (
	stateRegisterAnew = host.NewState("a worker is told to register anew")
	pathSmallReport   = host.NewPath("a report of blocks has one")
)

// Bounds of reports.
const (
	batchBlocks      = 10_000 // of one message
	registerTimeout  = 5 * time.Minute
	retryPause       = time.Second
	maxResults       = 1000 // persist results in one heartbeat
	maxPendingResult = 10_000
)

// Inventory is what a worker tells the masters that it holds. Its Store is one; the methods are told there. Another one may
// list more blocks than are stored, to measure what lists of their length cost.
type Inventory interface {
	TakeChanges() (added, removed []blockstore.Held, overflow bool)
	HeldBatch(from blockstore.Cursor, most int) (batch []blockstore.Held, next blockstore.Cursor, more bool)
}

// pending is what was taken from the store and not yet acknowledged by the master. It is sent again as it is: the master
// takes the same change twice without harm.
// INV-1 of the package: added and removed are replaced only once a heartbeat that carried them was acknowledged, in
// parts when they are more than a message holds; results likewise.
type pending struct {
	added, removed []*proto.HeldFile
	results        []*proto.PersistResult
	patience       time.Duration // that the master asked for
	heard          uint64        // the last answer in this lease whose commands were taken
}

// maxPatience bounds what a master may ask for between two heartbeats.
const maxPatience = 10 * time.Second

// reportLoop keeps the master informed: registration when it asks for one, else a heartbeat each interval, or at the longer
// one that the master asks for, unless there is more to tell.
// It is one task, so reports never overtake each other. After a failure it waits for about a second, by chance shorter
// or longer, so that a thousand workers do not come back to a new leader in one moment.
func (w *Worker) reportLoop() {
	var lease uint64
	var unsent pending
	failures := 0
	for w.ctx.Err() == nil {
		var err error
		if lease == 0 {
			unsent.added, unsent.removed, unsent.heard = nil, nil, 0 // the registration says it all
			lease, err = w.register()
		} else {
			lease, err = w.heartbeat(lease, &unsent)
		}
		failures = w.noteOutcome(err, failures)
		switch {
		case err != nil:
			_ = w.h.Sleep(w.ctx, retryPause/2+time.Duration(w.h.Rand().Int64N(int64(retryPause))))
		case lease != 0: // else the master waits for the registration
			_ = w.h.Sleep(w.ctx, w.untilNext(&unsent))
		}
	}
}

// untilNext is how long the next heartbeat may wait.
func (w *Worker) untilNext(unsent *pending) time.Duration {
	if len(unsent.added) > 0 || len(unsent.removed) > 0 {
		return w.c.HeartbeatInterval
	}
	return max(w.c.HeartbeatInterval, min(unsent.patience, maxPatience))
}

// noteOutcome logs the first of a row of failures, then every hundredth, and the end of the row.
func (w *Worker) noteOutcome(err error, failures int) int {
	switch {
	case err == nil && failures > 0:
		w.log.Info("a master answers again", "after_failures", failures)
		return 0
	case err == nil || w.ctx.Err() != nil:
		return 0
	case failures%100 == 0:
		w.log.Warn("no master takes the report; what is cached is served all the same", "masters", w.masters.addresses, "error", err)
	}
	return failures + 1
}

// register tells the leader everything that is held, and answers the lease.
// Batches are acknowledged one after the other; when the leader changes in the middle, the next one is told
// everything from the beginning. registerTimeout bounds all tries together.
func (w *Worker) register() (lease uint64, err error) {
	ctx, cancel := w.h.WithTimeout(w.ctx, registerTimeout)
	defer cancel()
	err = w.masters.call(ctx, func(ctx context.Context, stub proto.BlocksClient) error {
		lease, err = w.registerAt(ctx, stub)
		return err
	})
	return lease, err
}

// registerAt is one registration at one master: who this is, then batches, and their answers in turn, so that neither side
// has to hold more than one. The first answer comes when the master has room for the list: thousands of workers that wait
// for it after a failover have sent nothing yet that the master would have to hold. Commands may come with each answer.
func (w *Worker) registerAt(ctx context.Context, stub proto.BlocksClient) (lease uint64, err error) {
	ctx, cancel := w.h.WithCancel(ctx)
	defer cancel() // ends the stream on every way out
	stream, err := stub.Register(ctx)
	if err != nil {
		return 0, err
	}
	if _, err := w.say(ctx, stream, &proto.RegisterRequest{Worker: w.info()}); err != nil {
		return 0, err
	}
	w.held.TakeChanges() // from here on changes are kept for the first heartbeat
	var cursor blockstore.Cursor
	for {
		batch, next, more := w.held.HeldBatch(cursor, pathSmallReport.Bound(w.h, batchBlocks, 1))
		response, err := w.say(ctx, stream, &proto.RegisterRequest{Files: heldFiles(batch), Last: !more})
		if err != nil {
			return 0, err
		}
		if !more {
			return response.Lease, nil
		}
		cursor = next
	}
}

// say sends one message of a registration and does what the answer tells. The end of the stream, which Send knows only as
// io.EOF, has its reason in Recv.
func (w *Worker) say(ctx context.Context, stream proto.Blocks_RegisterClient, message *proto.RegisterRequest) (*proto.RegisterResponse, error) {
	if err := stream.Send(message); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	response, err := stream.Recv()
	if err == nil {
		w.obey(ctx, response.Commands)
	}
	return response, err
}

// heartbeat sends what changed. It answers 0 for the lease when the worker must register.
// With an error unsent stays as it was sent, and the lease stays too: whether the master took it is open, and it
// is sent again. When the store kept too many changes to tell them one by one (overflow) only a registration is
// right.
func (w *Worker) heartbeat(lease uint64, unsent *pending) (uint64, error) {
	if len(unsent.added) == 0 && len(unsent.removed) == 0 {
		added, removed, overflow := w.held.TakeChanges()
		if overflow {
			return 0, nil
		}
		unsent.added, unsent.removed = heldFiles(added), heldFiles(removed)
	}
	if len(unsent.results) == 0 {
		unsent.results = w.persist.takeResults(maxResults)
	}
	request := &proto.HeartbeatRequest{Worker: string(w.id), Lease: lease, Tiers: w.store.Tiers(), Persisted: unsent.results, Heard: unsent.heard}
	var restAdded, restRemoved []*proto.HeldFile
	request.Removed, restRemoved = cut(unsent.removed, pathSmallReport.Bound(w.h, batchBlocks, 1))
	request.Added, restAdded = cut(unsent.added, pathSmallReport.Bound(w.h, batchBlocks, 1))
	var response *proto.HeartbeatResponse
	err := w.masters.call(w.ctx, func(ctx context.Context, stub proto.BlocksClient) (err error) {
		ctx, cancel := w.h.WithTimeout(ctx, callTimeout)
		defer cancel()
		response, err = stub.Heartbeat(ctx, request)
		return err
	})
	if err != nil {
		return lease, err
	}
	if response.Register {
		stateRegisterAnew.Reached(w.h)
		return 0, nil
	}
	*unsent = pending{added: restAdded, removed: restRemoved, patience: time.Duration(response.NextNs), heard: response.Answer}
	w.obey(w.ctx, response.Commands)
	return lease, nil
}

// cut takes files from the front, at most about most blocks of them.
func cut(files []*proto.HeldFile, most int) (front, rest []*proto.HeldFile) {
	blocks := 0
	for i, f := range files {
		if blocks += len(f.Blocks); blocks > most && i > 0 {
			return files[:i], files[i:]
		}
	}
	return files, nil
}

// heldFiles makes messages of what the store lists, none of more than batchBlocks blocks: a file with more is in
// several.
func heldFiles(held []blockstore.Held) []*proto.HeldFile {
	var files []*proto.HeldFile
	for _, f := range held {
		for blocks := f.Blocks; len(blocks) > 0; {
			n := min(len(blocks), batchBlocks)
			files = append(files, &proto.HeldFile{Inode: uint64(f.File.Inode), Version: f.File.Version, Blocks: blocks[:n], Unpersisted: f.Unpersisted})
			blocks = blocks[n:]
		}
	}
	return files
}

// obey queues the master's commands. When the queue is full it waits, and the next report is late: the master sees a slow
// worker, which it is.
// ctx bounds the wait; what was not queued by then is lost here, and told again by the master.
func (w *Worker) obey(ctx context.Context, commands []*proto.WorkerCommand) {
	for _, c := range commands {
		if w.commands.Send(ctx, c) != nil {
			return
		}
	}
}

// leaderHint is the address that a NotLeader error names.
func leaderHint(err error) string {
	var e *dfs.Error
	if errors.As(err, &e) && e.Kind == dfs.NotLeader {
		return e.Leader
	}
	return ""
}
