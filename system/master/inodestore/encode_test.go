package inodestore

import (
	"bytes"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
)

// usualFile is what a load from an under store makes most of.
func usualFile() *Inode {
	return &Inode{ID: 1_000_123, Parent: 1_000_000, Name: "part-00017.parquet", Mode: 0o644, Owner: "root", Group: "root",
		Length: 1 << 20, BlockSize: dfs.DefaultBlockSizeBytes, ModTime: time.Unix(1_750_000_000, 0).UTC(), Version: 1,
		LastVersion: 1, Persist: dfs.Persisted}
}

// The record of a usual file is small: this is where a billion inodes fit or do not.
func TestRecordSize(t *testing.T) {
	if got := len(appendInode(nil, usualFile())); got > 11 {
		t.Errorf("a usual file takes %d bytes, want 11 or fewer", got)
	}
	dir := &Inode{ID: 2, Parent: 1, Type: dfs.TypeDirectory, Mode: 0o755, Owner: "root", Group: "root", Persist: dfs.Persisted}
	if got := len(appendInode(nil, dir)); got != 2 {
		t.Errorf("a usual directory takes %d bytes, want 2", got)
	}
}

// fill sets the fields of n to what rng says, by reflection, so that a field added to Inode and forgotten in the
// encoding fails TestRoundTrip.
func fill(rng *rand.Rand, n *Inode) {
	v := reflect.ValueOf(n).Elem()
	for i := range v.NumField() {
		if rng.IntN(3) == 0 {
			continue
		}
		fillField(rng, v.Field(i))
	}
	n.Type %= 2
}

func fillField(rng *rand.Rand, f reflect.Value) {
	bits := rng.Uint64() >> rng.IntN(64)
	switch f.Interface().(type) {
	case time.Time:
		f.Set(reflect.ValueOf(time.Unix(int64(bits>>20)-1<<40, int64(bits%1e9)).UTC()))
		return
	case map[string][]byte:
		f.Set(reflect.ValueOf(map[string][]byte{"user.x": {1, 2}, "": {}, "\xff": []byte("y")}))
		return
	}
	switch f.Kind() {
	case reflect.String:
		b := make([]byte, bits%64)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		f.SetString(string(b))
	case reflect.Bool:
		f.SetBool(bits%2 == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		f.SetInt(int64(bits) << (64 - f.Type().Bits()) >> (64 - f.Type().Bits()) * int64(1-2*rng.IntN(2)))
	default:
		f.SetUint(bits & (math.MaxUint64 >> (64 - f.Type().Bits())))
	}
}

func TestRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 20000 {
		n := defaults(dfs.FileType(i % 2))
		fill(rng, &n)
		record := appendInode(nil, &n)
		got, err := decodeInode(n.Parent, n.Name, record)
		if err != nil {
			t.Fatalf("%d: %+v: %v", i, n, err)
		}
		if !reflect.DeepEqual(*got, n) {
			t.Fatalf("%d: got\n%+v, want\n%+v", i, *got, n)
		}
		if again := appendInode(nil, got); !bytes.Equal(again, record) {
			t.Fatalf("%d: a second encoding differs: %x and %x", i, again, record)
		}
		for cut := range record { // no prefix of a record is a record
			if got, err := decodeInode(n.Parent, n.Name, record[:cut]); !dfs.IsKind(err, dfs.Corrupted) {
				t.Fatalf("%d: the first %d of %d bytes: %+v, %v", i, cut, len(record), got, err)
			}
		}
	}
}

// Records of this shape are on disks: they have to be read for ever.
func TestStoredForm(t *testing.T) {
	n := usualFile()
	n.Owner, n.Fingerprint, n.Pinned = "ann", "e", true
	want := []byte{0xa6, 0x50, 0xf6, 0x1, 0x80, 0x80, 0x40, 0x80, 0x82, 0x98, 0xa4, 0x1, 3, 'a', 'n', 'n', 1, 'e'}
	if got := appendInode(nil, n); !bytes.Equal(got, want) {
		t.Errorf("got %#v, want %#v", got, want)
	}
}

func FuzzDecodeInode(f *testing.F) {
	f.Add([]byte{}, uint64(1))
	f.Add(appendInode(nil, usualFile()), uint64(7))
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		var n Inode
		fill(rng, &n)
		f.Add(appendInode(nil, &n), uint64(n.Parent))
	}
	f.Fuzz(func(t *testing.T, record []byte, parent uint64) {
		n, err := decodeInode(dfs.InodeID(parent), "x", record)
		if err != nil {
			if !dfs.IsKind(err, dfs.Corrupted) {
				t.Fatalf("kind of %v", err)
			}
			return
		}
		again, err := decodeInode(dfs.InodeID(parent), "x", appendInode(nil, n))
		if err != nil || !reflect.DeepEqual(n, again) {
			t.Fatalf("decoded %+v, and again %+v, %v", n, again, err)
		}
	})
}

func FuzzParseHeapFile(f *testing.F) {
	f.Add([]byte(heapMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _, _ = parseHeapFile(data)
		// Past the checksum, where random input never gets by itself.
		var b bytes.Buffer
		w := newSumWriter(&b)
		w.raw([]byte(heapMagic))
		w.raw(data)
		if err := w.finish(); err != nil {
			t.Fatal(err)
		}
		_, _, _ = parseHeapFile(b.Bytes())
	})
}
