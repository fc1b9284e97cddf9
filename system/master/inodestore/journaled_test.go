package inodestore_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/journal"
	"github.com/forebay/forebay/system/journal/raftjournal"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/inodestore/inodestoretest"
)

// storeMachine is the smallest state machine over a store: an entry is one inode in JSON.
type storeMachine struct{ inodestore.Store }

// Apply implements journal.StateMachine.
func (m storeMachine) Apply(entries []journal.Entry) []error {
	answers := make([]error, len(entries))
	for i, e := range entries {
		var n inodestore.Inode
		if answers[i] = json.Unmarshal(e.Data, &n); answers[i] == nil {
			answers[i] = m.Store.Apply(e.Index, func(b inodestore.Batch) { b.PutInode(&n) })
		}
	}
	return answers
}

// Restore implements journal.StateMachine.
func (m storeMachine) Restore(dir string) error { return m.Replace(dir) }

type journaledMember struct {
	fs      *vfs.MemFS
	config  raftjournal.Config
	store   inodestore.Store
	journal *raftjournal.Journal
}

func (m *journaledMember) open(t *testing.T, open func(d inodestoretest.Disk) (inodestore.Store, error)) {
	t.Helper()
	disk := inodestoretest.NewDisk(m.fs)
	m.config.Host = disk
	var err error
	if m.store, err = open(disk); err != nil {
		t.Fatal(err)
	}
	if m.journal, err = raftjournal.Open(m.config, storeMachine{m.store}); err != nil {
		t.Fatal(err)
	}
}

func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestJournaled: three members keep their stores under a journal that trims its log and sends snapshots; one after the
// other loses power, with whatever the store had not flushed, or its whole disk. Every acknowledged inode is in every
// store at the end.
func TestJournaled(t *testing.T) {
	for name, open := range map[string]func(d inodestoretest.Disk) (inodestore.Store, error){
		"pebble": func(d inodestoretest.Disk) (inodestore.Store, error) {
			return inodestore.OpenPebble(d, "/state", inodestore.Options{MemTableBytes: 64 << 10})
		},
		"heap": func(d inodestoretest.Disk) (inodestore.Store, error) { return inodestore.OpenHeap(d, "/state") },
	} {
		t.Run(name, func(t *testing.T) { testJournaled(t, open) })
	}
}

func testJournaled(t *testing.T, open func(d inodestoretest.Disk) (inodestore.Store, error)) {
	members := newJournaled(t)
	for _, m := range members {
		m.open(t, open)
	}
	rng := rand.New(rand.NewPCG(4, 4))
	count := 0
	write := func(more int) {
		for range more {
			data, err := json.Marshal(inodestoretest.File(1, dfs.InodeID(count+2), fmt.Sprintf("f%05d", count)))
			if err != nil {
				t.Fatal(err)
			}
			writeSomewhere(t, members, data)
			count++
		}
	}
	for round := range 8 {
		write(60)
		m := members[rng.IntN(len(members))]
		if err := m.journal.Close(); err != nil {
			t.Fatal(err)
		}
		lost := m.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50 * (round % 2), RNG: rng})
		if err := m.store.Close(); err != nil {
			t.Fatal(err)
		}
		if m.fs = lost; round == 5 {
			m.fs = vfs.NewCrashableMem()
		}
		write(60)
		m.open(t, open)
	}
	write(5)
	for i, m := range members {
		waitFor(t, func() bool { n, err := m.store.Child(1, fmt.Sprintf("f%05d", count-1)); return n != nil && err == nil })
		found := 0
		if err := m.store.List(1, "", func(n *inodestore.Inode) bool {
			if n.Name != fmt.Sprintf("f%05d", found) {
				t.Fatalf("member %d: entry %d is %s", i, found, n.Name)
			}
			found++
			return true
		}); err != nil || found != count {
			t.Fatalf("member %d has %d of %d, %v", i, found, count, err)
		}
		if st := m.journal.Status(); st.SnapshotIndex == 0 || st.LastLogIndex-st.FirstLogIndex > 300 {
			t.Errorf("member %d: the log is not trimmed: %+v", i, st)
		}
	}
	for _, m := range members {
		if err := m.journal.Close(); err != nil {
			t.Fatal(err)
		}
		if err := m.store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func newJournaled(t *testing.T) []*journaledMember {
	var peers []journal.Member
	for i := range 3 {
		peers = append(peers, journal.Member{ID: fmt.Sprintf("m%d", i), Address: freeAddress(t)})
	}
	var members []*journaledMember
	for _, p := range peers {
		members = append(members, &journaledMember{fs: vfs.NewCrashableMem(), config: raftjournal.Config{ID: p.ID,
			Dir: "/journal", BindAddr: p.Address, Peers: peers, SnapshotEntries: 100, TrailingLogs: 20, SegmentBytes: 8 << 10,
			Timing: raftjournal.Timing{TrimInterval: 20 * time.Millisecond},
			Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}})
	}
	return members
}

// writeSomewhere proposes at whoever leads until it is acknowledged: the entry is idempotent.
func writeSomewhere(t *testing.T, members []*journaledMember, data []byte) {
	t.Helper()
	waitFor(t, func() bool {
		for _, m := range members {
			if m.journal.Leader() != m.config.ID {
				continue
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, err := m.journal.Propose(ctx, data).Wait(ctx)
			return err == nil
		}
		return false
	})
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}
