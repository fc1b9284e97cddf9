package master

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
	"github.com/forebay/forebay/system/ufs"
)

var stateLatePersist = host.NewState("a file is persisted too late, and the object is removed")

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

// publish gives a staged object the path of its file and records the file as persisted, or removes the object when the
// file is no longer what was written. The claim keeps the file from being overwritten, renamed or removed from the look to
// the entry, and leadership is proved under it: a leader that was deposed would not know of what came since. A death
// between the rename and the entry leaves the file on the queue, with its own content at its path.
// An error other than of the state is tried again by finish's backoff.
func (p *persister) publish(res *proto.PersistResult) error {
	l := p.l
	mount := l.m.machine.Mounts().ByID(dfs.MountID(res.MountId))
	if mount == nil {
		return nil // unmounted meanwhile: the store is no longer ours to change
	}
	if !ufs.IsStaged(res.Staged) {
		return dfs.Errorf(dfs.InvalidArgument, "publish", res.UfsPath, "the worker names %q, which is no staged object", res.Staged)
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
	at, err := l.placeOf(l.ctx, path)
	if err != nil {
		return err
	}
	if err := l.reads.Wait(l.ctx); err != nil {
		return err
	}
	n, err := l.e.CheckPersisted(path, dfs.InodeID(res.Inode), res.Version)
	if dfs.IsKind(err, dfs.Stale) || err == nil && n.Persist == dfs.Persisted {
		stateLatePersist.Reached(l.m.h)
		if err == nil { // reported twice, or written twice: the worker need not keep it
			l.tell(n, res.Version, persistedCommand(res))
		}
		return removeLeft(l.ctx, at.store, res.Staged)
	}
	if err != nil {
		return err
	}
	fingerprint, err := p.place(at, res.Staged)
	if err != nil {
		return err
	}
	if err := l.e.SetPersisted(l.ctx, claim, path, dfs.InodeID(res.Inode), res.Version, fingerprint); err != nil {
		return err
	}
	l.tell(n, res.Version, persistedCommand(res))
	return nil
}

// place renames a staged object to where it belongs. Some stores copy, so that the fingerprint is what comes of it.
// NotFound says that an earlier try has renamed it, or that it is gone: the file is written anew.
func (p *persister) place(at place, staged string) (fingerprint string, err error) {
	if err := at.store.Rename(p.l.ctx, staged, at.rel); err != nil {
		return "", dfs.Wrap(err, "publish", at.rel)
	}
	e, err := at.store.Stat(p.l.ctx, at.rel)
	return e.Fingerprint, dfs.Wrap(err, "publish", at.rel)
}

func persistedCommand(res *proto.PersistResult) *proto.WorkerCommand {
	return &proto.WorkerCommand{Action: proto.WorkerCommand_SET_PERSISTED, Inode: res.Inode, Version: res.Version}
}
