package client

import (
	"context"
	"time"

	"github.com/forebay/forebay/system/dfs"
	pb "github.com/forebay/forebay/system/proto"
)

// Mount is one entry of the mount table.
type Mount struct {
	ID       dfs.MountID
	Path     dfs.Path
	URI      string // of the under store
	ReadOnly bool
	Shared   bool              // every user may use it
	Options  map[string]string // secrets are hidden when listed
	// SyncInterval is how old metadata may get before it is compared with the under store: negative never, 0 at once.
	SyncInterval time.Duration
}

// Mount adds an under store to the namespace. m.ID is the master's to choose. Its errors are the
// master's and, through it, the store's. AlreadyExists: something is mounted at m.Path.
//
// Only the superuser may: PermissionDenied for others. The master looks at the store's root first, so that it may take long
// and is not batched with other callers' operations; a store that cannot be seen is refused. What the store has is loaded
// when somebody asks for it.
func (c *Client) Mount(ctx context.Context, m Mount) error {
	_, err := c.mutate(ctx, "mount", string(m.Path), &pb.Operation{Kind: &pb.Operation_Mount{Mount: &pb.MountUfs{
		Path: string(m.Path), Uri: m.URI, ReadOnly: m.ReadOnly, Shared: m.Shared, Options: m.Options,
		SyncInterval: int64(m.SyncInterval),
	}}}, alone)
	return err
}

// Unmount removes the mount at path from the namespace, with everything that is known below it. Its under store stays as it
// is.
// Conflict: files below path wait to be persisted, and what only workers have of them would be lost. What was never to be
// persisted (MUST_CACHE) goes without a question.
func (c *Client) Unmount(ctx context.Context, path dfs.Path) error {
	_, err := c.mutate(ctx, "unmount", string(path), &pb.Operation{Kind: &pb.Operation_Unmount{
		Unmount: &pb.UnmountUfs{Path: string(path)},
	}}, alone)
	return err
}

// Mounts lists the mount table, as far as this identity may see it. Secrets among the options are masked.
// The slice and the options are the caller's own.
func (c *Client) Mounts(ctx context.Context) ([]Mount, error) {
	result, err := c.read(ctx, &pb.Operation{Kind: &pb.Operation_ListMounts{ListMounts: &pb.ListMounts{}}}, alone)
	if err != nil {
		return nil, dfs.Wrap(err, "list mounts", "")
	}
	mounts := make([]Mount, len(result.Mounts))
	for i, m := range result.Mounts {
		mounts[i] = Mount{
			ID: dfs.MountID(m.Id), Path: dfs.Path(m.Path), URI: m.Uri, ReadOnly: m.ReadOnly, Shared: m.Shared,
			Options: m.Options, SyncInterval: time.Duration(m.SyncInterval),
		}
	}
	return mounts, nil
}

// Workers lists all workers that the master knows, from the master itself, lost ones included.
// After an error the list is nil: readers may go on with an old one, but whoever asks here wants to know how things are.
func (c *Client) Workers(ctx context.Context) ([]Worker, error) { return c.core.workers.all(ctx) }

// BlockLocation says which workers hold a block.
// The order of Workers says nothing; a reader ranks them by itself.
type BlockLocation struct {
	Index   uint32
	Workers []dfs.WorkerID
}

// Locate tells where the blocks of a file's current version are cached. It is what the master knew at one moment: workers
// evict without asking it.
//
// A block without workers is fetched from the under store by its next reader; of a file that is not persisted, the only copies
// are away. The path's permissions hold, as for a read.
func (c *Client) Locate(ctx context.Context, path dfs.Path) ([]BlockLocation, error) {
	return c.locate(ctx, &pb.LocateBlocks{Path: string(path)})
}

// locate asks by path, or by inode and version. The two differ while a master starts: by id it answers Unavailable for
// blocks that may yet be reported, which is retried; by path it tells what is known.
func (c *Client) locate(ctx context.Context, l *pb.LocateBlocks) ([]BlockLocation, error) {
	result, err := c.read(ctx, &pb.Operation{Kind: &pb.Operation_LocateBlocks{LocateBlocks: l}}, shared)
	if err != nil {
		return nil, dfs.Wrap(err, "locate blocks of", l.Path)
	}
	blocks := make([]BlockLocation, len(result.Blocks))
	for i, b := range result.Blocks {
		blocks[i].Index = b.Index
		for _, id := range b.Workers {
			blocks[i].Workers = append(blocks[i].Workers, dfs.WorkerID(id))
		}
	}
	return blocks, nil
}

// Free drops cached copies of a file, or of everything below a directory, that the under store has too; force drops
// pinned ones as well. It tells how many files were affected.
//
// Files that the under store does not have are passed over. Workers drop the data when they hear of it, after this has
// returned; one that is away keeps its copy, which is harmless.
func (c *Client) Free(ctx context.Context, path dfs.Path, recursive, force bool) (int64, error) {
	return c.counted(ctx, "free", path, &pb.Operation{Kind: &pb.Operation_Free{
		Free: &pb.Free{Path: string(path), Recursive: recursive, Force: force},
	}})
}

// Persist starts writing what only workers have to the under store. It tells how many files were affected.
// It does not wait for the bytes to arrive: Stat tells of that (FileStatus.Persist).
//
// A file that is still being written is passed over below a directory, and is Incomplete by its own name. The number is of
// files that this call has put on the queue, not of those that were on it.
func (c *Client) Persist(ctx context.Context, path dfs.Path, recursive bool) (int64, error) {
	return c.counted(ctx, "persist", path, &pb.Operation{Kind: &pb.Operation_Persist{
		Persist: &pb.Persist{Path: string(path), Recursive: recursive},
	}})
}

// LoadMetadata loads what the under store has below path into the namespace. It tells how many files there were.
//
// An error of the under store ends it, and what was loaded by then stays.
func (c *Client) LoadMetadata(ctx context.Context, path dfs.Path, recursive bool) (int64, error) {
	return c.counted(ctx, "load metadata of", path, &pb.Operation{Kind: &pb.Operation_Load{
		Load: &pb.Load{Path: string(path), Recursive: recursive},
	}})
}

// counted runs an operation that may take long and answers with a number.
// When an answer is lost it may run twice: the later run goes on where the earlier one came, and the number is the later
// one's alone. After an error what was done before it stays done, and the operation may be asked for again.
func (c *Client) counted(ctx context.Context, op string, path dfs.Path, operation *pb.Operation) (int64, error) {
	result, err := c.mutate(ctx, op, string(path), operation, alone)
	if err != nil {
		return 0, err
	}
	return result.Count, nil
}
