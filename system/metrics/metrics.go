// Package metrics is how a process shows itself: a registry of Prometheus metrics with one naming scheme, the HTTP door
// with /metrics, /healthz and /readyz, and the set-up of logging. It owns no metric; every package registers its own
// through a Registry that is handed to it. There is no global registry: several processes' parts may live in one, as in tests
// and in an embedded cluster. It decides nothing: what healthy and ready mean is injected.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// namespace begins every metric's name.
const namespace = "forebay"

// Registry makes and holds the metrics of one process part. Names are "forebay_<part>_<name>"; names end in their unit
// (_bytes, _seconds), counters in _total.
type Registry struct {
	all  *prometheus.Registry
	part string
}

// New makes a registry with the process's and the runtime's own metrics in it.
func New() *Registry {
	all := prometheus.NewRegistry()
	all.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &Registry{all: all}
}

// Part is a view of the registry, which it shares, whose names begin with the part's: "master", "worker".
func (r *Registry) Part(name string) *Registry { return &Registry{all: r.all, part: name} }

// Counter makes a counter. Like the others it panics when the name is taken: two parts must not share one.
func (r *Registry) Counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Subsystem: r.part, Name: name, Help: help})
	r.all.MustRegister(c)
	return c
}

// CounterVec makes counters told apart by labels, whose values must be few and bounded.
func (r *Registry) CounterVec(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Subsystem: r.part, Name: name, Help: help}, labels)
	r.all.MustRegister(c)
	return c
}

// CounterFunc makes a counter that is read from elsewhere when it is asked for.
func (r *Registry) CounterFunc(name, help string, read func() float64) {
	r.all.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Namespace: namespace, Subsystem: r.part, Name: name, Help: help,
	}, read))
}

// Gauge makes a gauge.
func (r *Registry) Gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Subsystem: r.part, Name: name, Help: help})
	r.all.MustRegister(g)
	return g
}

// GaugeFunc makes a gauge that is read from elsewhere when it is asked for.
func (r *Registry) GaugeFunc(name, help string, read func() float64) {
	r.all.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Subsystem: r.part, Name: name, Help: help,
	}, read))
}

// Seconds makes a histogram of durations from 50 µs to 50 s, told apart by labels, whose values must be few and bounded.
func (r *Registry) Seconds(name, help string, labels ...string) *prometheus.HistogramVec {
	const first, factor, count = 50e-6, 4, 11
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Subsystem: r.part, Name: name, Help: help,
		Buckets: prometheus.ExponentialBuckets(first, factor, count),
	}, labels)
	r.all.MustRegister(h)
	return h
}
