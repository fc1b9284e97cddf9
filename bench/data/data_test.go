package data

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
)

// TestVerifierNotices: wrong bytes, too many and too few are seen, wherever the pieces are cut.
func TestVerifierNotices(t *testing.T) {
	for _, c := range []struct {
		pieces []string
		fails  bool
		left   int
	}{
		{[]string{"abc", "def"}, false, 0},
		{[]string{"a", "bcde", "f"}, false, 0},
		{[]string{"abc"}, false, 3},
		{[]string{"abd"}, true, 6},
		{[]string{"abc", "deg"}, true, 3},
		{[]string{"abc", "defg"}, true, 3},
	} {
		v := &verifier{want: []byte("abcdef")}
		var err error
		for _, p := range c.pieces {
			if _, err = v.Write([]byte(p)); err != nil {
				break
			}
		}
		if (err != nil) != c.fails || len(v.want) != c.left {
			t.Errorf("%q: %v, %d bytes left, want %d", c.pieces, err, len(v.want), c.left)
		}
	}
}

func TestParallelDoesEachOnceAndStops(t *testing.T) {
	b := &bench{}
	var done [100]atomic.Int32
	if err := b.parallel(len(done), func(i int) error { done[i].Add(1); return nil }); err != nil {
		t.Fatal(err)
	}
	for i := range done {
		if done[i].Load() != 1 {
			t.Errorf("item %d was done %d times", i, done[i].Load())
		}
	}
	boom := errors.New("boom")
	if err := b.parallel(100, func(i int) error {
		if i == 5 {
			return boom
		}
		return nil
	}); !errors.Is(err, boom) || !strings.Contains(err.Error(), "boom") {
		t.Errorf("error %v", err)
	}
}
