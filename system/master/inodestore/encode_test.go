package inodestore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

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

// TestDecodeRefuses: numbers beyond their fields, fields of a newer build, counts that would allocate, and left-overs.
func TestDecodeRefuses(t *testing.T) {
	mask := func(bits uint64) []byte { return binary.AppendVarint(binary.AppendUvarint(nil, bits), 1) }
	number := func(bit, v uint64) []byte { return binary.AppendUvarint(mask(bit), v) }
	for name, c := range map[string]struct {
		record []byte
		says   string
	}{
		"empty":               {nil, "ends within a number"},
		"a newer field":       {mask(knownBits + 1), "run a newer one"},
		"a length too long":   {number(hasLength, 1<<63), "out of its range"},
		"a version too high":  {number(hasVersion, 1<<32), "out of its range"},
		"a mode too wide":     {number(hasMode, 1<<32), "out of its range"},
		"a persist state":     {number(hasPersist, 256), "out of its range"},
		"a TTL action":        {number(hasTTLAction, 256), "out of its range"},
		"replicas":            {binary.AppendVarint(mask(hasReplicaMin), math.MaxInt32+1), "out of its range"},
		"negative replicas":   {binary.AppendVarint(mask(hasReplicaMax), math.MinInt32-1), "out of its range"},
		"nanoseconds":         {binary.AppendUvarint(binary.AppendVarint(mask(hasModTime|hasModNanos), 1), 1e9), "out of its range"},
		"a time too late":     {binary.AppendVarint(mask(hasModTime), math.MaxInt64), "time is out of its range"},
		"a string too long":   {number(hasFingerprint, 9), "ends within a string"},
		"attributes too many": {number(hasXattr, 1<<40), "more attributes than bytes"},
		"left-overs":          {append(mask(0), 7), "left over"},
	} {
		n, err := decodeInode(1, "x", c.record)
		if !dfs.IsKind(err, dfs.Corrupted) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %+v, %v; want %q", name, n, err, c.says)
		}
	}
}

// TestPrincipalsAreShared: equal names of users share memory, and a crowd of different ones does not grow without end.
func TestPrincipalsAreShared(t *testing.T) {
	var i interner
	a, b := i.intern([]byte("alice")), i.intern([]byte("alice"))
	if unsafe.StringData(a) != unsafe.StringData(b) {
		t.Error("two copies of one name")
	}
	for n := range internLimit + 100 {
		if got := i.intern(fmt.Appendf(nil, "user%d", n)); got != fmt.Sprintf("user%d", n) {
			t.Fatalf("user %d became %q", n, got)
		}
	}
	if len(i.shared) != internLimit {
		t.Errorf("%d names are shared, the limit is %d", len(i.shared), internLimit)
	}
}
