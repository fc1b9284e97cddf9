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

func idKey(id uint64) []byte { return binary.BigEndian.AppendUint64(nil, id) }

func keyID(key []byte) uint64 {
	if len(key) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(key)
}

func openWriteKey(id dfs.InodeID, version uint32) []byte {
	return binary.BigEndian.AppendUint32(idKey(uint64(id)), version)
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

func decodeLocation(b []byte) (location, error) {
	parent, n := binary.Uvarint(b)
	if n <= 0 {
		return location{}, dfs.Errorf(dfs.Corrupted, "decode inode location", "", "impossible value %x", b)
	}
	return location{dfs.InodeID(parent), string(b[n:])}, nil
}

// openWrite says who is writing a version: the value of TableOpenWrite.
type openWrite struct {
	session   dfs.SessionID
	writeType dfs.WriteType
}

func (w openWrite) encode() []byte {
	return append(binary.AppendUvarint(nil, uint64(w.session)), byte(w.writeType))
}

func decodeOpenWrite(b []byte) (openWrite, error) {
	session, n := binary.Uvarint(b)
	if n <= 0 || n+1 != len(b) {
		return openWrite{}, dfs.Errorf(dfs.Corrupted, "decode open write", "", "impossible value %x", b)
	}
	return openWrite{dfs.SessionID(session), dfs.WriteType(b[n])}, nil
}

// needsLocation tells whether id -> (parent, name) is kept: for every directory, and for a file while something other
// than its path refers to it.
func needsLocation(n *inodestore.Inode) bool {
	return n.IsDir() || n.Writing || n.Persist != dfs.Persisted || n.Pinned || n.TTL > 0
}
