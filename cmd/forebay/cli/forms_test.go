package cli

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/forebay/forebay/system/config"
	"github.com/forebay/forebay/system/dfs"
	pb "github.com/forebay/forebay/system/proto"
)

// TestModeText: permission bits as ls prints them, the special ones included.
func TestModeText(t *testing.T) {
	for mode, want := range map[uint32]string{
		0: "----------", 0o777: "-rwxrwxrwx", 0o4755: "-rwsr-xr-x", 0o4644: "-rwSr--r--", 0o2755: "-rwxr-sr-x", 0o2745: "-rwxr-Sr-x",
		0o1777: "-rwxrwxrwt", 0o1666: "-rw-rw-rwT", 0o7000: "---S--S--T",
	} {
		if got := modeText(&dfs.FileStatus{Mode: mode}); got != want {
			t.Errorf("%04o: got %s, want %s", mode, got, want)
		}
	}
}

// TestParseMode: octal bits and nothing else.
func TestParseMode(t *testing.T) {
	for text, want := range map[string]uint32{"0": 0, "644": 0o644, "0755": 0o755, "7777": 0o7777} {
		if got, err := parseMode(text); err != nil || got != want {
			t.Errorf("%q: %o, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "8", "10000", "-1", "u+x", "0o644", "6 4", "777777777777777777777"} {
		if _, err := parseMode(text); !dfs.IsKind(err, dfs.InvalidArgument) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestForms: small forms of figures and states.
func TestForms(t *testing.T) {
	if got := bytesText(math.MaxInt64, true); got != "8.0EiB" {
		t.Errorf("the largest size: %s", got)
	}
	if got := bytesText(1536, false); got != "1536" {
		t.Errorf("an exact size: %s", got)
	}
	for d, want := range map[time.Duration]string{-1: "never", -time.Hour: "never", 0: "0s", time.Minute: "1m0s"} {
		if got := syncText(d); got != want {
			t.Errorf("%v: %s", d, got)
		}
	}
	for want, w := range map[string]*pb.WorkerInfo{"LOST": {Registered: true}, "registering": {Live: true}, "live": {Live: true, Registered: true}} {
		if got := workerState(w); got != want {
			t.Errorf("%v: %s", w, got)
		}
	}
	if s := (&dfs.FileStatus{}); cachedShare(s) != 100 {
		t.Error("an empty file is not all cached")
	}
	if s := (&dfs.FileStatus{Length: 3, CachedBytes: 1}); cachedShare(s) != 33 {
		t.Error("a third is not 33%")
	}
}

// TestSettings: --set flags, the last of two winning; values may hold anything.
func TestSettings(t *testing.T) {
	got, err := settings([]string{"a=1", "b=x=y", "a=2", "c="})
	if err != nil || len(got) != 3 || got["a"].Value != "2" || got["b"].Value != "x=y" || got["c"].Value != "" {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "a", "=x"} {
		if _, err := settings([]string{bad}); !dfs.IsKind(err, dfs.InvalidArgument) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestIdentity: the configured user with the configured groups, or the process's.
func TestIdentity(t *testing.T) {
	if id := identity(config.Client{User: "ann", Groups: []string{"x"}}); id.User != "ann" || len(id.Groups) != 1 {
		t.Errorf("%+v", id)
	}
	if id := identity(config.Client{}); id.User == "" {
		t.Errorf("%+v", id)
	}
	if id := identity(config.Client{Groups: []string{"only"}}); len(id.Groups) != 1 || id.Groups[0] != "only" {
		t.Errorf("%+v", id)
	}
}

// TestDiagnose: what is a problem, and what is not.
func TestDiagnose(t *testing.T) {
	leader, follower := &pb.ReportResponse{Serving: true, Node: "m1"}, &pb.ReportResponse{Node: "m2", Problems: []string{"its disk is full"}}
	down := dfs.Errorf(dfs.Unavailable, "ask master", "m3", "it is away")
	for name, tt := range map[string]struct {
		answers []masterAnswer
		want    int
	}{
		"all well": {[]masterAnswer{{report: leader}}, 0}, "a follower's problem": {[]masterAnswer{{report: leader}, {report: follower}}, 1},
		"one is away": {[]masterAnswer{{err: down}, {report: leader}}, 1}, "none leads": {[]masterAnswer{{report: follower}}, 2},
		"all are away": {[]masterAnswer{{err: down}, {err: down}}, 3}, "nobody was asked": {nil, 1},
	} {
		if got := diagnose(tt.answers); len(got) != tt.want {
			t.Errorf("%s: %q, want %d", name, got, tt.want)
		}
	}
	if r, err := serving([]masterAnswer{{err: down}, {report: follower}, {report: leader}}); err != nil || r != leader {
		t.Errorf("the report is %v, %v, want the leader's", r, err)
	}
	if _, err := serving([]masterAnswer{{err: down}}); !dfs.IsKind(err, dfs.Unavailable) {
		t.Errorf("no master: %v", err)
	}
	hinted := withHint(&dfs.Error{Kind: dfs.NotLeader, Leader: "x:1"})
	if dfs.KindOf(hinted) != dfs.NotLeader || dfs.DetailOf(hinted) == "" || withHint(context.Canceled) != context.Canceled {
		t.Errorf("the hint: %v", hinted)
	}
}
