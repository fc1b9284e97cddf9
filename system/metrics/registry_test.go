package metrics

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// TestNamesAreTakenOnce: a second metric of one name is a mistake in the program, whatever its form; another part may have
// the name too.
func TestNamesAreTakenOnce(t *testing.T) {
	makers := map[string]func(*Registry){
		"Counter":     func(r *Registry) { r.Counter("x_total", "help") },
		"CounterVec":  func(r *Registry) { r.CounterVec("x_total", "help", "label") },
		"CounterFunc": func(r *Registry) { r.CounterFunc("x_total", "help", func() float64 { return 1 }) },
		"Gauge":       func(r *Registry) { r.Gauge("x_total", "help") },
		"GaugeFunc":   func(r *Registry) { r.GaugeFunc("x_total", "help", func() float64 { return 1 }) },
		"Seconds":     func(r *Registry) { r.Seconds("x_total", "help") },
	}
	for first, make1 := range makers {
		for second, make2 := range makers {
			r := New()
			make1(r.Part("master"))
			make2(r.Part("worker"))
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s, then %s of the same name went unnoticed", first, second)
					}
				}()
				make2(r.Part("master"))
			}()
		}
	}
}

// TestSecondsBuckets: durations from 50 µs to 50 s fall into different buckets, and what is outside is counted all the same.
func TestSecondsBuckets(t *testing.T) {
	r := New()
	h := r.Part("client").Seconds("call_seconds", "help", "op").WithLabelValues("read")
	for _, s := range []float64{0, 40e-6, 60e-6, 1, 60, 1000} {
		h.Observe(s)
	}
	server := httptest.NewServer(r.Handler(nil, nil))
	defer server.Close()
	_, body := get(t, server.URL+"/metrics")
	for _, line := range []string{
		`forebay_client_call_seconds_bucket{op="read",le="5e-05"} 2`, `forebay_client_call_seconds_bucket{op="read",le="0.0002"} 3`,
		`forebay_client_call_seconds_bucket{op="read",le="52.4288"} 4`, `forebay_client_call_seconds_bucket{op="read",le="+Inf"} 6`,
	} {
		if !strings.Contains(body, line) {
			t.Errorf("%s is missing", line)
		}
	}
}

// TestDoorRefuses: only GET of the three paths is answered.
func TestDoorRefuses(t *testing.T) {
	server := httptest.NewServer(New().Handler(nil, nil))
	defer server.Close()
	for _, tt := range []struct {
		method, path string
		code         int
	}{{"POST", "/metrics", 405}, {"DELETE", "/healthz", 405}, {"GET", "/", 404}, {"GET", "/debug/pprof", 404}, {"HEAD", "/readyz", 200}} {
		request, err := http.NewRequest(tt.method, server.URL+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != tt.code {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.path, response.StatusCode, tt.code)
		}
	}
}

// TestProbesAreIndependent: health and readiness are asked each for itself, on every request, and by many at once.
func TestProbesAreIndependent(t *testing.T) {
	var mu sync.Mutex
	asked := map[string]int{}
	check := func(name string, err error) Check {
		return func() error {
			mu.Lock()
			defer mu.Unlock()
			asked[name]++
			return err
		}
	}
	server := httptest.NewServer(New().Handler(check("healthy", errors.New("disk failed")), check("ready", nil)))
	defer server.Close()
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if code, body := get(t, server.URL+"/healthz"); code != 503 || body != "disk failed\n" {
				t.Errorf("healthy: %d %q", code, body)
			}
			if code, _ := get(t, server.URL+"/readyz"); code != 200 {
				t.Errorf("ready: %d", code)
			}
		})
	}
	wg.Wait()
	if asked["healthy"] != 5 || asked["ready"] != 5 {
		t.Errorf("asked %v", asked)
	}
}

// TestLogLevels: each level lets itself and what is graver through, in either form, and the case of the words does not matter.
func TestLogLevels(t *testing.T) {
	levels := []string{"debug", "info", "warn", "error"}
	for i, level := range levels {
		for _, format := range []string{"text", "json", "JSON", "Text"} {
			var out bytes.Buffer
			log, err := NewLogger(&out, strings.ToUpper(level), format)
			if err != nil {
				t.Fatal(err)
			}
			log.Debug("said-debug")
			log.Info("said-info")
			log.Warn("said-warn")
			log.Error("said-error")
			for k, other := range levels {
				if got := strings.Contains(out.String(), "said-"+other); got != (k >= i) {
					t.Errorf("%s at level %s: written %v", other, level, got)
				}
			}
		}
	}
}
