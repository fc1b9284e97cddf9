package namespace

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
)

// Bootstrap makes the root if there is none, and announces the leader's address for clients. It is the first entry of
// an epoch, and returns when that is applied: from then on whatever an earlier epoch still has under way is refused
// (INV-2). The address replaces what the member announced before.
// The root is there once and keeps its owner and mode, whoever leads later.
func (e *Evaluator) Bootstrap(ctx context.Context, owner, group, member, address string) error {
	t, err := e.do(ctx, Request{}, nil, func(t *txn) error {
		root, err := e.view.Child(0, "")
		if err != nil {
			return err
		}
		if root == nil {
			root = &inodestore.Inode{ID: dfs.RootID, Type: dfs.TypeDirectory, Mode: 0o755, Owner: owner, Group: group,
				ModTime: e.now(), Persist: dfs.Persisted}
			t.putInode(root)
			t.putRecord(inodestore.TableMeta, metaNextID, idKey(e.reserved))
		}
		t.putRecord(inodestore.TableMeta, []byte(metaAddress+member), []byte(address))
		return nil
	})
	if err != nil {
		return err
	}
	return t.Wait(ctx)
}
