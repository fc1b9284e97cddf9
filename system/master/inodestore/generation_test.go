package inodestore

import (
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

type memHost struct {
	host.Host
	fs vfs.FS
}

func (h memHost) FS() vfs.FS { return h.fs }

func openMem(t *testing.T, fs vfs.FS) *pebbleStore {
	t.Helper()
	s, err := OpenPebble(memHost{host.NewReal(), fs}, "/s", Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s.(*pebbleStore)
}

func generations(t *testing.T, fs vfs.FS) (found []string) {
	t.Helper()
	names, err := fs.List("/s")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	for _, name := range names {
		if name[0] >= '0' && name[0] <= '9' {
			found = append(found, name)
		}
	}
	return found
}

// A replaced database stays while a reader has it, and its disk space is given back with the last one.
func TestReplacedGenerationGoes(t *testing.T) {
	fs := vfs.NewMem()
	s := openMem(t, fs)
	replace := func() {
		t.Helper()
		if err := s.Apply(1, func(b Batch) { b.PutInode(&Inode{Parent: 1, Name: "a"}) }); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Checkpoint("/c"); err != nil {
			t.Fatal(err)
		}
		if err := s.Replace("/c"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.List(1, "", func(*Inode) bool { return true }); err != nil {
		t.Fatal(err)
	}
	reader := s.acquire()
	replace()
	if got := generations(t, fs); !slices.Equal(got, []string{"000001", "000002"}) {
		t.Fatalf("with a reader: %q", got)
	}
	reader.release()
	if got := generations(t, fs); !slices.Equal(got, []string{"000002"}) {
		t.Fatalf("after the reader: %q", got)
	}
	replace()
	if got := generations(t, fs); !slices.Equal(got, []string{"000003"}) {
		t.Fatalf("without a reader: %q", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// What a crash within Replace leaves is removed at the next open.
	if err := fs.MkdirAll("/s/000004", 0o755); err != nil {
		t.Fatal(err)
	}
	s = openMem(t, fs)
	if got := generations(t, fs); !slices.Equal(got, []string{"000003"}) {
		t.Fatalf("after a restart: %q", got)
	}
	if n, err := s.Child(1, "a"); n == nil || err != nil {
		t.Fatal(n, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestUnreadableCurrent(t *testing.T) {
	fs := vfs.NewMem()
	if err := openMem(t, fs).Close(); err != nil {
		t.Fatal(err)
	}
	if err := (fileSystem{fs}).writeFile("/s/CURRENT", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenPebble(memHost{host.NewReal(), fs}, "/s", Options{}); !dfs.IsKind(err, dfs.Corrupted) {
		t.Errorf("opened: %v", err)
	}
}
