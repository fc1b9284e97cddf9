package master

import (
	"fmt"
	"sync"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/ufs"
)

var pathSmallPage = host.NewPath("a page of the queue of files to persist has one")

// Bounds and pace of asynchronous persistence.
const (
	maxPersisting     = 1000 // files that workers were told to write and have not reported
	persistPage       = 512
	persistLease      = 5 * time.Minute // told again after this without a report
	persistBackoffMin = time.Second
	persistBackoffMax = time.Minute
	maxPersistResults = 64 // reports handled at a time
)

// persister sees to it that ASYNC_THROUGH files reach their under store. The queue itself is logged (TablePersist); what
// is here is who was told what, and it starts anew with each leader.
//
// INV-1: a file leaves the queue only with the entry that says that it is persisted, or that it is gone (the evaluator's
// reindex and drop). Losing everything here costs a second write of the same content, never a file.
// INV-2: workers write staged objects, and the leader alone gives one the path of its file, while the file is there with
// the version that was written: what is late is removed (publish), and never replaces what came after it.
// INV-3: at most maxPersisting commands are out; files that cannot be written now wait in the logged queue alone.
type persister struct {
	l       *leadership
	results *host.Semaphore
	nonce   uint64 // in the names of what is staged: other leaders, and other clusters on the same store, have others

	mu     sync.Mutex
	cursor dfs.InodeID
	round  uint64
	told   map[dfs.InodeID]*persisting // of files in the queue: begin forgets the others
}

// persisting is what was told about one version of one file, and how it went.
type persisting struct {
	version  uint32
	worker   dfs.WorkerID // "" when waiting for the next try
	until    time.Time    // of the lease, or of the backoff
	failures int
	round    uint64 // through the queue, when it was last met there
	problem  string // of the last failure, for the report
}

// newPersister starts with nothing told: a new leader tells workers again what a former one had told them, which costs
// a second write and no file.
func newPersister(l *leadership) *persister {
	return &persister{l: l, results: host.NewSemaphore(l.m.h, maxPersistResults), nonce: l.m.h.Rand().Uint64(), told: map[dfs.InodeID]*persisting{}}
}

// schedule tells workers about a page of the queue. It runs as one task, so a page is not told twice. The cursor goes
// round through the queue: what comes in behind it waits for the next round.
// It costs one page of the queue for each run, however long the queue is. A file is met at least once in each round,
// so a backoff is never longer than itself and a round.
func (p *persister) schedule() {
	from, busy := p.begin()
	page := pathSmallPage.Bound(p.l.m.h, persistPage, 1)
	queue, err := p.l.m.machine.PersistQueue(from, page)
	if err != nil {
		p.l.m.log.Warn("cannot read the persist queue", "error", err)
		return
	}
	next := dfs.InodeID(0)
	if len(queue) == page {
		next = queue[len(queue)-1].Inode.ID + 1
	}
	for _, file := range queue {
		if busy >= maxPersisting {
			next = file.Inode.ID // goes on here when workers have reported
			break
		}
		if p.tell(file) {
			busy++
		}
	}
	p.mu.Lock()
	p.cursor = next
	p.mu.Unlock()
}

// begin tells where the queue goes on and how many commands are out. Files that cannot be persisted now do not count:
// a thousand of them at the head must not stop all others. With each round through the queue, what was not met in the
// round before is forgotten: its file is gone, or was persisted by another way.
func (p *persister) begin() (from dfs.InodeID, busy int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cursor == 0 {
		p.round++
	}
	now := p.l.m.h.Now()
	for id, state := range p.told {
		switch {
		case state.round+1 < p.round:
			delete(p.told, id)
		case state.worker != "" && now.Before(state.until):
			busy++
		}
	}
	return p.cursor, busy
}

// tell gives one file to a worker that holds its first block. It returns true when a new command went out.
// A state of an older version is thrown away with its failures and backoff: the new content has done nothing wrong.
// The mount is resolved now, under no claim: the worker may write to a path that a rename is leaving, and publish
// finds out.
func (p *persister) tell(file namespace.ToPersist) bool {
	now := p.l.m.h.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	state := p.told[file.Inode.ID]
	if state != nil {
		state.round = p.round
	}
	if state != nil && state.version == file.Inode.Version && now.Before(state.until) {
		return false
	}
	if state == nil || state.version != file.Inode.Version {
		state = &persisting{version: file.Inode.Version, round: p.round}
		p.told[file.Inode.ID] = state
	}
	mount, rel := p.l.m.machine.Mounts().Resolve(file.Path)
	worker := p.choose(file)
	switch {
	case mount == nil:
		state.problem = "it lies in no mount: move it into one, or remove it"
	case worker == "" && p.l.starting():
		state.problem = "waiting for workers to register"
	case worker == "" && file.Inode.Length > 0:
		state.problem = "no live worker holds its data: start the workers that held it"
	}
	if mount == nil || worker == "" {
		state.until = now.Add(persistBackoffMin)
		return false
	}
	state.worker, state.until = worker, now.Add(persistLease)
	p.l.m.workers.Tell(worker, &proto.WorkerCommand{
		Action: proto.WorkerCommand_PERSIST, Inode: uint64(file.Inode.ID), Version: file.Inode.Version, MountId: uint64(mount.ID),
		UfsPath: rel, Length: file.Inode.Length, BlockSize: file.Inode.BlockSize, Mode: file.Inode.Mode,
		Staged: ufs.Staged(fmt.Sprintf("%x-%x-%x", p.nonce, uint64(file.Inode.ID), file.Inode.Version)),
	})
	return true
}

// choose picks a live worker that holds the first block. An empty file has no block, so anyone can write it. "" when
// nobody live does: the file waits, and the report says so.
func (p *persister) choose(file namespace.ToPersist) dfs.WorkerID {
	for _, w := range p.l.m.blocks.Locate(dfs.BlockID{File: fileOf(file.Inode, file.Inode.Version)}) {
		if p.l.m.workers.Live(w) {
			return w
		}
	}
	if file.Inode.Length > 0 {
		return ""
	}
	for _, w := range p.l.m.workers.List() {
		if w.Live {
			return dfs.WorkerID(w.Id)
		}
	}
	return ""
}

// again makes what a worker was told to persist due again: it is lost, or registers, perhaps in a new life that knows nothing
// of it. One that is writing takes a second command for the first. Failures stay as they were: this is not the file's.
func (p *persister) again(id dfs.WorkerID, problem string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, state := range p.told {
		if state.worker == id {
			state.worker, state.until = "", time.Time{}
			state.problem = problem
		}
	}
}

// problems lists up to limit files that could not be persisted so far, with the reason.
// It looks through the head of the queue alone, and at most maxPersisting files: the report is for a person, who needs
// the first reasons and not all of them.
func (p *persister) problems(limit int) []string {
	queue, err := p.l.m.machine.PersistQueue(0, maxPersisting)
	if err != nil {
		return []string{"cannot read the persist queue: " + err.Error()}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for _, file := range queue {
		if state := p.told[file.Inode.ID]; state != nil && state.problem != "" && len(out) < limit {
			out = append(out, "not persisted yet: "+string(file.Path)+": "+state.problem)
		}
	}
	return out
}
