package namespace

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/proto"
)

const (
	maxXattrBytes = 64 << 10 // of one value, as Linux has it
	maxXattrTotal = 256 << 10
)

// SetXattr sets or removes one extended attribute. NotFound for a removal or a replacement of what is not there,
// AlreadyExists for a creation of what is, InvalidArgument for a name or value beyond its bound, NoSpace when all
// values together are.
// The right to write is asked for, as for user attributes in xattr(7). A change of an attribute is no change of
// content: version and time of modification stay.
func (e *Evaluator) SetXattr(ctx context.Context, r Request, p dfs.Path, op *proto.SetXattr) (Outcome, error) {
	const what = "set xattr"
	return e.change(ctx, r, p, what, func(n *inodestore.Inode) error {
		if err := demand(&r, n, permWrite, what, p); err != nil {
			return err
		}
		_, exists := n.Xattr[op.Name]
		switch {
		case op.Name == "" || len(op.Name) > dfs.MaxNameBytes:
			return dfs.Errorf(dfs.InvalidArgument, what, string(p), "attribute name of %d bytes: want 1 to %d", len(op.Name), dfs.MaxNameBytes)
		case len(op.Value) > maxXattrBytes:
			return dfs.Errorf(dfs.InvalidArgument, what, string(p), "value of %d bytes, the limit is %d", len(op.Value), maxXattrBytes)
		case (op.Remove || op.Replace) && !exists:
			return dfs.Errorf(dfs.NotFound, what, string(p), "no attribute %q", op.Name)
		case op.Create && exists:
			return dfs.Errorf(dfs.AlreadyExists, what, string(p), "attribute %q exists", op.Name)
		}
		return changeXattr(n, op, p)
	}, nil)
}

// changeXattr makes a new map, since the stored inode shares its own with readers. What is replaced does not count
// against the bound.
func changeXattr(n *inodestore.Inode, op *proto.SetXattr, p dfs.Path) error {
	total := len(op.Name) + len(op.Value)
	all := make(map[string][]byte, len(n.Xattr)+1)
	for k, v := range n.Xattr {
		if k == op.Name {
			continue
		}
		all[k] = v
		total += len(k) + len(v)
	}
	if !op.Remove {
		if total > maxXattrTotal {
			return dfs.Errorf(dfs.NoSpace, "set xattr", string(p), "%d bytes of attributes, the limit is %d", total, maxXattrTotal)
		}
		all[op.Name] = append([]byte{}, op.Value...)
	}
	n.Xattr = all
	return nil
}
