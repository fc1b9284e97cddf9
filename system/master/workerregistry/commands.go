package workerregistry

import (
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/proto"
)

// maxCommands bounds what waits for one worker. Beyond it the worker is told to register anew, which brings both sides
// in line without the commands.
const maxCommands = 20_000

// commandsPerHeartbeat bounds one answer.
const commandsPerHeartbeat = 2_000

// maxHeartbeats is how many heartbeats a second the master wants, whatever the number of workers: a call costs it tens of
// microseconds.
const maxHeartbeats = 1_000

// Patience is how long a worker may take to its next heartbeat: what keeps all of them within maxHeartbeats, but at most a
// sixth of the time after which it would be lost.
func (r *Registry) Patience() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return min(time.Duration(len(r.workers))*time.Second/maxHeartbeats, r.lostAfter/6)
}

// Heartbeat notes that a worker lives, and answers with what it is to be told, the oldest first. ok is false when it must
// register. Commands stay until the worker says that it has heard their answer, so that one which is lost on the wire loses
// none of them; a worker may hear them twice, in their order.
func (r *Registry) Heartbeat(req *proto.HeartbeatRequest, now time.Time) (response *proto.HeartbeatResponse, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.leased(dfs.WorkerID(req.Worker), req.Lease)
	if w == nil || w.overflow {
		return nil, false
	}
	w.heard(now)
	if len(req.Tiers) > 0 {
		changed := capacity(w.info) != capacity(&proto.WorkerInfo{Tiers: req.Tiers})
		w.info.Tiers = req.Tiers
		if changed {
			r.place(w)
		}
	}
	if req.Heard == w.answer {
		w.commands, w.told = w.commands[w.told:], 0
	}
	w.told = min(len(w.commands), commandsPerHeartbeat)
	w.answer++
	return &proto.HeartbeatResponse{Commands: w.commands[:w.told:w.told], Answer: w.answer}, true
}

// Tell queues a command for a live worker. A worker that is not live is told nothing: it registers before anything
// else. At maxCommands everything that waits is dropped, and the worker registers anew instead.
func (r *Registry) Tell(id dfs.WorkerID, c *proto.WorkerCommand) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.workers[id]
	if w == nil || !w.live || w.overflow {
		return
	}
	if len(w.commands) >= maxCommands {
		w.overflow, w.commands, w.told = true, nil, 0
		return
	}
	w.commands = append(w.commands, c)
}
