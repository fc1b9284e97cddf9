package drivers_test

import (
	"strings"
	"testing"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/drivers"
	"github.com/forebay/forebay/system/ufs/mem"
	"github.com/forebay/forebay/system/ufs/ufstest"
)

// TestOpen checks which driver a URI leads to, and what is said of one that leads to none.
func TestOpen(t *testing.T) {
	dir := t.TempDir() + "/with space"
	ufstest.Put(t.Context(), t, open(t, t.TempDir()), "x", nil)
	if _, err := drivers.Open(t.Context(), host.NewReal(), dir, nil); !dfs.IsKind(err, dfs.NotFound) {
		t.Errorf("missing: %v", err)
	}
	parent := open(t, dir[:strings.LastIndex(dir, "/")])
	if err := parent.Mkdir(t.Context(), "with space", 0o755); err != nil {
		t.Fatal(err)
	}
	ufstest.Put(t.Context(), t, open(t, dir), "o", []byte("content"))
	for _, uri := range []string{dir, "file://" + dir, "file://" + strings.ReplaceAll(dir, " ", "%20"), "FILE://localhost" + dir} {
		if got := ufstest.Get(t.Context(), t, open(t, uri), "o", 0, 100); string(got) != "content" {
			t.Errorf("%q reads %q", uri, got)
		}
	}
	for _, uri := range []string{"", "relative", "file://relative", "hdfs://name/x", "mem://x", "s3://"} {
		s, err := drivers.Open(t.Context(), host.NewReal(), uri, nil)
		if !dfs.IsKind(err, dfs.InvalidArgument) || s != nil {
			t.Errorf("%q: %v, %v", uri, s, err)
		}
	}
}

func open(t *testing.T, uri string) ufs.Store {
	t.Helper()
	s, err := drivers.Open(t.Context(), host.NewReal(), uri, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestMem checks that mem:// opens where a Space is given.
func TestMem(t *testing.T) {
	d := drivers.Drivers{Mem: &mem.Space{}}
	s, err := d.Open(t.Context(), host.NewReal(), "mem://a", nil)
	if err != nil {
		t.Fatal(err)
	}
	ufstest.Put(t.Context(), t, s, "o", nil)
}
