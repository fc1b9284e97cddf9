package worker

import (
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/proto"
)

// maxCommands bounds the commands that wait to be done.
const maxCommands = 4096

// commandLoop does the master's commands in their order; PERSIST, which takes long, in tasks of its own.
// It ends with the worker's context. A command that fails is logged and not repeated here: what matters is in the
// next report, and the master tells it again.
func (w *Worker) commandLoop() {
	for {
		c, err := w.commands.Recv(w.ctx)
		if err != nil {
			return
		}
		if err := w.do(c); err != nil && w.ctx.Err() == nil {
			w.log.Warn("a command of the master failed", "command", c.Action.String(), "inode", c.Inode, "version", c.Version, "error", err)
		}
	}
}

// do does one command. All of them may come twice, late, or for files that are not held, which is no error. A command
// that this worker does not know is logged and left: the master is newer.
func (w *Worker) do(c *proto.WorkerCommand) error {
	inode := dfs.InodeID(c.Inode)
	switch c.Action {
	case proto.WorkerCommand_FREE:
		w.store.Free(inode, c.Version)
	case proto.WorkerCommand_PIN:
		return w.store.SetPinned(w.ctx, inode, c.Version, true)
	case proto.WorkerCommand_UNPIN:
		return w.store.SetPinned(w.ctx, inode, c.Version, false)
	case proto.WorkerCommand_SET_PERSISTED:
		return w.store.SetPersisted(w.ctx, inode, c.Version)
	case proto.WorkerCommand_PERSIST:
		w.persist.begin(c)
	default:
		return dfs.Errorf(dfs.UnsupportedFeature, "do command", c.Action.String(), "the master is newer than this worker: upgrade it")
	}
	return nil
}
