package inodestore

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/forebay/forebay/system/dfs"
)

// The stored form of an inode. The key is its place: parent id, 8 bytes big endian, then the name, so that a directory
// is one range of keys in the order that listings want. The value is a bit mask of the fields that differ from what most
// inodes have, then only these fields, in the order of their bits, as varints. A file that was loaded from an under store
// takes 9 to 14 bytes this way before compression.
//
// The bits are persistent: append only. A reader that meets a bit it does not know refuses the record, since it cannot
// tell where the unknown field ends.
const (
	hasDirectory      = 1 << iota // no field of its own
	hasLength                     // uvarint
	hasModTime                    // varint, seconds after epochSeconds
	hasModNanos                   // uvarint, nanoseconds of the second
	hasMode                       // uvarint
	hasOwner                      // string
	hasGroup                      // string; above here the mask takes one byte
	hasVersion                    // uvarint
	hasLastVersion                // uvarint
	hasPersist                    // uvarint
	hasBlockSize                  // varint
	hasFingerprint                // string
	hasMountID                    // uvarint
	hasPinned                     // no field of its own
	hasLoaded                     // no field of its own
	hasWriting                    // no field of its own
	hasReplicaMin                 // varint
	hasReplicaMax                 // varint
	hasReplicaDurable             // varint
	hasTTL                        // varint, nanoseconds
	hasTTLAction                  // uvarint
	hasXattr                      // count, then name and value of each, names ascending
	hasNegativeLength             // no field of its own: Length is the complement of what is stored
	knownBits         = 1<<iota - 1
)

// Defaults: fields that are equal to these take no space.
const (
	defaultOwner         = "root"
	defaultGroup         = "root"
	defaultFileMode      = 0o644
	defaultDirectoryMode = 0o755
	// epochSeconds (2020-01-01) makes the times that occur take four bytes or fewer.
	epochSeconds = 1577836800
)

// defaults is what an inode of type t has when its record does not say otherwise. Version 0 and NotPersisted, though the
// zero values, are rare: nearly every file was completed once and is in its under store.
func defaults(t dfs.FileType) Inode {
	n := Inode{Type: t, Owner: defaultOwner, Group: defaultGroup, Persist: dfs.Persisted}
	if t == dfs.TypeDirectory {
		n.Mode = defaultDirectoryMode
		return n
	}
	n.Mode = defaultFileMode
	n.BlockSize = dfs.DefaultBlockSizeBytes
	n.Version = 1
	return n
}

// appendInodeKey appends the place of an inode: parent, name.
func appendInodeKey(dst []byte, parent dfs.InodeID, name string) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(parent))
	return append(dst, name...)
}

// maskOf tells which fields of n have to be written.
func maskOf(n *Inode) uint64 {
	d := defaults(n.Type)
	var mask uint64
	set := func(bit uint64, differs bool) {
		if differs {
			mask |= bit
		}
	}
	set(hasDirectory, n.Type == dfs.TypeDirectory)
	set(hasLength, n.Length != 0)
	set(hasNegativeLength, n.Length < 0)
	set(hasModTime, !n.ModTime.IsZero())
	set(hasModNanos, !n.ModTime.IsZero() && n.ModTime.Nanosecond() != 0)
	set(hasMode, n.Mode != d.Mode)
	set(hasOwner, n.Owner != d.Owner)
	set(hasGroup, n.Group != d.Group)
	set(hasVersion, n.Version != d.Version)
	set(hasLastVersion, n.LastVersion != n.Version)
	set(hasPersist, n.Persist != d.Persist)
	set(hasBlockSize, n.BlockSize != d.BlockSize)
	set(hasFingerprint, n.Fingerprint != "")
	set(hasMountID, n.MountID != 0)
	set(hasPinned, n.Pinned)
	set(hasLoaded, n.Loaded)
	set(hasWriting, n.Writing)
	set(hasReplicaMin, n.ReplicationMin != 0)
	set(hasReplicaMax, n.ReplicationMax != 0)
	set(hasReplicaDurable, n.ReplicationDurable != 0)
	set(hasTTL, n.TTL != 0)
	set(hasTTLAction, n.TTLAction != 0)
	set(hasXattr, len(n.Xattr) > 0)
	return mask
}

// encoder appends the fields whose bits are set.
type encoder struct {
	buf  []byte
	mask uint64
}

// The mask says which fields are written; the caller names each field once, in the order of the bits.
func (e *encoder) uint(bit, v uint64) {
	if e.mask&bit != 0 {
		e.buf = binary.AppendUvarint(e.buf, v)
	}
}

func (e *encoder) int(bit uint64, v int64) {
	if e.mask&bit != 0 {
		e.buf = binary.AppendVarint(e.buf, v)
	}
}

func (e *encoder) string(bit uint64, s string) {
	if e.mask&bit != 0 {
		e.buf = binary.AppendUvarint(e.buf, uint64(len(s)))
		e.buf = append(e.buf, s...)
	}
}

// time writes seconds and, only where they are not 0, nanoseconds: most stores keep whole seconds.
func (e *encoder) time(secondsBit, nanosBit uint64, t time.Time) {
	e.int(secondsBit, t.Unix()-epochSeconds)
	e.uint(nanosBit, uint64(t.Nanosecond()))
}

// appendInode appends n's record. The id is written as its difference from the parent's: a directory's children are
// mostly made soon after it.
func appendInode(dst []byte, n *Inode) []byte {
	e := encoder{mask: maskOf(n)}
	e.buf = binary.AppendUvarint(dst, e.mask)
	e.buf = binary.AppendVarint(e.buf, int64(n.ID-n.Parent))
	length := n.Length
	if length < 0 {
		length = ^length
	}
	e.uint(hasLength, uint64(length))
	e.time(hasModTime, hasModNanos, n.ModTime)
	e.uint(hasMode, uint64(n.Mode))
	e.string(hasOwner, n.Owner)
	e.string(hasGroup, n.Group)
	e.uint(hasVersion, uint64(n.Version))
	e.uint(hasLastVersion, uint64(n.LastVersion))
	e.uint(hasPersist, uint64(n.Persist))
	e.int(hasBlockSize, n.BlockSize)
	e.string(hasFingerprint, n.Fingerprint)
	e.uint(hasMountID, uint64(n.MountID))
	e.int(hasReplicaMin, int64(n.ReplicationMin))
	e.int(hasReplicaMax, int64(n.ReplicationMax))
	e.int(hasReplicaDurable, int64(n.ReplicationDurable))
	e.int(hasTTL, int64(n.TTL))
	e.uint(hasTTLAction, uint64(n.TTLAction))
	e.xattr(n.Xattr)
	return e.buf
}

// xattr writes the names in order, so that equal inodes have equal records on every member.
func (e *encoder) xattr(attributes map[string][]byte) {
	if len(attributes) == 0 {
		return
	}
	names := make([]string, 0, len(attributes))
	for name := range attributes {
		names = append(names, name)
	}
	slices.Sort(names)
	e.buf = binary.AppendUvarint(e.buf, uint64(len(names)))
	for _, name := range names {
		e.string(hasXattr, name)
		e.buf = binary.AppendUvarint(e.buf, uint64(len(attributes[name])))
		e.buf = append(e.buf, attributes[name]...)
	}
}
