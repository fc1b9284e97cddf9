package inodestoretest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/inodestore"
)

// Run tests a driver.
func Run(t *testing.T, d Driver) {
	tests := []struct {
		name string
		test func(*testing.T, Driver)
	}{
		{"child", testChild},
		{"list", testList},
		{"list is bounded by its directory", testListBounds},
		{"records", testRecords},
		{"order within a batch", testBatchOrder},
		{"batch reads the state before it", testBatchReads},
		{"flush and reopen", testReopen},
		{"crash", testCrash},
		{"checkpoint and replace", testCheckpoint},
		{"crash after replace", testCrashAfterReplace},
		{"replace under readers", testReplaceUnderReaders},
		{"replace refuses what is no checkpoint", testReplaceRefuses},
		{"concurrent readers", testConcurrent},
		{"damaged files", testDamage},
		{"in use", testInUse},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, d) })
	}
}

func testChild(t *testing.T, d Driver) {
	s := fresh(t, d)
	wantChild(t, s, 1, "a", nil)
	wantIndexes(t, s, 0, 0)
	a := File(1, 7, "a")
	put(t, s, 3, a)
	wantChild(t, s, 1, "a", a)
	wantChild(t, s, 1, "b", nil)
	wantChild(t, s, 2, "a", nil)
	changed := *a
	changed.Length, changed.Pinned = 99, true
	put(t, s, 4, &changed)
	wantChild(t, s, 1, "a", &changed)
	apply(t, s, 5, func(b inodestore.Batch) { b.DeleteInode(1, "a") })
	wantChild(t, s, 1, "a", nil)
	if got := s.AppliedIndex(); got != 5 {
		t.Fatalf("applied %d, want 5", got)
	}
}

func testList(t *testing.T, d Driver) {
	s := fresh(t, d)
	var want []string
	apply(t, s, 1, func(b inodestore.Batch) {
		for i := range 1000 { // several chunks of any driver
			name := fmt.Sprintf("f%04d", i)
			want = append(want, name)
			b.PutInode(File(5, dfs.InodeID(100+i), name))
		}
	})
	if got := names(t, s, 5, "", 5000); !slices.Equal(got, want) {
		t.Fatalf("got %d names", len(got))
	}
	if got := names(t, s, 5, "f0299", 3); !slices.Equal(got, want[300:303]) {
		t.Fatalf("after f0299: %q", got)
	}
	if got := names(t, s, 5, "f0299x", 1); !slices.Equal(got, want[300:301]) {
		t.Fatalf("after a name that is not there: %q", got)
	}
	if got := names(t, s, 5, "f0999", 1); len(got) != 0 {
		t.Fatalf("after the last: %q", got)
	}
	must(t, s.Flush())
	apply(t, s, 2, func(b inodestore.Batch) { b.DeleteInode(5, "f0001") })
	if got := names(t, s, 5, "", 2); !slices.Equal(got, []string{"f0000", "f0002"}) {
		t.Fatalf("after a delete: %q", got)
	}
}

func testListBounds(t *testing.T, d Driver) {
	s := fresh(t, d)
	parents := []dfs.InodeID{0, 1, 2, 255, 256, 1<<16 - 1, 1<<63 - 1, 1<<64 - 2, 1<<64 - 1}
	all := []string{"a", "a!", "ab", "b", "é", "\x01", "\U0010ffff"}
	slices.Sort(all)
	apply(t, s, 1, func(b inodestore.Batch) {
		for _, p := range parents {
			for _, name := range all {
				b.PutInode(File(p, 3, name))
			}
		}
	})
	for _, p := range parents {
		if got := names(t, s, p, "", 100); !slices.Equal(got, all) {
			t.Fatalf("directory %d: %q", p, got)
		}
		if got := names(t, s, p, "a", 100); !slices.Equal(got, all[2:]) {
			t.Fatalf("directory %d after a: %q", p, got)
		}
	}
	if got := names(t, s, 3, "", 100); len(got) != 0 {
		t.Fatalf("an empty directory: %q", got)
	}
}

func testRecords(t *testing.T, d Driver) {
	s := fresh(t, d)
	apply(t, s, 1, func(b inodestore.Batch) {
		for _, k := range []string{"", "a", "a\xff", "a\xff\xff", "b", "ba", "bb", "c"} {
			b.PutRecord(inodestore.TableSession, []byte(k), []byte("v"+k))
		}
		b.PutRecord(inodestore.TableMount, []byte("b"), nil)
		b.PutRecord(inodestore.TableMeta, []byte("x"), []byte("y"))
		b.PutInode(File(1, 2, "b"))
	})
	wantRecord(t, s, inodestore.TableSession, "ba", "vba")
	wantRecord(t, s, inodestore.TableSession, "", "v")
	wantRecord(t, s, inodestore.TableMount, "b", "") // empty, but there
	wantRecord(t, s, inodestore.TableMount, "ba", nil)
	tests := []struct{ prefix, from, want string }{
		{"", "", "[ a a\xff a\xff\xff b ba bb c]"},
		{"b", "", "[b ba bb]"},
		{"b", "ba", "[ba bb]"},
		{"b", "bab", "[bb]"},
		{"b", "c", "[]"},
		{"a\xff", "", "[a\xff a\xff\xff]"},
		{"d", "", "[]"},
		{"", "b", "[b ba bb c]"},
	}
	for _, tt := range tests {
		if got := fmt.Sprint(keys(t, s, tt.prefix, tt.from, 100)); got != tt.want {
			t.Errorf("prefix %q from %q: got %q, want %q", tt.prefix, tt.from, got, tt.want)
		}
	}
	if got := fmt.Sprint(keys(t, s, "", "", 2)); got != "[ a]" {
		t.Errorf("stopped early: %q", got)
	}
	apply(t, s, 2, func(b inodestore.Batch) { b.DeleteRecord(inodestore.TableSession, []byte("b")) })
	wantRecord(t, s, inodestore.TableSession, "b", nil)
	wantRecord(t, s, inodestore.TableMount, "b", "")
}

func keys(t *testing.T, s inodestore.Reader, prefix, from string, most int) []string {
	t.Helper()
	found := []string{}
	must(t, s.Records(inodestore.TableSession, []byte(prefix), []byte(from), func(key, value []byte) bool {
		if string(value) != "v"+string(key) {
			t.Fatalf("key %q has value %q", key, value)
		}
		found = append(found, string(key))
		return len(found) < most
	}))
	return found
}

func testBatchOrder(t *testing.T, d Driver) {
	s := fresh(t, d)
	first, second := File(1, 2, "a"), File(1, 3, "a")
	apply(t, s, 1, func(b inodestore.Batch) {
		b.PutInode(first)
		b.DeleteInode(1, "a")
		b.PutInode(second)
		b.PutInode(File(1, 4, "b"))
		b.DeleteInode(1, "b")
		b.PutRecord(inodestore.TableMeta, []byte("k"), []byte("1"))
		b.DeleteRecord(inodestore.TableMeta, []byte("k"))
	})
	wantChild(t, s, 1, "a", second)
	wantChild(t, s, 1, "b", nil)
	wantRecord(t, s, inodestore.TableMeta, "k", nil)
}

// testBatchReads: a filler may read the store, and sees nothing of its own batch; keys and values that it passes may be
// reused at once.
func testBatchReads(t *testing.T, d Driver) {
	s := fresh(t, d)
	a := File(1, 2, "a")
	put(t, s, 1, a)
	apply(t, s, 2, func(b inodestore.Batch) {
		b.DeleteInode(1, "a")
		wantChild(t, s, 1, "a", a)
		key, value := []byte("key"), []byte("value")
		b.PutRecord(inodestore.TableMeta, key, value)
		copy(key, "xxx")
		copy(value, "xxxxx")
	})
	wantChild(t, s, 1, "a", nil)
	wantRecord(t, s, inodestore.TableMeta, "key", "value")
}

func testInUse(t *testing.T, d Driver) {
	if !d.Exclusive {
		return // a driver without a directory of its own has nobody to keep out
	}
	h, _ := newDisk(t)
	s := open(t, d, h)
	defer func() { must(t, s.Close()) }()
	if _, err := d.Open(host.Host(h), dir); !dfs.IsKind(err, dfs.Unavailable) {
		t.Fatalf("second open: %v, want unavailable", err)
	}
}
