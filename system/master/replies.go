package master

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
)

var pathNoWait = host.NewPath("a call is given up before its entry is applied")

// plainAnswer is for mutations whose inode is gone afterwards: there is no status to tell.
func plainAnswer(t *namespace.Ticket) (*proto.Result, error) {
	_, _, count := t.Answer()
	return &proto.Result{Count: count}, nil
}

// statusAnswer tells the status of the inode that a mutation made or changed. In a replay the inode is looked up by the
// id that the session remembers; if it is gone since, id and version alone are told.
// The status is of the inode as this mutation proposed it, although others may have changed it since: a reply
// describes its own mutation, and reads tell what is true now.
func (l *leadership) statusAnswer(out namespace.Outcome, text string) answering {
	return func(t *namespace.Ticket) (*proto.Result, error) {
		id, version, count := t.Answer()
		res := &proto.Result{Count: count}
		if out.Inode != nil {
			res.Status = namespace.ToProto(out.Inode, dfs.Path(cleaned(text)), l.m.machine.Mounts())
		} else if p, n, err := l.m.machine.PathOf(id); err == nil {
			res.Status = namespace.ToProto(n, p, l.m.machine.Mounts())
		} else {
			res.Status = &proto.FileStatus{Id: uint64(id), Path: cleaned(text), Completed: true}
		}
		if version != 0 {
			res.Status.Version = version
		}
		return res, nil
	}
}

// completed notes where a published version lies, and lets go of the one before it. The client says where; names of
// workers that are not live here would stay in the block map for ever. Locations are hints: a worker that does not
// have the block any more says so when it is asked, and its next report puts the map right.
// It runs once the version is applied and before the client hears of it (evaluator's after), so a reader who learns of
// the version finds its blocks. Indexes beyond the file's end are passed over.
func (l *leadership) completed(op *proto.CompleteFile) func(before, after *inodestore.Inode) {
	return func(before, after *inodestore.Inode) {
		for _, b := range op.Blocks {
			for _, w := range b.Workers {
				if b.Index >= blocksOf(after) || !l.m.workers.Live(dfs.WorkerID(w)) {
					continue
				}
				l.m.blocks.Add(dfs.WorkerID(w), fileOf(after, after.Version), []uint32{b.Index})
			}
		}
		if before.Version != 0 && before.Persist != dfs.Persisted {
			// Readers that are open keep the old version while it is cached; nothing keeps it from eviction now.
			l.tell(before, before.Version, &proto.WorkerCommand{Action: proto.WorkerCommand_SET_PERSISTED, Inode: uint64(before.ID), Version: before.Version})
		}
	}
}

// attributesChanged passes pins on to the workers that hold the file.
// A pin that nobody holds a block for is metadata alone until then.
func (l *leadership) attributesChanged(op *proto.SetAttribute) func(*inodestore.Inode) {
	if op.Pinned == nil {
		return nil
	}
	action := proto.WorkerCommand_UNPIN
	if *op.Pinned {
		action = proto.WorkerCommand_PIN
	}
	return func(n *inodestore.Inode) {
		l.tell(n, n.Version, &proto.WorkerCommand{Action: action, Inode: uint64(n.ID), Version: n.Version})
	}
}

// finish waits for an evaluated mutation and answers with its status. An error of ctx leaves the mutation under way: a
// retry gets its answer.
func (l *leadership) finish(ctx context.Context, text string) func(namespace.Outcome, error) (*proto.Result, error) {
	return func(out namespace.Outcome, err error) (*proto.Result, error) {
		if err != nil {
			return nil, err
		}
		if pathNoWait.Taken(l.m.h) {
			return nil, dfs.Errorf(dfs.Unavailable, "wait for the journal", text, "as if the call was cut off")
		}
		if err := out.Ticket.Wait(ctx); err != nil {
			return nil, err
		}
		return l.statusAnswer(out, text)(out.Ticket)
	}
}
