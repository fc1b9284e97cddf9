package namespace

import (
	"encoding/binary"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
)

// decodeEntry reads an entry whole. Corrupted for bytes that no version wrote, UnsupportedFeature for a newer format.
// Effects share memory with b, which the journal leaves alone.
// It is for entries that this process did not propose itself: a follower's, and those of a replay. Its caller refuses
// the entry as a whole after an error, so a half decoded list of effects is never applied. The order of effects is
// kept, since a later one may overwrite an earlier one.
func decodeEntry(b []byte) (entryHeader, []effect, error) {
	d := decoder{b: b}
	if format := d.byte(); d.err == nil && format != entryFormat {
		return entryHeader{}, nil, dfs.Errorf(dfs.UnsupportedFeature, "decode journal entry", "",
			"format %d was written by a newer version: upgrade this master", format)
	}
	h := entryHeader{epoch: d.uint64(), sequence: d.uvarint(), timeNs: d.varint()}
	var effects []effect
	for len(d.b) > 0 && d.err == nil {
		effects = append(effects, d.effect())
	}
	return h, effects, d.err
}

// decoder reads an entry; after the first fault every read answers zero and err says so.
// The bytes come from the journal, which has checked their sum; what does not decode was written by another format or
// by a bug. Either way the decoder must end without a panic and without allocating more than the entry's size allows.
type decoder struct {
	b   []byte
	err error
}

// fail takes the rest of the input away, so that loops over it end.
func (d *decoder) fail() {
	if d.err == nil {
		d.err = dfs.Errorf(dfs.Corrupted, "decode journal entry", "", "it ends too early or holds an impossible value")
	}
	d.b = nil
}

// byte reads a tag: a format, a kind, a table.
func (d *decoder) byte() byte {
	if len(d.b) < 1 {
		d.fail()
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

// uint64 reads 8 bytes, big endian: for epochs, which are random and would not get shorter as varints.
func (d *decoder) uint64() uint64 {
	if len(d.b) < 8 {
		d.fail()
		return 0
	}
	v := binary.BigEndian.Uint64(d.b)
	d.b = d.b[8:]
	return v
}

// uvarint reads a number; one of more than 64 bits is a fault.
func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// varint reads a number that may be negative: a time before 1970, a count of a newer meaning.
func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// bytes reads a length and as many bytes. They share memory with the entry; their capacity ends with them, so that an
// append by somebody copies and does not write into what follows.
func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

// effect reads one effect; d.err tells whether it is one. An unknown kind is a fault: its length cannot be known.
// An inode that its own decoder refuses makes the whole entry one that cannot be read: applying the rest would split
// it (INV-1 of inodestore's drivers).
func (d *decoder) effect() effect {
	e := effect{kind: effectKind(d.byte())}
	switch e.kind {
	// Parent and name lead, since they are no part of an inode's record: they are its key in the store.
	case effectPutInode:
		parent, name := dfs.InodeID(d.uvarint()), string(d.bytes())
		value := d.bytes()
		if d.err != nil {
			return e
		}
		n, err := inodestore.DecodeInode(parent, name, value)
		if err != nil {
			d.fail()
			return e
		}
		e.inode = n
	case effectDeleteInode:
		e.parent, e.name = dfs.InodeID(d.uvarint()), string(d.bytes())
	case effectPutRecord:
		e.table, e.key, e.value = inodestore.Table(d.byte()), d.bytes(), d.bytes()
	case effectDeleteRecord:
		e.table, e.key = inodestore.Table(d.byte()), d.bytes()
	case effectAnswers:
		session := dfs.SessionID(d.uvarint())
		s, err := decodeAnswers(session, d.bytes())
		if err != nil {
			d.fail()
			return e
		}
		e.answers = s
	default:
		d.fail()
	}
	return e
}

// decodeHeader reads the beginning of an entry alone: what admission is judged by, also for entries whose effects are
// in memory.
func decodeHeader(b []byte) (entryHeader, error) {
	d := decoder{b: b}
	if format := d.byte(); d.err == nil && format != entryFormat {
		return entryHeader{}, dfs.Errorf(dfs.UnsupportedFeature, "decode journal entry", "",
			"format %d was written by a newer version: upgrade this master", format)
	}
	h := entryHeader{epoch: d.uint64(), sequence: d.uvarint(), timeNs: d.varint()}
	return h, d.err
}
