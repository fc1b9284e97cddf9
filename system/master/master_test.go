package master

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/host/hosttest"
	"github.com/forebay/forebay/system/journal"
	"github.com/forebay/forebay/system/journal/memjournal"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/mem"
)

// rig is a master on a journal in memory, with under stores in memory that tests change behind its back.
type rig struct {
	t       testing.TB
	h       host.Host
	m       *Master
	space   *mem.Space
	down    bool
	session uint64
	seq     uint64
	user    string
	heard   map[uint64]uint64 // the last answer to a worker, by its lease
}

func newRig(t testing.TB, change ...func(*Config)) *rig {
	t.Helper()
	r := startRig(t, host.NewReal(), change...)
	t.Cleanup(r.stop)
	return r
}

// startRig starts a master on h, and waits until it leads. stop ends it.
func startRig(t testing.TB, h host.Host, change ...func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, h: h, space: &mem.Space{}, user: "root"}
	store, err := inodestore.OpenHeap(r.h, "")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Host: r.h, ID: memjournal.MemberID, Address: "127.0.0.1:1", Store: store, Superuser: "root", Group: "root", SafeStart: time.Millisecond,
		OpenJournal: func(sm journal.StateMachine) (journal.Journal, error) { return memjournal.Open(r.h, sm), nil },
		OpenStore:   r.open,
	}
	for _, f := range change {
		f(&cfg)
	}
	if r.m, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	if err := r.m.Start(); err != nil {
		t.Fatal(err)
	}
	r.until("the master leads", r.m.Serving)
	return r
}

func (r *rig) stop() {
	ctx, cancel := r.h.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := r.m.Stop(ctx); err != nil {
		r.t.Error(err)
	}
}

// onVirtualTime runs body with a master whose clock moves as soon as everybody waits, so that minutes take no time.
func onVirtualTime(t *testing.T, body func(*rig), change ...func(*Config)) {
	t.Helper()
	v := hosttest.NewVirtual(1)
	if err := v.Run(func() {
		r := startRig(loud{t}, v, change...)
		body(r)
		r.stop()
	}); err != nil {
		t.Error(err)
	}
}

// loud panics where a test would end its goroutine, for which the virtual host would wait for ever.
type loud struct{ testing.TB }

func (l loud) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
func (l loud) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// sleep lets time pass.
func (r *rig) sleep(d time.Duration) { _ = r.h.Sleep(context.Background(), d) }

func (r *rig) open(_ context.Context, uri string, _ map[string]string) (ufs.Store, error) {
	if r.down {
		return nil, dfs.Errorf(dfs.Unavailable, "open under store", uri, "connection refused: is it running?")
	}
	return &switchable{Store: r.space.Open(r.h, strings.TrimPrefix(uri, "mem://")), down: &r.down}, nil
}

// switchable is a store whose server can be away.
type switchable struct {
	ufs.Store
	down *bool
}

func (s *switchable) Unwrap() ufs.Store { return s.Store }

func (s *switchable) Stat(ctx context.Context, path string) (ufs.Entry, error) {
	if *s.down {
		return ufs.Entry{}, dfs.Errorf(dfs.Unavailable, "stat", path, "connection refused")
	}
	return s.Store.Stat(ctx, path)
}

// until waits for a condition, and fails the test when it does not come true in time.
func (r *rig) until(what string, cond func() bool) {
	r.t.Helper()
	deadline := r.h.Now().Add(20 * time.Second)
	for !cond() {
		if r.h.Now().After(deadline) {
			r.t.Fatalf("in vain: waited 20 s until %s", what)
		}
		r.sleep(time.Millisecond)
	}
}

func (r *rig) batch(ops ...*proto.Operation) []*proto.Result {
	r.t.Helper()
	ctx, cancel := r.h.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	b := &proto.OperationBatch{BatchId: 7,
		Session: r.session, Operations: ops, TimeoutNs: int64(20 * time.Second),
		Identity: &proto.Identity{User: r.user, Groups: []string{r.user}}}
	for _, op := range ops {
		if !isRead(op) && r.session != 0 && op.Sequence == 0 {
			r.seq++
			op.Sequence = r.seq
		}
	}
	res, err := r.m.Execute(ctx, b)
	if err != nil {
		r.t.Fatal(err)
	}
	if res.Error != nil {
		r.t.Fatal(rpc.ErrorFromProto(res.Error))
	}
	if res.BatchId != 7 || len(res.Results) != len(ops) {
		r.t.Fatalf("batch %d with %d results for %d operations", res.BatchId, len(res.Results), len(ops))
	}
	return res.Results
}

func (r *rig) do(op *proto.Operation) (*proto.Result, error) {
	r.t.Helper()
	res := r.batch(op)[0]
	return res, rpc.ErrorFromProto(res.Error)
}

func (r *rig) must(op *proto.Operation) *proto.Result {
	r.t.Helper()
	res, err := r.do(op)
	if err != nil {
		r.t.Fatal(err)
	}
	return res
}

// Operations, as short as tests want them.
func opStat(p string) *proto.Operation {
	return &proto.Operation{Kind: &proto.Operation_GetStatus{GetStatus: &proto.GetStatus{Path: p, Locations: true}}}
}
func opStatNow(p string) *proto.Operation {
	return &proto.Operation{Kind: &proto.Operation_GetStatus{GetStatus: &proto.GetStatus{Path: p, SyncOverride: true}}}
}
func opList(p string) *proto.Operation {
	return &proto.Operation{Kind: &proto.Operation_ListStatus{ListStatus: &proto.ListStatus{Path: p}}}
}
func opListNow(p string) *proto.Operation {
	return &proto.Operation{Kind: &proto.Operation_ListStatus{ListStatus: &proto.ListStatus{Path: p, SyncOverride: true}}}
}
func opMount(p, uri string, ro bool) *proto.Operation {
	return &proto.Operation{Kind: &proto.Operation_Mount{Mount: &proto.MountUfs{Path: p, Uri: uri, ReadOnly: ro, SyncInterval: -1,
		Options: map[string]string{"secret_key": "hush"}}}}
}
func opCreate(p string, w dfs.WriteType) *proto.Operation {
	return &proto.Operation{Kind: &proto.Operation_CreateFile{CreateFile: &proto.CreateFile{Path: p, Mode: 0o644, WriteType: uint32(w)}}}
}
func opComplete(s *proto.FileStatus, w dfs.WriteType, length int64, fingerprint, worker string) *proto.Operation {
	c := &proto.CompleteFile{Inode: s.Id, Version: s.Version, Length: length, WriteType: uint32(w), Path: s.Path, Fingerprint: fingerprint}
	if worker != "" {
		c.Blocks = []*proto.BlockLocations{{Index: 0, Workers: []string{worker}}}
	}
	return &proto.Operation{Kind: &proto.Operation_CompleteFile{CompleteFile: c}}
}
func opMkdir(p string) *proto.Operation {
	return &proto.Operation{Kind: &proto.Operation_MakeDirectory{MakeDirectory: &proto.MakeDirectory{Path: p, Mode: 0o755}}}
}
func opRename(a, b string) *proto.Operation {
	return &proto.Operation{Kind: &proto.Operation_Rename{Rename: &proto.Rename{Source: a, Target: b}}}
}
func opRemove(p string, recursive bool) *proto.Operation {
	return &proto.Operation{Kind: &proto.Operation_Remove{Remove: &proto.Remove{Path: p, Recursive: recursive}}}
}

// TestScripts runs the scenarios of testdata: lines change the namespace or, with "ufs", the under store behind its
// back. -rewrite writes the answers anew.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		r := newRig(t)
		r.session = r.must(&proto.Operation{Kind: &proto.Operation_OpenSession{OpenSession: &proto.OpenSession{Nonce: 1}}}).Session
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var out strings.Builder
			for line := range strings.SplitSeq(d.Input, "\n") {
				if f := strings.Fields(line); len(f) > 0 && f[0] != "#" {
					fmt.Fprintln(&out, r.line(f))
				}
			}
			return out.String()
		})
	})
}

func (r *rig) line(f []string) string {
	answer, err := r.run(f[0], append(f[1:], "", "", ""))
	if err != nil {
		return err.Error()
	}
	if answer == "" {
		return "ok"
	}
	return answer
}

func (r *rig) run(verb string, a []string) (string, error) {
	switch verb {
	case "ufs":
		return r.ufs(a)
	case "down", "up":
		r.down = verb == "down"
		return "", nil
	case "as":
		r.user = a[0]
		return "", nil
	case "stat", "stat-now":
		op := opStat(a[0])
		if verb == "stat-now" {
			op = opStatNow(a[0])
		}
		res, err := r.do(op)
		if err != nil {
			return "", err
		}
		s := res.Status
		return fmt.Sprintf("version=%d length=%d %v ufs=%q", s.Version, s.Length, dfs.PersistState(s.Persist), s.UfsPath), nil
	case "ls", "ls-now":
		op := opList(a[0])
		if verb == "ls-now" {
			op = opListNow(a[0])
		}
		res, err := r.do(op)
		return names(res), err
	}
	return r.mutate(verb, a)
}

func names(res *proto.Result) string {
	var out []string
	for _, e := range res.Entries {
		name := dfs.Path(e.Path).Name()
		if dfs.FileType(e.Type) == dfs.TypeDirectory {
			name += "/"
		}
		out = append(out, name)
	}
	if len(out) == 0 {
		return "empty"
	}
	return strings.Join(out, " ")
}

func (r *rig) mutate(verb string, a []string) (string, error) {
	var op *proto.Operation
	switch verb {
	case "mount":
		op = opMount(a[0], a[1], a[2] == "ro")
	case "unmount":
		op = &proto.Operation{Kind: &proto.Operation_Unmount{Unmount: &proto.UnmountUfs{Path: a[0]}}}
	case "mkdir":
		op = opMkdir(a[0])
	case "mkdir-cached":
		op = opMkdir(a[0])
		op.GetMakeDirectory().MustCache = true
	case "mv":
		op = opRename(a[0], a[1])
	case "rm":
		op = opRemove(a[0], a[1] == "-r")
	case "rm-cached":
		op = opRemove(a[0], true)
		op.GetRemove().CacheOnly = true
	case "chmod":
		mode := uint32(0o600)
		op = &proto.Operation{Kind: &proto.Operation_SetAttribute{SetAttribute: &proto.SetAttribute{Path: a[0], Mode: &mode, Recursive: a[1] == "-r"}}}
	case "load":
		op = &proto.Operation{Kind: &proto.Operation_Load{Load: &proto.Load{Path: a[0], Recursive: a[1] == "-r"}}}
	case "persist":
		op = &proto.Operation{Kind: &proto.Operation_Persist{Persist: &proto.Persist{Path: a[0], Recursive: true}}}
	case "free":
		op = &proto.Operation{Kind: &proto.Operation_Free{Free: &proto.Free{Path: a[0], Recursive: true}}}
	case "put":
		return r.put(a[0], a[1])
	default:
		return "", fmt.Errorf("unknown verb %q", verb)
	}
	res, err := r.do(op)
	if err == nil && res.Count > 0 && (verb == "load" || verb == "persist" || verb == "free" || verb == "chmod") {
		return fmt.Sprintf("%d", res.Count), nil
	}
	return "", err
}

// put writes through the under store or to workers only, as the write type says, with the path's length as content.
func (r *rig) put(p, kind string) (string, error) {
	w := dfs.WriteThrough
	if kind != "" {
		var err error
		if w, err = dfs.ParseWriteType(kind); err != nil {
			return "", err
		}
	}
	op := opCreate(p, w)
	op.GetCreateFile().Overwrite = true
	res, err := r.do(op)
	if err != nil {
		return "", err
	}
	fingerprint := ""
	if w == dfs.WriteThrough {
		if fingerprint, err = r.store(res.Status.UfsPath, p); err != nil {
			return "", err
		}
	}
	_, err = r.do(opComplete(res.Status, w, int64(len(p)), fingerprint, ""))
	return "", err
}

func (r *rig) store(path, content string) (string, error) {
	ctx := context.Background()
	w, err := r.space.Open(r.h, "a").Create(ctx, path, 0o644)
	if err != nil {
		return "", err
	}
	if _, err := io.WriteString(w, content); err != nil {
		return "", err
	}
	e, err := w.Commit(ctx)
	return e.Fingerprint, err
}

// ufs acts on the store mem://a behind the master's back.
func (r *rig) ufs(a []string) (string, error) {
	ctx, s := context.Background(), r.space.Open(r.h, "a")
	switch a[0] {
	case "put":
		_, err := r.store(a[1], a[1]+a[2])
		return "", err
	case "mkdir":
		return "", s.Mkdir(ctx, a[1], 0o755)
	case "rm":
		return "", s.Remove(ctx, a[1])
	case "ls":
		var out []string
		for e, err := range s.List(ctx, a[1], "") {
			if err != nil {
				return "", err
			}
			out = append(out, e.Name)
		}
		return "[" + strings.Join(out, " ") + "]", nil
	case "mode":
		e, err := s.Stat(ctx, a[1])
		return fmt.Sprintf("%04o", e.Mode), err
	}
	return "", fmt.Errorf("unknown verb ufs %q", a[0])
}

// latecomer is a store in which a directory gains an entry just before it would be removed, as a worker that persists in
// the background makes it do.
type latecomer struct {
	ufs.Store
	late int
}

func (l *latecomer) Remove(ctx context.Context, path string) error {
	if path == "d" && l.late > 0 {
		l.late--
		w, err := l.Create(ctx, fmt.Sprintf("d/late%d", l.late), 0o644)
		if err == nil {
			_, err = w.Commit(ctx)
		}
		if err != nil {
			return err
		}
	}
	return l.Store.Remove(ctx, path)
}

// TestRemoveTreeCatchesUp: what appears below a directory while it is being removed is removed too.
func TestRemoveTreeCatchesUp(t *testing.T) {
	h, ctx := host.NewReal(), context.Background()
	s := &latecomer{Store: mem.New(h), late: 3}
	if err := s.Mkdir(ctx, "d/e/f", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := removeTree(ctx, h, s, "d"); err != nil || s.late != 0 {
		t.Errorf("%v, %d entries never came", err, s.late)
	}
	if _, err := s.Stat(ctx, "d"); !dfs.IsKind(err, dfs.NotFound) {
		t.Errorf("the directory is still there: %v", err)
	}
	s.late = 1 << 30
	short, cancel := h.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if err := s.Mkdir(ctx, "d", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := removeTree(short, h, s, "d"); err == nil {
		t.Error("a directory that never empties was removed")
	}
}
