package metrics

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/forebay/forebay/system/dfs"
)

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// TestHandler: metrics appear under their full names, and the probes say what the checks say.
func TestHandler(t *testing.T) {
	r := New()
	part := r.Part("worker")
	part.Counter("evictions_total", "Pages evicted.").Add(3)
	part.CounterVec("reads_total", "Reads.", "source").WithLabelValues("cache").Inc()
	part.CounterFunc("scrubbed_bytes_total", "Bytes verified.", func() float64 { return 7 })
	part.Gauge("streams", "Open streams.").Set(2)
	part.GaugeFunc("used_bytes", "Bytes used.", func() float64 { return 9 })
	part.Seconds("read_seconds", "Time of a read.", "source").WithLabelValues("cache").Observe(0.001)
	var notReady error
	server := httptest.NewServer(r.Handler(nil, func() error { return notReady }))
	defer server.Close()

	_, body := get(t, server.URL+"/metrics")
	for _, line := range []string{
		"forebay_worker_evictions_total 3", `forebay_worker_reads_total{source="cache"} 1`, "forebay_worker_scrubbed_bytes_total 7",
		"forebay_worker_streams 2", "forebay_worker_used_bytes 9", `forebay_worker_read_seconds_count{source="cache"} 1`, "go_goroutines",
	} {
		if !strings.Contains(body, line) {
			t.Errorf("%q is missing", line)
		}
	}
	if code, body := get(t, server.URL+"/readyz"); code != 200 || body != "ok\n" {
		t.Errorf("ready: %d %q", code, body)
	}
	notReady = errors.New("not the leader yet")
	if code, body := get(t, server.URL+"/readyz"); code != 503 || body != "not the leader yet\n" {
		t.Errorf("not ready: %d %q", code, body)
	}
	if code, _ := get(t, server.URL+"/healthz"); code != 200 {
		t.Errorf("healthy: %d", code)
	}
}

// TestNewLogger: level and format are obeyed, and unknown ones refused.
func TestNewLogger(t *testing.T) {
	var out bytes.Buffer
	log, err := NewLogger(&out, "warn", "json")
	if err != nil {
		t.Fatal(err)
	}
	log.Info("quiet")
	log.Warn("loud", "bytes", 3)
	if got := out.String(); strings.Contains(got, "quiet") || !strings.Contains(got, `"bytes":3`) {
		t.Errorf("got %s", got)
	}
	for _, bad := range [][2]string{{"loud", "text"}, {"info", "xml"}} {
		if _, err := NewLogger(&out, bad[0], bad[1]); !dfs.IsKind(err, dfs.InvalidArgument) {
			t.Errorf("%v: got %v", bad, err)
		}
	}
}
