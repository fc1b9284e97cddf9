package demo

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
)

// TestDemoOnASmallTree runs the whole demo on a tree of its own, odd names included.
func TestDemoOnASmallTree(t *testing.T) {
	binary := benchtest.Binary(t)
	source := t.TempDir()
	for name, size := range map[string]int{"a/one": 10, "a/empty": 0, "b/c/large": 3 << 20, "with space": 5000, "ünï/file": 77} {
		path := filepath.Join(source, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, bytes.Repeat([]byte{byte(size)}, size), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var out bytes.Buffer
	r, err := Run(ctx, Config{Binary: binary, Source: source, MaxFiles: 100, MaxBytes: 1 << 30, Out: &out})
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if r.Files != 5 || r.Bytes != 3<<20+5087 || r.Acknowledged == 0 || r.LeaderBefore == r.LeaderAfter || r.FailoverGap <= 0 {
		t.Errorf("report %+v", r)
	}
	if !strings.Contains(out.String(), "all checks held") {
		t.Errorf("output:\n%s", &out)
	}
}

// TestSurveyKeepsItsBounds: the number of files and bytes is what was asked for; a source without files is an error.
func TestSurveyKeepsItsBounds(t *testing.T) {
	source := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		if err := os.WriteFile(filepath.Join(source, name), make([]byte, 100), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		files int
		bytes int64
		want  int
	}{{10, 1000, 3}, {2, 1000, 2}, {10, 250, 2}} {
		d := &demo{cfg: Config{Source: source, MaxFiles: c.files, MaxBytes: c.bytes, Out: io.Discard}, report: &Report{}}
		if err := d.survey(); err != nil || len(d.files) != c.want {
			t.Errorf("%+v: %d files, %v", c, len(d.files), err)
		}
	}
	for _, bad := range []string{t.TempDir(), filepath.Join(source, "missing")} {
		d := &demo{cfg: Config{Source: bad, MaxFiles: 1, MaxBytes: 1, Out: io.Discard}, report: &Report{}}
		if err := d.survey(); err == nil || !strings.Contains(err.Error(), "--source") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// TestReadAllReports: a file that cannot be read, or reads differently, ends the demo with its name.
func TestReadAllReports(t *testing.T) {
	d := &demo{files: []file{{rel: "good"}, {rel: "bad"}}}
	_, err := d.readAll(func(f *file) (io.ReadCloser, error) {
		if f.rel == "bad" {
			return nil, os.ErrNotExist
		}
		return io.NopCloser(strings.NewReader("x")), nil
	}, func(*file, [32]byte, int64) error { return nil })
	if err == nil {
		t.Error("a file that cannot be opened was not noticed")
	}
}
