package rpc

import (
	"time"

	"github.com/forebay/forebay/system/dfs"
	pb "github.com/forebay/forebay/system/proto"
)

// StatusToProto is s as a message; nil is nil. The message shares s's extended attributes.
func StatusToProto(s *dfs.FileStatus) *pb.FileStatus {
	if s == nil {
		return nil
	}
	return &pb.FileStatus{
		Id: uint64(s.ID), Path: string(s.Path), Type: uint32(s.Type), Length: s.Length, BlockSize: s.BlockSize,
		Version: s.Version, Completed: s.Completed, Mode: s.Mode, Owner: s.Owner, Group: s.Group,
		ModTime: timeToNanos(s.ModTime), Persist: uint32(s.Persist), MountId: uint64(s.MountID),
		MountPoint: s.MountPoint, UfsPath: s.UfsPath, Pinned: s.Pinned, ReplicationMin: s.ReplicationMin,
		ReplicationMax: s.ReplicationMax, ReplicationDurable: s.ReplicationDurable, Ttl: int64(s.TTL),
		TtlAction: uint32(s.TTLAction), Xattr: s.Xattr, Fingerprint: s.Fingerprint, CachedBytes: s.CachedBytes,
	}
}

// StatusFromProto is the message as a noun, its name taken from the path; nil is nil. The result shares the message's
// extended attributes.
//
// The path is not parsed again: it is taken to be one that a master has made. Numbers that this build does not know stay as
// they came.
func StatusFromProto(m *pb.FileStatus) *dfs.FileStatus {
	if m == nil {
		return nil
	}
	path := dfs.Path(m.Path)
	return &dfs.FileStatus{
		ID: dfs.InodeID(m.Id), Path: path, Name: path.Name(), Type: dfs.FileType(m.Type), Length: m.Length,
		BlockSize: m.BlockSize, Version: m.Version, Completed: m.Completed, Mode: m.Mode, Owner: m.Owner, Group: m.Group,
		ModTime: time.Unix(0, m.ModTime).UTC(), Persist: dfs.PersistState(m.Persist), MountID: dfs.MountID(m.MountId),
		MountPoint: m.MountPoint, UfsPath: m.UfsPath, Pinned: m.Pinned, ReplicationMin: m.ReplicationMin,
		ReplicationMax: m.ReplicationMax, ReplicationDurable: m.ReplicationDurable, TTL: time.Duration(m.Ttl),
		TTLAction: dfs.TTLAction(m.TtlAction), Xattr: m.Xattr, Fingerprint: m.Fingerprint, CachedBytes: m.CachedBytes,
	}
}

// IdentityToProto is id as a message.
func IdentityToProto(id dfs.Identity) *pb.Identity {
	return &pb.Identity{User: id.User, Groups: id.Groups}
}

// IdentityFromProto is the message as a noun; nil is the nobody without a name.
// It shares the message's list of groups. What is in it is the client's word: checking it is the server's part.
func IdentityFromProto(m *pb.Identity) dfs.Identity {
	return dfs.Identity{User: m.GetUser(), Groups: m.GetGroups()}
}

// timeToNanos is the form of times in messages. It is Unix nanoseconds. The zero time, which has none, becomes the epoch.
func timeToNanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}
