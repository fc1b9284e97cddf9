package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/host/hosttest"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/worker/blockstore"
)

// diskHost is a host in virtual time on another disk.
type diskHost struct {
	*hosttest.Virtual
	fs vfs.FS
}

func (h diskHost) FS() vfs.FS { return h.fs }

// TestIdentitySurvives: the id is made once and is the same after a restart; a crash at any moment of the first start leaves
// all of it or nothing, never a half that the next start would refuse.
func TestIdentitySurvives(t *testing.T) {
	memory := vfs.NewMem()
	h := diskHost{hosttest.NewVirtual(1), memory}
	first, lock, err := identity(h, "/state")
	if err != nil || !strings.HasPrefix(string(first), "worker-") {
		t.Fatalf("%q, %v", first, err)
	}
	if _, _, err := identity(h, "/state"); !dfs.IsKind(err, dfs.Unavailable) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second worker in the directory: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	again, lock, err := identity(h, "/state")
	if err != nil || again != first {
		t.Errorf("after a restart: %q, %v; it was %q", again, err, first)
	}
	_ = lock.Close()
	for at := 0; ; at++ {
		fs := vfs.NewCrashableMem()
		n, failed := 0, false
		broken := diskHost{hosttest.NewVirtual(uint64(at)), errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if n++; n > at && op.Kind != errorfs.OpFileClose {
				failed = true
				return syscall.EIO
			}
			return nil
		}))}
		id, lock, err := identity(broken, "/state")
		if err != nil && !failed {
			t.Errorf("operation %d: %v", at, err)
		}
		if err != nil && !dfs.IsKind(err, dfs.Unavailable) {
			t.Errorf("operation %d: %v", at, err)
		}
		if lock != nil && err == nil {
			_ = lock.Close()
		}
		next, lock, err2 := identity(diskHost{hosttest.NewVirtual(99), fs.CrashClone(vfs.CrashCloneCfg{})}, "/state")
		if err2 != nil || !failed && next != id {
			t.Errorf("operation %d: after a crash %q, %v; it was %q", at, next, err2, id)
		}
		if err2 == nil {
			_ = lock.Close()
		}
		if !failed {
			return
		}
	}
}

// TestForeignIdentity: a file that holds something else is named and not replaced.
func TestForeignIdentity(t *testing.T) {
	for _, text := range []string{"", "master-1\n", strings.Repeat("x", 1000)} {
		fs := vfs.NewMem()
		_ = fs.MkdirAll("/state", 0o755)
		f, err := fs.Create("/state/"+idFile, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = f.Write([]byte(text))
		_ = f.Close()
		_, _, err = identity(diskHost{hosttest.NewVirtual(1), fs}, "/state")
		if !dfs.IsKind(err, dfs.Corrupted) || !strings.Contains(err.Error(), "/state/"+idFile) {
			t.Errorf("%.10q: %v", text, err)
		}
	}
}

// TestMastersTable: which answers make a worker turn to another master, in which order, and when it gives up.
func TestMastersTable(t *testing.T) {
	away := func(kind dfs.Kind) error { return dfs.Errorf(kind, "heartbeat", "", "as the test says") }
	hint := func(leader string) error { return &dfs.Error{Kind: dfs.NotLeader, Op: "heartbeat", Leader: leader} }
	for _, test := range []struct {
		name    string
		answers map[string]error // by address
		want    string           // whom it asks, in order
		kind    dfs.Kind
	}{
		{"the first leads", nil, "a", 0},
		{"the first is away", map[string]error{"a": away(dfs.Unavailable)}, "a b", 0},
		{"two are away", map[string]error{"a": away(dfs.Unavailable), "b": away(dfs.DeadlineExceeded)}, "a b c", 0},
		{"a hint", map[string]error{"a": hint("c")}, "a c", 0},
		{"a hint to nobody in the list", map[string]error{"a": hint("d")}, "a d", 0},
		{"a hint to itself", map[string]error{"a": hint("a")}, "a b", 0},
		{"a hint to one that is away", map[string]error{"a": hint("c"), "c": away(dfs.Unavailable)}, "a c b", 0},
		{"an older master", map[string]error{"a": away(dfs.UnsupportedFeature)}, "a b", 0},
		{"a refusal", map[string]error{"a": away(dfs.PermissionDenied)}, "a", dfs.PermissionDenied},
		{"all away", map[string]error{"a": away(dfs.Unavailable), "b": away(dfs.Unavailable), "c": hint("")}, "a b c a b c a", dfs.Unavailable},
		{"two that name each other", map[string]error{"a": hint("b"), "b": hint("a")}, "a b a b a b a", dfs.NotLeader},
	} {
		m := newMasters(host.NewReal(), []string{"a", "b", "c"})
		var asked []string
		err := m.call(t.Context(), func(context.Context, proto.BlocksClient) error {
			asked = append(asked, m.leader())
			return test.answers[m.leader()]
		})
		if got := strings.Join(asked, " "); got != test.want || (err == nil) != (test.kind == 0) || err != nil && !dfs.IsKind(err, test.kind) {
			t.Errorf("%s: asked %s, want %s; %v", test.name, got, test.want, err)
		}
		if err == nil && m.leader() != asked[len(asked)-1] {
			t.Errorf("%s: it forgets who answered", test.name)
		}
		m.close()
	}
	m := newMasters(host.NewReal(), []string{"a", "b"})
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	err := m.call(ctx, func(context.Context, proto.BlocksClient) error { n++; cancel(); return away(dfs.Unavailable) })
	if n != 1 || err == nil {
		t.Errorf("a caller that gave up: %d calls, %v", n, err)
	}
	m.failed("a", away(dfs.Unavailable))
	m.failed("a", away(dfs.Unavailable)) // another task's answer about the same master
	if m.leader() != "b" {
		t.Errorf("two tasks that met the same master turned to %s", m.leader())
	}
}

// closable is an under store that counts its closing.
type closable struct {
	ufs.Store
	closed *int
}

func (c closable) Close() error { *c.closed++; return nil }

// TestMountCache: a store is opened once for many readers, again when that failed, and when the mount changed; stores of
// mounts that stay are left open by a refresh, and all are closed in the end.
func TestMountCache(t *testing.T) {
	v := hosttest.NewVirtual(1)
	err := v.Run(func() {
		opened, closed, fail := 0, 0, error(nil)
		table := []*proto.Mount{{Id: 1, Path: "/a", Uri: "mem://a"}, {Id: 2, Path: "/b", Uri: "mem://b", ReadOnly: true}, {Id: 65, Path: "/c", Uri: "mem://c"}}
		open := func(ctx context.Context, _ *proto.Mount) (ufs.Store, error) {
			if err := v.Sleep(ctx, time.Second); err != nil {
				return nil, err
			}
			if fail != nil {
				return nil, fail
			}
			opened++
			return closable{closed: &closed}, nil
		}
		fetch := func(context.Context, dfs.MountID) ([]*proto.Mount, error) { return table, nil }
		c := newMountCache(v, open, fetch, slog.New(slog.DiscardHandler))
		ctx := context.Background()
		fail = dfs.Errorf(dfs.PermissionDenied, "open", "", "wrong keys")
		if _, err := c.get(ctx, 1); !dfs.IsKind(err, dfs.PermissionDenied) {
			t.Errorf("a store that does not open: %v", err)
		}
		fail = nil
		var group = host.NewGroup(v, 0)
		for range 10 {
			_ = group.Go(ctx, "get", func() error {
				if _, err := c.get(ctx, 1); err != nil {
					t.Error(err)
				}
				return nil
			})
		}
		began := v.Now()
		_ = group.Go(ctx, "other", func() error { _, err := c.get(ctx, 2); return err })
		hurried, cancel := v.WithTimeout(ctx, time.Millisecond)
		if _, err := c.get(hurried, 65); !dfs.IsKind(err, dfs.DeadlineExceeded) { // it shares a lock with mount 1
			t.Errorf("a reader whose time is up: %v", err)
		}
		cancel()
		_ = group.Wait(ctx)
		if opened != 2 || v.Now().Sub(began) > 2*time.Second {
			t.Errorf("%d stores opened in %v", opened, v.Now().Sub(began))
		}
		s, err := c.get(ctx, 2)
		if err != nil || !dfs.IsKind(s.Remove(ctx, "x"), dfs.ReadOnly) {
			t.Errorf("a read-only mount's store: %v", err)
		}
		if _, err := c.get(ctx, 9); !dfs.IsKind(err, dfs.NotFound) {
			t.Errorf("a mount that is not there: %v", err)
		}
		for _, test := range []struct {
			change  func()
			dropped int
		}{
			{func() {}, 0},
			{func() { table[0] = &proto.Mount{Id: 1, Path: "/moved", Uri: "mem://a"} }, 0},
			{func() {
				table[0] = &proto.Mount{Id: 1, Path: "/moved", Uri: "mem://a", Options: map[string]string{"k": "v"}}
			}, 1},
			{func() { table[1] = &proto.Mount{Id: 2, Path: "/b", Uri: "mem://b"} }, 1},
		} {
			test.change()
			if dropped := c.refresh(table); len(dropped) != test.dropped {
				t.Errorf("mounts %v: %d stores dropped, want %d", table, len(dropped), test.dropped)
			}
		}
		if _, err := c.get(ctx, 1); err != nil || opened != 3 {
			t.Errorf("a changed mount's store: %v, %d opened", err, opened)
		}
		c.close()
		if closed != 1 {
			t.Errorf("%d of the 1 open stores closed", closed)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

// TestClosedMountCache: a store that was being opened when the worker stopped is closed and not kept.
func TestClosedMountCache(t *testing.T) {
	closed := 0
	c := newMountCache(host.NewReal(), nil, func(context.Context, dfs.MountID) ([]*proto.Mount, error) {
		return nil, dfs.Errorf(dfs.Unavailable, "mounts", "", "no master")
	}, slog.New(slog.DiscardHandler))
	c.open = func(context.Context, *proto.Mount) (ufs.Store, error) {
		c.close()
		return closable{closed: &closed}, nil
	}
	if _, err := c.get(t.Context(), 1); !dfs.IsKind(err, dfs.Unavailable) {
		t.Errorf("no master answers: %v", err)
	}
	if _, err := c.add(t.Context(), &proto.Mount{Id: 1}); !dfs.IsKind(err, dfs.Unavailable) || closed != 1 {
		t.Errorf("a store opened too late: %v, closed %d times", err, closed)
	}
}

// TestCut: messages are cut between files, with at most so many blocks, and one file at least.
func TestCut(t *testing.T) {
	files := func(blocks ...int) (all []*proto.HeldFile) {
		for _, n := range blocks {
			all = append(all, &proto.HeldFile{Blocks: make([]uint32, n)})
		}
		return all
	}
	for _, test := range []struct {
		blocks      []int
		most, front int
	}{
		{nil, 10, 0}, {[]int{3}, 10, 1}, {[]int{30}, 10, 1}, {[]int{5, 5}, 10, 2}, {[]int{5, 6}, 10, 1}, {[]int{11, 1}, 10, 1}, {[]int{1, 1, 1, 20}, 3, 3},
	} {
		front, rest := cut(files(test.blocks...), test.most)
		if len(front) != test.front || len(front)+len(rest) != len(test.blocks) {
			t.Errorf("%v by %d: %d and %d files, want %d in front", test.blocks, test.most, len(front), len(rest), test.front)
		}
	}
	big := []blockstore.Held{{File: dfs.FileVersion{Inode: 1, Version: 2}, Blocks: make([]uint32, 2*batchBlocks+1), Unpersisted: true}, {File: dfs.FileVersion{Inode: 3}, Blocks: make([]uint32, 1)}}
	sizes := ""
	for _, f := range heldFiles(big) {
		sizes += fmt.Sprintf("%d:%d%v ", f.Inode, len(f.Blocks), f.Unpersisted)
	}
	if want := fmt.Sprintf("1:%dtrue 1:%dtrue 1:1true 3:1false ", batchBlocks, batchBlocks); sizes != want {
		t.Errorf("%s, want %s", sizes, want)
	}
}

// TestPersisterBounds: over the bound files are refused with ResourceExhausted, which the master hears; outcomes that no
// master takes are bounded, the oldest go first; what is taken is taken once.
func TestPersisterBounds(t *testing.T) {
	block := make(chan struct{})
	w := &Worker{h: host.NewReal(), log: slog.New(slog.DiscardHandler), c: Config{PersistConcurrency: 1}, tasks: host.NewGroup(host.NewReal(), 0)}
	w.ctx, w.cancel = context.WithCancel(t.Context())
	var once sync.Once
	w.mounts = newMountCache(w.h, nil, func(ctx context.Context, _ dfs.MountID) ([]*proto.Mount, error) {
		once.Do(func() { <-block })
		return nil, dfs.Errorf(dfs.Unavailable, "mounts", "", "no master")
	}, w.log)
	p, staged := newPersister(w), ufs.Staged("1")
	for i := range maxPersistQueue + 5 {
		p.begin(&proto.WorkerCommand{Inode: uint64(i + 1), Version: 1, Staged: staged})
		p.begin(&proto.WorkerCommand{Inode: uint64(i + 1), Version: 1, Staged: staged}) // told again: the same one, or refused again
	}
	refused := p.takeResults(100)
	if len(refused) != 10 {
		t.Fatalf("%d answers, want 10 refusals", len(refused))
	}
	for _, r := range refused {
		if dfs.Kind(r.Error.GetKind()) != dfs.ResourceExhausted || r.Inode <= maxPersistQueue {
			t.Errorf("inode %d: %v", r.Inode, r.Error)
		}
	}
	close(block)
	if err := w.tasks.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if n := len(p.running); n != 0 {
		t.Errorf("%d still count as running", n)
	}
	for got := 0; got < maxPersistQueue; {
		batch := p.takeResults(300)
		if got += len(batch); len(batch) == 0 || len(batch) > 300 {
			t.Fatalf("%d outcomes in a batch, %d in all", len(batch), got)
		}
	}
	for i := range maxPendingResult + 7 {
		p.report(&proto.WorkerCommand{Inode: uint64(i + 1)}, nil)
	}
	all := p.takeResults(2 * maxPendingResult)
	if len(all) != maxPendingResult || all[0].Inode != 8 {
		t.Errorf("%d outcomes are kept, from inode %d", len(all), all[0].Inode)
	}
	w.cancel()
}

// TestCopyRemote: a worker that gives too little, nothing or an error is told apart from one that gives the rest.
func TestCopyRemote(t *testing.T) {
	ref := &proto.FileRef{Inode: 1, BlockSize: 10, Length: 10, UfsPath: "f"}
	for _, test := range []struct {
		name string
		read func(offset, length int64) (io.ReadCloser, error)
		done int64
		kind dfs.Kind
	}{
		{"all of it", func(_, n int64) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(strings.Repeat("x", int(n)))), nil
		}, 10, 0},
		{"too much", func(int64, int64) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(strings.Repeat("x", 50))), nil
		}, 10, 0},
		{"too little", func(int64, int64) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("xx")), nil }, 5, dfs.Unavailable},
		{"nobody has it", func(int64, int64) (io.ReadCloser, error) { return nil, dfs.Errorf(dfs.NotFound, "read", "f", "gone") }, 3, dfs.NotFound},
	} {
		w := &Worker{}
		w.c.ReadRemote = func(_ context.Context, _ *proto.FileRef, offset, length int64) (io.ReadCloser, error) {
			if offset != 3 || length != 7 {
				t.Errorf("%s: asked for %d+%d", test.name, offset, length)
			}
			return test.read(offset, length)
		}
		var out strings.Builder
		n, err := w.copyRemote(t.Context(), &out, ref, 0, 3, 10, errors.New("not here"))
		if n != test.done || (err == nil) != (test.kind == 0) || err != nil && !dfs.IsKind(err, test.kind) || int64(out.Len()) != n-3 {
			t.Errorf("%s: %d bytes, %d written, %v", test.name, n, out.Len(), err)
		}
	}
	if _, err := (&Worker{}).copyRemote(t.Context(), io.Discard, ref, 0, 3, 10, errors.New("not here")); !dfs.IsKind(err, dfs.DataLost) {
		t.Errorf("without other workers: %v", err)
	}
}

// TestUntilNext: a worker heeds the master's patience, within a bound, but not while it has something to tell.
func TestUntilNext(t *testing.T) {
	w := &Worker{c: Config{HeartbeatInterval: time.Second}}
	news := []*proto.HeldFile{{}}
	for _, test := range []struct {
		unsent pending
		want   time.Duration
	}{
		{pending{}, time.Second},
		{pending{patience: 300 * time.Millisecond}, time.Second},
		{pending{patience: 3 * time.Second}, 3 * time.Second},
		{pending{patience: time.Hour}, maxPatience},
		{pending{patience: 3 * time.Second, added: news}, time.Second},
		{pending{patience: 3 * time.Second, removed: news}, time.Second},
	} {
		if got := w.untilNext(&test.unsent); got != test.want {
			t.Errorf("%+v: %v, want %v", test.unsent, got, test.want)
		}
	}
}
