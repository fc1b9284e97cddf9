package raftjournal

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
	"github.com/forebay/forebay/system/journal/journaltest"
)

// cluster runs members in this process, on loopback.
type cluster struct {
	t       testing.TB
	root    string
	quorum  int
	members []journal.Member
	running []*Journal
	tune    func(*Config)
}

func newCluster(t testing.TB, quorum int, tune func(*Config)) *cluster {
	c := &cluster{t: t, root: t.TempDir(), quorum: quorum, tune: tune}
	for i := range quorum + 1 {
		c.members = append(c.members, journal.Member{ID: fmt.Sprintf("m%d", i), Address: freeAddress(t), Voter: true})
	}
	c.running = make([]*Journal, len(c.members))
	return c
}

func freeAddress(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func testLogger() *slog.Logger {
	level := slog.LevelError
	if os.Getenv("JOURNAL_LOG") != "" {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

func (c *cluster) config(i int) Config {
	m := c.members[i]
	config := Config{Host: host.NewReal(), ID: m.ID, Dir: filepath.Join(c.root, m.ID), BindAddr: m.Address,
		Logger: testLogger().With("member", m.ID), SegmentBytes: 4 << 10, TrailingLogs: 5}
	if i < c.quorum {
		config.Peers = c.members[:c.quorum]
	}
	if c.tune != nil {
		c.tune(&config)
	}
	return config
}

func (c *cluster) Open(i int, sm journal.StateMachine) (journal.Journal, error) {
	j, err := Open(c.config(i), sm)
	if err != nil {
		return nil, err
	}
	c.running[i] = j
	return j, nil
}

func (c *cluster) Kill(i int) {
	if err := c.running[i].stop(nil); err != nil {
		c.t.Errorf("kill member %d: %v", i, err)
	}
}

func (c *cluster) Wipe(i int) {
	if err := os.RemoveAll(c.config(i).Dir); err != nil {
		c.t.Error(err)
	}
}

func (c *cluster) Member(i int) journal.Member { return c.members[i] }

// slowRace gives members more patience under the race detector on a loaded machine: the suite is not about timing.
func slowRace(c *Config) {
	c.Timing = Timing{Heartbeat: 500 * time.Millisecond, Election: 500 * time.Millisecond, Lease: 500 * time.Millisecond}
}

func TestConformance(t *testing.T) {
	for _, members := range []int{1, 3} {
		t.Run(fmt.Sprint(members), func(t *testing.T) {
			journaltest.Run(t, journaltest.Driver{Members: members, Durable: true, New: func(t *testing.T) journaltest.Cluster {
				return newCluster(t, members, slowRace)
			}})
		})
	}
}

// testLoggerNone hears nothing: for tests in which errors are the point.
func testLoggerNone() *slog.Logger { return slog.New(slog.DiscardHandler) }
