package master

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
)

// slowly runs a mutation that may wait, after a look for its remembered answer: a retry that comes when the first run
// is long over finds a store that was changed by it, and must not try again.
// It is called once for each run (slow.go), so two tries of one mutation are never in here at the same time. The
// replayed answer is waited for, since the entry of the first run may not be applied yet. The error's kind is told to
// the client as it is.
//
// Operations that are about a session, a file's id or two paths come first; those on one path share the parsing in
// slowOnPath.
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

// slowOnPath runs the operations on one path. A kind that it does not know is UnsupportedFeature and not
// InvalidArgument: a newer client asks an older master, and the remedy is an upgrade.
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

// onParsed checks a path at the door, before anything is asked or claimed.
// Errors name the path as it was sent. f gets it in its one form, which is what claims and the mount table compare.
func (l *leadership) onParsed(text string, f func(dfs.Path) (*proto.Result, error)) (*proto.Result, error) {
	p, err := dfs.ParsePath(text)
	if err != nil {
		return nil, err
	}
	return f(p)
}

// pathIn is the path that an operation is about.
// It is the text that the client sent, for messages and for statuses in replays; for a rename the target, where the
// file is afterwards. "" for operations that have none.
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
