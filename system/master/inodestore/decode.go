package inodestore

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/forebay/forebay/system/dfs"
)

// decoder reads the fields whose bits are set. After the first failure it reads zeros and keeps the failure.
type decoder struct {
	buf  []byte
	mask uint64
	bad  string // what was wrong; "" while all is well
}

// fail keeps the first failure, which is the cause of those after it, and takes the rest of the input away, so that
// loops over it end.
func (d *decoder) fail(why string) {
	if d.bad == "" {
		d.bad = why
	}
	d.buf = nil
}

// uvarint reads one number that is always there. A number of more than 64 bits is a failure like one that is cut off.
func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.buf)
	if n <= 0 {
		d.fail("it ends within a number")
		return 0
	}
	d.buf = d.buf[n:]
	return v
}

// varint is uvarint for numbers that may be negative, in zigzag form.
func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.buf)
	if n <= 0 {
		d.fail("it ends within a number")
		return 0
	}
	d.buf = d.buf[n:]
	return v
}

// uint reads a number of at most limit, or returns absent when the field is not there.
// The limit is that of the field's type: a number that would be cut off when it is narrowed is refused, since it would
// read as another value than the one that was written.
func (d *decoder) uint(bit, absent, limit uint64) uint64 {
	if d.mask&bit == 0 {
		return absent
	}
	v := d.uvarint()
	if v > limit {
		d.fail("a number is out of its range")
		return 0
	}
	return v
}

// int reads a signed number, or returns absent when the field is not there.
func (d *decoder) int(bit uint64, absent int64) int64 {
	if d.mask&bit == 0 {
		return absent
	}
	return d.varint()
}

// int32 is int for fields of 32 bits, whose absent value is 0.
func (d *decoder) int32(bit uint64) int32 {
	v := d.int(bit, 0)
	if v < math.MinInt32 || v > math.MaxInt32 {
		d.fail("a number is out of its range")
		return 0
	}
	return int32(v)
}

// bytes reads a length and as many bytes, which alias the record.
// The length is compared with what is left before anything is allocated, so a bad one costs nothing.
func (d *decoder) bytes() []byte {
	size := d.uvarint()
	if size > uint64(len(d.buf)) {
		d.fail("it ends within a string")
		return nil
	}
	b := d.buf[:size]
	d.buf = d.buf[size:]
	return b
}

// principal reads a user or group name; the same few occur millions of times, so they share memory.
// It copies: the record's memory belongs to the database and is reused.
func (d *decoder) principal(bit uint64, absent string) string {
	if d.mask&bit == 0 {
		return absent
	}
	return principals.intern(d.bytes())
}

// A time without seconds is the zero time; nanoseconds alone mean nothing and are read over. Times are UTC, whatever
// zone they were set in, so that equal instants have one form.
func (d *decoder) time(secondsBit, nanosBit uint64) time.Time {
	seconds := d.int(secondsBit, 0)
	nanos := d.uint(nanosBit, 0, 999_999_999)
	if d.mask&secondsBit == 0 {
		return time.Time{}
	}
	if seconds > math.MaxInt64-epochSeconds {
		d.fail("a time is out of its range")
		return time.Time{}
	}
	return time.Unix(seconds+epochSeconds, int64(nanos)).UTC()
}

// Values are copies and never nil, so an attribute without content can be told from one that is not there.
func (d *decoder) xattr() map[string][]byte {
	if d.mask&hasXattr == 0 {
		return nil
	}
	count := d.uvarint()
	if count > uint64(len(d.buf)) { // each takes two bytes or more: a bound on what a bad count can allocate
		d.fail("more attributes than bytes")
		return nil
	}
	if count == 0 { // no encoder writes this; equal inodes have one form in memory, too
		return nil
	}
	attributes := make(map[string][]byte, count)
	for range count {
		name := string(d.bytes())
		attributes[name] = append([]byte{}, d.bytes()...)
	}
	return attributes
}

// decodeInode reads the record at (parent, name). It keeps name and nothing of record. Bytes that no encoder wrote give
// dfs.Corrupted, never a panic.
// The error names the directory and the entry, so that a person can find what is damaged. A record that a newer build
// wrote is Corrupted too, with the remedy in its text: nothing of it can be used.
func decodeInode(parent dfs.InodeID, name string, record []byte) (*Inode, error) {
	d := decoder{buf: record}
	d.mask = d.uvarint()
	if d.mask&^knownBits != 0 {
		d.fail("it has a field that this build does not know: run a newer one")
	}
	n := new(Inode)
	d.fields(n)
	n.Parent, n.Name = parent, name
	n.ID += parent
	if len(d.buf) > 0 {
		d.fail("bytes are left over")
	}
	if d.bad != "" {
		return nil, dfs.Errorf(dfs.Corrupted, "decode inode", name, "entry of directory %d: %s", uint64(parent), d.bad)
	}
	return n, nil
}

// fields reads everything after the mask, in the order of the encoder. ID is still the difference from the parent's.
// The order of the calls is the format: a new field goes to the end, whatever it is about. Values that no encoder
// writes, such as a mode equal to the default, are taken as they are: the form differs, the inode does not.
func (d *decoder) fields(n *Inode) {
	kind := dfs.TypeFile
	if d.mask&hasDirectory != 0 {
		kind = dfs.TypeDirectory
	}
	*n = defaults(kind)
	n.ID = dfs.InodeID(d.varint())
	n.Length = int64(d.uint(hasLength, 0, math.MaxInt64))
	if d.mask&hasNegativeLength != 0 {
		n.Length = ^n.Length
	}
	n.ModTime = d.time(hasModTime, hasModNanos)
	n.Mode = uint32(d.uint(hasMode, uint64(n.Mode), math.MaxUint32))
	n.Owner = d.principal(hasOwner, n.Owner)
	n.Group = d.principal(hasGroup, n.Group)
	n.Version = uint32(d.uint(hasVersion, uint64(n.Version), math.MaxUint32))
	n.LastVersion = uint32(d.uint(hasLastVersion, uint64(n.Version), math.MaxUint32))
	n.Persist = dfs.PersistState(d.uint(hasPersist, uint64(n.Persist), math.MaxUint8))
	n.BlockSize = d.int(hasBlockSize, n.BlockSize)
	if d.mask&hasFingerprint != 0 {
		n.Fingerprint = string(d.bytes())
	}
	n.MountID = dfs.MountID(d.uint(hasMountID, 0, math.MaxUint64))
	n.Pinned = d.mask&hasPinned != 0
	n.Loaded = d.mask&hasLoaded != 0
	n.Writing = d.mask&hasWriting != 0
	n.ReplicationMin = d.int32(hasReplicaMin)
	n.ReplicationMax = d.int32(hasReplicaMax)
	n.ReplicationDurable = d.int32(hasReplicaDurable)
	n.TTL = time.Duration(d.int(hasTTL, 0))
	n.TTLAction = dfs.TTLAction(d.uint(hasTTLAction, 0, math.MaxUint8))
	n.Xattr = d.xattr()
}
