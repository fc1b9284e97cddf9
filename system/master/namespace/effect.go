package namespace

import (
	"encoding/binary"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
)

// effectKind tags one effect in an entry. Persistent: append only.
type effectKind byte

const (
	effectPutInode effectKind = iota + 1
	effectDeleteInode
	effectPutRecord
	effectDeleteRecord
	effectAnswers
)

// effect is one blind change.
// Which fields are used depends on kind. An effect is immutable once it is in a batch: the overlay, the machine of
// this process and the encoder share it, and nobody holds a lock for reading it.
type effect struct {
	kind   effectKind
	inode  *inodestore.Inode // put inode
	parent dfs.InodeID       // delete inode
	name   string
	table  inodestore.Table
	key    []byte
	value  []byte
	// answers of one session, with effectAnswers
	answers *sessionAnswers
}

// size is about what an effect takes in an entry: enough to bound entries.
func (e *effect) size() int {
	size := 64 + len(e.name) + len(e.key) + len(e.value)
	if e.inode != nil {
		size += listBytes(e.inode)
	}
	return size
}

// sessionAnswers is what one entry tells of one session.
// ackedBelow is what the client said last: it needs no answer below that any more.
type sessionAnswers struct {
	session    dfs.SessionID
	ackedBelow uint64
	answers    []answer
}

// answer is a mutation's result in the compact form that sessions remember: enough to rebuild the reply.
// count depends on the operation: how many inodes it changed, or the id of a mount.
type answer struct {
	sequence uint64
	inode    dfs.InodeID
	version  uint32
	count    int64
}

// entryHeader begins each entry.
type entryHeader struct {
	epoch    uint64 // random, one for each leadership
	sequence uint64 // of the entry in its epoch, from 1
	timeNs   int64  // the leader's clock, never running backwards
}

// entryFormat is raised when an older build could misread an entry. A new kind of effect needs no other format: an
// older build refuses the whole entry that has it.
const entryFormat = 1

// appendEntry appends an entry's bytes: the format, the header, then one effect after the other without a count.
func appendEntry(dst []byte, h entryHeader, effects []effect) []byte {
	dst = append(dst, entryFormat)
	dst = binary.BigEndian.AppendUint64(dst, h.epoch)
	dst = binary.AppendUvarint(dst, h.sequence)
	dst = binary.AppendVarint(dst, h.timeNs)
	for i := range effects {
		dst = appendEffect(dst, &effects[i])
	}
	return dst
}

// Lengths lead everything that varies, so a decoder never has to guess where an effect ends. Names and values are
// written as they are; the journal compresses nothing and sums everything.
func appendEffect(dst []byte, e *effect) []byte {
	dst = append(dst, byte(e.kind))
	switch e.kind {
	case effectPutInode:
		dst = binary.AppendUvarint(dst, uint64(e.inode.Parent))
		dst = appendText(dst, e.inode.Name)
		mark := len(dst)
		dst = append(dst, 0, 0) // the value's length, filled in below: two bytes hold nearly every inode
		dst = inodestore.AppendInode(dst, e.inode)
		if n := len(dst) - mark - 2; n < 1<<14 {
			dst[mark], dst[mark+1] = byte(n&0x7f)|0x80, byte(n>>7)
			break
		}
		value := append([]byte(nil), dst[mark+2:]...)
		dst = appendBytes(dst[:mark], value)
	case effectDeleteInode:
		dst = binary.AppendUvarint(dst, uint64(e.parent))
		dst = appendText(dst, e.name)
	case effectPutRecord:
		dst = append(dst, byte(e.table))
		dst = appendBytes(dst, e.key)
		dst = appendBytes(dst, e.value)
	case effectDeleteRecord:
		dst = append(dst, byte(e.table))
		dst = appendBytes(dst, e.key)
	case effectAnswers:
		dst = binary.AppendUvarint(dst, uint64(e.answers.session))
		dst = appendBytes(dst, appendAnswers(nil, e.answers))
	}
	return dst
}

// appendText appends a length and a string.
func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// appendBytes is appendText for bytes; nil and empty read back the same.
func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// appendAnswers is also the value of a session's record in the store.
func appendAnswers(dst []byte, s *sessionAnswers) []byte {
	dst = binary.AppendUvarint(dst, s.ackedBelow)
	for _, a := range s.answers {
		dst = binary.AppendUvarint(dst, a.sequence)
		dst = binary.AppendUvarint(dst, uint64(a.inode))
		dst = binary.AppendUvarint(dst, uint64(a.version))
		dst = binary.AppendVarint(dst, a.count)
	}
	return dst
}

// decodeAnswers reads what appendAnswers wrote: an effect's, or a session's record. An error leaves the answers that
// were read so far, which are not to be used.
func decodeAnswers(session dfs.SessionID, b []byte) (*sessionAnswers, error) {
	d := decoder{b: b}
	s := &sessionAnswers{session: session, ackedBelow: d.uvarint()}
	for len(d.b) > 0 && d.err == nil {
		s.answers = append(s.answers, answer{
			sequence: d.uvarint(),
			inode:    dfs.InodeID(d.uvarint()),
			version:  uint32(d.uvarint()),
			count:    d.varint(),
		})
	}
	return s, d.err
}
