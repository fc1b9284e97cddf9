package s3_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/drivers"
	"github.com/forebay/forebay/system/ufs/mem"
	"github.com/forebay/forebay/system/ufs/ufstest"
	"github.com/forebay/forebay/system/ufs/ufstest/s3fake"
)

// The client tries a request twice, with a pause of up to a second in between that no test needs.
func init() { minio.DefaultRetryUnit, minio.DefaultRetryCap = time.Millisecond, time.Millisecond }

func openFake(t *testing.T, server *s3fake.Server, uri string) ufs.Store {
	t.Helper()
	s, err := drivers.Open(t.Context(), host.NewReal(), uri, server.Options())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestFakeConformance holds the driver to ufs.Store's contract on the server in this process: where no real server is at
// hand, and with pages of a few keys, which shift every listing's place among its pages.
func TestFakeConformance(t *testing.T) {
	o := ufstest.Options{BigObjectBytes: 13 << 20, NoAttributes: true, NoFileAsDirectory: true,
		Model: func() ufs.Store { return mem.New(host.NewReal()) }}
	for _, keys := range []int{0, 1, 2, 3} {
		t.Run(fmt.Sprint("pages of ", keys), func(t *testing.T) {
			ufstest.Run(t, func(t *testing.T) ufs.Store {
				server := s3fake.Start(t)
				server.MaxKeys = keys
				return openFake(t, server, "s3://bucket/some/pre fix")
			}, o)
		})
		o.BigObjectBytes = 1 << 20
	}
}

// TestKinds gives each operation each sort of error that a server has, and checks the kind that comes out, and that it says
// where and why. A kind decides whether a call is tried again, so a wrong one is a lost write or an endless loop.
func TestKinds(t *testing.T) {
	server := s3fake.Start(t)
	s := openFake(t, server, "s3://bucket")
	ufstest.Put(t.Context(), t, s, "o", []byte("content"))
	ufstest.Put(t.Context(), t, s, "d/o", []byte("content"))
	operations := map[string]func() error{
		"stat":   func() error { _, err := s.Stat(t.Context(), "o"); return err },
		"open":   func() error { _, err := s.Open(t.Context(), "o", 0, 5); return err },
		"mkdir":  func() error { return s.Mkdir(t.Context(), "new", 0) },
		"remove": func() error { return s.Remove(t.Context(), "o") },
		"rename": func() error { return s.Rename(t.Context(), "o", "p") },
		"list": func() error {
			for _, err := range s.List(t.Context(), "d", "") {
				return err
			}
			return nil
		},
		"write": func() error {
			w, err := s.Create(t.Context(), "n", 0)
			if err != nil {
				return err
			}
			defer w.Abort()
			if _, err = w.Write([]byte("x")); err != nil {
				return err
			}
			_, err = w.Commit(t.Context())
			return err
		},
	}
	for _, test := range []struct {
		status int
		code   string
		kind   dfs.Kind
	}{
		{403, "AccessDenied", dfs.PermissionDenied}, {403, "SignatureDoesNotMatch", dfs.PermissionDenied},
		{403, "ExpiredToken", dfs.PermissionDenied}, {403, "RequestTimeTooSkewed", dfs.PermissionDenied}, {401, "Whatever", dfs.PermissionDenied},
		{403, "SomethingNew", dfs.PermissionDenied}, {403, "QuotaExceeded", dfs.NoSpace}, {507, "XMinioStorageFull", dfs.NoSpace},
		{507, "SomethingNew", dfs.NoSpace}, {412, "PreconditionFailed", dfs.Conflict}, {400, "KeyTooLongError", dfs.NameTooLong},
		{400, "SomethingNew", dfs.UnderStore}, {403, "InvalidObjectState", dfs.UnsupportedFeature},
		{501, "NotImplemented", dfs.UnsupportedFeature}, {503, "SlowDown", dfs.Unavailable}, {500, "InternalError", dfs.Unavailable},
		{503, "ServiceUnavailable", dfs.Unavailable}, {429, "TooManyRequests", dfs.Unavailable}, {502, "SomethingNew", dfs.Unavailable},
	} {
		server.Fail(func(*http.Request) *s3fake.Failure { return &s3fake.Failure{Status: test.status, Code: test.code} })
		for name, do := range operations {
			err := do()
			if (name == "stat" || name == "mkdir" || name == "remove" || name == "rename") && bodiless(test.code) {
				continue // they ask by HEAD, whose answer has no body: only the status tells
			}
			if !dfs.IsKind(err, test.kind) {
				t.Errorf("%s, %d %s: %v, want %v", name, test.status, test.code, err, test.kind)
			}
			var e *dfs.Error
			if !errors.As(err, &e) || e.Op == "" {
				t.Errorf("%s, %d %s: %v does not say what was tried", name, test.status, test.code, err)
			}
		}
	}
	server.Fail(func(*http.Request) *s3fake.Failure { return &s3fake.Failure{HangUp: true} })
	for name, do := range operations {
		if err := do(); !dfs.IsKind(err, dfs.Unavailable) {
			t.Errorf("%s of a server that hangs up: %v", name, err)
		}
	}
	server.Fail(nil)
	if got := server.Keys(); !slices.Equal(got, []string{"d/o", "o"}) {
		t.Errorf("operations that failed left %v", got)
	}
}

// bodiless tells whether a status alone leads to another kind than the code that would come with it.
func bodiless(code string) bool {
	return slices.Contains([]string{"QuotaExceeded", "KeyTooLongError", "InvalidObjectState", "NotImplemented"}, code)
}

// TestLostReplies loses the answer to each request of a write, a removal and a rename, one after the other, under Retry:
// what the caller is told is what is there, and nothing is left of the attempts.
func TestLostReplies(t *testing.T) {
	big := strings.Repeat("x", 11<<20)
	for name, test := range map[string]struct {
		do   func(s ufs.Store) error
		want []string
	}{
		"small":              {func(s ufs.Store) error { return put(s, "new", "content") }, []string{"d/a", "d/b", "new", "o"}},
		"big":                {func(s ufs.Store) error { return put(s, "new", big) }, []string{"d/a", "d/b", "new", "o"}},
		"remove":             {func(s ufs.Store) error { return s.Remove(context.Background(), "o") }, []string{"d/a", "d/b"}},
		"rename":             {func(s ufs.Store) error { return s.Rename(context.Background(), "o", "p") }, []string{"d/a", "d/b", "p"}},
		"rename a directory": {func(s ufs.Store) error { return s.Rename(context.Background(), "d", "e") }, []string{"e/", "e/a", "e/b", "o"}},
	} {
		t.Run(name, func(t *testing.T) {
			for at, lost := 1, true; lost; at++ {
				server := s3fake.Start(t)
				for _, key := range []string{"d/a", "d/b", "o"} {
					server.Put(key, "content")
				}
				s := ufs.Retry(host.NewReal(), openFake(t, server, "s3://bucket"), ufs.RetryOptions{Base: time.Microsecond, Max: time.Microsecond})
				n := 0
				lost = false
				server.Fail(func(r *http.Request) *s3fake.Failure {
					if n++; n == at || n == at+1 { // minio-go asks twice by itself
						lost = true
						return &s3fake.Failure{After: true, Status: 503, Code: "ServiceUnavailable"}
					}
					return nil
				})
				if err := test.do(s); err != nil {
					t.Errorf("request %d lost: %v", at, err)
				}
				if got := server.Keys(); !slices.Equal(got, test.want) {
					t.Errorf("request %d lost: %v, want %v", at, got, test.want)
				}
				server.Fail(nil)
				for _, r := range server.Requests() {
					if strings.HasPrefix(r, "POST") && strings.Contains(r, "uploads") && name == "small" {
						t.Errorf("a small object was uploaded in parts: %s", r)
					}
				}
				server.CloseClientConnections()
			}
		})
	}
}

func put(s ufs.Store, path, content string) error {
	w, err := s.Create(context.Background(), path, 0)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := io.WriteString(w, content); err != nil {
		return err
	}
	e, err := w.Commit(context.Background())
	if err == nil && e.Size != int64(len(content)) {
		return fmt.Errorf("committed %d bytes of %d", e.Size, len(content))
	}
	return err
}

// TestForgottenUpload: an upload that a lifecycle rule aborted is not taken for one that was completed, even with an object
// of another size there; one whose completion was only not heard of is.
func TestForgottenUpload(t *testing.T) {
	server := s3fake.Start(t)
	s := openFake(t, server, "s3://bucket")
	server.Put("o", "an old content")
	w, err := s.Create(t.Context(), "o", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 11<<20)); err != nil {
		t.Fatal(err)
	}
	server.Fail(func(r *http.Request) *s3fake.Failure {
		if r.Method == http.MethodPost { // the completion
			server.ForgetUploads()
		}
		return nil
	})
	if _, err := w.Commit(t.Context()); !dfs.IsKind(err, dfs.NotFound) {
		t.Errorf("commit of an upload that is gone: %v", err)
	}
	w.Abort()
	if got := ufstest.Get(t.Context(), t, s, "o", 0, 100); string(got) != "an old content" {
		t.Errorf("the object holds %.20q", got)
	}
}

// TestAbortEndsTheUpload: what a writer has uploaded in parts is dropped when it is aborted, also after its caller's context
// has ended, since parts cost money.
func TestAbortEndsTheUpload(t *testing.T) {
	server := s3fake.Start(t)
	s := openFake(t, server, "s3://bucket")
	ctx, cancel := context.WithCancel(t.Context())
	w, err := s.Create(ctx, "o", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 11<<20)); err != nil || server.Uploads() != 1 {
		t.Fatalf("%d uploads, %v", server.Uploads(), err)
	}
	cancel()
	w.Abort()
	for end := time.Now().Add(10 * time.Second); server.Uploads() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the upload is still there")
		}
	}
	if _, err := w.Write([]byte("x")); !dfs.IsKind(err, dfs.InvalidArgument) {
		t.Errorf("a write after the abort: %v", err)
	}
	if _, err := w.Commit(t.Context()); !dfs.IsKind(err, dfs.InvalidArgument) || len(server.Keys()) != 0 {
		t.Errorf("a commit after the abort: %v, keys %v", err, server.Keys())
	}
}

// TestFailedPartIsKept: a part that could not be uploaded is tried again by the next call, in its place (INV-1 of the writer).
func TestFailedPartIsKept(t *testing.T) {
	server := s3fake.Start(t)
	s := openFake(t, server, "s3://bucket")
	w, err := s.Create(t.Context(), "o", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	content := make([]byte, 12<<20)
	for i := range content {
		content[i] = byte(i>>10 + i>>20)
	}
	down := true
	server.Fail(func(r *http.Request) *s3fake.Failure {
		if down && r.URL.Query().Get("partNumber") != "" {
			return &s3fake.Failure{Status: 503, Code: "SlowDown"}
		}
		return nil
	})
	n, err := w.Write(content)
	if !dfs.IsKind(err, dfs.Unavailable) || n != 5<<20 {
		t.Fatalf("%d bytes taken, %v", n, err)
	}
	down = false
	if m, err := w.Write(content[n:]); err != nil || m != len(content)-n {
		t.Fatalf("%d bytes taken, %v", m, err)
	}
	if e, err := w.Commit(t.Context()); err != nil || e.Size != int64(len(content)) {
		t.Fatalf("%+v, %v", e, err)
	}
	if got := ufstest.Get(t.Context(), t, s, "o", 0, 1<<30); string(got) != string(content) {
		t.Errorf("%d bytes, or others", len(got))
	}
}

// TestBrokenBody: a body that ends early is Unavailable, not a short read, and Retry reads on where it broke, within the same
// content.
func TestBrokenBody(t *testing.T) {
	server := s3fake.Start(t)
	s := openFake(t, server, "s3://bucket")
	server.Put("o", strings.Repeat("0123456789", 1000))
	breaks := 2
	server.Fail(func(r *http.Request) *s3fake.Failure {
		if r.Method != http.MethodGet || breaks == 0 {
			return nil
		}
		breaks--
		return &s3fake.Failure{Partial: 3333}
	})
	r, err := s.Open(t.Context(), "o", 0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); !dfs.IsKind(err, dfs.Unavailable) || len(b) > 3333 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	_ = r.Close()
	breaks = 2
	retrying := ufs.Retry(host.NewReal(), s, ufs.RetryOptions{Base: time.Microsecond})
	if got := ufstest.Get(t.Context(), t, retrying, "o", 5, 9_000); string(got) != strings.Repeat("0123456789", 1000)[5:9005] {
		t.Errorf("%d bytes, or others", len(got))
	}
	breaks = 1
	r, err = retrying.Open(t.Context(), "o", 0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	server.Put("o", strings.Repeat("abcdefghij", 1000))
	if _, err := io.ReadAll(r); !dfs.IsKind(err, dfs.Stale) {
		t.Errorf("another content behind the break: %v", err)
	}
}

// TestRenameCutOffAnywhere cuts a rename of a directory off at each of its requests. Called again it ends the same; in
// between every object is at its old or its new path.
func TestRenameCutOffAnywhere(t *testing.T) {
	for at := 1; ; at++ {
		server := s3fake.Start(t)
		server.MaxKeys = 2
		for i := range 5 {
			server.Put(fmt.Sprintf("from/%d", i), fmt.Sprint(i))
		}
		server.Put("from/sub/", "")
		s := openFake(t, server, "s3://bucket")
		n, cut := 0, false
		server.Fail(func(*http.Request) *s3fake.Failure {
			if n++; n >= at {
				cut = true
				return &s3fake.Failure{Status: 403, Code: "AccessDenied"} // which nothing tries again
			}
			return nil
		})
		err := s.Rename(t.Context(), "from", "to")
		server.Fail(nil)
		if (err == nil) == cut {
			t.Fatalf("request %d: cut %v, %v", at, cut, err)
		}
		keys := server.Keys()
		for i := range 5 {
			if !slices.Contains(keys, fmt.Sprintf("from/%d", i)) && !slices.Contains(keys, fmt.Sprintf("to/%d", i)) {
				t.Errorf("request %d: object %d is nowhere: %v", at, i, keys)
			}
		}
		if cut {
			if err := s.Rename(t.Context(), "from", "to"); err != nil {
				t.Errorf("request %d: going on: %v, keys %v", at, err, keys)
			}
		}
		if got := server.Keys(); fmt.Sprint(got) != "[to/ to/0 to/1 to/2 to/3 to/4 to/sub/]" {
			t.Errorf("request %d: at the end %v", at, got)
		}
		if !cut {
			t.Logf("%d requests", at-1)
			return
		}
	}
}
