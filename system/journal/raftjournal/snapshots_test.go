package raftjournal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/hashicorp/raft"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

func openStore(t *testing.T, fs vfs.FS) *snapshotStore {
	t.Helper()
	disk := fileSystem{fs} // the journal makes its own directory durable first
	if err := errors.Join(disk.MkdirAll("/journal", 0o755), disk.syncDir("/")); err != nil {
		t.Fatal(err)
	}
	s, err := openSnapshots(host.NewReal(), fileSystem{fs}, "/journal/snapshots")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// take makes a snapshot of index with files, as our own checkpoint would.
func take(t *testing.T, s *snapshotStore, index uint64, files map[string][]byte) error {
	t.Helper()
	sink, err := s.Create(1, index, 1, raft.Configuration{}, 1, nil)
	if err != nil {
		return err
	}
	own := sink.(*snapshotSink)
	for name, data := range files {
		path := s.fs.PathJoin(own.stateDir(), name)
		if err = s.fs.MkdirAll(s.fs.PathDir(path), 0o755); err == nil {
			err = s.fs.writeFile(path, bytes.Clone(data))
		}
		for dir := s.fs.PathDir(path); err == nil && len(dir) >= len(own.stateDir()); dir = s.fs.PathDir(dir) {
			err = s.fs.syncDir(dir)
		}
		if err != nil {
			return errors.Join(err, sink.Cancel())
		}
	}
	own.description.StateIndex = index
	return sink.Close()
}

func list(t *testing.T, fs vfs.FS) []string {
	t.Helper()
	names, err := fs.List("/journal/snapshots")
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestSnapshotFailures fails each operation of the disk in turn while a second snapshot is taken. The first one stays the
// newest until the second is complete; nothing is left of one that failed; and after a crash at that moment the store opens
// with one of them, whole (INV-1).
func TestSnapshotFailures(t *testing.T) {
	old, next := map[string][]byte{"a": []byte("old")}, someFiles()
	for _, errno := range []error{syscall.ENOSPC, syscall.EIO} {
		for at := 1; ; at++ {
			memory := vfs.NewCrashableMem()
			n, failed := -1, false
			disk := errorfs.Wrap(memory, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if n < 0 || op.Kind == errorfs.OpRemoveAll || op.Kind == errorfs.OpFileClose {
					return nil
				}
				if n++; n == at {
					failed = true
					return errno
				}
				return nil
			}))
			s := openStore(t, disk)
			if err := take(t, s, 5, old); err != nil {
				t.Fatal(err)
			}
			n = 0
			err := take(t, s, 9, next)
			n = -1
			want := uint64(9)
			if err != nil {
				want = 5
			}
			if !failed && err != nil || failed && err == nil && s.newest().description.Raft.Index != 9 {
				t.Fatalf("operation %d: %v", at, err)
			}
			if err != nil && errno == syscall.ENOSPC && !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("operation %d: %v does not say why", at, err)
			}
			if got := s.newest().description.Raft.Index; got != want && err != nil {
				t.Errorf("operation %d: the newest is %d, want %d (%v)", at, got, want, err)
			}
			for _, clone := range []vfs.FS{memory, memory.CrashClone(vfs.CrashCloneCfg{}),
				memory.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(1, uint64(at)))})} {
				again := openStore(t, clone)
				snap := again.newest()
				if snap == nil {
					t.Fatalf("operation %d: no snapshot after a restart, there are %q", at, list(t, clone))
				}
				files := next
				if snap.description.Raft.Index == 5 {
					files = old
				}
				wantTree(t, again.fs, snap.stateDir(again.fs), files)
				if names := list(t, clone); len(names) != 1 {
					t.Errorf("operation %d: %q are left", at, names)
				}
			}
			if !failed {
				t.Logf("%d operations", at-1)
				break
			}
		}
	}
}

// TestSnapshotReaders: a snapshot that is being sent stays, whatever newer ones come, until its last reader is done; then it
// goes, and no reader of a snapshot that went finds it.
func TestSnapshotReaders(t *testing.T) {
	memory := vfs.NewMem()
	s := openStore(t, memory)
	random := rand.New(rand.NewPCG(4, 4))
	type reading struct {
		index uint64
		r     io.ReadCloser
	}
	var open []reading
	for index := uint64(1); index < 40; index++ {
		if err := take(t, s, index, map[string][]byte{"f": fmt.Append(nil, index)}); err != nil {
			t.Fatal(err)
		}
		for range random.IntN(3) {
			metas, err := s.List()
			if err != nil || len(metas) != 1 || metas[0].Index != index {
				t.Fatalf("listed %v, %v", metas, err)
			}
			_, r, err := s.Open(metas[0].ID)
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, reading{index, r})
		}
		for len(open) > random.IntN(6) {
			k := random.IntN(len(open))
			one := open[k]
			open = append(open[:k], open[k+1:]...)
			var stream bytes.Buffer
			if random.IntN(2) == 0 {
				if _, err := io.Copy(&stream, one.r); err != nil || !strings.Contains(stream.String(), fmt.Sprint(one.index)) {
					t.Fatalf("snapshot %d: %v", one.index, err)
				}
			}
			if err := errors.Join(one.r.Close(), one.r.Close()); err != nil { // Raft closes twice
				t.Fatal(err)
			}
		}
		want := map[uint64]bool{index: true}
		for _, o := range open {
			want[o.index] = true
		}
		if names := list(t, memory); len(names) != len(want) {
			t.Fatalf("at %d: %q are there, %v are wanted", index, names, want)
		}
	}
	if _, _, err := s.Open("gone"); err == nil {
		t.Error("a snapshot that is not there was opened")
	}
}

// TestCanceledSnapshots: one that is cancelled leaves nothing, be it our own or one that was arriving, at any byte of its
// stream; cancelled or closed again it does nothing.
func TestCanceledSnapshots(t *testing.T) {
	fs := fileSystem{vfs.NewMem()}
	makeTree(t, fs, "/from", someFiles())
	var stream bytes.Buffer
	if err := writeStream(&stream, fs, "/from", 7); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, fs.FS)
	for at := 0; at <= stream.Len(); at += 1 + stream.Len()/13 {
		sink, err := s.Create(1, 7, 1, raft.Configuration{}, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		if at > 0 {
			if n, err := sink.Write(stream.Bytes()[:at]); err != nil || n != at {
				t.Fatalf("%d bytes: %d, %v", at, n, err)
			}
		}
		if err := errors.Join(sink.Cancel(), sink.Cancel(), sink.Close()); err != nil {
			t.Errorf("cancelled at %d: %v", at, err)
		}
		if names := list(t, fs.FS); len(names) != 0 || s.newest() != nil {
			t.Errorf("cancelled at %d: %q are left", at, names)
		}
	}
	// The same, closed in the middle as if it were whole: refused, and nothing is left.
	for _, at := range []int{1, 600, stream.Len() / 2, stream.Len() - 3*tarBlockBytes} {
		sink, err := s.Create(1, 7, 1, raft.Configuration{}, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = sink.Write(stream.Bytes()[:at])
		if err := sink.Close(); err == nil || len(list(t, fs.FS)) != 0 || s.newest() != nil {
			t.Errorf("closed at %d: %v, %q are left", at, err, list(t, fs.FS))
		}
	}
	sink, err := s.Create(1, 7, 1, raft.Configuration{}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sink.Write(stream.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err != nil || s.newest().description.StateIndex != 7 || s.newest().description.Raft.ID != sink.ID() {
		t.Fatalf("a whole stream: %v", err)
	}
	wantTree(t, fs, s.newest().stateDir(fs), someFiles())
}

// TestDamagedSnapshot: a description that cannot be read is for a person to decide on: Corrupted, with the directory's name
// and a remedy, and nothing is removed.
func TestDamagedSnapshot(t *testing.T) {
	for _, text := range []string{"", "{", "[]"} {
		memory := vfs.NewMem()
		s := openStore(t, memory)
		if err := take(t, s, 5, someFiles()); err != nil {
			t.Fatal(err)
		}
		dir := s.newest().dir
		if err := s.fs.writeFile(memory.PathJoin(dir, descriptionName), []byte(text)); err != nil {
			t.Fatal(err)
		}
		_, err := openSnapshots(host.NewReal(), fileSystem{memory}, "/journal/snapshots")
		if !dfs.IsKind(err, dfs.Corrupted) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "backup") {
			t.Errorf("%q: %v", text, err)
		}
		wantTree(t, s.fs, s.newest().stateDir(s.fs), someFiles())
	}
}

// TestNamesThatCannotBeSent: a file name that tar's header has no room for fails the stream and says so, instead of arriving
// as another one.
func TestNamesThatCannotBeSent(t *testing.T) {
	fs := fileSystem{vfs.NewMem()}
	makeTree(t, fs, "/from", map[string][]byte{strings.Repeat("x", 100): []byte("data")})
	if err := writeStream(io.Discard, fs, "/from", 1); err == nil || !strings.Contains(err.Error(), "cannot be sent") {
		t.Errorf("got %v", err)
	}
	makeTree(t, fs, "/fits", map[string][]byte{strings.Repeat("x", 100-len(streamPrefix)): []byte("data")})
	var stream bytes.Buffer
	if err := writeStream(&stream, fs, "/fits", 1); err != nil {
		t.Fatal(err)
	}
	if _, err := readStream(&stream, fs, "/to"); err != nil {
		t.Errorf("the longest name: %v", err)
	}
}
