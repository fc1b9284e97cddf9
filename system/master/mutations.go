package master

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
)

// evaluated is a mutation that needs no under store: it was evaluated at once, and answer builds the reply when it is
// applied.
// It never waits for a store and takes no claim of its own, so a batch may run thousands of them one after the other
// in the caller's task. It may wait for a full batch of the evaluator or for somebody else's claim on its paths, as
// long as ctx lasts. With an error there is no ticket and the mutation has no effect.
type evaluated func(ctx context.Context, r namespace.Request) (*namespace.Ticket, answering, error)

// answering builds the reply of an applied mutation.
// It is called once, after the ticket's wait has succeeded; a replayed ticket is answered from what the session
// remembers.
type answering func(*namespace.Ticket) (*proto.Result, error)

// fast returns how to evaluate op in memory; nil when an under store must be asked or a tree walked. What is decided
// here may be overtaken by a mount that is being made; the evaluation looks again at what matters.
// The rule is that anything which could change a store, or must ask one whether a path exists, goes to runSlow: a fast
// mutation that turned out to need the store would hold up its whole batch. A create is fast in a mount too when its
// directory is loaded, since the content reaches the store later.
//
// It fills in the master's block size where the client names none, here and not in the evaluator, since the default is
// configuration and an entry must mean the same on every replica.
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
// A directory in a mount is made in memory only when it is meant for the cache alone (MustCache). Removals, renames
// and attribute changes are fast outside of mounts only: in one, the store has to change first.
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
// The answer is about the applied table. Mounts change under a claim on their path, which the evaluation of a mutation
// on that path waits for, so a mount that is proposed meanwhile is seen there.
func (l *leadership) outside(text string) bool {
	p, err := dfs.ParsePath(text)
	if err != nil {
		return true
	}
	mount, _ := l.m.machine.Mounts().Resolve(p)
	return mount == nil
}

// inMemory tells whether the namespace alone knows if a path exists: it lies in no mount, it is known, or its
// directory was wholly listed. An error on the way, such as a file where a directory should be, counts as known: the
// evaluation says what it is.
func (l *leadership) inMemory(text string) bool {
	if l.outside(text) {
		return true
	}
	n, known, _, err := l.m.machine.Peek(dfs.Path(cleaned(text)))
	return err != nil || n != nil || known != nil && known.Loaded
}

// It is for texts that were parsed before, or whose fault is told by somebody else: one that does not parse is
// returned as it is.
func cleaned(text string) string {
	p, err := dfs.ParsePath(text)
	if err != nil {
		return text
	}
	return string(p)
}

// onPath parses a path at the door and answers with the status of what was changed.
// An invalid path is the operation's InvalidArgument; nothing was evaluated then.
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

// openSession is asked without a session, so the nonce alone recognises a retry. The session counts as heard from when
// the reply is made, not when its first batch comes: a client may take its time before that.
func (l *leadership) openSession(op *proto.OpenSession) evaluated {
	return func(ctx context.Context, _ namespace.Request) (*namespace.Ticket, answering, error) {
		ticket, id, err := l.e.OpenSession(ctx, op.Nonce, op.Client)
		return ticket, func(*namespace.Ticket) (*proto.Result, error) {
			l.heard(id)
			return &proto.Result{Session: uint64(id)}, nil
		}, err
	}
}

// createFast makes a file whose directory the namespace knows wholly. It takes no claim: nothing in a store changes
// before the content is complete.
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

// renameFast renames where no store is concerned; a replaced file's cached copies go once the rename is applied.
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

// keepSession extends a session, and tells a client whether it still has one. It proves leadership first: a deposed
// leader that answered "known" would let a client go on with a session that the new leader has closed. SessionExpired
// asks the client to open another; what the old one was writing is abandoned.
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
