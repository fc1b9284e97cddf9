package master

import (
	"context"
	"sync"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/metasync"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
)

// Pace of a new leader and of one whose disk refuses.
const (
	barrierTimeout = 10 * time.Second
	retryLeading   = 100 * time.Millisecond
	mountRootRetry = 5 * time.Second
)

// leadership is everything that lives while this master leads.
type leadership struct {
	m      *Master
	term   uint64
	since  time.Time
	e      *namespace.Evaluator
	reads  *readIndex
	sync   *metasync.Syncer
	ctx    context.Context
	cancel context.CancelFunc
	slow   *host.Semaphore // under-store operations and walks of this leader's clients

	persist *persister

	mu       sync.Mutex
	lastSeen map[dfs.SessionID]time.Time
}

// maxSlowOperations bounds the operations that wait for an under store; fast ones do not queue behind them.
const maxSlowOperations = 256

func (m *Master) followLeadership() {
	for {
		term, err := m.journal.Leadership(m.ctx)
		if err != nil {
			return
		}
		if l := m.leader.Swap(nil); l != nil {
			l.end()
			m.log.Info("no longer leading", "term", l.term)
		}
		if term > 0 {
			m.lead(term)
		}
	}
}

// lead starts a leadership, and another in the same term when an entry was refused for a local reason (a full disk).
func (m *Master) lead(term uint64) {
	for m.ctx.Err() == nil {
		failed := m.h.NewEvent()
		l, err := m.newLeadership(term, func(err error) {
			m.log.Warn("a journal entry was not committed", "term", term, "error", err)
			failed.Set()
		})
		if err == nil {
			m.leader.Store(l)
			m.log.Info("leading", "term", term, "applied", m.machine.AppliedIndex())
			m.watch(l, failed)
			return
		}
		m.log.Warn("cannot lead yet", "term", term, "error", err)
		if m.journal.Leader() != m.cfg.ID || m.h.Sleep(m.ctx, retryLeading) != nil {
			return
		}
	}
}

// watch replaces a failed leadership while the journal still says that this master leads.
func (m *Master) watch(l *leadership, failed host.Event) {
	m.h.Go("watch-leadership", func() {
		if failed.Wait(m.ctx) != nil || !m.leader.CompareAndSwap(l, nil) {
			return
		}
		l.end()
		if m.h.Sleep(m.ctx, retryLeading) == nil && m.journal.Leader() == m.cfg.ID {
			m.lead(l.term)
		}
	})
}

func (m *Master) newLeadership(term uint64, onFatal func(error)) (*leadership, error) {
	ctx, cancel := m.h.WithTimeout(m.ctx, barrierTimeout)
	defer cancel()
	if err := m.journal.Barrier(ctx); err != nil {
		return nil, err
	}
	e, err := namespace.NewEvaluator(m.h, m.machine, m.journal, onFatal)
	if err != nil {
		return nil, err
	}
	if err := e.Bootstrap(ctx, m.cfg.Superuser, m.cfg.Group, m.cfg.ID, m.cfg.Address); err != nil {
		e.Close()
		return nil, err
	}
	m.blocks.Reset()
	m.workers.Reset()
	l := &leadership{
		m: m, term: term, since: m.h.Now(), e: e, reads: &readIndex{h: m.h, j: m.journal, m: m.machine},
		slow: host.NewSemaphore(m.h, maxSlowOperations), lastSeen: map[dfs.SessionID]time.Time{},
	}
	l.sync = metasync.New(m.h, m.machine, e, m.stores.get, l.forget)
	l.persist = newPersister(l)
	l.ctx, l.cancel = m.h.WithCancel(m.ctx)
	l.startUpkeep()
	if m.cfg.RootURI != "" {
		m.h.Go("mount-root", l.mountRoot)
	}
	return l, nil
}

// mountRoot mounts the configured under store at / of a cluster that has nothing yet. A cluster that has something is
// left alone: its operator may have unmounted the root.
func (l *leadership) mountRoot() {
	for l.ctx.Err() == nil && len(l.m.machine.Mounts().All()) == 0 {
		_, err := l.mount(l.ctx, l.own(), dfs.Root, &proto.MountUfs{Path: "/", Uri: l.m.cfg.RootURI, SyncInterval: int64(metasync.Never)})
		if err == nil || dfs.IsKind(err, dfs.NotEmpty) {
			return
		}
		l.m.log.Warn("cannot mount the root's under store; trying again", "uri", l.m.cfg.RootURI, "error", err)
		if l.m.h.Sleep(l.ctx, mountRootRetry) != nil {
			return
		}
	}
}

func (l *leadership) end() {
	l.cancel()
	l.e.Close()
}

// heard notes that a session's client lives.
func (l *leadership) heard(id dfs.SessionID) {
	if id == 0 {
		return
	}
	now := l.m.h.Now()
	l.mu.Lock()
	l.lastSeen[id] = now
	l.mu.Unlock()
}
