package metrics

import (
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Check tells why a process is not healthy or not ready; nil when it is. It must answer at once.
type Check func() error

// Handler serves /metrics, /healthz (is the process in order: restart it if not) and /readyz (does it serve: send it
// work). A nil check always passes.
// Only GET (and HEAD) is answered. A check that fails is 503 with its text; a check that panics fails its request
// alone, as net/http has it. Checks may run at the same time.
func (r *Registry) Handler(healthy, ready Check) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(r.all, promhttp.HandlerOpts{Registry: r.all}))
	mux.Handle("GET /healthz", probe(healthy))
	mux.Handle("GET /readyz", probe(ready))
	return mux
}

// probe asks on every request: the answer is never older than the question. What the check says goes to the caller, who may be
// anybody that reaches the port.
func probe(check Check) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if check != nil {
			if err := check(); err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				fmt.Fprintln(w, err)
				return
			}
		}
		fmt.Fprintln(w, "ok")
	}
}
