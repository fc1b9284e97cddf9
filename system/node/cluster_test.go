package node

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/host/hosttest"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/ufs/drivers"
)

// basePort finds a run of free ports for an embedded cluster.
func basePort(t testing.TB) int {
	t.Helper()
	port, err := hosttest.FreePorts(httpWorkerPort + 2)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func up(t testing.TB, cfg UpConfig) (*Cluster, *client.Client) {
	t.Helper()
	h := host.NewReal()
	c, err := StartCluster(h, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Ready(context.Background()); err != nil {
		t.Fatal(err)
	}
	cl, err := client.New(client.Config{Host: h, Masters: c.Masters(), Identity: dfs.Identity{User: "root", Groups: []string{"root"}}, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return c, cl
}

func down(t testing.TB, c *Cluster, cl *client.Client) {
	t.Helper()
	_ = cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := c.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func start(t testing.TB, masters, workers int) (*Cluster, *client.Client) {
	c, cl := up(t, UpConfig{Dir: t.TempDir(), Masters: masters, Workers: workers, Port: basePort(t), Capacity: "512MiB"})
	t.Cleanup(func() { down(t, c, cl) })
	return c, cl
}

// TestSecondStartFindsTheData: namespace, under store and cache are there again, with the layout of the first start.
func TestSecondStartFindsTheData(t *testing.T) {
	ctx := context.Background()
	cfg := UpConfig{Dir: t.TempDir(), Masters: 1, Workers: 2, Port: basePort(t), Capacity: "64MiB"}
	c, cl := up(t, cfg)
	content := map[dfs.Path][]byte{}
	for i, w := range []dfs.WriteType{dfs.WriteCacheThrough, dfs.WriteMustCache, dfs.WriteThrough, dfs.WriteAsyncThrough} {
		p := dfs.Path("/" + w.String())
		content[p] = bytes.Repeat([]byte{byte('a' + i)}, 300_000*(i+1))
		if err := cl.WriteFile(ctx, p, content[p], client.WithWriteType(w)); err != nil {
			t.Fatal(err)
		}
	}
	down(t, c, cl)
	c, cl = up(t, UpConfig{Dir: cfg.Dir})
	defer func() { down(t, c, cl) }()
	if c.layout.Workers != 2 || c.layout.Port != cfg.Port {
		t.Errorf("the layout changed: %+v", c.layout)
	}
	for p, want := range content {
		if got, err := cl.ReadFile(ctx, p); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes of %d, %v", p, len(got), len(want), err)
		}
	}
	if _, err := StartCluster(host.NewReal(), UpConfig{Dir: cfg.Dir, Masters: 3}); !dfs.IsKind(err, dfs.InvalidArgument) {
		t.Errorf("another number of masters on the same data: %v", err)
	}
}

// TestFSInterface holds the client's io/fs form to the standard library's own suite.
func TestFSInterface(t *testing.T) {
	_, cl := start(t, 1, 1)
	ctx := context.Background()
	files := map[string]string{"a/b/c": "deep", "a/empty": "", "top": strings.Repeat("x", 3_000)}
	for name, content := range files {
		p := dfs.Path("/" + name)
		if err := cl.Mkdir(ctx, p.Parent(), client.WithParents()); err != nil {
			t.Fatal(err)
		}
		if err := cl.WriteFile(ctx, p, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := fstest.TestFS(cl.FS(ctx), "a/b/c", "a/empty", "top"); err != nil {
		t.Error(err)
	}
}

// TestLargeFile: several blocks over several workers, read whole, at offsets, and by many readers at once.
func TestLargeFile(t *testing.T) {
	_, cl := start(t, 1, 2)
	ctx := context.Background()
	data := make([]byte, 9<<20+12_345)
	for i := range data {
		data[i] = byte(i*7 + i>>13)
	}
	for _, w := range []dfs.WriteType{dfs.WriteCacheThrough, dfs.WriteMustCache, dfs.WriteAsyncThrough, dfs.WriteThrough} {
		p := dfs.Path("/large-" + w.String())
		if err := cl.WriteFile(ctx, p, data, client.WithWriteType(w), client.WithBlockSize(2<<20)); err != nil {
			t.Fatalf("%v: %v", w, err)
		}
		f, err := cl.Open(ctx, p)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				offset := int64(i) * 599_999
				buf := make([]byte, 400_000)
				if n, err := f.ReadAt(buf, offset); err != nil || !bytes.Equal(buf[:n], data[offset:offset+int64(n)]) {
					t.Errorf("%v: read at %d: %d bytes, %v", w, offset, n, err)
				}
			})
		}
		wg.Wait()
		if _, err := f.Seek(-5, io.SeekEnd); err != nil {
			t.Error(err)
		}
		if tail, err := io.ReadAll(f); err != nil || !bytes.Equal(tail, data[len(data)-5:]) {
			t.Errorf("%v: tail %v, %v", w, tail, err)
		}
		if got, err := cl.ReadFile(ctx, p); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%v: whole: %d bytes, %v", w, len(got), err)
		}
		_ = f.Close()
	}
}

// TestOverwriteKeepsOpenReaders: contract C4 from the outside.
func TestOverwriteKeepsOpenReaders(t *testing.T) {
	_, cl := start(t, 1, 1)
	ctx := context.Background()
	first, second := bytes.Repeat([]byte("1"), 200_000), bytes.Repeat([]byte("2"), 100_000)
	if err := cl.WriteFile(ctx, "/f", first); err != nil {
		t.Fatal(err)
	}
	f, err := cl.Open(ctx, "/f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := cl.WriteFile(ctx, "/f", second, client.WithOverwrite()); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, first) {
		t.Errorf("the reader that was open: %d bytes, %v", len(got), err)
	}
	if got, err := cl.ReadFile(ctx, "/f"); err != nil || !bytes.Equal(got, second) {
		t.Errorf("a new reader: %d bytes, %v", len(got), err)
	}
	if _, err := cl.Create(ctx, "/f"); !dfs.IsKind(err, dfs.AlreadyExists) {
		t.Errorf("without overwrite: %v", err)
	}
}

// TestAsyncThroughArrives: what was acknowledged by workers reaches the under store by itself, and follows a rename.
func TestAsyncThroughArrives(t *testing.T) {
	c, cl := start(t, 1, 2)
	ctx := context.Background()
	data := bytes.Repeat([]byte("persist me "), 100_000)
	if err := cl.WriteFile(ctx, "/a", data, client.WithWriteType(dfs.WriteAsyncThrough), client.WithDurableReplicas(2), client.WithBlockSize(1<<20)); err != nil {
		t.Fatal(err)
	}
	locations, err := cl.Locate(ctx, "/a")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range locations {
		if len(b.Workers) != 2 {
			t.Errorf("block %d is at %d workers, 2 were asked for", b.Index, len(b.Workers))
		}
	}
	if err := cl.Rename(ctx, "/a", "/b"); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		s, err := cl.Stat(ctx, "/b")
		if err != nil {
			t.Fatal(err)
		}
		if s.Persist == dfs.Persisted {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not reach the under store")
		}
		time.Sleep(20 * time.Millisecond)
	}
	got, err := os.ReadFile(filepath.Join(c.Dir, "under", "b"))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("under store: %d bytes, %v", len(got), err)
	}
	if _, err := os.Stat(filepath.Join(c.Dir, "under", "a")); err == nil {
		t.Error("the old name is in the under store too")
	}
}

// TestThreeMasters: any of them may be asked, leadership moves on request, and nothing is lost by it.
func TestThreeMasters(t *testing.T) {
	c, cl := start(t, 3, 1)
	ctx := context.Background()
	var before int
	for i, m := range c.masters {
		if m.Serving() {
			before = i
		}
	}
	for i := range 20 {
		if err := cl.WriteFile(ctx, dfs.Path(fmt.Sprintf("/f%d", i)), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	stop, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := c.masters[before].Stop(stop); err != nil {
		t.Errorf("stop the leader: %v", err)
	}
	begin := time.Now()
	if err := cl.WriteFile(ctx, "/after", []byte("y")); err != nil {
		t.Fatal(err)
	}
	t.Logf("first write after the leader stopped took %v", time.Since(begin))
	for i := range 20 {
		if got, err := cl.ReadFile(ctx, dfs.Path(fmt.Sprintf("/f%d", i))); err != nil || string(got) != "x" {
			t.Errorf("file %d: %q, %v", i, got, err)
		}
	}
	c.masters = append(c.masters[:before], c.masters[before+1:]...)
}

func TestProbes(t *testing.T) {
	c, _ := start(t, 1, 1)
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ok", "/metrics": "forebay_master_serving 1"} {
		res, err := http.Get("http://" + c.layout.address(httpMasterPort) + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %.200s, %v", path, res.StatusCode, body, err)
		}
	}
	res, err := http.Get("http://" + c.layout.address(httpWorkerPort) + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if !strings.Contains(string(body), "forebay_worker_tier0_ssd_capacity_bytes") {
		t.Error("the worker does not show its tiers")
	}
}

func TestUpRefusesImpossibleLayouts(t *testing.T) {
	for _, cfg := range []UpConfig{{Masters: 2}, {Masters: -1}, {Workers: 99}, {Capacity: "much"}} {
		cfg.Dir = t.TempDir()
		if _, err := StartCluster(host.NewReal(), cfg); !dfs.IsKind(err, dfs.InvalidArgument) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cluster.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := StartCluster(host.NewReal(), UpConfig{Dir: dir}); !dfs.IsKind(err, dfs.Corrupted) {
		t.Errorf("a broken layout: %v", err)
	}
}

// TestUpExplainsAndStops runs the command's whole life.
func TestUpExplainsAndStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	out := &lockedBuffer{}
	done := make(chan error, 1)
	go func() {
		done <- Up(ctx, host.NewReal(), UpConfig{Dir: t.TempDir(), Port: basePort(t), Out: out})
	}()
	deadline := time.Now().Add(30 * time.Second)
	for !strings.Contains(out.String(), "Ctrl-C") {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come up: %s", out)
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("a clean stop ends with %v", err)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// BenchmarkReadWarm reads 20 KiB files that a worker holds, by 8 readers; for profiles.
func BenchmarkReadWarm(b *testing.B) {
	_, cl := start(b, 1, 1)
	ctx := context.Background()
	data := bytes.Repeat([]byte("x"), 20_000)
	const files = 200
	for i := range files {
		if err := cl.WriteFile(ctx, dfs.Path(fmt.Sprintf("/f%d", i)), data); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(data)))
	b.SetParallelism(4)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if got, err := cl.ReadFile(ctx, dfs.Path(fmt.Sprintf("/f%d", i%files))); err != nil || len(got) != len(data) {
				b.Errorf("%d bytes, %v", len(got), err)
				return
			}
		}
	})
}

// TestQuorumGrows: a fourth master that joins gets everything, and can lead when the others hand over to it.
func TestQuorumGrows(t *testing.T) {
	c, cl := start(t, 1, 1)
	ctx := context.Background()
	for i := range 50 {
		if err := cl.WriteFile(ctx, dfs.Path(fmt.Sprintf("/f%d", i)), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	cfg := c.masterConfig(0)
	dir := t.TempDir()
	m := &cfg.Master
	m.ID, m.Join, m.Peers, m.HTTP.Address = "joiner", true, nil, ""
	m.Address, m.Journal.Address = "127.0.0.1:0", fmt.Sprintf("127.0.0.1:%d", basePort(t))
	m.Journal.Dir, m.Metadata.Dir = filepath.Join(dir, "journal"), filepath.Join(dir, "metadata")
	joiner, err := StartMaster(c.h, cfg, slog.New(slog.DiscardHandler), drivers.Drivers{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		stop, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		_ = joiner.Stop(stop)
	}()
	conn, err := c.h.Dial(c.Masters()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	admin := proto.NewAdminClient(conn)
	call, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	res, err := admin.ChangeQuorum(call, &proto.ChangeQuorumRequest{Change: &proto.ChangeQuorumRequest_Add{
		Add: &proto.QuorumMember{Id: "joiner", Address: m.Journal.Address}}})
	if err != nil || len(res.Members) != 2 {
		t.Fatalf("add: %v, %v", res, err)
	}
	if _, err := admin.ChangeQuorum(call, &proto.ChangeQuorumRequest{Change: &proto.ChangeQuorumRequest_Transfer{Transfer: "joiner"}}); err != nil {
		t.Fatalf("transfer: %v", err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for !joiner.Serving() {
		if time.Now().After(deadline) {
			t.Fatal("the new master does not lead")
		}
		time.Sleep(10 * time.Millisecond)
	}
	second, err := client.New(client.Config{Host: c.h, Masters: []string{joiner.Address()}, Identity: dfs.Identity{User: "root"}})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	n := 0
	for _, err := range second.List(ctx, "/") {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 50 {
		t.Errorf("the new master knows %d of 50 files", n)
	}
	// The client that only knows the old master finds the new leader by its hint.
	if err := cl.WriteFile(ctx, "/after", []byte("y")); err != nil {
		t.Errorf("through the old master: %v", err)
	}
	conn2, err := c.h.Dial(joiner.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn2.Close()
	if _, err := proto.NewAdminClient(conn2).ChangeQuorum(call, &proto.ChangeQuorumRequest{Change: &proto.ChangeQuorumRequest_Transfer{Transfer: "m1"}}); err != nil {
		t.Fatalf("transfer back: %v", err)
	}
	for !c.masters[0].Serving() {
		if time.Now().After(deadline) {
			t.Fatal("the old master does not lead again")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if res, err := admin.ChangeQuorum(call, &proto.ChangeQuorumRequest{Change: &proto.ChangeQuorumRequest_Remove{Remove: "joiner"}}); err != nil || len(res.Members) != 1 {
		t.Errorf("remove: %v, %v", res, err)
	}
	if err := cl.WriteFile(ctx, "/alone", []byte("z")); err != nil {
		t.Errorf("alone again: %v", err)
	}
}
