package client

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	pb "github.com/forebay/forebay/system/proto"
)

func asError(err error, to **dfs.Error) bool { return errors.As(err, to) }

// TestRetriesKeepTheSequence (contract C2): every attempt of one mutation carries the same session and sequence, those of
// two mutations different ones, and what is acknowledged is below every mutation that is still under way.
func TestRetriesKeepTheSequence(t *testing.T) {
	attempts := map[uint64]int{}
	script := sessionsThen(func(_ context.Context, b *pb.OperationBatch) (*pb.ResultBatch, error) {
		op := b.Operations[0]
		attempts[op.Sequence]++
		if b.Session != 1 || op.Sequence == 0 || b.AckedBelow > op.Sequence {
			t.Errorf("session %d, sequence %d, acked below %d", b.Session, op.Sequence, b.AckedBelow)
		}
		if attempts[op.Sequence] < int(op.Sequence%4)+1 {
			return refuse(dfs.Unavailable, "")
		}
		return answer(&pb.Result{}, nil)
	})
	inVirtualTime(t, Config{}, scripts{script, script}, func(h host.Host, c *Client, _ []*fakeMaster) {
		g := host.NewGroup(h, 0)
		for range 40 {
			_ = g.Go(context.Background(), "caller", func() error {
				_, err := c.mutate(context.Background(), "rename", "/a", aMutation(), alone)
				return err
			})
		}
		if err := g.Wait(context.Background()); err != nil {
			t.Error(err)
		}
		for sequence, n := range attempts {
			if sequence > 40 || n != int(sequence%4)+1 {
				t.Errorf("sequence %d had %d attempts", sequence, n)
			}
		}
		if s := c.core.sessions[alone].peek(); s.ackedBelow() != 41 {
			t.Errorf("acked below %d after 40 mutations", s.ackedBelow())
		}
	})
}

// TestSessionIsOpenedOnce: mutations that come together wait for one session; each attempt to open it carries one nonce, so
// that a lost answer leaves no second session behind.
func TestSessionIsOpenedOnce(t *testing.T) {
	opens, nonces := 0, map[uint64]bool{}
	inner := sessionsThen(func(context.Context, *pb.OperationBatch) (*pb.ResultBatch, error) { return answer(&pb.Result{}, nil) })
	script := func(ctx context.Context, b *pb.OperationBatch) (*pb.ResultBatch, error) {
		if open := b.Operations[0].GetOpenSession(); open != nil {
			opens++
			nonces[open.Nonce] = true
			if open.Client != "tester" || open.Nonce == 0 {
				t.Errorf("opened as %+v", open)
			}
			if opens < 4 {
				return refuse(dfs.Unavailable, "")
			}
		}
		return inner(ctx, b)
	}
	inVirtualTime(t, Config{Name: "tester"}, scripts{script}, func(h host.Host, c *Client, _ []*fakeMaster) {
		g := host.NewGroup(h, 0)
		for range 20 {
			_ = g.Go(context.Background(), "caller", func() error {
				_, err := c.mutate(context.Background(), "rename", "/a", aMutation(), alone)
				return err
			})
		}
		if err := g.Wait(context.Background()); err != nil {
			t.Error(err)
		}
		if opens != 4 || len(nonces) != 1 {
			t.Errorf("%d attempts to open with %d nonces, want 4 with one", opens, len(nonces))
		}
	})
}

// TestSessionWithoutID: a master that gives no session is at fault, and the next mutation asks again.
func TestSessionWithoutID(t *testing.T) {
	script := func(context.Context, *pb.OperationBatch) (*pb.ResultBatch, error) { return answer(&pb.Result{}, nil) }
	inVirtualTime(t, Config{}, scripts{script}, func(_ host.Host, c *Client, masters []*fakeMaster) {
		for range 2 {
			_, err := c.mutate(context.Background(), "rename", "/a", aMutation(), alone)
			wantKind(t, err, dfs.Unknown)
		}
		if n := masters[0].count(isOpen); n != 2 {
			t.Errorf("a session was asked for %d times", n)
		}
	})
}

// TestExpiredSessionIsReplaced: a mutation that provably never started goes on in a new session, a bounded number of times;
// one in doubt does not, and says so.
func TestExpiredSessionIsReplaced(t *testing.T) {
	for name, tt := range map[string]struct {
		expire   int  // so many mutations are refused as of an unknown session
		doubt    bool // the first answer is lost
		kind     dfs.Kind
		sessions int
	}{
		"never":     {0, false, dfs.Unknown, 1},
		"once":      {1, false, dfs.Unknown, 2},
		"thrice":    {3, false, dfs.Unknown, 4},
		"always":    {100, false, dfs.SessionExpired, maxReopens + 1},
		"in doubt":  {1, true, dfs.SessionExpired, 1},
		"much lost": {100, true, dfs.SessionExpired, 1},
	} {
		expired, lost := 0, false
		script := sessionsThen(func(context.Context, *pb.OperationBatch) (*pb.ResultBatch, error) {
			if tt.doubt && !lost {
				lost = true
				return refuse(dfs.Unavailable, "")
			}
			if expired++; expired <= tt.expire {
				return refuse(dfs.SessionExpired, "")
			}
			return answer(&pb.Result{}, nil)
		})
		inVirtualTime(t, Config{}, scripts{script}, func(_ host.Host, c *Client, masters []*fakeMaster) {
			_, err := c.mutate(context.Background(), "rename", "/a", aMutation(), alone)
			if (err == nil) != (tt.kind == dfs.Unknown) || (err != nil && !dfs.IsKind(err, tt.kind)) {
				t.Errorf("%s: got %v", name, err)
			}
			if tt.doubt && !strings.Contains(err.Error(), "outcome is unknown") {
				t.Errorf("%s: %v does not say that the outcome is unknown", name, err)
			}
			if n := masters[0].count(isOpen); n != tt.sessions {
				t.Errorf("%s: %d sessions were opened, want %d", name, n, tt.sessions)
			}
			if held := c.core.sessions[alone].room.Held(); held != 0 {
				t.Errorf("%s: %d places of mutations were not given back", name, held)
			}
		})
	}
}

// TestKeepAlive: a session is kept at its interval for as long as the client lives, tells what may be forgotten, and one
// that the master has forgotten is not kept any more; the next mutation opens another, which is kept by the same task.
func TestKeepAlive(t *testing.T) {
	forgotten := false
	var acked []uint64
	inner := sessionsThen(func(context.Context, *pb.OperationBatch) (*pb.ResultBatch, error) { return answer(&pb.Result{}, nil) })
	script := func(ctx context.Context, b *pb.OperationBatch) (*pb.ResultBatch, error) {
		if isKeep(b.Operations[0]) {
			acked = append(acked, b.AckedBelow)
			if forgotten {
				return refuse(dfs.SessionExpired, "")
			}
		}
		return inner(ctx, b)
	}
	inVirtualTime(t, Config{KeepAlive: 10 * time.Second}, scripts{script}, func(h host.Host, c *Client, masters []*fakeMaster) {
		ctx := context.Background()
		do := func() {
			if _, err := c.mutate(ctx, "rename", "/a", aMutation(), alone); err != nil {
				t.Error(err)
			}
		}
		_ = h.Sleep(ctx, time.Minute)
		if n := masters[0].count(isKeep); n != 0 {
			t.Errorf("no session was open, and %d were kept", n)
		}
		do()
		_ = h.Sleep(ctx, 65*time.Second)
		if n := masters[0].count(isKeep); n != 6 {
			t.Errorf("kept %d times in 65 seconds, want 6", n)
		}
		if acked[0] != 2 {
			t.Errorf("acked below %d after one mutation", acked[0])
		}
		forgotten = true
		_ = h.Sleep(ctx, 60*time.Second)
		if n := masters[0].count(isKeep); n != 7 {
			t.Errorf("a forgotten session was kept %d times more, want once", n-6)
		}
		forgotten = false
		do()
		_ = h.Sleep(ctx, 60*time.Second)
		if n := masters[0].count(isKeep); n != 13 {
			t.Errorf("the second session was kept %d times in a minute", n-7)
		}
	})
}

// TestKeepAliveAtADeadMaster: a round of the keep-alive ends before the next one is due, and rounds go on.
func TestKeepAliveAtADeadMaster(t *testing.T) {
	var h host.Host
	dead := false
	inner := sessionsThen(func(context.Context, *pb.OperationBatch) (*pb.ResultBatch, error) { return answer(&pb.Result{}, nil) })
	script := func(ctx context.Context, b *pb.OperationBatch) (*pb.ResultBatch, error) {
		if dead {
			return hang(h, ctx)
		}
		return inner(ctx, b)
	}
	inVirtualTime(t, Config{KeepAlive: 2 * time.Second}, scripts{script}, func(v host.Host, c *Client, masters []*fakeMaster) {
		h = v
		if _, err := c.mutate(context.Background(), "rename", "/a", aMutation(), alone); err != nil {
			t.Error(err)
		}
		dead = true
		_ = v.Sleep(context.Background(), 21*time.Second)
		if n := masters[0].count(isKeep); n < 4 || n > 6 {
			t.Errorf("%d rounds in 21 seconds, each has two and waits two", n)
		}
		if c.core.sessions[alone].peek() == nil {
			t.Error("the session was dropped because its master is away")
		}
	})
}

// TestViewsShareASession: views of one client have identities of their own, one session, and one Caller each, so that their
// operations share batches.
func TestViewsShareASession(t *testing.T) {
	users := map[string]uint64{}
	script := sessionsThen(func(_ context.Context, b *pb.OperationBatch) (*pb.ResultBatch, error) {
		users[b.Identity.User] = b.Session
		return answer(&pb.Result{}, nil)
	})
	inVirtualTime(t, Config{Identity: dfs.Identity{User: "root"}}, scripts{script}, func(_ host.Host, c *Client, masters []*fakeMaster) {
		ann := c.As(dfs.Identity{User: "ann", Groups: []string{"g"}})
		for _, view := range []*Client{c, ann, c, ann} {
			if _, err := view.mutate(context.Background(), "rename", "/a", aMutation(), alone); err != nil {
				t.Error(err)
			}
		}
		if len(users) != 2 || users["root"] != users["ann"] || masters[0].count(isOpen) != 1 {
			t.Errorf("sessions by user: %v, %d opened", users, masters[0].count(isOpen))
		}
		s := c.core.sessions[alone].peek()
		if first, second := ann.caller(s, alone), ann.caller(s, alone); first != second || first == c.caller(s, alone) {
			t.Error("a view has no Caller of its own, or several")
		}
		if other := newSession(9); ann.caller(other, alone).Session != 9 {
			t.Error("the Caller of an old session serves a new one")
		}
		if ann.Identity().User != "ann" {
			t.Errorf("the view is %v", ann.Identity())
		}
	})
}

// TestMutationsAreBounded: at the bound of outstanding mutations further callers wait, and end by their own deadlines.
func TestMutationsAreBounded(t *testing.T) {
	script := sessionsThen(func(context.Context, *pb.OperationBatch) (*pb.ResultBatch, error) { return answer(&pb.Result{}, nil) })
	inVirtualTime(t, Config{Timeout: time.Second}, scripts{script}, func(_ host.Host, c *Client, masters []*fakeMaster) {
		room := c.core.sessions[alone].room
		if err := room.Acquire(context.Background(), maxOutstandingMutations); err != nil {
			t.Error(err)
		}
		_, err := c.mutate(context.Background(), "rename", "/a", aMutation(), alone)
		wantKind(t, err, dfs.DeadlineExceeded)
		if n := masters[0].count(isMutation); n != 0 {
			t.Errorf("%d mutations were sent over the bound", n)
		}
		room.Release(1)
		if _, err := c.mutate(context.Background(), "rename", "/a", aMutation(), alone); err != nil {
			t.Errorf("with room: %v", err)
		}
		room.Release(maxOutstandingMutations - 1)
	})
}
