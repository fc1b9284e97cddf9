package master

import (
	"context"
	"math"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/metasync"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
)

// maxLocateBlocks bounds one LocateBlocks.
const maxLocateBlocks = 16_384

// read answers a read from the applied state. sync tells that the under store must be asked before the answer counts.
func (l *leadership) read(r inodestore.Reader, req *namespace.Request, op *proto.Operation) (res *proto.Result, sync bool) {
	var err error
	switch k := op.Kind.(type) {
	case *proto.Operation_GetStatus:
		res, sync, err = l.status(r, req, k.GetStatus)
	case *proto.Operation_ListStatus:
		res, sync, err = l.list(r, req, k.ListStatus)
	case *proto.Operation_LocateBlocks:
		res, err = l.locate(r, req, k.LocateBlocks)
	case *proto.Operation_ListMounts:
		res = &proto.Result{Mounts: l.m.mounts(req, false)}
	case *proto.Operation_ListWorkers:
		res = &proto.Result{Workers: l.m.workerInfos()}
	}
	if err != nil {
		res = errorResult(err)
	}
	return res, sync
}

// readSynced compares with the under store and reads again. When the store cannot be asked and the answer is known, the
// known answer is given: the mount stays readable while its store is away.
func (l *leadership) readSynced(ctx context.Context, req namespace.Request, op *proto.Operation, known *proto.Result) *proto.Result {
	if err := l.slow.Acquire(ctx, 1); err != nil {
		return errorResult(dfs.Wrap(err, "wait for the under store", ""))
	}
	defer l.slow.Release(1)
	var err error
	switch k := op.Kind.(type) {
	case *proto.Operation_GetStatus:
		err = l.syncNow(ctx, k.GetStatus.Path, false, interval(k.GetStatus.SyncOverride, k.GetStatus.SyncInterval))
	case *proto.Operation_ListStatus:
		err = l.syncNow(ctx, k.ListStatus.Path, true, interval(k.ListStatus.SyncOverride, k.ListStatus.SyncInterval))
	}
	if err != nil {
		if known.Error == nil && known.Status != nil {
			l.m.log.Warn("answering from the namespace, the under store cannot be asked", "error", err)
			return known
		}
		return errorResult(err)
	}
	if err := l.reads.Wait(ctx); err != nil {
		return errorResult(err)
	}
	var res *proto.Result
	_ = l.m.machine.View(func(r inodestore.Reader) error { // errors travel in the result
		res, _ = l.read(r, &req, op)
		return nil
	})
	return res
}

// syncNow compares a path for a read. With an interval of 0 the read sees what the store has no earlier than now.
func (l *leadership) syncNow(ctx context.Context, text string, children bool, override *time.Duration) error {
	p, err := dfs.ParsePath(text)
	if err != nil {
		return err
	}
	every := metasync.Never
	if mount, _ := l.m.machine.Mounts().Resolve(p); mount != nil {
		every = mount.SyncInterval
	}
	if override != nil {
		every = *override
	}
	if n, _, _, _ := l.m.machine.Peek(p); every == 0 && (n != nil || !children) {
		return l.sync.Fresh(ctx, p, children && n.IsDir())
	}
	return l.syncFor(ctx, text, children)
}

func (l *leadership) syncFor(ctx context.Context, text string, children bool) error {
	p, err := dfs.ParsePath(text)
	if err != nil {
		return err
	}
	if !children {
		return l.sync.Path(ctx, p)
	}
	n, _, _, err := l.m.machine.Peek(p)
	if err != nil {
		return err
	}
	if n == nil {
		if err := l.sync.Path(ctx, p); err != nil {
			return err
		}
		if n, _, _, err = l.m.machine.Peek(p); err != nil || n == nil {
			return err
		}
	}
	if !n.IsDir() {
		return l.sync.Path(ctx, p)
	}
	return l.sync.Children(ctx, p)
}

func (l *leadership) status(r inodestore.Reader, req *namespace.Request, op *proto.GetStatus) (*proto.Result, bool, error) {
	p, err := dfs.ParsePath(op.Path)
	if err != nil {
		return nil, false, err
	}
	n, err := l.m.machine.Status(r, req, p)
	sync := l.mustSync(p, n, err, interval(op.SyncOverride, op.SyncInterval), false)
	if err != nil {
		return nil, sync, err
	}
	s := namespace.ToProto(n, p, l.m.machine.Mounts())
	if op.Locations && !n.IsDir() {
		s.CachedBytes = l.cachedBytes(n)
	}
	return &proto.Result{Status: s}, sync, nil
}

// interval is the request's sync interval; nil leaves it to the mount.
func interval(override bool, ns int64) *time.Duration {
	if !override {
		return nil
	}
	d := time.Duration(ns)
	return &d
}

// mustSync tells whether the under store is to be asked about p: it is unknown and could be there, or seen too long ago.
func (l *leadership) mustSync(p dfs.Path, n *inodestore.Inode, err error, override *time.Duration, children bool) bool {
	mount, rel := l.m.machine.Mounts().Resolve(p)
	if mount == nil || err != nil && !dfs.IsKind(err, dfs.NotFound) && !dfs.IsKind(err, dfs.NotDirectory) {
		return false
	}
	every := mount.SyncInterval
	if override != nil {
		every = *override
	}
	if dfs.IsKind(err, dfs.NotDirectory) { // the file on the way may be a directory by now
		return rel != "" && l.sync.Due(p, false, every)
	}
	if n == nil {
		return rel != "" && (l.sync.Due(p, false, every) || !l.absenceKnown(p))
	}
	if children && n.IsDir() && !n.Loaded {
		return true
	}
	if n.Persist != dfs.Persisted {
		return false
	}
	return (rel != "" || children) && l.sync.Due(p, children, every)
}

// absenceKnown tells whether p's deepest existing ancestor was wholly listed, so that what it lacks is absent.
func (l *leadership) absenceKnown(p dfs.Path) bool {
	_, known, _, err := l.m.machine.PeekLocked(p)
	return err == nil && known != nil && known.Loaded
}

func (l *leadership) list(r inodestore.Reader, req *namespace.Request, op *proto.ListStatus) (*proto.Result, bool, error) {
	p, err := dfs.ParsePath(op.Path)
	if err != nil {
		return nil, false, err
	}
	every := interval(op.SyncOverride, op.SyncInterval)
	dir, err := l.m.machine.Status(r, req, p)
	sync := l.mustSync(p, dir, err, every, true) && op.StartAfter == ""
	if err != nil || sync && !dir.Loaded {
		return &proto.Result{}, sync, err
	}
	entries, next, err := l.m.machine.List(r, req, p, op.StartAfter, int(op.Limit))
	if err != nil {
		return nil, false, err
	}
	mounts := l.m.machine.Mounts()
	res := &proto.Result{NextToken: next, Status: namespace.ToProto(dir, p, mounts)}
	for _, n := range entries {
		at := p
		if dir.IsDir() {
			at = p.Join(n.Name)
		}
		s := namespace.ToProto(n, at, mounts)
		if op.Locations && !n.IsDir() {
			s.CachedBytes = l.cachedBytes(n)
		}
		res.Entries = append(res.Entries, s)
	}
	return res, sync, nil
}

func (l *leadership) cachedBytes(n *inodestore.Inode) int64 {
	total := int64(0)
	for i := range blocksOf(n) {
		if len(l.m.blocks.Locate(dfs.BlockID{File: fileOf(n, n.Version), Index: i})) > 0 {
			total += min(n.BlockSize, n.Length-int64(i)*n.BlockSize)
		}
	}
	return total
}

func (l *leadership) locate(r inodestore.Reader, req *namespace.Request, op *proto.LocateBlocks) (*proto.Result, error) {
	file := dfs.FileVersion{Inode: dfs.InodeID(op.Inode), Version: op.Version}
	count := op.Count
	if op.Path != "" {
		p, err := dfs.ParsePath(op.Path)
		if err != nil {
			return nil, err
		}
		n, err := l.m.machine.Status(r, req, p)
		if err != nil {
			return nil, err
		}
		if err := namespace.Demand(req, n, namespace.RightRead, "locate blocks", p); err != nil {
			return nil, err
		}
		file = fileOf(n, n.Version)
		if total := blocksOf(n); count == 0 || uint64(op.First)+uint64(count) > uint64(total) {
			count = total - min(op.First, total)
		}
	}
	if uint64(op.First)+uint64(count) > math.MaxUint32 {
		return nil, dfs.Errorf(dfs.InvalidArgument, "locate blocks", op.Path, "blocks %d and %d after it: no file has so many", op.First, count)
	}
	if count > maxLocateBlocks {
		return nil, dfs.Errorf(dfs.InvalidArgument, "locate blocks", op.Path, "%d blocks, the limit is %d: ask in parts", count, maxLocateBlocks)
	}
	res := &proto.Result{}
	for i := range count {
		res.Blocks = append(res.Blocks, l.locateBlock(dfs.BlockID{File: file, Index: op.First + i}))
		if b := res.Blocks[i]; len(b.Workers) == 0 && op.Path == "" && l.starting() {
			return nil, dfs.Errorf(dfs.Unavailable, "locate blocks", file.String(),
				"block %d is not reported yet and workers are still registering with the new leader: retry", b.Index)
		}
	}
	return res, nil
}

func (l *leadership) locateBlock(b dfs.BlockID) *proto.BlockLocations {
	out := &proto.BlockLocations{Index: b.Index}
	for _, w := range l.m.blocks.Locate(b) {
		out.Workers = append(out.Workers, string(w))
	}
	return out
}

// starting tells whether the block map is still being filled: what it lacks may yet be reported.
func (l *leadership) starting() bool {
	return l.m.h.Now().Sub(l.since) < l.m.cfg.SafeStart || !l.m.workers.Settled()
}

func (m *Master) mounts(req *namespace.Request, secrets bool) []*proto.Mount {
	var out []*proto.Mount
	for _, mount := range m.machine.Mounts().All() {
		if !secrets && !mount.Shared && req != nil && !req.Identity.Superuser(m.cfg.Superuser) {
			continue
		}
		options := mount.Redacted()
		if secrets {
			options = mount.Options
		}
		out = append(out, &proto.Mount{Id: uint64(mount.ID), Path: string(mount.Path), Uri: mount.URI, ReadOnly: mount.ReadOnly,
			Shared: mount.Shared, Options: options, SyncInterval: int64(mount.SyncInterval)})
	}
	return out
}

func (m *Master) workerInfos() []*proto.WorkerInfo {
	infos := m.workers.List()
	for _, w := range infos {
		w.Blocks = m.blocks.Blocks(dfs.WorkerID(w.Id))
	}
	return infos
}
