package memjournal_test

import (
	"testing"

	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
	"github.com/forebay/forebay/system/journal/journaltest"
	"github.com/forebay/forebay/system/journal/memjournal"
)

type cluster struct{ last *memjournal.Journal }

func (c *cluster) Open(_ int, sm journal.StateMachine) (journal.Journal, error) {
	c.last = memjournal.Open(host.NewReal(), sm)
	return c.last, nil
}

func (c *cluster) Kill(int) { _ = c.last.Close() }

func (c *cluster) Wipe(int) {}

func (c *cluster) Member(int) journal.Member { return journal.Member{ID: memjournal.MemberID} }

func TestConformance(t *testing.T) {
	journaltest.Run(t, journaltest.Driver{Members: 1, New: func(*testing.T) journaltest.Cluster { return &cluster{} }})
}
