package master

// Gauges are the figures that an operator watches, by metric name. They are read when asked for. Each is cheap to read
// and takes no lock for long. Names that end in _total only grow within one run of the process.
// Followers report too: what a leader alone knows (workers, blocks) is then what it knew when it led last, so
// dashboards filter by serving.
func (m *Master) Gauges() map[string]func() float64 {
	store := m.machine.Store()
	return map[string]func() float64{
		"serving": func() float64 {
			if m.Serving() {
				return 1
			}
			return 0
		},
		"applied_index":         func() float64 { return float64(store.AppliedIndex()) },
		"flushed_index":         func() float64 { return float64(store.FlushedIndex()) },
		"commit_index":          func() float64 { return float64(m.journal.CommitIndex()) },
		"term":                  func() float64 { return float64(m.journal.Status().Term) },
		"journal_bytes":         func() float64 { return float64(m.journal.Status().LogBytes) },
		"inodes":                func() float64 { return float64(store.Stats().Inodes) },
		"store_bytes":           func() float64 { return float64(store.Stats().DiskBytes) },
		"cache_bytes":           func() float64 { return float64(store.Stats().CacheBytes) },
		"cache_hits_total":      func() float64 { return float64(store.Stats().CacheHits) },
		"cache_misses_total":    func() float64 { return float64(store.Stats().CacheMisses) },
		"sessions":              func() float64 { return float64(m.machine.Sessions()) },
		"blocks":                func() float64 { return float64(m.blocks.Len()) },
		"workers":               func() float64 { return float64(len(m.workers.List())) },
		"registrations_running": func() float64 { return float64(m.registering.Held()) },
	}
}

// RegisteredWorkers is how many live workers have reported all of their blocks.
func (m *Master) RegisteredWorkers() int {
	n := 0
	for _, w := range m.workers.List() {
		if w.Live && w.Registered {
			n++
		}
	}
	return n
}

// RootMounted tells whether the configured under store of / is in place, or none is configured.
func (m *Master) RootMounted() bool {
	return m.cfg.RootURI == "" || len(m.machine.Mounts().All()) > 0
}
