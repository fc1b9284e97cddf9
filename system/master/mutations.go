package master

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
)

// evaluated is a mutation that needs no under store: it was evaluated at once, and answer builds the reply when it is
// applied.
type evaluated func(ctx context.Context, r namespace.Request) (*namespace.Ticket, answering, error)

// answering builds the reply of an applied mutation.
type answering func(*namespace.Ticket) (*proto.Result, error)

// fast returns how to evaluate op in memory; nil when an under store must be asked or a tree walked.
func (l *leadership) fast(op *proto.Operation) evaluated {
	switch k := op.Kind.(type) {
	case *proto.Operation_OpenSession:
		return l.openSession(k.OpenSession)
	case *proto.Operation_CreateFile:
		if k.CreateFile.BlockSize == 0 {
			k.CreateFile.BlockSize = l.m.cfg.BlockSizeBytes
		}
		if l.inMemory(k.CreateFile.Path) {
			return l.createFast(k.CreateFile)
		}
	case *proto.Operation_CompleteFile:
		if !l.e.NeedsStore(dfs.InodeID(k.CompleteFile.Inode), k.CompleteFile.Version) {
			return func(ctx context.Context, r namespace.Request) (*namespace.Ticket, answering, error) {
				out, err := l.e.Complete(ctx, r, k.CompleteFile, l.completed(k.CompleteFile))
				return out.Ticket, l.statusAnswer(out, k.CompleteFile.Path), err
			}
		}
	case *proto.Operation_AbandonFile:
		return func(ctx context.Context, r namespace.Request) (*namespace.Ticket, answering, error) {
			out, err := l.e.Abandon(ctx, r, k.AbandonFile)
			return out.Ticket, plainAnswer, err
		}
	}
	return l.fastTree(op)
}

// fastTree is fast for operations on the tree outside of mounts.
func (l *leadership) fastTree(op *proto.Operation) evaluated {
	switch k := op.Kind.(type) {
	case *proto.Operation_MakeDirectory:
		if k.MakeDirectory.MustCache && l.inMemory(k.MakeDirectory.Path) || l.outside(k.MakeDirectory.Path) {
			return onPath(k.MakeDirectory.Path, func(ctx context.Context, r namespace.Request, p dfs.Path) (namespace.Outcome, error) {
				return l.e.MakeDirectory(ctx, r, p, k.MakeDirectory, false)
			}, l)
		}
	case *proto.Operation_Remove:
		if l.outside(k.Remove.Path) && !k.Remove.Recursive { // a recursive one looks through the tree first
			return onPath(k.Remove.Path, func(ctx context.Context, r namespace.Request, p dfs.Path) (namespace.Outcome, error) {
				return l.e.Remove(ctx, r, p, k.Remove, l.forget)
			}, l)
		}
	case *proto.Operation_Rename:
		if l.outside(k.Rename.Source) && l.outside(k.Rename.Target) {
			return l.renameFast(k.Rename)
		}
	case *proto.Operation_SetXattr:
		if l.inMemory(k.SetXattr.Path) {
			return onPath(k.SetXattr.Path, func(ctx context.Context, r namespace.Request, p dfs.Path) (namespace.Outcome, error) {
				return l.e.SetXattr(ctx, r, p, k.SetXattr)
			}, l)
		}
	case *proto.Operation_SetAttribute:
		if !k.SetAttribute.Recursive && l.outside(k.SetAttribute.Path) {
			return onPath(k.SetAttribute.Path, func(ctx context.Context, r namespace.Request, p dfs.Path) (namespace.Outcome, error) {
				return l.e.SetAttribute(ctx, r, p, k.SetAttribute, l.attributesChanged(k.SetAttribute))
			}, l)
		}
	}
	return nil
}

// outside tells whether a path lies in no mount (an invalid one does: its evaluation says so).
func (l *leadership) outside(text string) bool {
	p, err := dfs.ParsePath(text)
	if err != nil {
		return true
	}
	mount, _ := l.m.machine.Mounts().Resolve(p)
	return mount == nil
}

// inMemory tells whether the namespace alone knows if a path exists: it lies in no mount, it is known, or its directory
// was wholly listed.
func (l *leadership) inMemory(text string) bool {
	if l.outside(text) {
		return true
	}
	n, known, _, err := l.m.machine.Peek(dfs.Path(cleaned(text)))
	return err != nil || n != nil || known != nil && known.Loaded
}

func cleaned(text string) string {
	p, err := dfs.ParsePath(text)
	if err != nil {
		return text
	}
	return string(p)
}

// onPath parses a path at the door and answers with the status of what was changed.
func onPath(text string, f func(context.Context, namespace.Request, dfs.Path) (namespace.Outcome, error), l *leadership) evaluated {
	return func(ctx context.Context, r namespace.Request) (*namespace.Ticket, answering, error) {
		p, err := dfs.ParsePath(text)
		if err != nil {
			return nil, nil, err
		}
		out, err := f(ctx, r, p)
		return out.Ticket, l.statusAnswer(out, text), err
	}
}

func plainAnswer(t *namespace.Ticket) (*proto.Result, error) {
	_, _, count := t.Answer()
	return &proto.Result{Count: count}, nil
}

// statusAnswer tells the status of the inode that a mutation made or changed. In a replay the inode is looked up by the
// id that the session remembers; if it is gone since, id and version alone are told.
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

func (l *leadership) openSession(op *proto.OpenSession) evaluated {
	return func(ctx context.Context, _ namespace.Request) (*namespace.Ticket, answering, error) {
		ticket, id, err := l.e.OpenSession(ctx, op.Nonce, op.Client)
		return ticket, func(*namespace.Ticket) (*proto.Result, error) {
			l.heard(id)
			return &proto.Result{Session: uint64(id)}, nil
		}, err
	}
}

func (l *leadership) createFast(op *proto.CreateFile) evaluated {
	return func(ctx context.Context, r namespace.Request) (*namespace.Ticket, answering, error) {
		p, err := dfs.ParsePath(op.Path)
		if err != nil {
			return nil, nil, err
		}
		out, err := l.e.Create(ctx, r, p, op)
		return out.Ticket, l.statusAnswer(out, op.Path), err
	}
}

func (l *leadership) renameFast(op *proto.Rename) evaluated {
	return func(ctx context.Context, r namespace.Request) (*namespace.Ticket, answering, error) {
		from, err := dfs.ParsePath(op.Source)
		if err != nil {
			return nil, nil, err
		}
		to, err := dfs.ParsePath(op.Target)
		if err != nil {
			return nil, nil, err
		}
		out, err := l.e.Rename(ctx, r, from, to, op, l.forget)
		return out.Ticket, l.statusAnswer(out, op.Target), err
	}
}

// completed notes where a published version lies, and lets go of the one before it. The client says where; names of
// workers that are not live here would stay in the block map for ever.
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

func (l *leadership) slowly(ctx context.Context, r namespace.Request, op *proto.Operation) (*proto.Result, error) {
	if t, err := l.e.Replay(r); err != nil {
		return nil, err
	} else if t != nil {
		if err := t.Wait(ctx); err != nil {
			return nil, err
		}
		return l.statusAnswer(namespace.Outcome{}, pathIn(op))(t)
	}
	switch k := op.Kind.(type) {
	case *proto.Operation_CompleteFile:
		return l.completeThrough(ctx, r, k.CompleteFile)
	case *proto.Operation_Rename:
		return l.renameThrough(ctx, r, k.Rename)
	case *proto.Operation_Mount:
		return l.onParsed(k.Mount.GetPath(), func(p dfs.Path) (*proto.Result, error) { return l.mount(ctx, r, p, k.Mount) })
	}
	return l.slowOnPath(ctx, r, op)
}

func (l *leadership) slowOnPath(ctx context.Context, r namespace.Request, op *proto.Operation) (*proto.Result, error) {
	return l.onParsed(pathIn(op), func(p dfs.Path) (*proto.Result, error) {
		switch k := op.Kind.(type) {
		case *proto.Operation_CreateFile:
			return l.createThrough(ctx, r, p, k.CreateFile)
		case *proto.Operation_MakeDirectory:
			return l.makeDirectoryThrough(ctx, r, p, k.MakeDirectory)
		case *proto.Operation_Remove:
			return l.remove(ctx, r, p, k.Remove)
		case *proto.Operation_SetAttribute:
			return l.setAttribute(ctx, r, p, k.SetAttribute)
		case *proto.Operation_SetXattr:
			if err := l.sync.Path(ctx, p); err != nil {
				return nil, err
			}
			return l.finish(ctx, string(p))(l.e.SetXattr(ctx, r, p, k.SetXattr))
		case *proto.Operation_Unmount:
			return l.unmount(ctx, r, p)
		case *proto.Operation_Free:
			return l.free(ctx, r, p, k.Free)
		case *proto.Operation_Persist:
			return l.requestPersist(ctx, r, p, k.Persist)
		case *proto.Operation_Load:
			return l.load(ctx, r, p, k.Load)
		}
		return nil, dfs.Errorf(dfs.UnsupportedFeature, "execute operation", "", "this master does not know operation %T: upgrade it", op.Kind)
	})
}

func (l *leadership) onParsed(text string, f func(dfs.Path) (*proto.Result, error)) (*proto.Result, error) {
	p, err := dfs.ParsePath(text)
	if err != nil {
		return nil, err
	}
	return f(p)
}

// pathIn is the path that an operation is about.
func pathIn(op *proto.Operation) string {
	switch k := op.Kind.(type) {
	case *proto.Operation_CreateFile:
		return k.CreateFile.GetPath()
	case *proto.Operation_CompleteFile:
		return k.CompleteFile.GetPath()
	case *proto.Operation_MakeDirectory:
		return k.MakeDirectory.GetPath()
	case *proto.Operation_Rename:
		return k.Rename.GetTarget()
	case *proto.Operation_Remove:
		return k.Remove.GetPath()
	case *proto.Operation_SetAttribute:
		return k.SetAttribute.GetPath()
	case *proto.Operation_SetXattr:
		return k.SetXattr.GetPath()
	case *proto.Operation_Mount:
		return k.Mount.GetPath()
	case *proto.Operation_Unmount:
		return k.Unmount.GetPath()
	case *proto.Operation_Free:
		return k.Free.GetPath()
	case *proto.Operation_Persist:
		return k.Persist.GetPath()
	case *proto.Operation_Load:
		return k.Load.GetPath()
	}
	return ""
}

// finish waits for an evaluated mutation and answers with its status.
func (l *leadership) finish(ctx context.Context, text string) func(namespace.Outcome, error) (*proto.Result, error) {
	return func(out namespace.Outcome, err error) (*proto.Result, error) {
		if err != nil {
			return nil, err
		}
		if err := out.Ticket.Wait(ctx); err != nil {
			return nil, err
		}
		return l.statusAnswer(out, text)(out.Ticket)
	}
}

func (l *leadership) keepSession(ctx context.Context, r namespace.Request) (*proto.Result, error) {
	if err := l.reads.Wait(ctx); err != nil {
		return nil, err
	}
	if !l.m.machine.HasSession(r.Session) {
		return nil, dfs.Errorf(dfs.SessionExpired, "keep session", "", "session %d is not known: open another", r.Session)
	}
	l.heard(r.Session)
	return &proto.Result{Session: uint64(r.Session)}, nil
}
