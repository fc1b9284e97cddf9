package raftjournal

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft-wal/types"
)

// TestZeroAhead writes entries of random sizes through a new segment and a reopened one, with some tries taken back as raft-wal
// does after a failed write, and compares every byte with a plain file.
func TestZeroAhead(t *testing.T) {
	const size = 3 * zeroAheadBytes
	rng := rand.New(rand.NewPCG(1, 2))
	seg := segmentFS{fileSystem{vfs.NewMem()}}
	open := func(w types.WritableFile, err error) *segmentFile {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		f := w.(*segmentFile)
		f.size = size // which memory does not reserve
		return f
	}
	w := open(seg.Create("", "s", size))
	want := make([]byte, size)
	offset := int64(0)
	for i := 0; ; i++ {
		entry := make([]byte, 1+rng.IntN(zeroAheadBytes/7))
		for j := range entry {
			entry[j] = byte(1 + rng.IntN(255))
		}
		if offset+int64(len(entry)) > size+1000 { // the last batch may reach beyond the size
			break
		}
		if _, err := w.WriteAt(bytes.Clone(entry), offset); err != nil {
			t.Fatal(err)
		}
		if err := w.Sync(); err != nil {
			t.Fatal(err)
		}
		want = append(want, make([]byte, max(0, offset+int64(len(entry))-int64(len(want))))...)
		copy(want[offset:], entry)
		switch {
		case i%5 != 4: // every fifth is written over by the next
			offset += int64(len(entry))
		case i%2 == 0:
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			w = open(seg.OpenWriter("", "s"))
		}
	}
	if offset < 2*zeroAheadBytes {
		t.Fatalf("the segment was left at %d", offset)
	}
	got, err := io.ReadAll(io.NewSectionReader(w.File, 0, size+zeroAheadBytes))
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, make([]byte, max(0, len(want)-len(got)))...)
	for i := range got {
		if i >= len(want) || got[i] != want[i] {
			t.Fatalf("byte %d of %d differs from what was written", i, len(want))
		}
	}
}

// countedFile counts what is written, and refuses to write zeros if told so.
type countedFile struct {
	vfs.File
	writes, zeros int
	refuse        bool
}

func (f *countedFile) WriteAt(p []byte, off int64) (int, error) {
	f.writes++
	if p[0] == 0 {
		f.zeros++
		if f.refuse {
			return 0, errors.New("no zeros today")
		}
	}
	return f.File.WriteAt(p, off)
}

// TestZeroAheadIsRare: zeros are written once for each zeroAheadBytes of entries, not with each sync, and a disk that does
// not take them costs nothing but speed.
func TestZeroAheadIsRare(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		const size = 4 * zeroAheadBytes
		w, err := segmentFS{fileSystem{vfs.NewMem()}}.Create("", "s", size)
		if err != nil {
			t.Fatal(err)
		}
		f := w.(*segmentFile)
		f.size = size // which memory does not reserve
		counted := &countedFile{File: f.File, refuse: refuse}
		f.File = counted
		entry := bytes.Repeat([]byte{7}, 4096)
		for off := int64(0); off < size; off += int64(len(entry)) {
			if _, err := f.WriteAt(bytes.Clone(entry), off); err != nil {
				t.Fatal(err)
			}
			if err := f.Sync(); err != nil {
				t.Fatalf("refuse %v: %v", refuse, err)
			}
		}
		if counted.zeros < 3 || counted.zeros > 5 {
			t.Errorf("refuse %v: zeros were written %d times for four pieces of entries", refuse, counted.zeros)
		}
	}
}
