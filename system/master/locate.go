package master

import (
	"math"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
)

// maxLocateBlocks bounds one LocateBlocks.
const maxLocateBlocks = 16_384

// cachedBytes is how much of a file any worker holds, in bytes of the file: the last block counts as long as it is.
// It is a look into the block map for each block, so it costs more for larger files: callers do it only when asked.
func (l *leadership) cachedBytes(n *inodestore.Inode) int64 {
	total := int64(0)
	for i := range blocksOf(n) {
		if len(l.m.blocks.Locate(dfs.BlockID{File: fileOf(n, n.Version), Index: i})) > 0 {
			total += min(n.BlockSize, n.Length-int64(i)*n.BlockSize)
		}
	}
	return total
}

// locate lists the holders of a file's blocks. A path is judged by its permissions and bounded by the file's length;
// an inode and version, which workers use, are taken as they are, and while workers are still registering a block that
// nobody holds yet is Unavailable instead of lost. A count of 0 means all that are left, of a path.
// An empty list of workers for a path means that nobody has the block now, and the reader fetches it from the store;
// of an unpersisted file it means that the only copies are away. Unavailable asks to try again in a moment,
// InvalidArgument to ask otherwise.
func (l *leadership) locate(r inodestore.Reader, req *namespace.Request, op *proto.LocateBlocks) (*proto.Result, error) {
	file := dfs.FileVersion{Inode: dfs.InodeID(op.Inode), Version: op.Version}
	count := op.Count
	if op.Path != "" {
		p, err := dfs.ParsePath(op.Path)
		if err != nil {
			return nil, err
		}
		n, err := l.m.machine.Status(r, req, p)
		if err != nil {
			return nil, err
		}
		if err := namespace.Demand(req, n, namespace.RightRead, "locate blocks", p); err != nil {
			return nil, err
		}
		file = fileOf(n, n.Version)
		if total := blocksOf(n); count == 0 || uint64(op.First)+uint64(count) > uint64(total) {
			count = total - min(op.First, total)
		}
	}
	if uint64(op.First)+uint64(count) > math.MaxUint32 {
		return nil, dfs.Errorf(dfs.InvalidArgument, "locate blocks", op.Path, "blocks %d and %d after it: no file has so many", op.First, count)
	}
	if count > maxLocateBlocks {
		return nil, dfs.Errorf(dfs.InvalidArgument, "locate blocks", op.Path, "%d blocks, the limit is %d: ask in parts", count, maxLocateBlocks)
	}
	res := &proto.Result{}
	for i := range count {
		res.Blocks = append(res.Blocks, l.locateBlock(dfs.BlockID{File: file, Index: op.First + i}))
		if b := res.Blocks[i]; len(b.Workers) == 0 && op.Path == "" && l.starting() {
			return nil, dfs.Errorf(dfs.Unavailable, "locate blocks", file.String(),
				"block %d is not reported yet and workers are still registering with the new leader: retry", b.Index)
		}
	}
	return res, nil
}

// locateBlock is who has one block, in the order of their reports; lost workers are not in the map any more.
func (l *leadership) locateBlock(b dfs.BlockID) *proto.BlockLocations {
	out := &proto.BlockLocations{Index: b.Index}
	for _, w := range l.m.blocks.Locate(b) {
		out.Workers = append(out.Workers, string(w))
	}
	return out
}

// starting tells whether the block map is still being filled: what it lacks may yet be reported. It lasts for
// SafeStart, and longer while any live worker has not sent all of its blocks.
func (l *leadership) starting() bool {
	return l.young() || !l.m.workers.Settled()
}
