package blockstore

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

// readBytes is how much of a meta file is read at a time.
const readBytes = 3640 * recordBytes // whole records, about 256 KiB

// recover takes in what lies on a tier: pages whose records are whole. Their bytes are checked when they are read, and
// by the scrub. Pairs without a header or a record are removed.
// It is called once for each tier, before the store serves anybody; ctx ends it between two names. A tier whose
// directories cannot be listed has failed and is left out; what else is on the other tiers is served.
func (s *Store) recover(ctx context.Context, tierIndex int) error {
	t := s.tiers[tierIndex]
	subs, err := t.FS().List(t.Dir())
	if err != nil {
		return s.fatalDiskError(tierIndex, err, "recover", t.Dir())
	}
	// The subdirectories found count as known below: their names may be of a process that was killed before it synced them.
	if err := syncDir(t.FS(), t.Dir()); err != nil {
		return s.fatalDiskError(tierIndex, err, "recover", t.Dir())
	}
	slices.Sort(subs)
	for _, sub := range subs {
		if len(sub) != 2 {
			continue // not ours
		}
		if number, err := strconv.ParseUint(sub, 16, 8); err == nil {
			s.dirs[tierIndex].set(byte(number))
		}
		dir := t.FS().PathJoin(t.Dir(), sub)
		names, err := t.FS().List(dir)
		if err != nil {
			return s.fatalDiskError(tierIndex, err, "recover", dir)
		}
		slices.Sort(names)
		for _, name := range names {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := s.recoverName(tierIndex, dir, name, names); err != nil {
				// One pair that cannot be read stays on the disk and out of memory: its pages may be all that there is of a
				// file, and a later start may read them.
				err = s.diskError(tierIndex, err, "recover", t.FS().PathJoin(dir, name))
				if !dfs.IsKind(err, dfs.Unavailable) || t.Failed() != nil {
					return err
				}
			}
		}
	}
	return nil
}

// recoverName takes in the pair that name is of, or removes what is of no use: data without records, records that say
// nothing. names are all of the directory, sorted. Its error is the disk's, not converted.
func (s *Store) recoverName(tierIndex int, dir, name string, names []string) error {
	fs := s.tiers[tierIndex].FS()
	base, isMeta := strings.CutSuffix(name, metaSuffix)
	if !isMeta {
		base, isData := strings.CutSuffix(name, dataSuffix)
		if _, found := slices.BinarySearch(names, base+metaSuffix); isData && !found {
			return fs.Remove(fs.PathJoin(dir, name))
		}
		return nil
	}
	path := fs.PathJoin(dir, base)
	kept, err := s.recoverPair(tierIndex, path)
	if err != nil || kept {
		return err
	}
	for _, suffix := range []string{metaSuffix, dataSuffix} {
		if err := fs.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// recoverPair takes one pair in and tells whether anything of it is of use.
// Only the header and the records are read: a start costs 72 bytes for each page held, not the pages. A header of
// another file version, or under another name, says that the pair was copied there by hand: it is not used.
func (s *Store) recoverPair(tierIndex int, path string) (kept bool, err error) {
	meta, err := s.tiers[tierIndex].FS().Open(path + metaSuffix)
	if err != nil {
		return false, err
	}
	defer func() { _ = meta.Close() }()
	var slots [recordsStart]byte
	n, err := meta.ReadAt(slots[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	h, ok := newestHeader(slots[:n])
	if !ok || s.nameOf(tierIndex, h.id) != path {
		return false, nil
	}
	pages, err := s.readRecords(meta, h)
	if err != nil || len(pages) == 0 {
		return false, err
	}
	kept, strays := s.adopt(tierIndex, h, pages)
	if kept {
		s.eraseStrays(tierIndex, h.id, strays)
	}
	return kept, nil
}

// eraseStrays gives the space of blocks back that another tier has. Their pair stays, for its other blocks.
func (s *Store) eraseStrays(tierIndex int, id dfs.FileVersion, strays []*block) {
	f, _ := s.files.Get(&file{id: id})
	for _, b := range strays {
		s.eraseBlock(f, b, tierIndex)
	}
}

// found is a page that has a whole record.
// bytes is the page's length, shorter than a page at the end of a block or file only.
type found struct {
	block uint32
	page  int
	bytes int64
	sums  pageSums
}

// readRecords reads the records of a pair up to the file's length, a piece at a time, and gives those that are whole.
// Records behind the length are of an earlier attempt that was longer, and count for nothing.
func (s *Store) readRecords(meta diskFile, h header) (pages []found, err error) {
	room := make([]byte, readBytes)
	perBlock := h.geometry.pagesPerBlock()
	total := int64(0)
	if h.geometry.length > 0 {
		block, page := h.geometry.locate(h.geometry.length - 1)
		total = int64(block)*int64(perBlock) + int64(page) + 1
	}
	for first := int64(0); first < total; first += readBytes / recordBytes {
		n, err := meta.ReadAt(room, recordsStart+first*recordBytes)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		for i := 0; (i+1)*recordBytes <= n && first+int64(i) < total; i++ {
			number := first + int64(i)
			p := found{block: uint32(number / int64(perBlock)), page: int(number % int64(perBlock))}
			start, end := h.geometry.span(p.block, p.page)
			p.bytes = end - start
			var whole bool
			if p.sums, whole = parseRecord(h.id, start, p.bytes, room[i*recordBytes:(i+1)*recordBytes]); whole {
				pages = append(pages, p)
			}
		}
		if n < readBytes {
			break
		}
	}
	return pages, nil
}

// adopt puts recovered pages into memory. A block that a faster tier has as well was being moved when the process ended:
// the copy there is whole or fails its checksums, so the slower one is a stray, for erasing. (Only cached blocks are moved:
// a page that had not arrived on the faster tier is fetched again.)
// The room is reserved by force: what is on the disk is there, whether it fits the capacity or not, and the evictor
// brings the tier under its watermark afterwards. A file that one header calls unpersisted is unpersisted.
func (s *Store) adopt(tierIndex int, h header, pages []found) (kept bool, strays []*block) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.files.Get(&file{id: h.id})
	if !ok {
		f = &file{id: h.id, geometry: h.geometry, persisted: h.persisted, pinned: h.pinned, blocks: map[uint32]*block{},
			backings: make([]*backing, len(s.config.Tiers)), lock: host.NewMutex(s.h)}
		s.files.Set(f)
	}
	f.geometry.length = max(f.geometry.length, h.geometry.length)
	f.persisted = f.persisted && h.persisted
	for i := range pages {
		p := &pages[i]
		b := f.blocks[p.block]
		if b != nil && b.tier != tierIndex {
			strays = noteStray(strays, p, f.geometry)
			continue
		}
		if b == nil {
			b = s.newBlock(f, p.block, tierIndex)
			f.blocks[p.block] = b
			s.Counters.RecoveredBlocks.Add(1)
		}
		b.set(f.geometry, p.page, &p.sums, p.bytes)
		b.used += cost(p.bytes)
		s.tiers[tierIndex].ForceReserve(cost(p.bytes))
		s.policies[tierIndex].Add(b.id(f), cost(p.bytes))
		kept = true
	}
	return kept, strays
}

// noteStray adds a page to the block of its index, which is the last of strays if there is one: pages ascend.
func noteStray(strays []*block, p *found, g geometry) []*block {
	if n := len(strays); n == 0 || strays[n-1].index != p.block {
		strays = append(strays, &block{index: p.block})
	}
	strays[len(strays)-1].set(g, p.page, &p.sums, p.bytes)
	return strays
}
