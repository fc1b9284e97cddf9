package client

import (
	"context"
	"iter"
	"strings"
	"time"

	"github.com/forebay/forebay/system/dfs"
	pb "github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

// Stat tells about one path, as the master knows it now. NotFound: there is nothing. Options: WithSyncInterval, WithLocations.
func (c *Client) Stat(ctx context.Context, path dfs.Path, opts ...Option) (*dfs.FileStatus, error) {
	o := c.options(opts)
	get := &pb.GetStatus{Path: string(path), Locations: o.locations}
	get.SyncInterval, get.SyncOverride = o.syncFields()
	result, err := c.read(ctx, &pb.Operation{Kind: &pb.Operation_GetStatus{GetStatus: get}}, shared)
	if err != nil {
		return nil, dfs.Wrap(err, "stat", string(path))
	}
	return statusOf(result, "stat", path)
}

// statusOf is the status that a result must hold.
func statusOf(result *pb.Result, op string, path dfs.Path) (*dfs.FileStatus, error) {
	if result.Status == nil {
		return nil, dfs.Errorf(dfs.Unknown, op, string(path), "the master answered without a status: see its log")
	}
	return rpc.StatusFromProto(result.Status), nil
}

// Exists tells whether there is something at path. A file in the place of a directory on the way is no error: then there is
// nothing.
func (c *Client) Exists(ctx context.Context, path dfs.Path) (bool, error) {
	_, err := c.Stat(ctx, path)
	if dfs.IsKind(err, dfs.NotFound) || dfs.IsKind(err, dfs.NotDirectory) {
		return false, nil
	}
	return err == nil, err
}

// List yields the entries of a directory in the order of their names, fetching pages as they are asked for; of a file,
// the file itself. It ends at the first error. Entries that come and go meanwhile may or may not be seen. Options:
// WithSyncInterval, WithLocations.
//
// Each loop over the result begins anew, with a question to the master. The error comes last, with a nil entry; entries
// before it are good. A caller that leaves the loop early leaves nothing open.
func (c *Client) List(ctx context.Context, dir dfs.Path, opts ...Option) iter.Seq2[*dfs.FileStatus, error] {
	o := c.options(opts)
	return func(yield func(*dfs.FileStatus, error) bool) {
		for token := ""; ; {
			page, next, err := c.listPage(ctx, dir, token, &o)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, entry := range page {
				if !yield(entry, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			token = next
		}
	}
}

// listPage fetches one page. token is the last name of the page before, so that entries that come and go do not shift the
// rest, and any master can go on.
func (c *Client) listPage(ctx context.Context, dir dfs.Path, token string, o *options) ([]*dfs.FileStatus, string, error) {
	list := &pb.ListStatus{Path: string(dir), StartAfter: token, Limit: DefaultListPageEntries, Locations: o.locations}
	list.SyncInterval, list.SyncOverride = o.syncFields()
	result, err := c.read(ctx, &pb.Operation{Kind: &pb.Operation_ListStatus{ListStatus: list}}, alone)
	if err != nil {
		return nil, "", dfs.Wrap(err, "list", string(dir))
	}
	entries := make([]*dfs.FileStatus, len(result.Entries))
	for i, e := range result.Entries {
		entries[i] = rpc.StatusFromProto(e)
		if !strings.HasPrefix(e.Path, "/") { // a master may spare the parent's path
			entries[i].Path, entries[i].Name = dir.Join(e.Path), e.Path
		}
	}
	return entries, result.NextToken, nil
}

// Mkdir makes a directory. Options: WithMode, WithParents, WithWriteType (MUST_CACHE keeps it out of the under store).
func (c *Client) Mkdir(ctx context.Context, path dfs.Path, opts ...Option) error {
	o := c.options(append([]Option{WithMode(0o755)}, opts...))
	_, err := c.mutate(ctx, "mkdir", string(path), &pb.Operation{Kind: &pb.Operation_MakeDirectory{
		MakeDirectory: &pb.MakeDirectory{
			Path: string(path), Mode: o.mode, Recursive: o.recursive, MustCache: o.writeType == dfs.WriteMustCache,
		},
	}}, shared)
	return err
}

// Rename moves a file or a directory with everything below it, replacing a file (or an empty directory by a directory)
// at the target.
func (c *Client) Rename(ctx context.Context, source, target dfs.Path) error {
	return c.rename(ctx, source, target, false)
}

// RenameNoReplace is Rename that refuses a target that exists with AlreadyExists.
func (c *Client) RenameNoReplace(ctx context.Context, source, target dfs.Path) error {
	return c.rename(ctx, source, target, true)
}

// rename serves both forms. A retry after a lost answer is told by its sequence, not by what it finds.
func (c *Client) rename(ctx context.Context, source, target dfs.Path, noReplace bool) error {
	_, err := c.mutate(ctx, "rename", string(source), &pb.Operation{Kind: &pb.Operation_Rename{
		Rename: &pb.Rename{Source: string(source), Target: string(target), NoReplace: noReplace},
	}}, alone) // object stores copy to rename: it may take long
	return err
}

// RemoveOptions says how much Remove may remove.
type RemoveOptions struct {
	Recursive     bool // a directory with everything below it
	CacheOnly     bool // leave the under store as it is
	DirectoryOnly bool // refuse a file, as rmdir does
	FileOnly      bool // refuse a directory, as unlink does
}

// Remove removes a file, an empty directory, or a tree. NotEmpty: a directory has entries and Recursive is not set.
// With Recursive it may take long, since the under store is cleared too unless CacheOnly is set, and goes alone.
//
// The under store loses the data first, then the namespace the name: what fails in between is still seen, and can be removed
// again. With CacheOnly the next look at the under store brings the entry back. A removal that is refused takes nothing with
// it, also of a tree.
func (c *Client) Remove(ctx context.Context, path dfs.Path, o RemoveOptions) error {
	way := shared
	if o.Recursive {
		way = alone
	}
	_, err := c.mutate(ctx, "remove", string(path), &pb.Operation{Kind: &pb.Operation_Remove{Remove: &pb.Remove{
		Path: string(path), Recursive: o.Recursive, CacheOnly: o.CacheOnly, Directory: o.DirectoryOnly, File: o.FileOnly,
	}}}, way)
	return err
}

// Attributes are the changes of SetAttr; nil leaves one as it is.
type Attributes struct {
	Recursive      bool
	Mode           *uint32
	Owner          *string
	Group          *string
	ModTime        *time.Time
	Pinned         *bool
	TTL            *time.Duration // 0: none
	TTLAction      *dfs.TTLAction
	ReplicationMin *int32
	ReplicationMax *int32
}

// SetAttr changes the attributes that are given: of one file or directory all of them or none.
//
// A tree is changed from below, its root last, and not in one step for those who look. An error leaves a part changed; the
// same call goes through all of it again, which does no harm.
func (c *Client) SetAttr(ctx context.Context, path dfs.Path, a Attributes) error {
	set := &pb.SetAttribute{
		Path: string(path), Recursive: a.Recursive, Mode: a.Mode, Owner: a.Owner, Group: a.Group, Pinned: a.Pinned,
		ReplicationMin: a.ReplicationMin, ReplicationMax: a.ReplicationMax,
	}
	if a.ModTime != nil {
		set.ModTime = new(a.ModTime.UnixNano())
	}
	if a.TTL != nil {
		set.Ttl = new(int64(*a.TTL))
	}
	if a.TTLAction != nil {
		set.TtlAction = new(uint32(*a.TTLAction))
	}
	way := shared
	if a.Recursive {
		way = alone
	}
	_, err := c.mutate(ctx, "set attributes of", string(path), &pb.Operation{Kind: &pb.Operation_SetAttribute{SetAttribute: set}}, way)
	return err
}

// Pin keeps a file's, or everything below a directory's, cached pages from eviction.
func (c *Client) Pin(ctx context.Context, path dfs.Path) error {
	return c.SetAttr(ctx, path, Attributes{Recursive: true, Pinned: new(true)})
}

// Unpin undoes Pin.
func (c *Client) Unpin(ctx context.Context, path dfs.Path) error {
	return c.SetAttr(ctx, path, Attributes{Recursive: true, Pinned: new(false)})
}

// SetTTL gives path a time to live (0: none) and says what happens at its end.
func (c *Client) SetTTL(ctx context.Context, path dfs.Path, ttl time.Duration, action dfs.TTLAction) error {
	return c.SetAttr(ctx, path, Attributes{TTL: &ttl, TTLAction: &action})
}
