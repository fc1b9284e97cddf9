package blockstore

import (
	"math/bits"
	"slices"

	"github.com/forebay/forebay/system/dfs"
)

// held is a block and its file.
// It is used where a block outlives the lock under which it was found: the pair stays together, also when the file
// has left the tree.
type held struct {
	file  *file
	block *block
}

// has tells whether a page is held. A page behind the last word of valid is not.
func (b *block) has(page int) bool {
	return page>>6 < len(b.valid) && b.valid[page>>6]&(1<<(page&63)) != 0
}

// id names the block in the policies and in reports.
func (b *block) id(f *file) dfs.BlockID { return dfs.BlockID{File: f.id, Index: b.index} }

// newBlock makes an empty block on a tier, and counts it there. The caller holds mu.
func (s *Store) newBlock(f *file, index uint32, tierIndex int) *block {
	s.backingOf(f, tierIndex).blocks++
	return &block{index: index, tier: tierIndex}
}

// set records a page, of which the file has pageBytes: a block whose file's length was not known grows. The caller holds
// mu, or is the only one who knows the block.
func (b *block) set(g geometry, page int, sums *pageSums, pageBytes int64) {
	start, _ := g.span(b.index, page)
	b.end = max(b.end, start+pageBytes)
	b.reach = max(b.reach, b.end)
	for page>>6 >= len(b.valid) {
		b.valid = append(b.valid, 0)
	}
	chunks := int(pageBytes+chunkBytes-1) / chunkBytes
	if need := page*chunksPerPage + chunks; need > len(b.sums) {
		b.sums = slices.Grow(b.sums, need-len(b.sums))[:need]
	}
	copy(b.sums[page*chunksPerPage:], sums[:chunks])
	if !b.has(page) {
		b.valid[page>>6] |= 1 << (page & 63)
		b.pages++
	}
}

// clear forgets a page. Without its last page a block ends where that began: all others are full.
func (b *block) clear(g geometry, page int) {
	if !b.has(page) {
		return
	}
	b.valid[page>>6] &^= 1 << (page & 63)
	b.pages--
	if start, end := b.span(g, page); end == b.end {
		b.end = start
	}
}

// span is the range of a page as it was stored, whatever a reference says of the file's length (INV-6).
func (b *block) span(g geometry, page int) (start, end int64) {
	g.length = b.end
	return g.span(b.index, page)
}

// covers tells whether all that a reference means by a page is held. The caller holds mu.
func (b *block) covers(ref *Ref, page int) bool {
	if b == nil || !b.has(page) {
		return false
	}
	_, want := ref.geometry().span(b.index, page)
	_, end := b.span(ref.geometry(), page)
	return want <= end
}

// pageList lists the pages that are held.
// They ascend. The caller holds mu, or owns the block's busy entry, so that nobody changes it.
func (b *block) pageList() (pages []int) {
	for i, word := range b.valid {
		for ; word != 0; word &= word - 1 {
			pages = append(pages, i<<6+bits.TrailingZeros64(word))
		}
	}
	return pages
}

// indexes lists the blocks that are held, ascending, whole or not. The caller holds mu.
func (f *file) indexes() []uint32 {
	indexes := make([]uint32, 0, len(f.blocks))
	for index := range f.blocks {
		indexes = append(indexes, index)
	}
	slices.Sort(indexes)
	return indexes
}

// Has tells whether the page at offset is held, without reading it. It may be gone a moment later.
// A page that is held and shorter than ref means is not: the reference knows of a longer file.
func (s *Store) Has(ref *Ref, offset int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.files.Get(&file{id: ref.File})
	if !ok || f.geometry.blockSize != ref.BlockSize {
		return false
	}
	index, page := ref.geometry().locate(offset)
	return f.blocks[index].covers(ref, page)
}

// TierOf is the index of the tier that holds the page at offset, or -1.
// It is a hint, as Has is: by the time that the caller acts the block may have moved.
func (s *Store) TierOf(ref *Ref, offset int64) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.files.Get(&file{id: ref.File})
	if !ok || f.geometry.blockSize != ref.BlockSize {
		return -1
	}
	index, page := ref.geometry().locate(offset)
	if b := f.blocks[index]; b.covers(ref, page) {
		return b.tier
	}
	return -1
}
