package s3_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/ufstest"
	"github.com/forebay/forebay/system/ufs/ufstest/s3fake"
)

// TestRequestsOfEach holds each operation to the number of requests that the package promises, since requests are paid for.
func TestRequestsOfEach(t *testing.T) {
	read := func(path string, offset int64) func(ctx context.Context, s ufs.Store) error {
		return func(ctx context.Context, s ufs.Store) error {
			r, err := s.Open(ctx, path, offset, 4)
			if err != nil {
				return err
			}
			return r.Close()
		}
	}
	for name, test := range map[string]struct {
		do       func(ctx context.Context, s ufs.Store) error
		requests int
		kind     dfs.Kind
	}{
		"stat of an object":   {func(ctx context.Context, s ufs.Store) error { _, err := s.Stat(ctx, "o"); return err }, 1, 0},
		"stat of a directory": {func(ctx context.Context, s ufs.Store) error { _, err := s.Stat(ctx, "d"); return err }, 2, 0},
		"stat of nothing":     {func(ctx context.Context, s ufs.Store) error { _, err := s.Stat(ctx, "n"); return err }, 2, dfs.NotFound},
		"stat of the root":    {func(ctx context.Context, s ufs.Store) error { _, err := s.Stat(ctx, ""); return err }, 0, 0},
		"open":                {read("o", 0), 1, 0},
		"open past the end":   {read("o", 100), 2, 0},
		"write":               {func(_ context.Context, s ufs.Store) error { return put(s, "new", "content") }, 1, 0},
		"write in parts":      {func(_ context.Context, s ufs.Store) error { return put(s, "new", strings.Repeat("x", 11<<20)) }, 2 + 3, 0},
		"exactly a part":      {func(_ context.Context, s ufs.Store) error { return put(s, "new", strings.Repeat("x", 5<<20)) }, 1, 0},
		"remove":              {func(ctx context.Context, s ufs.Store) error { return s.Remove(ctx, "o") }, 2, 0},
		"remove a directory":  {func(ctx context.Context, s ufs.Store) error { return s.Remove(ctx, "empty") }, 5, 0},
		"rename":              {func(ctx context.Context, s ufs.Store) error { return s.Rename(ctx, "o", "p") }, 5, 0},
		"outside of the root": {func(ctx context.Context, s ufs.Store) error { return s.Remove(ctx, "../o") }, 0, dfs.InvalidArgument},
		"the root":            {func(ctx context.Context, s ufs.Store) error { return s.Remove(ctx, "") }, 0, dfs.InvalidArgument},
		"a range below 0":     {read("o", -1), 0, dfs.InvalidArgument},
		"a key that is too long": {func(ctx context.Context, s ufs.Store) error {
			return s.Mkdir(ctx, strings.Repeat("d/", 511), 0)
		}, 0, dfs.InvalidArgument},
	} {
		t.Run(name, func(t *testing.T) {
			server := s3fake.Start(t)
			s := openFake(t, server, "s3://bucket")
			for key, content := range map[string]string{"o": "content", "d/o": "content", "empty/": ""} {
				server.Put(key, content)
			}
			server.Requests()
			err := test.do(t.Context(), s)
			if test.kind == 0 && err != nil || test.kind != 0 && !dfs.IsKind(err, test.kind) {
				t.Errorf("got %v, want %v", err, test.kind)
			}
			if got := server.Requests(); len(got) != test.requests {
				t.Errorf("%d requests, want %d: %v", len(got), test.requests, got)
			}
			gone, cancel := context.WithCancel(t.Context())
			cancel()
			if err := test.do(gone, s); err == nil && !strings.HasPrefix(name, "write") && name != "exactly a part" {
				t.Error("it succeeded for a caller that gave up")
			}
		})
	}
}

// TestKeyLimit: the protocol's limit counts the prefix and a directory's slash, and is met without a request.
func TestKeyLimit(t *testing.T) {
	server := s3fake.Start(t)
	s := openFake(t, server, "s3://bucket/pre")
	long := strings.TrimSuffix(strings.Repeat(strings.Repeat("n", 99)+"/", 11), "/")
	at := long[:1024-len("pre/")-1]
	ufstest.Put(t.Context(), t, s, at, []byte("x"))
	server.Requests()
	if _, err := s.Stat(t.Context(), long[:len(at)+1]); !dfs.IsKind(err, dfs.NameTooLong) || len(server.Requests()) > 0 {
		t.Errorf("a byte over the limit: %v", err)
	}
	if got := ufstest.Get(t.Context(), t, s, at, 0, 10); string(got) != "x" {
		t.Errorf("at the limit: %q", got)
	}
}

// TestMarkersHaveNoBody: a directory's marker is sent without any body, and signed as such: a server that answers before it has
// read one, and closes, breaks the connection under the sender.
func TestMarkersHaveNoBody(t *testing.T) {
	const nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	server := s3fake.Start(t)
	s := openFake(t, server, "s3://bucket")
	server.Put("d/o", "content")
	var markers atomic.Int32
	server.Fail(func(r *http.Request) *s3fake.Failure {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/") {
			markers.Add(1)
			if sum := r.Header.Get("X-Amz-Content-Sha256"); r.ContentLength != 0 || sum != nothing {
				t.Errorf("%s: %d bytes, signed as %q", r.URL.Path, r.ContentLength, sum)
			}
		}
		return nil
	})
	if err := s.Mkdir(t.Context(), "new", 0); err != nil {
		t.Error(err)
	}
	if err := s.Rename(t.Context(), "d", "renamed"); err != nil {
		t.Error(err)
	}
	if n := markers.Load(); n < 2 {
		t.Errorf("%d markers were seen, want those of a mkdir and a rename", n)
	}
}
