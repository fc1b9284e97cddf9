package content

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestRanges: any range is the same bytes as that part of the whole, whatever its alignment, and checks as such.
func TestRanges(t *testing.T) {
	id := Of("a/b", 3)
	whole := id.Make(100)
	for from := range 40 {
		for to := from; to <= len(whole); to++ {
			part := make([]byte, to-from)
			id.Fill(part, int64(from))
			if !bytes.Equal(part, whole[from:to]) {
				t.Fatalf("bytes %d to %d are not those of the whole", from, to)
			}
			if at := id.Wrong(part, int64(from)); at >= 0 {
				t.Fatalf("bytes %d to %d: wrong at %d", from, to, at)
			}
		}
	}
}

// TestEachWrongBitIsFound: one flipped bit is found at its place, in ranges of all alignments.
func TestEachWrongBitIsFound(t *testing.T) {
	id := Of("f", 0)
	for from := range int64(9) {
		p := make([]byte, 29)
		id.Fill(p, from)
		for bit := range len(p) * 8 {
			p[bit/8] ^= 1 << (bit % 8)
			if at := id.Wrong(p, from); at != bit/8 {
				t.Errorf("offset %d: bit %d is flipped, found at %d", from, bit, at)
			}
			p[bit/8] ^= 1 << (bit % 8)
		}
	}
}

// TestContentsDiffer: files, versions and places share no eight bytes, so that none is taken for another.
func TestContentsDiffer(t *testing.T) {
	seen := map[string]string{}
	for _, path := range []string{"", "a", "b", "ab", "a/b", "ba", "a\x00"} {
		for version := range uint64(50) {
			whole := Of(path, version).Make(800)
			for i := 0; i < len(whole); i += 8 {
				what := fmt.Sprintf("%q version %d at %d", path, version, i)
				if other := seen[string(whole[i:i+8])]; other != "" {
					t.Fatalf("%s is %s", what, other)
				}
				seen[string(whole[i:i+8])] = what
			}
		}
	}
}

// TestBegins: the first eight bytes tell the content; fewer tell none.
func TestBegins(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		id := ID(r.Uint64())
		if got, ok := Begins(id.Make(8)); !ok || got != id {
			t.Fatalf("%x: %x, %v", id, got, ok)
		}
	}
	if _, ok := Begins(ID(1).Make(7)); ok {
		t.Error("seven bytes told a content")
	}
}

func BenchmarkFill(b *testing.B) {
	p := make([]byte, 1<<20)
	b.SetBytes(int64(len(p)))
	for range b.N {
		Of("f", 1).Fill(p, 0)
	}
}

func BenchmarkWrong(b *testing.B) {
	p := Of("f", 1).Make(1 << 20)
	b.SetBytes(int64(len(p)))
	for range b.N {
		if Of("f", 1).Wrong(p, 0) >= 0 {
			b.Fatal("wrong")
		}
	}
}
