package master

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

// reported handles a worker's results beside its heartbeat, a bounded number at a time.
// The error is ctx's: results that were not taken in by then are lost, and their files are told again when their lease
// runs out. They use the context of the leadership and not the heartbeat's, whose end must not cut a claim short.
func (p *persister) reported(ctx context.Context, results []*proto.PersistResult) error {
	for _, res := range results {
		if err := p.results.Acquire(ctx, 1); err != nil {
			return err
		}
		p.l.m.h.Go("persist-result", func() {
			defer p.results.Release(1)
			p.finish(res)
		})
	}
	return nil
}

// finish takes one result in. A failure is kept with its reason for the report and told again later, at first after a
// second and at last every minute: a store that is full may get room, and nothing is ever dropped silently.
// Only the state of the same version is touched: the file may have been overwritten while the worker wrote, and its
// new version was told to somebody else.
func (p *persister) finish(res *proto.PersistResult) {
	id := dfs.InodeID(res.Inode)
	err := rpc.ErrorFromProto(res.Error)
	if err == nil {
		err = p.publish(res)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	state := p.told[id]
	if state == nil || state.version != res.Version {
		return // a report of an older version says nothing of what was told since
	}
	if err == nil {
		delete(p.told, id)
		return
	}
	state.failures++
	state.worker, state.problem = "", err.Error()
	backoff := min(persistBackoffMin<<min(state.failures-1, 10), persistBackoffMax)
	state.until = p.l.m.h.Now().Add(backoff)
	p.l.m.log.Warn("persisting failed and will be tried again", "inode", res.Inode, "path", res.UfsPath, "failures", state.failures, "error", err)
}

// publish records a persisted file, or takes the object back when the file is no longer what was written. The claim
// keeps the file from being renamed or removed between the look and the entry; an error other than of the state is
// tried again by finish's backoff.
func (p *persister) publish(res *proto.PersistResult) error {
	l := p.l
	mount := l.m.machine.Mounts().ByID(dfs.MountID(res.MountId))
	if mount == nil {
		return nil // unmounted meanwhile: the store is no longer ours to change
	}
	path, err := dfs.ParsePath(string(mount.Path) + "/" + res.UfsPath)
	if err != nil {
		return err
	}
	claim, err := l.e.Claim(l.ctx, path)
	if err != nil {
		return err
	}
	defer claim.Release()
	err = l.e.SetPersisted(l.ctx, claim, path, dfs.InodeID(res.Inode), res.Version, res.Fingerprint)
	if err == nil {
		if n, _, _, err := l.m.machine.Peek(path); err == nil && n != nil {
			l.tell(n, res.Version, &proto.WorkerCommand{Action: proto.WorkerCommand_SET_PERSISTED, Inode: res.Inode, Version: res.Version})
		}
		return nil
	}
	if !dfs.IsKind(err, dfs.Stale) {
		return err
	}
	return p.takeBack(path, res)
}

// takeBack removes an object that was persisted for a file which has since moved, gone or changed, unless the path
// belongs to another content by now.
// It runs under publish's claim, so what it sees at the path stays so until the object is gone. An error leaves the
// object and comes again by finish's backoff, as long as the file is on the queue; when the file is gone, the object
// is found by the next sync as a file of the store.
func (p *persister) takeBack(path dfs.Path, res *proto.PersistResult) error {
	at, err := p.l.placeOf(p.l.ctx, path)
	if err != nil || at.store == nil {
		return err
	}
	entry, err := at.store.Stat(p.l.ctx, at.rel)
	if dfs.IsKind(err, dfs.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	n, _, _, err := p.l.m.machine.Peek(path)
	if err != nil || entry.Fingerprint != res.Fingerprint || n != nil && (n.ID == dfs.InodeID(res.Inode) || n.Persist == dfs.Persisted) {
		return err // replaced by its own newer version, or by someone else: leave it
	}
	return at.store.Remove(p.l.ctx, at.rel)
}
