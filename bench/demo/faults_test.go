package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/forebay/forebay/bench/benchtest"
	"github.com/forebay/forebay/bench/cluster"
	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
)

// TestStepsNotice plants a fault before one of the demo's steps: that step must fail and name the file, and those before it
// must not. A demo whose checks hold whatever happens shows nothing.
func TestStepsNotice(t *testing.T) {
	c, _ := benchtest.Embedded(t)
	files := map[string][]byte{"a/one": []byte("first"), "a/two": bytes.Repeat([]byte("2"), 70_000), "three": []byte("third"), "zero": nil}
	for name, tt := range map[string]struct {
		before string // the step that must notice
		plant  func(t *testing.T, source string)
		want   []string
	}{
		"nothing is wrong":           {"", nil, nil},
		"a file is gone":             {"native", remove("a/two"), []string{"a/two"}},
		"a file is not listed":       {"list", remove("three"), []string{"list", "three", "the original has 5"}},
		"a file grew":                {"list", write("a/one", "first and more"), []string{"list", "a/one", "14 bytes"}},
		"an empty file is no longer": {"list", write("zero", "x"), []string{"list", "zero"}},
		"bytes differ":               {"cold", write("a/one", "fIrst"), []string{"a/one", "differ"}},
	} {
		t.Run(name, func(t *testing.T) {
			source := t.TempDir()
			benchtest.Tree(t, source, files)
			var said bytes.Buffer
			d := &demo{cfg: Config{Source: source, MaxFiles: 100, MaxBytes: 1 << 20, Out: &said}, ctx: t.Context(), client: c, report: &Report{}}
			for _, step := range []struct {
				name string
				do   func() error
			}{{"survey", d.survey}, {"native", d.readNative}, {"list", func() error { return d.mountAndList(t) }}, {"cold", d.readCold}, {"warm", d.readWarm}} {
				if step.name == tt.before {
					tt.plant(t, source)
				}
				if step.name == "warm" {
					d.cached(t)
				}
				err := step.do()
				if step.name != tt.before {
					if err != nil {
						t.Fatalf("step %s: %v", step.name, err)
					}
					continue
				}
				for _, want := range tt.want {
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Fatalf("step %s: %v, want an error with %q", step.name, err, want)
					}
				}
				return
			}
			if r := d.report; r.Files != len(files) || r.Bytes != 70_010 || r.Cold <= 0 || r.Warm <= 0 || r.Native <= 0 || r.List <= 0 || r.CachedFraction < 0.99 {
				t.Errorf("report %+v", r)
			}
			if n := strings.Count(said.String(), "all checksums agree"); n != 2 {
				t.Errorf("%d reads agreed, want the cold and the warm:\n%s", n, &said)
			}
		})
	}
}

// mountAndList is two steps in one, so that the mount ends with the test. The mount is read-only: the demo cannot harm it.
func (d *demo) mountAndList(t *testing.T) error {
	if err := d.mount(); err != nil {
		return err
	}
	t.Cleanup(func() {
		if err := d.client.Unmount(context.Background(), mountPoint); err != nil {
			t.Error(err)
		}
	})
	if err := d.client.WriteFile(d.ctx, mountPoint+"/harm", []byte("x")); !dfs.IsKind(err, dfs.ReadOnly) {
		t.Errorf("a write into the source: %v", err)
	}
	return d.list()
}

func remove(name string) func(*testing.T, string) {
	return func(t *testing.T, source string) {
		if err := os.Remove(filepath.Join(source, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func write(name, text string) func(*testing.T, string) {
	return func(t *testing.T, source string) {
		if err := os.WriteFile(filepath.Join(source, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// cached reads until the workers have everything: they may keep a page a moment after they answered with it.
func (d *demo) cached(t *testing.T) {
	for range 1000 {
		before := d.client.Stats()
		if _, err := d.read(); err != nil {
			t.Fatal(err)
		}
		if after := d.client.Stats(); after.BytesFromCache-before.BytesFromCache == after.BytesRead-before.BytesRead {
			return
		}
	}
	t.Fatal("what was read a thousand times is not in the cache")
}

// TestWarmIsWarm: a warm read of which a part comes from the under store is an error, though its bytes are right: its time
// would be called the cache's.
func TestWarmIsWarm(t *testing.T) {
	c, _ := benchtest.Embedded(t)
	source := t.TempDir()
	benchtest.Tree(t, source, map[string][]byte{"a": make([]byte, 1000), "b": make([]byte, 100)})
	d := &demo{cfg: Config{Source: source, MaxFiles: 9, MaxBytes: 1 << 20, Out: io.Discard}, ctx: t.Context(), client: c, report: &Report{}}
	for _, step := range []func() error{d.survey, d.readNative, func() error { return d.mountAndList(t) }} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	all := d.files
	d.files = all[:1]
	d.cached(t)
	d.files = all
	if err := d.readWarm(); err == nil || !strings.Contains(err.Error(), "only 90.9% came from the cache") {
		t.Errorf("a tenth was cold: %v", err)
	}
}

// TestJudgeNotices: a write that was acknowledged and is gone, or reads differently, or none after the kill, or no new
// leader: each fails the failover.
func TestJudgeNotices(t *testing.T) {
	c, _ := benchtest.Embedded(t)
	if err := c.Mkdir(t.Context(), "/demo"); err != nil {
		t.Fatal(err)
	}
	d := &demo{cfg: Config{Out: io.Discard}, ctx: t.Context(), client: c, c: &cluster.Cluster{}, report: &Report{LeaderBefore: "m1"}}
	var stop atomic.Bool
	go func() {
		defer stop.Store(true)
		for {
			if ok, err := c.Exists(t.Context(), "/demo/000004"); ok || err != nil {
				return
			}
		}
	}()
	acked, err := d.write(&stop)
	if err != nil || len(acked) < 5 {
		t.Fatalf("%d writes, %v", len(acked), err)
	}
	began := acked[0].at.Add(-time.Second)
	changed, lost := acked[2], acked[3]
	changed.data = []byte("another record")
	lost.path = "/demo/lost"
	for name, tt := range map[string]struct {
		acked  []written
		killed time.Time
		want   string
	}{
		"changed":                {append([]written{changed}, acked...), began, "/demo/000002 was acknowledged"},
		"lost":                   {append([]written{lost}, acked...), began, "/demo/lost was acknowledged"},
		"nothing after the kill": {acked, acked[len(acked)-1].at, "nothing was written after"},
		"nothing at all":         {nil, began, "nothing was written after"},
		"no new leader":          {acked, began, "no new leader"},
	} {
		if err := d.judge(tt.acked, tt.killed); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// TestFailoverGap: the gap is the longest between two acknowledgements of which the later came after the kill; a pause before
// the kill is none of the failover's.
func TestFailoverGap(t *testing.T) {
	c, _ := benchtest.Embedded(t)
	at := func(ms int) time.Time { return time.UnixMilli(int64(ms)) }
	for _, tt := range []struct {
		acked  []int // times in ms
		killed int
		want   time.Duration
	}{
		{[]int{0, 900, 910, 920, 1500, 1510}, 915, 580 * time.Millisecond},
		{[]int{0, 900, 910, 920, 1500, 1510}, 905, 580 * time.Millisecond},
		{[]int{0, 10, 400, 450}, 20, 390 * time.Millisecond}, // the gap in which the kill lies counts whole
		{[]int{0, 10, 20, 30}, 25, 10 * time.Millisecond},
		{[]int{50, 60}, 10, 10 * time.Millisecond}, // before the first there is nothing to measure from
	} {
		d := &demo{cfg: Config{Out: io.Discard}, ctx: t.Context(), client: c, c: &cluster.Cluster{}, report: &Report{}}
		var acked []written
		for _, ms := range tt.acked {
			w := written{path: dfs.Path(fmt.Sprintf("/%d", ms)), data: []byte("x"), at: at(ms)}
			if err := c.WriteFile(t.Context(), w.path, w.data, client.WithOverwrite()); err != nil {
				t.Fatal(err)
			}
			acked = append(acked, w)
		}
		_ = d.judge(acked, at(tt.killed)) // there is no leader to find
		if d.report.FailoverGap != tt.want {
			t.Errorf("%v, killed at %d: gap %v, want %v", tt.acked, tt.killed, d.report.FailoverGap, tt.want)
		}
	}
}

// TestWriteEndsAtItsFirstError: clients may wait over a failover and must not see errors, so that one is the demo's end.
func TestWriteEndsAtItsFirstError(t *testing.T) {
	c, _ := benchtest.Embedded(t)
	d := &demo{ctx: t.Context(), client: c, report: &Report{}} // there is no /demo to write into
	acked, err := d.write(&atomic.Bool{})
	if err == nil || len(acked) != 0 {
		t.Errorf("%d writes, %v", len(acked), err)
	}
}

// TestTable: the figures are those of the report, in the units of the header.
func TestTable(t *testing.T) {
	var out bytes.Buffer
	d := &demo{cfg: Config{Out: &out}, report: &Report{Files: 200, Bytes: 50_000_000, Native: 500 * time.Millisecond, Cold: 2 * time.Second, Warm: time.Second,
		Acknowledged: 321, FailoverGap: 456 * time.Millisecond}}
	d.table()
	var rows [][]string
	for line := range strings.Lines(out.String()) {
		rows = append(rows, strings.Fields(line))
	}
	for _, want := range []string{
		"native (page cache) 200 50.0 0.50 100.0 400", "forebay, cold 200 50.0 2.00 25.0 100", "forebay, warm 200 50.0 1.00 50.0 200",
		"failover: write gap 456 ms, 321 acknowledged writes, 0 lost", "all checks held",
	} {
		found := false
		for _, row := range rows {
			found = found || strings.Join(row, " ") == want
		}
		if !found {
			t.Errorf("no line %q in\n%s", want, &out)
		}
	}
}

// TestReadAllReadsEachOnce: every file is read once by one of the readers, and closed; an error in the middle of a file has
// the file's name.
func TestReadAllReadsEachOnce(t *testing.T) {
	d := &demo{}
	for i := range 100 {
		d.files = append(d.files, file{rel: fmt.Sprint(i)})
	}
	var opened, closed [100]atomic.Int32
	index := func(f *file) (i int) { _, _ = fmt.Sscan(f.rel, &i); return i }
	open := func(f *file) (io.ReadCloser, error) {
		opened[index(f)].Add(1)
		return &closing{Reader: strings.NewReader(f.rel), closed: &closed[index(f)]}, nil
	}
	var total atomic.Int64
	took, err := d.readAll(open, func(f *file, _ [32]byte, n int64) error {
		total.Add(n)
		return nil
	})
	if err != nil || took <= 0 || total.Load() != 10+90*2 {
		t.Errorf("%d bytes in %v, %v", total.Load(), took, err)
	}
	for i := range opened {
		if opened[i].Load() != 1 || closed[i].Load() != 1 {
			t.Errorf("file %d was opened %d times and closed %d times", i, opened[i].Load(), closed[i].Load())
		}
	}
	torn := func(f *file) (io.ReadCloser, error) {
		r, err := open(f)
		if f.rel == "57" {
			r = &closing{Reader: io.MultiReader(r, errorReader{}), closed: &closed[57]}
		}
		return r, err
	}
	if _, err := d.readAll(torn, func(*file, [32]byte, int64) error { return nil }); err == nil || !strings.Contains(err.Error(), "read 57") {
		t.Errorf("a file that breaks off: %v", err)
	}
	if closed[57].Load() != 2 {
		t.Error("a file that broke off was not closed")
	}
}

type closing struct {
	io.Reader
	closed *atomic.Int32
}

func (c *closing) Close() error { c.closed.Add(1); return nil }

type errorReader struct{}

func (errorReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
