// Package benchtest is what the tests of the experiments share: the forebay binary, and a cluster in the test's own process
// for checks that need real answers and no processes to kill.
package benchtest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/host/hosttest"
	"github.com/forebay/forebay/system/node"
)

// Binary builds forebay as it is now. Go's build cache makes a second build cheap.
func Binary(t testing.TB) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "forebay")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/forebay/forebay/cmd/forebay").CombinedOutput(); err != nil {
		t.Fatalf("build forebay: %v\n%s", err, out)
	}
	return binary
}

// ports is how many an embedded cluster may use after its first.
const ports = 81

// Embedded starts a master and a worker in this process, and returns a client of root's and the folder that is mounted at /.
// Everything is stopped when the test ends.
func Embedded(t testing.TB) (c *client.Client, under string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	h, dir := host.NewReal(), t.TempDir()
	var cluster *node.Cluster
	var err error
	for range 5 { // a port may be taken between the look and the start
		var port int
		if port, err = hosttest.FreePorts(ports); err != nil {
			t.Fatal(err)
		}
		if cluster, err = node.StartCluster(h, node.UpConfig{Dir: dir, Masters: 1, Workers: 1, Port: port, Capacity: "256MiB"}); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := cluster.Stop(stop); err != nil {
			t.Error(err)
		}
	})
	if err := cluster.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	c, err = client.New(client.Config{Host: h, Masters: cluster.Masters(), Identity: dfs.Identity{User: "root", Groups: []string{"root"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // before the cluster stops
	return c, filepath.Join(dir, "under")
}

// Tree writes files below dir, with the folders that they need.
func Tree(t testing.TB, dir string, files map[string][]byte) {
	t.Helper()
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
