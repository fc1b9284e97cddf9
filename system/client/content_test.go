package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	pb "github.com/forebay/forebay/system/proto"
)

// cachedFile is a file of three blocks that only workers have.
func cachedFile() *dfs.FileStatus {
	return &dfs.FileStatus{ID: 7, Version: 2, Path: "/f", Name: "f", Length: 2500, BlockSize: 1000, Completed: true}
}

// blockWorld answers what content asks of a master.
type blockWorld struct {
	workers  string              // as workersAnswer has it
	holders  map[uint32][]string // by block
	status   *pb.FileStatus      // of the file now; nil: gone
	register string              // workers that are not yet registered
	located  []*pb.LocateBlocks  // asked
}

func (w *blockWorld) script(_ context.Context, b *pb.OperationBatch) (*pb.ResultBatch, error) {
	switch op := b.Operations[0]; {
	case op.GetListWorkers() != nil:
		all, err := workersAnswer(w.workers)
		for _, info := range all.Results[0].Workers {
			info.Registered = !strings.Contains(w.register, info.Id)
		}
		return all, err
	case op.GetLocateBlocks() != nil:
		l := op.GetLocateBlocks()
		w.located = append(w.located, l)
		r := &pb.Result{}
		for i := l.First; i < l.First+l.Count; i++ {
			r.Blocks = append(r.Blocks, &pb.BlockLocations{Index: i, Workers: w.holders[i]})
		}
		return answer(r, nil)
	case op.GetGetStatus() != nil:
		if w.status == nil {
			return answer(nil, dfs.Errorf(dfs.NotFound, "stat", "/f", "gone"))
		}
		return answer(&pb.Result{Status: w.status}, nil)
	}
	return answer(nil, dfs.Errorf(dfs.Unknown, "execute", "", "unexpected"))
}

// TestCandidates: who is asked for a block that only workers have, and what it means that there is nobody: each case has
// its own kind, since they ask different things of the reader.
func TestCandidates(t *testing.T) {
	now := func(version uint32, persist dfs.PersistState) *pb.FileStatus {
		return &pb.FileStatus{Id: 7, Version: version, Path: "/f", Length: 2500, BlockSize: 1000, Persist: uint32(persist), UfsPath: "f"}
	}
	for name, tt := range map[string]struct {
		world blockWorld
		want  string // ids, sorted
		kind  dfs.Kind
		words string
	}{
		"held by one":         {blockWorld{workers: "ABC", holders: map[uint32][]string{1: {"B"}}}, "B", 0, ""},
		"held by two":         {blockWorld{workers: "ABC", holders: map[uint32][]string{1: {"B", "A"}}}, "AB", 0, ""},
		"one of two lives":    {blockWorld{workers: "Ab", holders: map[uint32][]string{1: {"b", "A"}}}, "A", 0, ""},
		"its holder is away":  {blockWorld{workers: "Ab", holders: map[uint32][]string{1: {"b"}}}, "", dfs.Unavailable, "not live just now"},
		"replaced":            {blockWorld{workers: "AB", status: now(3, dfs.NotPersisted)}, "", dfs.Stale, "open the file again"},
		"removed":             {blockWorld{workers: "AB"}, "", dfs.Stale, "open the file again"},
		"persisted meanwhile": {blockWorld{workers: "ABCDEF", status: now(2, dfs.Persisted)}, "any four", 0, ""},
		"registering":         {blockWorld{workers: "AB", status: now(2, dfs.NotPersisted), register: "B"}, "", dfs.Unavailable, "still registering"},
		"lost with a worker":  {blockWorld{workers: "Ab", status: now(2, dfs.NotPersisted)}, "", dfs.DataLost, "start b:1 again"},
		"lost":                {blockWorld{workers: "AB", status: now(2, dfs.ToBePersisted)}, "", dfs.DataLost, "write the file again"},
		"persisted, nobody":   {blockWorld{workers: "ab", status: now(2, dfs.Persisted)}, "", dfs.Unavailable, "no live worker"},
	} {
		inVirtualTime(t, Config{}, scripts{tt.world.script}, func(_ host.Host, c *Client, _ []*fakeMaster) {
			file := newContent(c, cachedFile())
			found, err := file.candidates(context.Background(), 1)
			var ids []string
			for _, w := range found {
				ids = append(ids, string(w.ID))
			}
			slices.Sort(ids)
			switch {
			case tt.want == "any four":
				if len(ids) != maxCandidates || err != nil || !file.fileRef().Persisted {
					t.Errorf("%s: %v, %v", name, ids, err)
				}
			case tt.want != "":
				if strings.Join(ids, "") != tt.want || err != nil {
					t.Errorf("%s: %v, %v; want %s", name, ids, err, tt.want)
				}
			case !dfs.IsKind(err, tt.kind) || !strings.Contains(err.Error(), tt.words):
				t.Errorf("%s: got %v, want %v with %q", name, err, tt.kind, tt.words)
			}
			if file.holders[1] != nil && tt.want == "" {
				t.Errorf("%s: what turned out wrong is still known", name)
			}
		})
	}
}

// TestHoldersAreKept: holders are asked for together and once, by inode and version; what is forgotten is asked for again,
// blocks without a holder are not kept for none, and what is kept is bounded.
func TestHoldersAreKept(t *testing.T) {
	world := blockWorld{workers: "A", holders: map[uint32][]string{}}
	inVirtualTime(t, Config{}, scripts{world.script}, func(_ host.Host, c *Client, _ []*fakeMaster) {
		status := cachedFile()
		status.BlockSize, status.Length = 1, 10_000
		file := newContent(c, status)
		for i := range uint32(10_000) {
			if i != 5 {
				world.holders[i] = []string{"A"}
			}
		}
		for i := range uint32(10_000) {
			if _, err := file.holdersOf(context.Background(), i); err != nil {
				t.Fatal(err)
			}
			if len(file.holders) > maxKnownBlocks+locateAtOnce {
				t.Fatalf("%d blocks are known", len(file.holders))
			}
		}
		if n := len(world.located); n > 10_000/locateAtOnce+4 {
			t.Errorf("asked %d times for 10,000 blocks", n)
		}
		for _, l := range world.located {
			if l.Path != "" || l.Inode != 7 || l.Version != 2 || l.Count > locateAtOnce || l.First+l.Count > 10_000 || l.Count == 0 {
				t.Fatalf("asked %v", l)
			}
		}
		asked := len(world.located)
		file.forget(9_999)
		for range 2 {
			_, _ = file.holdersOf(context.Background(), 9_999)
		}
		if n := len(world.located) - asked; n != 1 {
			t.Errorf("a forgotten block was asked for %d times", n)
		}
	})
}

// TestBlockAt: a byte's block and the block's end in the file, at every border; a file without a block size has the default.
func TestBlockAt(t *testing.T) {
	for _, tt := range []struct {
		size, length, offset int64
		index                uint32
		end                  int64
	}{
		{1000, 2500, 0, 0, 1000}, {1000, 2500, 999, 0, 1000}, {1000, 2500, 1000, 1, 2000}, {1000, 2500, 2499, 2, 2500},
		{1000, 1000, 999, 0, 1000}, {0, 10, 5, 0, 10}, {0, 1 << 40, 64 << 20, 1, 128 << 20},
	} {
		file := newContent(nil, &dfs.FileStatus{BlockSize: tt.size, Length: tt.length})
		if index, end := file.blockAt(tt.offset); index != tt.index || end != tt.end {
			t.Errorf("%+v: block %d until %d", tt, index, end)
		}
		w := &Writer{status: &dfs.FileStatus{BlockSize: tt.size}}
		if index := w.blockIndex(tt.offset); index != tt.index {
			t.Errorf("%+v: written to block %d", tt, index)
		}
	}
}

// tree answers status and lists of a small namespace, with pages of two entries.
func tree(files map[string]*pb.FileStatus) func(context.Context, *pb.OperationBatch) (*pb.ResultBatch, error) {
	return func(_ context.Context, b *pb.OperationBatch) (*pb.ResultBatch, error) {
		op := b.Operations[0]
		if get := op.GetGetStatus(); get != nil {
			if s := files[get.Path]; s != nil {
				return answer(&pb.Result{Status: s}, nil)
			}
			return answer(nil, dfs.Errorf(dfs.NotFound, "stat", get.Path, "there is none"))
		}
		list := op.GetListStatus()
		if list.Path == "/denied" {
			return answer(nil, dfs.Errorf(dfs.PermissionDenied, "list", list.Path, "no"))
		}
		var below []string
		for p := range files {
			if path := dfs.Path(p); p != "/" && path.Parent() == dfs.Path(list.Path) && path.Name() > list.StartAfter {
				below = append(below, p)
			}
		}
		slices.Sort(below)
		r := &pb.Result{}
		for _, p := range below[:min(2, len(below))] {
			r.Entries = append(r.Entries, &pb.FileStatus{Path: dfs.Path(p).Name(), Type: files[p].Type, Length: files[p].Length, Mode: files[p].Mode})
		}
		if len(below) > 2 {
			r.NextToken = dfs.Path(below[1]).Name()
		}
		return answer(r, nil)
	}
}

func directory(p string) *pb.FileStatus {
	return &pb.FileStatus{Path: p, Type: uint32(dfs.TypeDirectory), Mode: 0o1755}
}

// TestFSErrors: each error of the client is what errors.Is of package io/fs looks for, with the operation and the name.
func TestFSErrors(t *testing.T) {
	for kind, want := range map[dfs.Kind]error{
		dfs.NotFound: fs.ErrNotExist, dfs.NotDirectory: fs.ErrNotExist, dfs.AlreadyExists: fs.ErrExist, dfs.PermissionDenied: fs.ErrPermission,
		dfs.InvalidArgument: fs.ErrInvalid, dfs.NameTooLong: fs.ErrInvalid, dfs.Unavailable: nil, dfs.Corrupted: nil,
	} {
		cause := dfs.Errorf(kind, "stat", "/a", "x")
		err := fsError("open", "a", cause)
		var pathError *fs.PathError
		if !errors.As(err, &pathError) || pathError.Op != "open" || pathError.Path != "a" || !errors.Is(err, cause) || !dfs.IsKind(err, kind) {
			t.Errorf("%v became %v", kind, err)
		}
		for _, std := range []error{fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, fs.ErrInvalid} {
			if errors.Is(err, std) != (std == want) {
				t.Errorf("%v: is %v: %v", kind, std, errors.Is(err, std))
			}
		}
	}
	if fsError("open", "a", nil) != nil {
		t.Error("no error became one")
	}
	names := &treeFS{}
	for name, want := range map[string]string{".": "/", "a": "/a", "a/b c": "/a/b c", "": "", "/a": "", "a/": "", "../a": "", "a/../b": "", "a//b": "", strings.Repeat("x", 256): ""} {
		got, err := names.path("open", name)
		if string(got) != want || (err == nil) != (want != "") || (err != nil && !errors.Is(err, fs.ErrInvalid)) {
			t.Errorf("%.20q: %q, %v", name, got, err)
		}
	}
}

// TestFSDirectories: ReadDir gives entries in portions across the pages of the master, ends with io.EOF exactly when asked
// for a number, keeps its place, and passes errors on with what it has.
func TestFSDirectories(t *testing.T) {
	files := map[string]*pb.FileStatus{"/": directory("/"), "/denied": directory("/denied")}
	for i := range 5 {
		p := fmt.Sprintf("/d/f%d", i)
		files[p] = &pb.FileStatus{Path: p, Length: int64(i), Mode: 0o644, Completed: true}
	}
	files["/d"] = directory("/d")
	inVirtualTime(t, Config{}, scripts{tree(files)}, func(_ host.Host, c *Client, _ []*fakeMaster) {
		fsys := &treeFS{c: c, ctx: context.Background()}
		open := func(p dfs.Path) *fsDirectory {
			return &fsDirectory{t: fsys, name: string(p[1:]), status: &dfs.FileStatus{Path: p, Type: dfs.TypeDirectory}}
		}
		for _, portions := range [][]int{{1, 1, 1, 1, 1}, {2, 2, 1}, {3, 2}, {5}, {100}, {-1}, {0}, {4, -1}} {
			d, got := open("/d"), 0
			for _, n := range portions {
				entries, err := d.ReadDir(n)
				if err != nil {
					t.Fatalf("%v: %v", portions, err)
				}
				for _, e := range entries {
					info, err := e.Info()
					if err != nil || e.Name() != fmt.Sprintf("f%d", got) || info.Size() != int64(got) || e.IsDir() {
						t.Errorf("%v: entry %d is %s, %v", portions, got, e.Name(), err)
					}
					got++
				}
			}
			if _, err := d.ReadDir(1); got != 5 || !errors.Is(err, io.EOF) {
				t.Errorf("%v: %d entries, then %v", portions, got, err)
			}
			if rest, err := d.ReadDir(0); len(rest) != 0 || err != nil {
				t.Errorf("%v: all of nothing gives %d, %v", portions, len(rest), err)
			}
		}
		d := open("/denied")
		for _, n := range []int{1, -1} {
			if _, err := d.ReadDir(n); !errors.Is(err, fs.ErrPermission) {
				t.Errorf("ReadDir(%d) of a closed directory: %v", n, err)
			}
		}
		if _, err := d.Read(make([]byte, 1)); err == nil {
			t.Error("a directory has bytes")
		}
		if info, err := d.Stat(); err != nil || !info.IsDir() || d.Close() != nil {
			t.Errorf("stat of a directory: %v", err)
		}
	})
}

// TestFileInfo: mode bits have their places in fs.FileMode, the root is ".", and Sys leads back.
func TestFileInfo(t *testing.T) {
	stamp := time.Unix(1_700_000_000, 5)
	for mode, want := range map[uint32]fs.FileMode{
		0o644: 0o644, 0o1777: 0o777 | fs.ModeSticky, 0o2755: 0o755 | fs.ModeSetgid, 0o4755: 0o755 | fs.ModeSetuid, 0o7000: fs.ModeSticky | fs.ModeSetgid | fs.ModeSetuid,
	} {
		for _, kind := range []dfs.FileType{dfs.TypeFile, dfs.TypeDirectory} {
			s := &dfs.FileStatus{Path: "/d/x", Name: "x", Type: kind, Mode: mode, Length: 9, ModTime: stamp}
			info := NewFileInfo(s)
			want := want
			if kind == dfs.TypeDirectory {
				want |= fs.ModeDir
			}
			if info.Mode() != want || info.IsDir() != info.Mode().IsDir() || info.Name() != "x" || info.Size() != 9 || !info.ModTime().Equal(stamp) || info.Sys() != s {
				t.Errorf("%o: %v, want %v", mode, info.Mode(), want)
			}
		}
	}
	if got := NewFileInfo(&dfs.FileStatus{Path: "/", Type: dfs.TypeDirectory}).Name(); got != "." {
		t.Errorf("the root is %q", got)
	}
}

// TestListErrors: a listing ends at the first error, which says what was listed, and is asked for no further.
func TestListErrors(t *testing.T) {
	asked := 0
	script := func(_ context.Context, b *pb.OperationBatch) (*pb.ResultBatch, error) {
		if asked++; asked == 3 {
			return answer(nil, dfs.Errorf(dfs.NotFound, "list", "/d", "it was removed meanwhile"))
		}
		return answer(&pb.Result{Entries: []*pb.FileStatus{{Path: fmt.Sprint("f", asked)}}, NextToken: fmt.Sprint("f", asked)}, nil)
	}
	inVirtualTime(t, Config{}, scripts{script}, func(_ host.Host, c *Client, masters []*fakeMaster) {
		var got []string
		for s, err := range c.List(context.Background(), "/d") {
			if err != nil {
				got = append(got, dfs.KindOf(err).String())
				continue
			}
			got = append(got, string(s.Path))
		}
		if fmt.Sprint(got) != "[/d/f1 /d/f2 not found]" || asked != 3 {
			t.Errorf("listed %v with %d questions", got, asked)
		}
		if after := masters[0].asked[1].Operations[0].GetListStatus().StartAfter; after != "f1" {
			t.Errorf("the second page begins after %q", after)
		}
	})
}

// TestConfigDefaults: what must be given is asked for with a remedy, what is not given has the defaults, and options of a
// call win over the client's.
func TestConfigDefaults(t *testing.T) {
	for _, cfg := range []Config{{}, {Masters: []string{"a:1"}}, {Host: host.NewReal()}} {
		_, err := New(cfg)
		wantKind(t, err, dfs.InvalidArgument)
	}
	inVirtualTime(t, Config{WriteType: dfs.WriteThrough, Replication: 2, BlockSizeBytes: 1 << 20, Timeout: -1}, scripts{nil}, func(_ host.Host, c *Client, _ []*fakeMaster) {
		cfg := c.core.cfg
		if cfg.Timeout != DefaultTimeout || cfg.KeepAlive != DefaultKeepAlive || cfg.WorkerListAge != DefaultWorkerListAge ||
			cfg.ReadaheadBytes != DefaultReadaheadBytes || cfg.Coalescer.CallTimeout != DefaultTimeout || cfg.Name == "" {
			t.Errorf("the defaults are %+v", cfg)
		}
		o := c.options(nil)
		if o.writeType != dfs.WriteThrough || o.replication != 2 || o.blockSize != 1<<20 {
			t.Errorf("without options: %+v", o)
		}
		if _, override := o.syncFields(); override {
			t.Error("no sync interval overrides the mount's")
		}
		o = c.options([]Option{WithWriteType(dfs.WriteMustCache), WithReadType(dfs.ReadNoCache), WithBlockSize(7), WithDurableReplicas(3), WithReplication(1, 4),
			WithMode(0o600), WithOverwrite(), WithParents(), WithTTL(time.Hour, dfs.TTLFree), WithSyncInterval(0), WithLocations()})
		want := options{readType: dfs.ReadNoCache, writeType: dfs.WriteMustCache, blockSize: 7, replication: 3, minReplicas: 1, maxReplicas: 4,
			mode: 0o600, overwrite: true, recursive: true, ttl: time.Hour, ttlAction: dfs.TTLFree, locations: true, sync: o.sync}
		if interval, override := o.syncFields(); o != want || interval != 0 || !override {
			t.Errorf("got %+v, want %+v", o, want)
		}
	})
}
