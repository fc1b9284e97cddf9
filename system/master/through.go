package master

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/mounttable"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/ufs"
)

// This file holds mutations that change an under store first and the namespace after, under a claim on the paths. If the
// leader dies in between, the retry finds the store changed already and goes on from there.

// place is a path in a mount's store. store and mount are both nil outside of mounts.
type place struct {
	mount *mounttable.Mount
	store ufs.Store
	rel   string
}

// placeOf opens the store that p lies in; store is nil outside of mounts.
// Opening may wait for the store's server, as long as ctx lasts; an error means that the store could not be opened,
// not that p is missing there. rel is "" for the mount's root.
func (l *leadership) placeOf(ctx context.Context, p dfs.Path) (place, error) {
	mount, rel := l.m.machine.Mounts().Resolve(p)
	if mount == nil {
		return place{}, nil
	}
	store, err := l.m.stores.get(ctx, mount)
	return place{mount, store, rel}, err
}

// know loads p from the under store if the namespace does not know whether it exists. A path that the store does not
// have either is no error: the evaluation says NotFound, or makes it.
func (l *leadership) know(ctx context.Context, p dfs.Path) error {
	if l.inMemory(string(p)) {
		return nil
	}
	return l.sync.Path(ctx, p)
}

// underClaim runs f, which checks, changes the store and then the namespace, while nobody else syncs or changes paths,
// nor what lies above or below them (INV-2 of the package). f's request carries the claim: evaluating with another one
// would wait for it for ever. The claim is given back however f ends, so f must not leave work behind that needs it.
func (l *leadership) underClaim(ctx context.Context, r namespace.Request, f func(namespace.Request) (*proto.Result, error), paths ...dfs.Path) (*proto.Result, error) {
	claim, err := l.e.Claim(ctx, paths...)
	if err != nil {
		return nil, err
	}
	defer claim.Release()
	r.Claim = claim
	return f(r)
}

// knownUnderClaim is underClaim for paths that the namespace must know first. They are loaded before the claim is taken,
// since loading takes claims of its own.
func (l *leadership) knownUnderClaim(ctx context.Context, r namespace.Request, f func(namespace.Request) (*proto.Result, error), paths ...dfs.Path) (*proto.Result, error) {
	for _, p := range paths {
		if err := l.know(ctx, p); err != nil {
			return nil, err
		}
	}
	return l.underClaim(ctx, r, f, paths...)
}

// changeStore logs that this mutation is about to change the store, and changes it. When the store refuses, the intent goes
// again; when nobody knows what it did, the intent stays for the retry.
func (l *leadership) changeStore(ctx context.Context, r *namespace.Request, change func() error) error {
	if err := l.e.Intend(ctx, r); err != nil {
		return err
	}
	err := change()
	switch dfs.KindOf(err) {
	case dfs.DeadlineExceeded, dfs.Canceled, dfs.Unavailable, dfs.Unknown:
		return err
	}
	if err != nil {
		l.e.DropIntent(l.ctx, *r)
		r.Intended = false
	}
	return err
}

// createThrough creates a file whose path must be looked for in the store first, or a new file would hide the store's.
// The content comes later, by a worker; so nothing in the store changes here and no claim is needed.
// Between the look and the evaluation somebody else may make the file, here or in the store; here the evaluator sees
// it, in the store the last writer wins, as between any two that do not know of each other.
func (l *leadership) createThrough(ctx context.Context, r namespace.Request, p dfs.Path, op *proto.CreateFile) (*proto.Result, error) {
	if err := l.know(ctx, p); err != nil {
		return nil, err
	}
	return l.finish(ctx, op.Path)(l.e.Create(ctx, r, p, op))
}

// makeDirectoryThrough makes a directory in the store and then here. A directory that is here already is not made
// there again, and with MustCache it is made here alone.
// Stores make missing directories above as well, so one call serves recursive requests. A directory that the store has
// already is no error there: an earlier try, or a file below it, made it.
func (l *leadership) makeDirectoryThrough(ctx context.Context, r namespace.Request, p dfs.Path, op *proto.MakeDirectory) (*proto.Result, error) {
	at, err := l.placeOf(ctx, p)
	if err != nil {
		return nil, err
	}
	return l.knownUnderClaim(ctx, r, func(r namespace.Request) (*proto.Result, error) {
		if err := l.e.FindIntent(&r); err != nil {
			return nil, err
		}
		exists, err := l.e.CheckMakeDirectory(r, p, op)
		if r.Intended && (exists || dfs.IsKind(err, dfs.AlreadyExists)) { // it came from the store, where the first try made it
			return l.finish(ctx, string(p))(l.e.AdoptDirectory(ctx, r, p, op))
		}
		if err != nil {
			return nil, err
		}
		persist := at.store != nil && !op.MustCache
		if persist && !exists {
			err := l.changeStore(ctx, &r, func() error { return at.store.Mkdir(ctx, at.rel, op.Mode) })
			if err != nil {
				return nil, dfs.Wrap(err, "mkdir in the under store", string(p))
			}
		}
		return l.finish(ctx, string(p))(l.e.MakeDirectory(ctx, r, p, op, persist))
	}, p)
}
