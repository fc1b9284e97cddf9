package client_test

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
)

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchmarkCallers runs do from many tasks and reports operations a second and a CPU-second of client, master and
// workers together.
func benchmarkCallers(b *testing.B, callers int, do func(i int64) error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	cpu := cpuTime()
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if err := do(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	b.ReportMetric(float64(b.N)/(cpuTime()-cpu).Seconds(), "ops/cpu-s")
}

func BenchmarkStat(b *testing.B) {
	c := newCluster(b, 0)
	if err := c.client.WriteFile(c.ctx, "/dir/file", nil, client.WithParents()); err != nil {
		b.Fatal(err)
	}
	for _, callers := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			benchmarkCallers(b, callers, func(int64) error {
				_, err := c.client.Stat(c.ctx, "/dir/file")
				return err
			})
		})
	}
}

func BenchmarkMkdir(b *testing.B) {
	c := newCluster(b, 0)
	run := 0
	for _, callers := range []int{64, 512} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			run++
			base := dfs.MustPath(fmt.Sprintf("/run%d", run))
			if err := c.client.Mkdir(c.ctx, base); err != nil {
				b.Fatal(err)
			}
			benchmarkCallers(b, callers, func(i int64) error {
				return c.client.Mkdir(c.ctx, base.Join(fmt.Sprint(i)))
			})
		})
	}
}

func BenchmarkData(b *testing.B) {
	c := newCluster(b, 1)
	const size = 64 << 20
	data := content(1, size)
	b.Run("write", func(b *testing.B) {
		b.SetBytes(size)
		cpu := cpuTime()
		for range b.N {
			if err := c.client.WriteFile(c.ctx, "/f", data, client.WithBlockSize(size)); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric((cpuTime()-cpu).Seconds()/(float64(b.N)*size/1e9), "cpu-s/GB")
	})
	b.Run("read", func(b *testing.B) {
		b.SetBytes(size)
		cpu := cpuTime()
		for range b.N {
			f, err := c.client.Open(c.ctx, "/f")
			if err != nil {
				b.Fatal(err)
			}
			if _, err := f.WriteTo(io.Discard); err != nil {
				b.Fatal(err)
			}
			_ = f.Close()
		}
		b.ReportMetric((cpuTime()-cpu).Seconds()/(float64(b.N)*size/1e9), "cpu-s/GB")
	})
	b.Run("read4k", func(b *testing.B) {
		f, err := c.client.Open(c.ctx, "/f")
		if err != nil {
			b.Fatal(err)
		}
		benchmarkCallers(b, 16, func(i int64) error {
			_, err := f.ReadAt(make([]byte, 4096), (i*7919*4096)%(size-4096))
			return err
		})
	})
}
