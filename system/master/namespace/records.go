package namespace

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
)

// Keys of TableMeta.
var (
	metaPosition = []byte("position")   // epoch and sequence of the last entry
	metaNextID   = []byte("next-inode") // inode ids below are given out or reserved
	metaAddress  = "address/"           // ‖ member id -> its address for clients
)

// idKey is an id as a key: big endian, so that records sort by id.
func idKey(id uint64) []byte { return binary.BigEndian.AppendUint64(nil, id) }

// keyID is the id that a key begins with; 0, which no inode, session or mount has, for a key that is too short.
func keyID(key []byte) uint64 {
	if len(key) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(key)
}

// ttlKey sorts by expiry. Nanoseconds since 1970 end in 2262, and modification times are anybody's to set: what lies
// outside counts as the nearest moment that has a number, instead of wrapping round to the other end of time.
func ttlKey(expiry time.Time, id dfs.InodeID) []byte {
	ns := uint64(0)
	switch seconds := expiry.Unix(); {
	case seconds >= math.MaxInt64/int64(time.Second):
		ns = math.MaxInt64
	case seconds >= 0:
		ns = uint64(expiry.UnixNano())
	}
	return binary.BigEndian.AppendUint64(idKey(ns), uint64(id))
}

// expiry is when n's TTL runs out; zero without one.
func expiry(n *inodestore.Inode) time.Time {
	if n.TTL <= 0 {
		return time.Time{}
	}
	return n.ModTime.Add(n.TTL)
}

// Expired tells whether n is a file whose TTL has run out.
func Expired(n *inodestore.Inode, now time.Time) bool {
	when := expiry(n)
	return !when.IsZero() && !n.IsDir() && n.Completed() && !when.After(now)
}

// location is where an inode is found: the value of TableLocation.
type location struct {
	parent dfs.InodeID
	name   string
}

func (l location) encode() []byte {
	return append(binary.AppendUvarint(nil, uint64(l.parent)), l.name...)
}

// decodeLocation reads the value of TableLocation; Corrupted for bytes that no version wrote.
func decodeLocation(b []byte) (location, error) {
	parent, n := binary.Uvarint(b)
	if n <= 0 {
		return location{}, dfs.Errorf(dfs.Corrupted, "decode inode location", "", "impossible value %x", b)
	}
	return location{dfs.InodeID(parent), string(b[n:])}, nil
}

// openWrite says who is writing a version and where its file is found: the value of TableOpenWrite, at the inode's id.
// There is at most one for each inode; it names the version, so that a writer who was overtaken is told by that alone.
// An inode has one exactly while Writing is set, and it leads to the inode's place at every moment (checkRecords holds
// both).
type openWrite struct {
	location
	version   uint32
	session   dfs.SessionID
	writeType dfs.WriteType
}

func (w openWrite) encode() []byte {
	dst := make([]byte, 0, 4*binary.MaxVarintLen64+len(w.name))
	dst = binary.AppendUvarint(dst, uint64(w.version))
	dst = binary.AppendUvarint(dst, uint64(w.session))
	dst = append(dst, byte(w.writeType))
	dst = binary.AppendUvarint(dst, uint64(w.parent))
	return append(dst, w.name...)
}

// decodeOpenWrite reads the value of TableOpenWrite; Corrupted for bytes that no version wrote. The name is what is
// left at the end, so it needs no length.
func decodeOpenWrite(b []byte) (openWrite, error) {
	d := decoder{b: b}
	w := openWrite{version: uint32(d.uvarint()), session: dfs.SessionID(d.uvarint()), writeType: dfs.WriteType(d.byte())}
	w.parent = dfs.InodeID(d.uvarint())
	w.name = string(d.b)
	if d.err != nil {
		return openWrite{}, dfs.Errorf(dfs.Corrupted, "decode open write", "", "impossible value %x", b)
	}
	return w, nil
}

// needsLocation tells whether a location record is kept: for every directory, and for a file with content while something
// other than its path refers to it. A file that is being written is found through its open write too, and one without
// content by that alone: a create writes two records, not three.
func needsLocation(n *inodestore.Inode) bool {
	return n.IsDir() || n.Version > 0 && (n.Persist != dfs.Persisted || n.Pinned || n.TTL > 0)
}
