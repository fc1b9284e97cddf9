package master

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
)

// evaluated is a mutation that needs no under store: it was evaluated at once, and answer builds the reply when it is
// applied.
type evaluated func(ctx context.Context, r namespace.Request) (*namespace.Ticket, answering, error)

// answering builds the reply of an applied mutation.
type answering func(*namespace.Ticket) (*proto.Result, error)

// fast returns how to evaluate op in memory; nil when an under store must be asked or a tree walked. What is decided
// here may be overtaken by a mount that is being made; the evaluation looks again at what matters.
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
