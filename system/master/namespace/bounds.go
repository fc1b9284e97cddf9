package namespace

import (
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/proto"
)

// Bounds of a file's block size, which is a multiple of a page since pages are what workers check and exchange.
const (
	maxBlockSizeBytes = 4 << 30
	minBlockSizeBytes = dfs.PageSizeBytes
)

// checkCreate refuses numbers that mean nothing. They are checked before they are narrowed: 256 would become 0, which
// means something else.
func checkCreate(op *proto.CreateFile, p dfs.Path) error {
	const what = "create"
	switch {
	case op.WriteType > uint32(dfs.WriteAsyncThrough):
		return dfs.Errorf(dfs.InvalidArgument, what, string(p), "write type %d: this master knows 0 to %d", op.WriteType, dfs.WriteAsyncThrough)
	case op.TtlAction > uint32(dfs.TTLFree):
		return dfs.Errorf(dfs.InvalidArgument, what, string(p), "TTL action %d: this master knows 0 to %d", op.TtlAction, dfs.TTLFree)
	case op.Ttl < 0:
		return dfs.Errorf(dfs.InvalidArgument, what, string(p), "TTL %d: want 0 (none) or more", op.Ttl)
	case op.ReplicationDurable < 0:
		return dfs.Errorf(dfs.InvalidArgument, what, string(p), "durable replicas %d: want 0 or more", op.ReplicationDurable)
	}
	return checkReplication(op.ReplicationMin, op.ReplicationMax, what, p)
}

// checkReplication refuses replica bounds that nothing could meet. A max of 0 is no bound.
func checkReplication(low, high int32, op string, p dfs.Path) error {
	if low < 0 || high < 0 {
		return dfs.Errorf(dfs.InvalidArgument, op, string(p), "replication min %d, max %d: want 0 or more", low, high)
	}
	if high != 0 && low > high {
		return dfs.Errorf(dfs.InvalidArgument, op, string(p), "replication min %d is over max %d", low, high)
	}
	return nil
}

// MaxFileBlocks bounds a file's blocks, since some walks over them are not in steps: 64 TiB at 64 MiB, 4 PiB at 4 GiB.
const MaxFileBlocks = 1 << 20

// checkLength refuses lengths that no file can have, before anything multiplies with them. path is for the error
// alone.
func checkLength(length, blockSize int64, op, path string) error {
	if length < 0 {
		return dfs.Errorf(dfs.InvalidArgument, op, path, "length %d", length)
	}
	if blockSize > 0 && length/blockSize >= MaxFileBlocks {
		return dfs.Errorf(dfs.InvalidArgument, op, path, "length %d is over %d blocks of %d bytes: create it with a larger block size", length, MaxFileBlocks, blockSize)
	}
	return nil
}
