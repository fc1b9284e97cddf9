package blockstore_test

import (
	"os"
	"testing"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/worker/blockstore"
	"github.com/forebay/forebay/system/worker/tier"
)

// benchStore is on tmpfs, as a MEM tier is.
func benchStore(b *testing.B) *blockstore.Store {
	dir, err := os.MkdirTemp("/dev/shm", "forebay-bench-")
	if err != nil {
		b.Skip(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	s, err := blockstore.Open(b.Context(), host.NewReal(), blockstore.Config{ScrubBytesPerSecond: -1,
		Tiers: []tier.Config{{Name: "MEM", Dir: dir, CapacityBytes: 1 << 30}}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	return s
}

// BenchmarkFillSmall fills a new file of 100 KiB each time, evicting as it goes.
func BenchmarkFillSmall(b *testing.B) {
	s := benchStore(b)
	data := make([]byte, 100<<10)
	inode := dfs.InodeID(0)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		inode++
		s.Fill(b.Context(), &blockstore.Ref{File: dfs.FileVersion{Inode: inode, Version: 1}, Length: int64(len(data)), BlockSize: 64 << 20, Persisted: true}, 0, data)
	}
	b.ReportMetric(float64(s.Counters.FillsRefused.Load())/float64(b.N), "refused/op")
}

func benchmarkRead(b *testing.B, bytes int64) {
	s := benchStore(b)
	r := ref(1, 64*mib, 64*mib)
	page := make([]byte, mib)
	for at := int64(0); at < r.Length; at += mib {
		s.Fill(b.Context(), r, at, page)
	}
	p := make([]byte, bytes)
	at := int64(0)
	b.SetBytes(bytes)
	for b.Loop() {
		at = (at + 7*mib + 4096*(bytes/mib^1)) % (r.Length - bytes)
		at = at / bytes * bytes
		if _, hit, err := s.Read(b.Context(), r, at, p); err != nil || !hit {
			b.Fatal(hit, err)
		}
	}
}

// BenchmarkReadPage and BenchmarkRead4K read warm pages and small ranges, with their checksums.
func BenchmarkReadPage(b *testing.B) { benchmarkRead(b, mib) }
func BenchmarkRead4K(b *testing.B)   { benchmarkRead(b, 4096) }
