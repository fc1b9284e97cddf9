package client

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	pb "github.com/forebay/forebay/system/proto"
)

// XattrMode says whether SetXattr may create or replace.
type XattrMode int

// The xattr modes, those of setxattr(2).
const (
	XattrAny     XattrMode = iota
	XattrCreate            // refuse when it exists
	XattrReplace           // refuse when it does not
)

// Xattr returns an extended attribute's value, or NotFound.
// It costs the whole status: attributes travel with it, and there is no request for one of them.
func (c *Client) Xattr(ctx context.Context, path dfs.Path, name string) ([]byte, error) {
	all, err := c.Xattrs(ctx, path)
	if err != nil {
		return nil, err
	}
	value, ok := all[name]
	if !ok {
		return nil, dfs.Errorf(dfs.NotFound, "get xattr of", string(path), "there is no attribute %q", name)
	}
	return value, nil
}

// Xattrs returns all extended attributes, nil when there are none. The values are the caller's to read, not to change.
func (c *Client) Xattrs(ctx context.Context, path dfs.Path) (map[string][]byte, error) {
	status, err := c.Stat(ctx, path)
	if err != nil {
		return nil, err
	}
	return status.Xattr, nil
}

// SetXattr sets an extended attribute. AlreadyExists and NotFound are the answers to a mode that does not fit.
func (c *Client) SetXattr(ctx context.Context, path dfs.Path, name string, value []byte, mode XattrMode) error {
	return c.setXattr(ctx, "set xattr of", &pb.SetXattr{
		Path: string(path), Name: name, Value: value, Create: mode == XattrCreate, Replace: mode == XattrReplace,
	})
}

// RemoveXattr removes an extended attribute, or returns NotFound.
func (c *Client) RemoveXattr(ctx context.Context, path dfs.Path, name string) error {
	return c.setXattr(ctx, "remove xattr of", &pb.SetXattr{Path: string(path), Name: name, Remove: true})
}

// setXattr serves setting and removing, which are one operation of the master.
func (c *Client) setXattr(ctx context.Context, op string, set *pb.SetXattr) error {
	_, err := c.mutate(ctx, op, set.Path, &pb.Operation{Kind: &pb.Operation_SetXattr{SetXattr: set}}, shared)
	return err
}
