package blockstore

import (
	"encoding/binary"
	"hash/crc32"
	"math"

	"github.com/forebay/forebay/system/dfs"
)

// Sizes. A page is what is filled and counted; a chunk is what is checked: a read of 4 KiB verifies 64 KiB and not 1 MiB.
const (
	chunkBytes    = 64 << 10
	chunksPerPage = dfs.PageSizeBytes / chunkBytes

	// The meta file: two header slots, then one record for each page of the file version, at a place computed from its
	// number, so that records are written in place and a sparse file of a large content stays small.
	slotBytes    = 512
	recordsStart = 2 * slotBytes
	recordBytes  = 4*chunksPerPage + 8

	// diskBlockBytes is what reservations are rounded up to, as file systems do.
	diskBlockBytes = 4096
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// geometry says where pages lie. Block sizes need not be multiples of pages: the last page of a block is shorter.
type geometry struct {
	blockSize int64
	length    int64 // of the file version; pages end there
}

// Bounds of what a reference, which comes from the network, and a header, which comes from a disk, may say. Within them
// no offset of a page, a record or a block overflows an int64, and block indexes fit 32 bits.
const (
	maxBlockBytes = 1 << 40
	maxFileBytes  = 1 << 60
)

// valid is asked of every reference and every header before anything is computed from it.
func (g geometry) valid() bool {
	return g.blockSize > 0 && g.blockSize <= maxBlockBytes && g.length >= 0 && g.length <= g.mostBytes()
}

// mostBytes is how long a file of this block size may be.
func (g geometry) mostBytes() int64 {
	if g.blockSize > maxFileBytes/math.MaxUint32 {
		return maxFileBytes
	}
	return g.blockSize * math.MaxUint32
}

// pagesPerBlock is of a whole block: places of records go by it, also in a file's last block, which has fewer
// pages.
func (g geometry) pagesPerBlock() int {
	return int((g.blockSize + dfs.PageSizeBytes - 1) / dfs.PageSizeBytes)
}

// locate finds the page that holds offset.
func (g geometry) locate(offset int64) (block uint32, page int) {
	return uint32(offset / g.blockSize), int(offset % g.blockSize / dfs.PageSizeBytes)
}

// span is the page's range in the file, [start, end).
func (g geometry) span(block uint32, page int) (start, end int64) {
	blockStart := int64(block) * g.blockSize
	start = blockStart + int64(page)*dfs.PageSizeBytes
	return start, max(start, min(start+dfs.PageSizeBytes, blockStart+g.blockSize, g.length))
}

// blockSpan is the block's range in the file.
func (g geometry) blockSpan(block uint32) (start, end int64) {
	start = int64(block) * g.blockSize
	return start, max(start, min(start+g.blockSize, g.length))
}

// pagesIn is how many pages the block has, fewer in the last one.
func (g geometry) pagesIn(block uint32) int {
	start, end := g.blockSpan(block)
	return int((end - start + dfs.PageSizeBytes - 1) / dfs.PageSizeBytes)
}

// recordOffset does not depend on the file's length, so that records stay in their places when a file grows.
func (g geometry) recordOffset(block uint32, page int) int64 {
	return recordsStart + (int64(block)*int64(g.pagesPerBlock())+int64(page))*recordBytes
}

// cost is what n bytes take on a disk.
func cost(n int64) int64 { return (n + diskBlockBytes - 1) / diskBlockBytes * diskBlockBytes }

// pageSums are the CRC32C of a page's chunks; those past its end are 0.
type pageSums [chunksPerPage]uint32

// sum is of a page's bytes, at most dfs.PageSizeBytes of them.
func sum(data []byte) (s pageSums) {
	for i := 0; len(data) > 0; i++ {
		n := min(len(data), chunkBytes)
		s[i] = crc32.Checksum(data[:n], castagnoli)
		data = data[n:]
	}
	return s
}

// record is the page's sums as the meta file has them. Its last word binds them to the file version, the place and the
// length, so that a record that was torn, misplaced or left from another content is not taken for one.
func record(id dfs.FileVersion, start, length int64, s *pageSums) [recordBytes]byte {
	var r [recordBytes]byte
	for i, c := range s {
		binary.LittleEndian.PutUint32(r[4*i:], c)
	}
	binary.LittleEndian.PutUint32(r[recordBytes-4:], recordCheck(id, start, length, r[:recordBytes-8]))
	return r
}

// recordCheck takes the place and the length besides the sums. Zeros, which an erased record has, do not pass it.
func recordCheck(id dfs.FileVersion, start, length int64, sums []byte) uint32 {
	var where [28]byte
	binary.LittleEndian.PutUint64(where[0:], uint64(id.Inode))
	binary.LittleEndian.PutUint32(where[8:], id.Version)
	binary.LittleEndian.PutUint64(where[12:], uint64(start))
	binary.LittleEndian.PutUint64(where[20:], uint64(length))
	return crc32.Update(crc32.Checksum(where[:], castagnoli), castagnoli, sums)
}

// parseRecord is false for a page that is not there.
func parseRecord(id dfs.FileVersion, start, length int64, r []byte) (s pageSums, ok bool) {
	if binary.LittleEndian.Uint32(r[recordBytes-4:]) != recordCheck(id, start, length, r[:recordBytes-8]) {
		return s, false
	}
	for i := range s {
		s[i] = binary.LittleEndian.Uint32(r[4*i:])
	}
	return s, true
}

// A header's bytes, little endian, at the beginning of its slot:
//
//	0  magic "Forebay1"    16  inode        28  flags: 1 persisted, 2 pinned   40  length of the file version
//	8  sequence            24  version      32  block size                     48  CRC32C of what is before
//
// A page's record, at recordsStart + number*recordBytes, where number counts pages block by block:
//
//	0  CRC32C of each chunk, 0 behind the page's end      64  0      68  recordCheck
//
// header is what a meta file says of its file version. It is written to the two slots in turn: one is always whole.
type header struct {
	sequence  uint64
	id        dfs.FileVersion
	geometry  geometry
	persisted bool
	pinned    bool
}

const (
	headerMagic     = 0x3179_6162_6572_6f46 // "Forebay1"
	headerDataBytes = 48
)

// encode is shorter than a slot; the rest of the slot is not written and means nothing.
func (h header) encode() []byte {
	b := make([]byte, headerDataBytes+4)
	binary.LittleEndian.PutUint64(b[0:], headerMagic)
	binary.LittleEndian.PutUint64(b[8:], h.sequence)
	binary.LittleEndian.PutUint64(b[16:], uint64(h.id.Inode))
	binary.LittleEndian.PutUint32(b[24:], h.id.Version)
	if h.persisted {
		b[28] |= 1
	}
	if h.pinned {
		b[28] |= 2
	}
	binary.LittleEndian.PutUint64(b[32:], uint64(h.geometry.blockSize))
	binary.LittleEndian.PutUint64(b[40:], uint64(h.geometry.length))
	binary.LittleEndian.PutUint32(b[headerDataBytes:], crc32.Checksum(b[:headerDataBytes], castagnoli))
	return b
}

// decodeHeader is false for a slot that was torn, never written, or says what cannot be (geometry.valid).
func decodeHeader(b []byte) (h header, ok bool) {
	if len(b) < headerDataBytes+4 || binary.LittleEndian.Uint64(b) != headerMagic ||
		binary.LittleEndian.Uint32(b[headerDataBytes:]) != crc32.Checksum(b[:headerDataBytes], castagnoli) {
		return h, false
	}
	h.sequence = binary.LittleEndian.Uint64(b[8:])
	h.id = dfs.FileVersion{Inode: dfs.InodeID(binary.LittleEndian.Uint64(b[16:])), Version: binary.LittleEndian.Uint32(b[24:])}
	h.persisted, h.pinned = b[28]&1 != 0, b[28]&2 != 0
	h.geometry.blockSize = int64(binary.LittleEndian.Uint64(b[32:]))
	h.geometry.length = int64(binary.LittleEndian.Uint64(b[40:]))
	return h, h.geometry.valid()
}

// newestHeader picks the newer whole slot of a meta file's first bytes.
func newestHeader(b []byte) (h header, ok bool) {
	for slot := range 2 {
		if len(b) < slot*slotBytes+headerDataBytes+4 {
			break
		}
		if other, whole := decodeHeader(b[slot*slotBytes:]); whole && (!ok || other.sequence > h.sequence) {
			h, ok = other, true
		}
	}
	return h, ok
}
