package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"testing"

	"github.com/minio/minio-go/v7"

	"github.com/forebay/forebay/system/dfs"
)

// TestParseOptions reads each option, and refuses what is misspelt, malformed or given by halves; no error shows a secret.
func TestParseOptions(t *testing.T) {
	keys := map[string]string{"access_key": "a", "secret_key": "hunter2"}
	with := func(name, value string) map[string]string {
		o := maps.Clone(keys)
		o[name] = value
		return o
	}
	base := Options{AccessKey: "a", SecretKey: "hunter2", PartBytes: defaultPartBytes}
	for _, test := range []struct {
		name, value string
		change      func(o *Options) // nil: refused
	}{
		{"endpoint", "h:1", func(o *Options) { o.Endpoint = "h:1" }}, {"region", "eu", func(o *Options) { o.Region = "eu" }},
		{"session_token", "t", func(o *Options) { o.SessionToken = "t" }}, {"anonymous", "true", func(o *Options) { o.Anonymous = true }},
		{"path_style", "1", func(o *Options) { o.PathStyle = true }}, {"insecure", "T", func(o *Options) { o.Insecure = true }},
		{"insecure", "false", func(*Options) {}}, {"part_size", fmt.Sprint(minPartBytes), func(o *Options) { o.PartBytes = minPartBytes }},
		{"part_size", fmt.Sprint(minPartBytes - 1), nil}, {"part_size", "16MiB", nil}, {"part_size", "", nil}, {"part_size", "-1", nil},
		{"anonymous", "yes", nil}, {"path_style", "", nil}, {"Endpoint", "h:1", nil}, {"", "", nil}, {"secret", "x", nil}, {"secret_key", "", nil}, {"access_key", "", nil},
	} {
		got, err := ParseOptions(with(test.name, test.value))
		if test.change == nil {
			if !dfs.IsKind(err, dfs.InvalidArgument) {
				t.Errorf("%s=%s: %+v, %v", test.name, test.value, got, err)
			}
			continue
		}
		want := base
		if test.change(&want); err != nil || got != want {
			t.Errorf("%s=%s: %+v, %v, want %+v", test.name, test.value, got, err, want)
		}
	}
	if got, err := ParseOptions(nil); err != nil || got != (Options{PartBytes: defaultPartBytes}) {
		t.Errorf("no options: %+v, %v", got, err)
	}
}

// TestEndpoints: what an endpoint may look like, and when TLS is used.
func TestEndpoints(t *testing.T) {
	for _, test := range []struct {
		endpoint string
		insecure bool
		host     string // "": refused
		secure   bool
	}{
		{"", false, "s3.amazonaws.com", true}, {"", true, "s3.amazonaws.com", true}, {"h:9000", false, "h:9000", true}, {"h:9000", true, "h:9000", false},
		{"http://h:9000", false, "h:9000", false}, {"https://h", true, "h", true}, {"https://h/", false, "h", true}, {"https://[::1]:9000", false, "[::1]:9000", true},
		{"ftp://h", false, "", false}, {"http://", false, "", false}, {"https://h/path", false, "", false}, {"http://h:port", false, "", false}, {"://h", false, "", false},
	} {
		host, secure, err := parseEndpoint(Options{Endpoint: test.endpoint, Insecure: test.insecure})
		if test.host == "" && !dfs.IsKind(err, dfs.InvalidArgument) || test.host != "" && (err != nil || host != test.host || secure != test.secure) {
			t.Errorf("%q, insecure %v: %q, %v, %v", test.endpoint, test.insecure, host, secure, err)
		}
	}
}

// TestClassify: what is no answer of the protocol is the caller's, the network's, or worth no repetition; and an answer's code
// outranks its status.
func TestClassify(t *testing.T) {
	for _, test := range []struct {
		err  error
		kind dfs.Kind
	}{
		{context.Canceled, dfs.Canceled}, {&url.Error{Op: "Get", URL: "http://h", Err: context.DeadlineExceeded}, dfs.DeadlineExceeded},
		{io.ErrUnexpectedEOF, dfs.Unavailable}, {fmt.Errorf("body: %w", io.EOF), dfs.Unavailable},
		{&url.Error{Op: "Get", URL: "http://h", Err: &net.OpError{Op: "dial", Err: errors.New("refused")}}, dfs.Unavailable},
		{&net.DNSError{Err: "no such host", Name: "h"}, dfs.Unavailable}, {errors.New("something"), dfs.UnderStore},
		{minio.ErrorResponse{Code: "NoSuchKey", StatusCode: 500}, dfs.NotFound}, {minio.ErrorResponse{Code: "SlowDown", StatusCode: 403}, dfs.Unavailable},
		{minio.ErrorResponse{StatusCode: 404}, dfs.NotFound}, {minio.ErrorResponse{StatusCode: 401}, dfs.PermissionDenied}, {minio.ErrorResponse{StatusCode: 507}, dfs.NoSpace},
		{minio.ErrorResponse{StatusCode: 429}, dfs.Unavailable}, {minio.ErrorResponse{StatusCode: 599}, dfs.Unavailable}, {minio.ErrorResponse{StatusCode: 418}, dfs.UnderStore},
		{fmt.Errorf("wrapped: %w", minio.ErrorResponse{Code: "QuotaExceeded", StatusCode: 403}), dfs.NoSpace},
	} {
		if kind, detail := classify(test.err); kind != test.kind || detail == "" {
			t.Errorf("%#v: %v (%s), want %v", test.err, kind, detail, test.kind)
		}
	}
	s := &Store{bucket: "b", prefix: "p/"}
	err := s.convert(io.EOF, "read", "d/o")
	if s.convert(err, "open", "x") != err || s.convert(nil, "open", "x") != nil {
		t.Error("an error of ours, or none, was converted")
	}
	var e *dfs.Error
	if !errors.As(err, &e) || e.Path != "s3://b/p/d/o" || !errors.Is(err, io.EOF) {
		t.Errorf("%v does not name the object", err)
	}
}

// TestPartBuffer: the buffer of a part never passes the part's size, keeps its bytes when it grows, and is small for small
// objects; parts grow tenfold behind the first growAfterParts.
func TestPartBuffer(t *testing.T) {
	w := &writer{s: &Store{partBytes: 1000}}
	for i := range 1000 {
		w.grow(1)
		w.buffer = append(w.buffer, byte(i))
		if cap(w.buffer) > 1000 || cap(w.buffer) > 2*len(w.buffer) {
			t.Fatalf("%d bytes in a buffer of %d", len(w.buffer), cap(w.buffer))
		}
	}
	for i, b := range w.buffer {
		if b != byte(i) {
			t.Fatalf("byte %d is %d", i, b)
		}
	}
	w.parts = make([]minio.CompletePart, growAfterParts-1)
	if n := w.partBytes(); n != 1000 {
		t.Errorf("the last small part has %d bytes", n)
	}
	if w.parts = append(w.parts, minio.CompletePart{}); w.partBytes() != 10_000 {
		t.Errorf("the first large part has %d bytes", w.partBytes())
	}
}
