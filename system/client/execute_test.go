package client

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	pb "github.com/forebay/forebay/system/proto"
)

// TestExecuteEndsInTime: whatever the masters do, an operation ends no later than its context's deadline, or Config.Timeout
// without one, as DeadlineExceeded and with the last answer's words; also when the only attempt was cut short.
func TestExecuteEndsInTime(t *testing.T) {
	const timeout = 3 * time.Second
	for name, tt := range map[string]struct {
		script   func(h host.Host, ctx context.Context) (*pb.ResultBatch, error)
		deadline time.Duration // of the context; 0: none
		words    string
	}{
		"refuses, no deadline": {func(host.Host, context.Context) (*pb.ResultBatch, error) { return refuse(dfs.Unavailable, "") }, 0, "scripted"},
		"refuses, deadline":    {func(host.Host, context.Context) (*pb.ResultBatch, error) { return refuse(dfs.NotLeader, "") }, time.Second, "scripted"},
		"is full":              {func(host.Host, context.Context) (*pb.ResultBatch, error) { return refuse(dfs.ResourceExhausted, "") }, 0, "scripted"},
		"hangs, no deadline":   {hang, 0, ""},
		"hangs, deadline":      {hang, time.Second, ""},
		"refuses after a while, deadline within it": {func(h host.Host, _ context.Context) (*pb.ResultBatch, error) {
			_ = h.Sleep(context.Background(), 1500*time.Millisecond) // it heeds no context: its answer comes after the deadline
			return refuse(dfs.Unavailable, "")
		}, time.Second, "scripted"},
	} {
		var h host.Host
		script := func(ctx context.Context, _ *pb.OperationBatch) (*pb.ResultBatch, error) { return tt.script(h, ctx) }
		inVirtualTime(t, Config{Timeout: timeout}, scripts{script, script}, func(v host.Host, c *Client, _ []*fakeMaster) {
			h = v
			ctx, limit := context.Background(), timeout
			if tt.deadline > 0 {
				bounded, cancel := v.WithTimeout(ctx, tt.deadline)
				defer cancel()
				ctx, limit = bounded, tt.deadline
			}
			var err error
			spent := took(v, func() { _, err = c.read(ctx, aRead(), alone) })
			if !dfs.IsKind(err, dfs.DeadlineExceeded) || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("%s: got %v, want deadline exceeded with %q", name, err, tt.words)
			}
			if spent > limit+time.Second {
				t.Errorf("%s: it took %v of %v", name, spent, limit)
			}
		})
	}
}

// TestExecuteDoubt: after an operation that failed, doubt says whether an attempt may have taken effect.
func TestExecuteDoubt(t *testing.T) {
	unavailable := func() (*pb.ResultBatch, error) { return refuse(dfs.Unavailable, "") }
	full := func() (*pb.ResultBatch, error) { return refuse(dfs.ResourceExhausted, "") }
	done := func() (*pb.ResultBatch, error) { return answer(&pb.Result{}, nil) }
	missing := func() (*pb.ResultBatch, error) { return answer(nil, dfs.Errorf(dfs.NotFound, "rename", "/a", "x")) }
	for name, tt := range map[string]struct {
		answers []func() (*pb.ResultBatch, error)
		doubt   bool
		kind    dfs.Kind // Unknown: none
	}{
		"at once":                {[]func() (*pb.ResultBatch, error){done}, false, dfs.Unknown},
		"refused":                {[]func() (*pb.ResultBatch, error){missing}, false, dfs.NotFound},
		"lost, then done":        {[]func() (*pb.ResultBatch, error){unavailable, done}, true, dfs.Unknown},
		"lost, then refused":     {[]func() (*pb.ResultBatch, error){unavailable, missing}, true, dfs.NotFound},
		"full, then refused":     {[]func() (*pb.ResultBatch, error){full, full, missing}, false, dfs.NotFound},
		"full, lost, then full…": {[]func() (*pb.ResultBatch, error){full, unavailable, full, missing}, true, dfs.NotFound},
	} {
		at := 0
		script := func(context.Context, *pb.OperationBatch) (*pb.ResultBatch, error) {
			at++
			return tt.answers[at-1]()
		}
		inVirtualTime(t, Config{}, scripts{script}, func(_ host.Host, c *Client, _ []*fakeMaster) {
			_, doubt, err := c.core.execute(context.Background(), c.reads, aMutation(), alone)
			if doubt != tt.doubt || (err == nil) != (tt.kind == dfs.Unknown) || (err != nil && dfs.KindOf(err) != tt.kind) {
				t.Errorf("%s: doubt %v, %v; want %v, %v", name, doubt, err, tt.doubt, tt.kind)
			}
			if at != len(tt.answers) {
				t.Errorf("%s: %d attempts, want %d", name, at, len(tt.answers))
			}
		})
	}
}

// TestCutShortMutationIsInDoubt (contract C2): a mutation whose answer was lost just as its time ran out must not be told as
// a plain Unavailable, which means that nothing happened.
func TestCutShortMutationIsInDoubt(t *testing.T) {
	for name, end := range map[string]func(cancel func(), c *Client){
		"the caller gave up": func(cancel func(), _ *Client) { cancel() },
		"the client closed":  func(_ func(), c *Client) { c.core.end() },
	} {
		var during func()
		script := sessionsThen(func(context.Context, *pb.OperationBatch) (*pb.ResultBatch, error) {
			during()
			return refuse(dfs.Unavailable, "")
		})
		inVirtualTime(t, Config{}, scripts{script}, func(h host.Host, c *Client, _ []*fakeMaster) {
			ctx, cancel := h.WithCancel(context.Background())
			defer cancel()
			during = func() { end(cancel, c) }
			_, err := c.mutate(ctx, "rename", "/a", aMutation(), alone)
			if !dfs.IsKind(err, dfs.Canceled) || !strings.Contains(err.Error(), "outcome is unknown") {
				t.Errorf("%s: %v does not say that the outcome is unknown", name, err)
			}
		})
	}
}

// TestFailoverFollowsHints: a master that does not lead is left for the one that it names, else for the next, and the next
// operation goes straight to the one that served.
func TestFailoverFollowsHints(t *testing.T) {
	for name, tt := range map[string]struct {
		hints []string // of masters a, b, ...; "leads" serves
		asked []int    // how often each was asked by two operations
	}{
		"the first leads":    {[]string{"leads", "", ""}, []int{2, 0, 0}},
		"named":              {[]string{"c:1", "", "leads"}, []int{1, 0, 2}},
		"not named":          {[]string{"", "", "leads"}, []int{1, 1, 2}},
		"named wrongly":      {[]string{"b:1", "c:1", "leads"}, []int{1, 1, 2}},
		"names itself":       {[]string{"a:1", "leads", ""}, []int{1, 2, 0}},
		"in a circle, twice": {[]string{"b:1", "a:1", "leads"}, nil}, // never reached: ends by its deadline
	} {
		var all scripts
		for _, hint := range tt.hints {
			all = append(all, func(context.Context, *pb.OperationBatch) (*pb.ResultBatch, error) {
				if hint == "leads" {
					return answer(&pb.Result{}, nil)
				}
				return refuse(dfs.NotLeader, hint)
			})
		}
		inVirtualTime(t, Config{Timeout: time.Second}, all, func(_ host.Host, c *Client, masters []*fakeMaster) {
			for range 2 {
				_, err := c.read(context.Background(), aRead(), alone)
				if tt.asked == nil {
					wantKind(t, err, dfs.DeadlineExceeded)
				} else if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			for i, want := range tt.asked {
				if got := len(masters[i].asked); got != want {
					t.Errorf("%s: master %d was asked %d times, want %d", name, i, got, want)
				}
			}
		})
	}
}

// TestServerLearnsTheTime: a batch tells the server what is left of the caller's time, less with every attempt, and never
// nothing, which a server would refuse.
func TestServerLearnsTheTime(t *testing.T) {
	script := func(context.Context, *pb.OperationBatch) (*pb.ResultBatch, error) { return refuse(dfs.Unavailable, "") }
	for name, deadline := range map[string]time.Duration{"own": 2 * time.Second, "the client's": 0} {
		inVirtualTime(t, Config{Timeout: time.Second}, scripts{script}, func(h host.Host, c *Client, masters []*fakeMaster) {
			ctx, most := context.Background(), time.Second
			if deadline > 0 {
				bounded, cancel := h.WithTimeout(ctx, deadline)
				defer cancel()
				ctx, most = bounded, deadline
			}
			_, err := c.read(ctx, aRead(), alone)
			wantKind(t, err, dfs.DeadlineExceeded)
			before := int64(most) + 1
			for i, b := range masters[0].asked {
				if b.TimeoutNs <= 0 || b.TimeoutNs >= before {
					t.Fatalf("%s: attempt %d was given %v, the one before %v", name, i, time.Duration(b.TimeoutNs), time.Duration(before))
				}
				before = b.TimeoutNs
			}
		})
	}
}

// TestAttemptsArePaced: attempts at masters that refuse are no busy loop, and none is left out for long: the backoff grows
// to its ceiling and stays there.
func TestAttemptsArePaced(t *testing.T) {
	script := func(context.Context, *pb.OperationBatch) (*pb.ResultBatch, error) { return refuse(dfs.Unavailable, "") }
	inVirtualTime(t, Config{Timeout: 10 * time.Second}, scripts{script}, func(_ host.Host, c *Client, masters []*fakeMaster) {
		_, err := c.read(context.Background(), aRead(), alone)
		wantKind(t, err, dfs.DeadlineExceeded)
		least := int(10 * time.Second / (backoffCeiling + backoffFloor))
		if n := len(masters[0].asked); n < least || n > 4*least {
			t.Errorf("%d attempts in ten seconds, want about %d", n, 2*least)
		}
	})
}

// TestEmptyBudgetDelays: callers that find the retry budget empty wait for it, and do not fail.
func TestEmptyBudgetDelays(t *testing.T) {
	left := 3
	script := func(context.Context, *pb.OperationBatch) (*pb.ResultBatch, error) {
		if left--; left > 0 {
			return refuse(dfs.Unavailable, "")
		}
		return answer(&pb.Result{}, nil)
	}
	inVirtualTime(t, Config{Timeout: time.Minute}, scripts{script}, func(h host.Host, c *Client, _ []*fakeMaster) {
		b := c.core.budget
		b.mu.Lock()
		b.tokens, b.filled = 0, h.Now().Add(2*time.Second) // nothing flows in for two seconds
		b.mu.Unlock()
		b.take(h.Now())
		if _, err := c.read(context.Background(), aRead(), alone); err != nil {
			t.Error(err)
		}
	})
}

// TestStrangeAnswers: answers that do not have the form of one are errors that send the operator to the master's log, and
// are not tried again.
func TestStrangeAnswers(t *testing.T) {
	for name, b := range map[string]*pb.ResultBatch{
		"none": {}, "two": {Results: []*pb.Result{{}, {}}},
	} {
		script := func(context.Context, *pb.OperationBatch) (*pb.ResultBatch, error) { return b, nil }
		inVirtualTime(t, Config{}, scripts{script}, func(_ host.Host, c *Client, masters []*fakeMaster) {
			_, err := c.read(context.Background(), aRead(), alone)
			if !dfs.IsKind(err, dfs.Unknown) || !strings.Contains(err.Error(), "log") || len(masters[0].asked) != 1 {
				t.Errorf("%s results: %v after %d attempts", name, err, len(masters[0].asked))
			}
		})
	}
	script := sessionsThen(func(context.Context, *pb.OperationBatch) (*pb.ResultBatch, error) { return answer(&pb.Result{}, nil) })
	inVirtualTime(t, Config{}, scripts{script}, func(_ host.Host, c *Client, _ []*fakeMaster) {
		_, err := statusOf(&pb.Result{}, "stat", "/a")
		wantKind(t, err, dfs.Unknown)
		if _, err := c.Mounts(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// TestErrorsNameTheMaster: an error without a path of its own names the master that gave it, one with a path keeps it.
func TestErrorsNameTheMaster(t *testing.T) {
	for _, tt := range []struct{ path, want string }{{"", "a:1"}, {"/own", "/own"}} {
		got := atAddress(dfs.Errorf(dfs.Unavailable, "call", tt.path, "x"), "a:1")
		var e *dfs.Error
		if !asError(got, &e) || e.Path != tt.want {
			t.Errorf("path %q became %v", tt.path, got)
		}
	}
	if err := atAddress(nil, "a:1"); err != nil {
		t.Errorf("no error became %v", err)
	}
	if hint := leaderHint(context.Canceled); hint != "" {
		t.Errorf("a hint %q out of nothing", hint)
	}
}
