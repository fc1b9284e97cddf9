// Package s3server runs a real S3 server, versitygw on a directory, for tests. It is imported by tests only.
package s3server

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// The server's keys.
const (
	AccessKey = "forebay-test"
	SecretKey = "forebay-test-secret"
)

// Server is one running server. Each bucket is a directory below Dir.
type Server struct {
	Address string // host:port
	Dir     string
	buckets atomic.Int64
}

// Start starts a server that ends with the test. Without the binary the test is skipped, or fails when CI or
// FOREBAY_REQUIRE_S3 says that it must not be missing.
func Start(t testing.TB) *Server {
	t.Helper()
	binary := find()
	if binary == "" {
		const reason = "versitygw was not found: run `make test`, which installs it in .bin, or set FOREBAY_VERSITYGW to its path"
		if os.Getenv("CI") == "true" || os.Getenv("FOREBAY_REQUIRE_S3") == "1" {
			t.Fatal(reason)
		}
		t.Skip(reason)
	}
	s := &Server{Address: freeAddress(t), Dir: t.TempDir()}
	log, err := os.Create(filepath.Join(t.TempDir(), "versitygw.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "--port", s.Address, "--access", AccessKey, "--secret", SecretKey, "--quiet", "posix", s.Dir)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, t.TempDir()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
	})
	s.waitReady(t, log.Name())
	return s
}

func (s *Server) waitReady(t testing.TB, log string) {
	t.Helper()
	for range 200 {
		conn, err := net.DialTimeout("tcp", s.Address, time.Second)
		if err == nil {
			_ = conn.Close()
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	text, _ := os.ReadFile(log)
	t.Fatalf("versitygw does not answer at %s after 10 s:\n%s", s.Address, text)
}

// Bucket makes a fresh bucket.
func (s *Server) Bucket(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("bucket-%d", s.buckets.Add(1))
	if err := os.Mkdir(filepath.Join(s.Dir, name), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

// Options are the mount options that lead to the server.
func (s *Server) Options() map[string]string {
	return map[string]string{"endpoint": "http://" + s.Address, "access_key": AccessKey, "secret_key": SecretKey, "path_style": "true"}
}

// find looks for the binary in FOREBAY_VERSITYGW, the PATH, and .bin of this or a directory above.
func find() string {
	if path := os.Getenv("FOREBAY_VERSITYGW"); path != "" {
		return path
	}
	if path, err := exec.LookPath("versitygw"); err == nil {
		return path
	}
	dir, err := os.Getwd()
	for err == nil && dir != "/" {
		if found, _ := filepath.Glob(filepath.Join(dir, ".bin", "versitygw*")); len(found) > 0 {
			return found[len(found)-1] // the newest version
		}
		dir = filepath.Dir(dir)
	}
	return ""
}

func freeAddress(t testing.TB) string {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
