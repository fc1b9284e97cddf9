package blockstore

import (
	"testing"

	"github.com/forebay/forebay/system/dfs"
)

// FuzzHeader feeds the header's decoder anything: what it takes encodes to the same bytes, and describes a file.
func FuzzHeader(f *testing.F) {
	h := header{sequence: 3, id: dfs.FileVersion{Inode: 5, Version: 2}, geometry: geometry{64 << 20, 1 << 40}, persisted: true}
	slots := make([]byte, recordsStart)
	copy(slots[slotOffset(3):], h.encode())
	h.sequence = 4
	copy(slots[slotOffset(4):], h.encode())
	f.Add(slots)
	f.Add(slots[:100])
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := newestHeader(b)
		if !ok {
			return
		}
		if again, whole := decodeHeader(got.encode()); !whole || again != got {
			t.Errorf("%+v becomes %+v", got, again)
		}
		if got.geometry.blockSize <= 0 || got.geometry.length < 0 {
			t.Errorf("accepted %+v", got)
		}
	})
}

// TestTornHeader cuts one slot's write off at every byte: the other slot is still read.
func TestTornHeader(t *testing.T) {
	old := header{sequence: 8, id: dfs.FileVersion{Inode: 5, Version: 2}, geometry: geometry{1 << 20, 100}}
	newer := old
	newer.sequence, newer.persisted = 9, true
	written := newer.encode()
	for n := range len(written) + 1 {
		slots := make([]byte, recordsStart)
		copy(slots[slotOffset(8):], old.encode())
		copy(slots[slotOffset(9):], written[:n])
		want := old
		if n == len(written) {
			want = newer
		}
		if got, ok := newestHeader(slots); !ok || got != want {
			t.Fatalf("cut at %d: %+v, %v", n, got, ok)
		}
	}
}

// FuzzRecord changes a record in any way: only the very bytes for the very place are taken.
func FuzzRecord(f *testing.F) {
	f.Add(uint64(1), uint32(1), int64(0), int64(100), 5, byte(1))
	f.Fuzz(func(t *testing.T, inode uint64, version uint32, start, length int64, at int, flip byte) {
		id := dfs.FileVersion{Inode: dfs.InodeID(inode), Version: version}
		s := sum([]byte("some bytes"))
		r := record(id, start, length, &s)
		if got, ok := parseRecord(id, start, length, r[:]); !ok || got != s {
			t.Fatal("a whole record is refused")
		}
		if _, ok := parseRecord(id, start, length+1, r[:]); ok {
			t.Error("taken for another length")
		}
		if _, ok := parseRecord(dfs.FileVersion{Inode: id.Inode, Version: version + 1}, start, length, r[:]); ok {
			t.Error("taken for another version")
		}
		if n := len(r) - 8; at >= 0 && at < n && flip != 0 {
			r[at] ^= flip
			if _, ok := parseRecord(id, start, length, r[:]); ok {
				t.Error("a damaged record is taken")
			}
		}
	})
}

// TestEmptyRecord checks that a hole is not taken for the record of a page.
func TestEmptyRecord(t *testing.T) {
	for inode := range dfs.InodeID(1000) {
		if _, ok := parseRecord(dfs.FileVersion{Inode: inode, Version: 1}, 0, 1<<20, make([]byte, recordBytes)); ok {
			t.Errorf("inode %d: a hole is a record", inode)
		}
	}
}
