package master

import (
	"context"
	"sync"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/metasync"
	"github.com/forebay/forebay/system/master/namespace"
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

	ttlCursor []byte // of the task that expires TTLs, alone

	mu       sync.Mutex
	lastSeen map[dfs.SessionID]time.Time // at most maxSeen; made anew from the known sessions by expireSessions
	running  map[runKey]*slowRun         // at most one for each caller
}

// maxSeen bounds lastSeen between two expiries: a client can name sessions that do not exist.
const maxSeen = 400_000

// maxSlowOperations bounds the operations that wait for an under store; fast ones do not queue behind them.
const maxSlowOperations = 256

// followLeadership starts and ends leaderships as the journal says. Two tasks can want to: this one, and the watch of a
// leadership whose entry was refused. They take turns (m.leading), and m.term, which this one sets first, tells the other
// that its term is over. So there is never more than one leadership, and never one of a term that the journal has ended.
// It returns when the master stops. A term of 0 means that this master does not lead.
func (m *Master) followLeadership() {
	for {
		term, err := m.journal.Leadership(m.ctx)
		if err != nil {
			return
		}
		m.term.Store(term)
		if m.leading.Lock(m.ctx) != nil {
			return
		}
		if l := m.leader.Swap(nil); l != nil {
			l.end()
			m.log.Info("no longer leading", "term", l.term)
		}
		if term > 0 {
			m.lead(term)
		}
		m.leading.Unlock()
	}
}

// lead starts a leadership, trying again while the journal says that this master leads this term. m.leading is held.
// It returns when a leadership has begun, when the journal names another, or when the master stops.
func (m *Master) lead(term uint64) {
	for m.ctx.Err() == nil && m.term.Load() == term {
		failed := m.h.NewEvent()
		l, err := m.newLeadership(term, func(err error) {
			m.log.Warn("a journal entry was not committed", "term", term, "error", err)
			m.noteTrouble(err)
			failed.Set()
		})
		if err == nil {
			m.leader.Store(l)
			m.log.Info("leading", "term", term, "applied", m.machine.AppliedIndex())
			l.task("watch-leadership", func() { m.watch(l, failed) })
			return
		}
		m.log.Warn("cannot lead yet", "term", term, "error", err)
		m.noteTrouble(err)
		if m.journal.Leader() != m.cfg.ID || m.h.Sleep(m.ctx, retryLeading) != nil {
			return
		}
	}
}

// trouble is why a leadership of this master ended or did not begin, other than by another's election. The term's next
// leadership does not clear it; time does (troubleLasts).
type trouble struct {
	err error
	at  time.Time
}

// troubleLasts is how long a reason is worth telling. It outlives a leadership that begins and fails again: on a full disk
// a small entry may fit where a large one does not.
const troubleLasts = 30 * time.Second

// noteTrouble keeps the reason for clients that ask this master next: "does not lead" is no help on a full disk. A lost
// election is no trouble; the new leader is named instead.
func (m *Master) noteTrouble(err error) {
	if !dfs.IsKind(err, dfs.NotLeader) {
		m.trouble.Store(&trouble{err, m.h.Now()})
	}
}

// watch replaces a failed leadership (a full disk refused an entry) while its term goes on. It waits a moment before
// it leads again, so that a disk which refuses every entry is not asked without pause. m.leading is held all the
// while, so the journal's next word waits for it.
func (m *Master) watch(l *leadership, failed host.Event) {
	if failed.Wait(l.ctx) != nil || m.leading.Lock(m.ctx) != nil {
		return
	}
	defer m.leading.Unlock()
	if !m.leader.CompareAndSwap(l, nil) {
		return // the journal was first
	}
	l.end()
	if m.h.Sleep(m.ctx, retryLeading) == nil && m.journal.Leader() == m.cfg.ID {
		m.lead(l.term)
	}
}

// newLeadership starts what serves. The order matters: the Barrier first, so that the applied state has everything that
// earlier leaders committed; then the evaluator, whose first entry (Bootstrap) begins a new epoch, which refuses whatever
// an evaluator before it may still have under way; then the soft state is emptied, so that nothing reported to an earlier
// leadership is taken for known; upkeep last, since it acts on all of these.
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
		running: map[runKey]*slowRun{},
	}
	l.sync = metasync.New(m.h, m.machine, e, m.stores.get, l.forget)
	l.persist = newPersister(l)
	l.ctx, l.cancel = m.h.WithCancel(m.ctx)
	l.startUpkeep()
	if m.cfg.RootURI != "" {
		l.task("mount-root", l.mountRoot)
	}
	return l, nil
}

// end refuses new work and ends the tasks. Mutations that were proposed end as the journal decides; their callers are
// told to ask the next leader. It does not wait for tasks, which may hang in a store: Stop does. It returns when the
// evaluator proposes nothing more. Ending twice does no harm.
func (l *leadership) end() {
	l.cancel()
	l.e.Close()
}

// heard notes that a session's client lives. Sessions that do not exist count against maxSeen until the next expiry;
// one that is known already is always noted.
func (l *leadership) heard(id dfs.SessionID) {
	if id == 0 {
		return
	}
	now := l.m.h.Now()
	l.mu.Lock()
	if _, known := l.lastSeen[id]; known || len(l.lastSeen) < maxSeen {
		l.lastSeen[id] = now
	}
	l.mu.Unlock()
}

// task starts a task of this leadership. Stop waits for it before it closes what the task reads.
func (l *leadership) task(name string, f func()) {
	if err := l.m.tasks.Go(l.ctx, name, func() error { f(); return nil }); err != nil {
		panic(err) // the group has no limit of its own, so there is nothing to wait for
	}
}
