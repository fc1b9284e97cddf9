package raftjournal

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/types"

	"github.com/forebay/forebay/system/host"
)

func newMeta(t *testing.T, fs vfs.FS) *metaFile {
	t.Helper()
	m := &metaFile{fs: fileSystem{fs}}
	if _, err := m.Load("/"); err != nil {
		t.Fatal(err)
	}
	return m
}

// INV-1 of metaFile: whatever part of an unsynced write survives a crash, one of the two states is read.
func TestMetaFileCrash(t *testing.T) {
	fs := vfs.NewCrashableMem()
	m := newMeta(t, fs)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 50 {
		if err := m.SetStable([]byte("term"), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
		if err := m.CommitState(types.PersistentState{NextSegmentID: uint64(i)}); err != nil {
			t.Fatal(err)
		}
		// A write that tears anywhere.
		slot, err := makeSlot(metaState{Stable: map[string][]byte{"term": []byte("torn")}}, m.sequence+1)
		if err != nil {
			t.Fatal(err)
		}
		clone := fs.CrashClone(vfs.CrashCloneCfg{})
		f, err := clone.OpenReadWrite("/meta", vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(slot[:rng.IntN(len(slot))], int64((m.sequence+1)%2*metaSlotBytes)); err != nil {
			t.Fatal(err)
		}
		again := newMeta(t, clone)
		if got, _ := again.GetStable([]byte("term")); string(got) != fmt.Sprint(i) || again.state.Log.NextSegmentID != uint64(i) {
			t.Fatalf("after write %d: term %q, %+v", i, got, again.state.Log)
		}
		if err := again.SetStable([]byte("term"), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzReadSlot(f *testing.F) {
	slot, err := makeSlot(metaState{Stable: map[string][]byte{"a": []byte("b")}}, 7)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(slot)
	f.Fuzz(func(_ *testing.T, data []byte) { readSlot(data) })
}

// makeTree makes a directory of files like a checkpoint's.
func makeTree(t testing.TB, fs fileSystem, dir string, files map[string][]byte) {
	t.Helper()
	for name, data := range files {
		path := fs.PathJoin(dir, name)
		if err := fs.MkdirAll(fs.PathDir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := fs.writeFile(path, bytes.Clone(data)); err != nil { // a vfs.File may change what it is given
			t.Fatal(err)
		}
	}
}

func someFiles() map[string][]byte {
	rng := rand.New(rand.NewPCG(2, 2))
	files := map[string][]byte{"empty": {}, "MANIFEST-000001": []byte("m"), "sub/deep/x": bytes.Repeat([]byte("x"), 512)}
	for i := range 5 {
		data := make([]byte, rng.IntN(3000))
		for k := range data {
			data[k] = byte(rng.Uint32())
		}
		files[fmt.Sprintf("%06d.sst", i)] = data
	}
	return files
}

func wantTree(t *testing.T, fs fileSystem, dir string, files map[string][]byte) {
	t.Helper()
	count := 0
	err := fs.walk(dir, "", func(rel string, _ int64) error {
		count++
		data, err := fs.readFile(fs.PathJoin(dir, rel))
		if err == nil && !bytes.Equal(data, files[rel]) {
			err = fmt.Errorf("%s differs", rel)
		}
		return err
	})
	if err != nil || count != len(files) {
		t.Fatalf("%d files, want %d; %v", count, len(files), err)
	}
}

func TestStream(t *testing.T) {
	fs := fileSystem{vfs.NewMem()}
	files := someFiles()
	makeTree(t, fs, "/from", files)
	var stream bytes.Buffer
	if err := writeStream(&stream, fs, "/from", 42); err != nil {
		t.Fatal(err)
	}
	size, err := streamSize(fs, "/from", 42)
	if err != nil || size != int64(stream.Len()) {
		t.Fatalf("%d bytes, %d were promised (%v)", stream.Len(), size, err)
	}
	index, err := readStream(bytes.NewReader(stream.Bytes()), fs, "/to")
	if err != nil || index != 42 {
		t.Fatal(index, err)
	}
	wantTree(t, fs, "/to", files)

	// Damage anywhere is found, or harmed nothing; a stream that ends early is refused.
	for at := 0; at < stream.Len(); at += 97 {
		bad := bytes.Clone(stream.Bytes())
		bad[at] ^= 0x10
		dir := fmt.Sprintf("/bad%d", at)
		if index, err := readStream(bytes.NewReader(bad), fs, dir); err == nil {
			if index != 42 {
				t.Fatalf("byte %d: index %d", at, index)
			}
			wantTree(t, fs, dir, files)
		}
		if _, err := readStream(bytes.NewReader(stream.Bytes()[:at]), fs, dir+"cut"); err == nil && at < stream.Len()-3*tarBlockBytes {
			t.Fatalf("accepted the first %d of %d bytes", at, stream.Len())
		}
	}
}

func FuzzReadStream(f *testing.F) {
	fs := fileSystem{vfs.NewMem()}
	makeTree(f, fs, "/from", map[string][]byte{"a": []byte("data"), "b/c": {}})
	var stream bytes.Buffer
	if err := writeStream(&stream, fs, "/from", 1); err != nil {
		f.Fatal(err)
	}
	f.Add(stream.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		fs := fileSystem{vfs.NewMem()}
		_, _ = readStream(bytes.NewReader(data), fs, "/in/to")
		names, _ := fs.List("/")
		if len(names) > 1 || len(names) == 1 && names[0] != "in" {
			t.Fatalf("it wrote outside its directory: %q", names)
		}
	})
}

func command(index uint64, size int) *raft.Log {
	data := make([]byte, size)
	return &raft.Log{Index: index, Type: raft.LogCommand, Data: data, Extensions: checksum(data)}
}

func TestLogCacheBound(t *testing.T) {
	c := logCache{limit: 10_000}
	for i := uint64(1); i < 1000; i++ {
		c.add([]*raft.Log{command(i, int(i*7%900))})
		if c.bytes > c.limit {
			t.Fatalf("%d bytes, limit %d", c.bytes, c.limit)
		}
	}
	var l raft.Log
	if !c.get(999, &l) || l.Index != 999 || c.get(1, &l) || c.get(1000, &l) {
		t.Fatal("the newest is not there, or something else is")
	}
	c.add([]*raft.Log{command(2000, 1)}) // behind a gap
	if c.get(999, &l) || !c.get(2000, &l) {
		t.Fatal("a gap within the cache")
	}
	c.cut(1990, 2000)
	if c.get(2000, &l) {
		t.Fatal("a removed entry is there")
	}
}

// TestLastCommand follows a log through what happens to one: elections, truncation, a snapshot from the leader, a restart.
func TestLastCommand(t *testing.T) {
	fs := fileSystem{vfs.NewMem()}
	open := func() *logStore {
		s, err := openLog(host.NewReal(), fs, "/log", 1<<20, raftLogger(testLogger()))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	own := func(index uint64) *raft.Log { return &raft.Log{Index: index, Type: raft.LogNoop} }
	store := func(logs ...*raft.Log) {
		t.Helper()
		if err := s.StoreLogs(logs); err != nil {
			t.Fatal(err)
		}
	}
	want := func(index, applied, want uint64) {
		t.Helper()
		if got := s.lastCommand(index, applied); got != want {
			var l raft.Log
			t.Log(s.GetLog(got, &l), l)
			t.Fatalf("last command at or below %d with %d applied: %d, want %d", index, applied, got, want)
		}
	}
	want(0, 0, 0)
	store(own(1), own(2), command(3, 1), own(4), own(5))
	want(2, 0, 0)
	want(5, 0, 3)
	want(5, 3, 3)
	if err := s.DeleteRange(3, 5); err != nil { // another leader has overruled them
		t.Fatal(err)
	}
	store(own(3), command(4, 1), own(5))
	want(5, 0, 4)
	want(3, 0, 0)
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	s = open()
	want(5, 0, 4)
	want(3, 0, 0)
	store(command(6, 1))
	if err := s.DeleteRange(1, 6); err != nil { // a snapshot at 90 has come, whose last command is 88
		t.Fatal(err)
	}
	store(own(91), own(92))
	want(92, 88, 88)
	want(90, 88, 88)
	store(command(93, 1))
	want(93, 88, 93)
	for i := uint64(94); i < 94+2*ownEntriesKept; i++ {
		store(own(i))
	}
	want(93+2*ownEntriesKept, 93, 93)
	if n := s.own.count(); n > 2*ownEntriesKept {
		t.Errorf("%d are remembered", n)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
}
