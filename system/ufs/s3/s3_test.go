package s3_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/drivers"
	"github.com/forebay/forebay/system/ufs/ufstest"
	"github.com/forebay/forebay/system/ufs/ufstest/s3server"
)

func open(t *testing.T, server *s3server.Server, uri string) ufs.Store {
	t.Helper()
	options := server.Options()
	options["part_size"] = fmt.Sprint(5 << 20)
	s, err := drivers.Open(t.Context(), host.NewReal(), uri, options)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestConformance holds the driver to ufs.Store's contract on a real server, at a bucket's root and below a prefix.
func TestConformance(t *testing.T) {
	server := s3server.Start(t)
	o := ufstest.Options{BigObjectBytes: 13 << 20, NoAttributes: true, NoFileAsDirectory: true}
	t.Run("Root", func(t *testing.T) {
		ufstest.Run(t, func(t *testing.T) ufs.Store { return open(t, server, "s3://"+server.Bucket(t)) }, o)
	})
	t.Run("Prefix", func(t *testing.T) {
		ufstest.Run(t, func(t *testing.T) ufs.Store { return open(t, server, "s3://"+server.Bucket(t)+"/some/pre fix") }, o)
	})
}

// TestOpenErrors checks that what is wrong with a mount is found when it is opened, with a remedy.
func TestOpenErrors(t *testing.T) {
	server := s3server.Start(t)
	bucket := server.Bucket(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	_ = closed.Close()
	for _, test := range []struct {
		name, uri, option, value string
		kind                     dfs.Kind
		word                     string
	}{
		{"missing bucket", "s3://no-such-bucket", "", "", dfs.NotFound, "make the bucket"},
		{"wrong key", "s3://" + bucket, "access_key", "wrong", dfs.PermissionDenied, "access_key"},
		{"wrong secret", "s3://" + bucket, "secret_key", "wrong", dfs.PermissionDenied, "secret_key"},
		{"nobody listens", "s3://" + bucket, "endpoint", "http://" + nobody, dfs.Unavailable, "is it running"},
		{"bad endpoint", "s3://" + bucket, "endpoint", "http://", dfs.InvalidArgument, "host:port"},
		{"unknown option", "s3://" + bucket, "acess_key", "x", dfs.InvalidArgument, "no such option"},
		{"small parts", "s3://" + bucket, "part_size", "1000", dfs.InvalidArgument, "least"},
		{"no bucket", "s3:///x", "", "", dfs.InvalidArgument, "bucket"},
		{"dots", "s3://" + bucket + "/a/../b", "", "", dfs.InvalidArgument, ".."},
	} {
		t.Run(test.name, func(t *testing.T) {
			options := server.Options()
			if test.option != "" {
				options[test.option] = test.value
			}
			s, err := drivers.Open(t.Context(), host.NewReal(), test.uri, options)
			if !dfs.IsKind(err, test.kind) || !strings.Contains(err.Error(), test.word) {
				t.Errorf("got %v, want %v with %q", err, test.kind, test.word)
			}
			if s != nil {
				t.Error("a store besides the error")
			}
		})
	}
}

// TestDeadline checks that a server which accepts and never answers does not hold a caller past its deadline.
func TestDeadline(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = drivers.Open(ctx, host.NewReal(), "s3://bucket", map[string]string{
		"endpoint": "http://" + silent.Addr().String(), "access_key": "x", "secret_key": "y"})
	if !dfs.IsKind(err, dfs.DeadlineExceeded) || time.Since(start) > 3*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}

// TestRenameResumes cuts a rename of a directory off in the middle and calls it again.
func TestRenameResumes(t *testing.T) {
	server := s3server.Start(t)
	s := open(t, server, "s3://"+server.Bucket(t))
	const files = 40
	for i := range files {
		ufstest.Put(t.Context(), t, s, fmt.Sprintf("from/%02d", i), []byte(fmt.Sprint(i)))
	}
	cut, ok := 0, false
	for wait := time.Millisecond; !ok; wait = wait * 3 / 2 {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		err := s.Rename(ctx, "from", "to")
		cancel()
		switch {
		case err == nil:
			ok = true
		case dfs.IsKind(err, dfs.DeadlineExceeded):
			cut++
		case dfs.IsKind(err, dfs.NotFound): // cut off behind its last step
			_, err = s.Stat(t.Context(), "to")
			ok = err == nil
		default:
			t.Fatalf("after %d cuts: %v", cut, err)
		}
	}
	if cut == 0 {
		t.Error("nothing was cut off")
	}
	names := 0
	for e, err := range s.List(t.Context(), "to", "") {
		if err != nil {
			t.Fatal(err)
		}
		if got := string(ufstest.Get(t.Context(), t, s, "to/"+e.Name, 0, 10)); got != strings.TrimPrefix(e.Name, "0") {
			t.Errorf("%q holds %q", e.Name, got)
		}
		names++
	}
	if _, err := s.Stat(t.Context(), "from"); names != files || !dfs.IsKind(err, dfs.NotFound) {
		t.Errorf("%d of %d files arrived; the source: %v", names, files, err)
	}
}

// TestListBeyondLookAhead has a directory whose place in the server's order is pages behind its place among the names.
func TestListBeyondLookAhead(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 3,100 objects")
	}
	server := s3server.Start(t)
	s := open(t, server, "s3://"+server.Bucket(t))
	want := []string{"a"}
	ufstest.Put(t.Context(), t, s, "a/in", nil)
	for i := range 3100 {
		name := fmt.Sprintf("a.%04d", i)
		want = append(want, name)
		ufstest.Put(t.Context(), t, s, name, nil)
	}
	for _, after := range []int{-1, 0, 1, 999, 1000, 1001, 2500} {
		name := ""
		if after >= 0 {
			name = want[after]
		}
		var got []string
		for e, err := range s.List(t.Context(), "", name) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e.Name)
		}
		if !slices.Equal(got, want[after+1:]) {
			t.Errorf("after %q: %d names, want %d", name, len(got), len(want)-after-1)
		}
	}
}
