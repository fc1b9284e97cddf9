package memjournal_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/host/hosttest"
	"github.com/forebay/forebay/system/journal"
	"github.com/forebay/forebay/system/journal/journaltest"
	"github.com/forebay/forebay/system/journal/memjournal"
)

// TestGivingUpLeavesNoGap: proposers that give up while they wait for room take no index; those behind them follow without a
// gap, in virtual time, where every order of giving up is the same each time.
func TestGivingUpLeavesNoGap(t *testing.T) {
	v := hosttest.NewVirtual(1)
	err := v.Run(func() {
		sm := journaltest.NewRecorder(v)
		j := memjournal.Open(v, sm)
		release := sm.Hold()
		ctx := context.Background()
		group := host.NewGroup(v, 0)
		var mu sync.Mutex
		took, refused := 0, 0
		for i := range 30 {
			_ = group.Go(ctx, "propose", func() error {
				limited, cancel := v.WithTimeout(ctx, time.Duration(1+i%7)*time.Second)
				defer cancel()
				p := j.Propose(limited, fmt.Append(nil, i))
				_, err := p.Wait(ctx)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					took++
				case errors.Is(err, context.DeadlineExceeded):
					refused++
				default:
					t.Errorf("proposal %d: %v", i, err)
				}
				return nil
			})
		}
		_ = v.Sleep(ctx, 3500*time.Millisecond)
		release()
		_ = group.Wait(ctx)
		if err := j.Close(); err != nil {
			t.Error(err)
		}
		if took+refused != 30 || refused == 0 || took < 3 {
			t.Errorf("%d took effect, %d gave up", took, refused)
		}
		if entries := sm.Entries(); len(entries) != took || entries[took-1].Index != uint64(took) || len(sm.Violations()) > 0 {
			t.Errorf("%d entries of %d, %v", len(entries), took, sm.Violations())
		}
	})
	if err != nil {
		t.Error(err)
	}
}

// TestWaitersThatGiveUp: a caller that stops waiting gets its own error, and its proposal or barrier goes on.
func TestWaitersThatGiveUp(t *testing.T) {
	sm := journaltest.NewRecorder(host.NewReal())
	j := memjournal.Open(host.NewReal(), sm)
	release := sm.Hold()
	p := j.Propose(t.Context(), []byte("a"))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Wait(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("wait: %v", err)
	}
	if err := j.Barrier(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("barrier: %v", err)
	}
	release()
	if index, err := p.Wait(t.Context()); index != 1 || err != nil {
		t.Errorf("later: %d, %v", index, err)
	}
	if err := j.Barrier(t.Context()); err != nil || sm.AppliedIndex() != 1 || j.CommitIndex() != 1 {
		t.Errorf("barrier: %v; applied %d, committed %d", err, sm.AppliedIndex(), j.CommitIndex())
	}
	_ = j.Close()
}

// TestAlone: what takes other members is refused with a word on what has them; what is true of one member is said.
func TestAlone(t *testing.T) {
	sm := journaltest.NewRecorder(host.NewReal())
	j := memjournal.Open(host.NewReal(), sm)
	defer func() { _ = j.Close() }()
	ctx := t.Context()
	for name, err := range map[string]error{"add": j.Add(ctx, journal.Member{ID: "x"}), "remove": j.Remove(ctx, "x"), "transfer": j.Transfer(ctx, "")} {
		if !dfs.IsKind(err, dfs.UnsupportedFeature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range 5 {
		if _, err := j.Propose(ctx, fmt.Append(nil, i)).Wait(ctx); err != nil {
			t.Fatal(err)
		}
		if i == 2 {
			sm.Flush()
		}
	}
	if index, err := j.Snapshot(ctx); index != 3 || err != nil {
		t.Errorf("what would survive: %d, %v; want what was flushed, 3", index, err)
	}
	if st := j.Status(); st.AppliedIndex != 5 || st.CommitIndex != 5 || st.LeaderID != memjournal.MemberID || st.Fault != nil {
		t.Errorf("status %+v", st)
	}
	next := memjournal.Open(host.NewReal(), sm.Crash())
	defer func() { _ = next.Close() }()
	if index, err := next.Propose(ctx, []byte("x")).Wait(ctx); index != 4 || err != nil {
		t.Errorf("after a crash: entry %d, %v; want what follows the flushed one, 4", index, err)
	}
}

// TestCloseBesideCallers: a journal that is closed while many propose, wait and ask answers each of them: with an index, or
// with Unavailable. What was answered with an index is applied when Close returns.
func TestCloseBesideCallers(t *testing.T) {
	for range 20 {
		sm := journaltest.NewRecorder(host.NewReal())
		j := memjournal.Open(host.NewReal(), sm)
		var wg sync.WaitGroup
		var mu sync.Mutex
		var highest uint64
		for i := range 8 {
			wg.Go(func() {
				for range 50 {
					index, err := j.Propose(context.Background(), fmt.Append(nil, i)).Wait(context.Background())
					if barrier := j.Barrier(context.Background()); barrier != nil && !dfs.IsKind(barrier, dfs.Unavailable) {
						t.Errorf("barrier: %v", barrier)
					}
					if err != nil {
						if !dfs.IsKind(err, dfs.Unavailable) {
							t.Errorf("propose: %v", err)
						}
						return
					}
					mu.Lock()
					highest = max(highest, index)
					mu.Unlock()
				}
			})
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
		applied := sm.AppliedIndex()
		wg.Wait()
		if highest > applied {
			t.Errorf("entry %d was acknowledged, %d were applied at the end", highest, applied)
		}
		if err := j.VerifyLeader(t.Context()); !dfs.IsKind(err, dfs.Unavailable) {
			t.Errorf("a closed journal leads: %v", err)
		}
	}
}
