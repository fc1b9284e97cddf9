package crash

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/bench/benchtest"
	"github.com/forebay/forebay/bench/cluster"
	"github.com/forebay/forebay/system/dfs"
)

// TestShortCrashLoop is the crash loop in small: every part of it runs.
func TestShortCrashLoop(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	r, err := Run(ctx, Config{Binary: benchtest.Binary(t), Kills: 4, Seed: 3, Out: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	if r.Kills != 4 || r.MasterKills+r.WorkerKills != 4 || r.Acknowledged == 0 || r.RecoverMax <= 0 {
		t.Errorf("report %+v", r)
	}
}

// TestJudgeNotices: a file that changed or vanished behind the load's back is reported; the loop can fail.
func TestJudgeNotices(t *testing.T) {
	dir := t.TempDir()
	under := filepath.Join(dir, "under")
	if err := os.Mkdir(under, 0o755); err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Start(cluster.Config{Binary: benchtest.Binary(t), Dir: dir, Masters: 1, Workers: 1, Capacity: "64MiB", RootURI: under})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l := &load{c: c, files: map[dfs.Path][]byte{}, report: &Report{}}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := l.ready(ctx); err != nil {
		t.Fatal(err)
	}
	if l.client, err = c.Client(nil); err != nil {
		t.Fatal(err)
	}
	defer l.client.Close()
	for p, data := range map[dfs.Path]string{"/right": "same", "/changed": "new"} {
		if err := l.client.WriteFile(ctx, p, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	l.remember("/right", []byte("same"))
	if err := l.judge(ctx); err != nil {
		t.Errorf("nothing is wrong yet: %v", err)
	}
	l.remember("/changed", []byte("old"))
	l.remember("/lost", []byte("x"))
	err = l.judge(ctx)
	if err == nil || !strings.Contains(err.Error(), "/changed: wrong bytes") || !strings.Contains(err.Error(), "/lost was acknowledged") {
		t.Errorf("judgement %v", err)
	}
}

func TestContentIsItsOwn(t *testing.T) {
	a, b := content("/a", 1000), content("/b", 1000)
	if bytes.Equal(a, b) || len(a) < 1000 || !bytes.Equal(a, content("/a", 1000)) {
		t.Error("content does not tell files apart, or differs from one call to the next")
	}
	for _, c := range []struct{ got, want, say string }{
		{"abc", "abd", "first at 2 of 3"}, {"ab", "abc", "2 bytes, want 3"},
	} {
		if s := difference([]byte(c.got), []byte(c.want)); !strings.Contains(s, c.say) {
			t.Errorf("difference of %q and %q: %q", c.got, c.want, s)
		}
	}
}

func TestRememberedFilesAreBounded(t *testing.T) {
	l := &load{files: map[dfs.Path][]byte{}}
	for i := range maxTracked + 10 {
		l.remember(dfs.Path("/"+string(rune('a'+i%26))+strings.Repeat("x", i%200)+string(rune(i))), nil)
	}
	if len(l.files) > maxTracked {
		t.Errorf("%d files are remembered, the bound is %d", len(l.files), maxTracked)
	}
}
