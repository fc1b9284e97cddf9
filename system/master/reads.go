package master

import (
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
)

// read answers a read from the applied state. sync tells that the under store must be asked before the answer counts.
// It is called inside View, after a proof of leadership, and must not wait. With sync the result is what the namespace
// knows now: readSynced falls back on it when the store is away. Kinds that are no reads give nil; isRead keeps them
// out.
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
		res = l.listWorkers(k.ListWorkers)
	}
	if err != nil {
		res = errorResult(err)
	}
	return res, sync
}

// status answers for one path, and tells whether the answer counts only after a look at the store. It is called inside
// View, so it asks nobody.
// Cached bytes are counted only when they are asked for: it costs a look into the block map for each block.
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

// list answers a page of a directory. Only the first page asks the store: the others go on in what the first has
// loaded. A directory that was never loaded has no answer before.
// The directory's own status comes with each page, so that a client which lists need not ask twice. A file lists
// itself, at its own path. limit and the bound on bytes are Machine.List's; what they cut off begins at next, and a
// page that was bounded is no error.
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

// mounts lists the mounts that req's user may see: all for the superuser and with req nil, the shared ones for others.
// Only workers, who open the stores, get the options with secrets.
// Order is the table's, by path. Options may hold access keys: they are redacted for everybody but workers, also in
// the operator's report, which ends in tickets and logs.
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

// listWorkers answers with all that is known of workers, or with the placement, of which the version alone is told when the
// caller has this one.
func (l *leadership) listWorkers(op *proto.ListWorkers) *proto.Result {
	if !op.Placement {
		return &proto.Result{Workers: l.m.workerInfos(), WorkersVersion: l.m.workers.Version()}
	}
	version, placement := l.m.workers.Placement()
	if op.Known == version {
		placement = nil
	}
	return &proto.Result{Placement: placement, WorkersVersion: version, WorkersPartial: l.young()}
}

// young tells whether workers may not have found this leader yet: what it does not know of may live all the same.
func (l *leadership) young() bool { return l.m.h.Now().Sub(l.since) < l.m.cfg.SafeStart }

// workersVersion is what answers tell of the placement. A young leader tells nothing: its registry begins empty, and clients
// that heard of that would give up lists that are better than its own.
func (l *leadership) workersVersion() uint64 {
	if l.young() {
		return 0
	}
	return l.m.workers.Version()
}

// workerInfos is the registry's list with the number of blocks that the map has of each. The two are read one after
// the other, so a worker that registers meanwhile may show fewer blocks than it has. Lost workers are listed too,
// until the registry forgets them.
func (m *Master) workerInfos() []*proto.WorkerInfo {
	infos := m.workers.List()
	for _, w := range infos {
		w.Blocks = m.blocks.Blocks(dfs.WorkerID(w.Id))
	}
	return infos
}
