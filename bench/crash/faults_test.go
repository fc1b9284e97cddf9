package crash

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/forebay/forebay/bench/benchtest"
	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
)

// loaded is a load on a cluster in this process, on which nothing dies unless a test does it.
func loaded(t *testing.T) (l *load, under string) {
	t.Helper()
	c, under := benchtest.Embedded(t)
	l = &load{cfg: Config{Seed: 1, Out: io.Discard}, client: c, files: map[dfs.Path][]byte{}, report: &Report{}}
	for _, wt := range types {
		if err := c.Mkdir(t.Context(), dfs.Path("/"+wt.String())); err != nil {
			t.Fatal(err)
		}
	}
	return l, under
}

// until polls for what the load's goroutines bring about.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 6000 {
		if holds() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%s does not come about", what)
}

// count is how many files are remembered.
func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.files)
}

// TestLoadOnAHealthyCluster: where nothing dies nothing is refused, every write type is in the load, what is remembered is
// there, and nothing is there that was removed.
func TestLoadOnAHealthyCluster(t *testing.T) {
	l, _ := loaded(t)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() { l.write(t.Context(), i) })
	}
	for i := range readersN {
		wg.Go(func() { l.readBack(t.Context(), i) })
	}
	until(t, "a load of 60 files and 20 reads", func() bool { return l.count() >= 60 && l.reads.Load() >= 20 })
	l.stop.Store(true)
	wg.Wait()
	if err := l.compare(t.Context()); err != nil || l.refused.Load() != 0 || l.report.Acknowledged != len(l.order) {
		t.Fatalf("%v, %d refused, %+v", err, l.refused.Load(), l.report)
	}
	kept, moved := map[string]int{}, 0
	for p := range l.files {
		kept[string(p.Parent())]++
		if strings.HasSuffix(string(p), "-moved") {
			moved++
		}
	}
	if len(kept) != len(types) || moved == 0 {
		t.Errorf("files by type %v, %d moved", kept, moved)
	}
	for _, wt := range types {
		for s, err := range l.client.List(t.Context(), dfs.Path("/"+wt.String())) {
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := l.files[s.Path]; !ok {
				t.Errorf("%s is there and not remembered", s.Path)
			}
		}
	}
}

// TestReadersNotice: a reader at work sees a file that is gone or has other bytes.
func TestReadersNotice(t *testing.T) {
	l, _ := loaded(t)
	for name, tt := range map[string]struct {
		plant func(p dfs.Path) error
		want  string
	}{
		"gone": {func(p dfs.Path) error { return l.client.Remove(t.Context(), p, client.RemoveOptions{}) }, "acknowledged and is gone"},
		"changed": {func(p dfs.Path) error {
			return l.client.WriteFile(t.Context(), p, []byte("acknowledgeD"), client.WithOverwrite())
		}, "wrong bytes: first at 11 of 12"},
		"short": {func(p dfs.Path) error {
			return l.client.WriteFile(t.Context(), p, []byte("ack"), client.WithOverwrite())
		}, "3 bytes, want 12"},
	} {
		l := &load{cfg: l.cfg, client: l.client, files: map[dfs.Path][]byte{}, report: &Report{}}
		p := dfs.Path("/" + strings.ReplaceAll(name, " ", "-"))
		if err := l.client.WriteFile(t.Context(), p, []byte("acknowledged")); err != nil {
			t.Fatal(err)
		}
		l.remember(p, []byte("acknowledged"))
		var wg sync.WaitGroup
		wg.Go(func() { l.readBack(t.Context(), 0) })
		until(t, "a read", func() bool { return l.reads.Load() > 0 })
		if err := l.fault(); err != nil {
			t.Errorf("%s: a fault before there is one: %v", name, err)
		}
		if err := tt.plant(p); err != nil {
			t.Fatal(err)
		}
		until(t, "a fault", func() bool { return l.fault() != nil })
		l.stop.Store(true)
		wg.Wait()
		err := l.fault()
		if !strings.Contains(err.Error(), string(p)) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// TestCompareNotices: what a cluster that healed does not give back is a fault of each file, up to ten; that the master knows
// the file and says where it is belongs to the report.
func TestCompareNotices(t *testing.T) {
	l, _ := loaded(t)
	for i := range 30 {
		p := dfs.Path(fmt.Sprintf("/f%02d", i))
		data := []byte("acknowledged")
		if i >= 5 {
			data = []byte("something else")
		}
		if err := l.client.WriteFile(t.Context(), p, data); err != nil {
			t.Fatal(err)
		}
		l.remember(p, []byte("acknowledged"))
	}
	err := l.compare(t.Context())
	if n := len(l.faults); err == nil || n != 10 || l.report.Acknowledged != 30 {
		t.Errorf("%d faults, report %+v: %v", n, l.report, err)
	}
	l = &load{client: l.client, files: map[dfs.Path][]byte{}, report: &Report{}}
	if err := l.client.Mkdir(t.Context(), "/directory"); err != nil {
		t.Fatal(err)
	}
	l.remember("/directory", nil) // acknowledged as a file
	if err := l.compare(t.Context()); err == nil || !strings.Contains(err.Error(), "inode ") || !strings.Contains(err.Error(), "worker ") {
		t.Errorf("a file that cannot be read: %v", err)
	}
}

// TestNothingAcknowledged: a loop in which every operation was refused has not shown that nothing is lost.
func TestNothingAcknowledged(t *testing.T) {
	l := &load{files: map[dfs.Path][]byte{}, report: &Report{}}
	l.refused.Store(17)
	if err := l.compare(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing was acknowledged: 17") {
		t.Errorf("%v", err)
	}
}

// TestRefusedIsNotRemembered: an operation without an answer may or may not have happened; its path is given up.
func TestRefusedIsNotRemembered(t *testing.T) {
	l, _ := loaded(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan struct{})
	go func() { defer close(done); l.write(ctx, 0) }()
	until(t, "refusals", func() bool { return l.refused.Load() >= 5 })
	l.stop.Store(true)
	<-done
	l.stop.Store(false)
	l.remember("/THROUGH/x", []byte("x")) // for a reader, whose errors are no faults either
	before := l.refused.Load()
	done = make(chan struct{})
	go func() { defer close(done); l.readBack(ctx, 0) }()
	until(t, "refused reads", func() bool { return l.refused.Load() > before })
	l.stop.Store(true)
	<-done
	delete(l.files, "/THROUGH/x")
	if len(l.files) != 0 || l.fault() != nil {
		t.Errorf("%d files are remembered, %v", len(l.files), l.fault())
	}
}

// TestFaultsAreJoined: all that was found is kept: the first alone may be a consequence of the others.
func TestFaultsAreJoined(t *testing.T) {
	l := &load{}
	if l.fault() != nil {
		t.Error("a fault before there is one")
	}
	l.wrong("one %d", 1)
	l.wrong("two: %w", os.ErrNotExist)
	if err := l.fault(); err == nil || !strings.Contains(err.Error(), "one 1") || !dfs.IsKind(err, dfs.Unknown) || !strings.Contains(err.Error(), "two") {
		t.Errorf("%v", err)
	}
}

// TestDataIsKeptAfterAFault: Run on a forebay that does not serve fails within its context, says where everything is kept, and
// counts no kill.
func TestDataIsKeptAfterAFault(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	binary := filepath.Join(t.TempDir(), "forebay")
	if err := os.WriteFile(binary, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	r, err := Run(ctx, Config{Binary: binary, Kills: 1, Seed: 42, Out: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "seed 42") || !strings.Contains(err.Error(), tmp) || r == nil || r.Kills != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if kept, _ := filepath.Glob(filepath.Join(tmp, "forebay-crash-*", "m1.log")); len(kept) != 1 {
		t.Errorf("the log is not kept: %v", kept)
	}
}
