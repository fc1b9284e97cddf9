package inodestore

import (
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

const (
	benchFiles     = 2_000_000
	benchPerFolder = 1000
)

func benchInode(i int) *Inode {
	parent := dfs.InodeID(i/benchPerFolder*(benchPerFolder+1) + 2)
	return &Inode{ID: parent + dfs.InodeID(i%benchPerFolder) + 1, Parent: parent, Name: benchName(i), Mode: 0o644,
		Owner: "root", Group: "root", Length: int64(rand.Uint32N(200 << 20)), BlockSize: dfs.DefaultBlockSizeBytes,
		ModTime: time.Unix(1_750_000_000+int64(rand.Uint32N(1e6)), 0).UTC(), Version: 1, LastVersion: 1, Persist: dfs.Persisted}
}

func benchName(i int) string {
	return fmt.Sprintf("train-%06d-of-%06d.jpg", i%benchPerFolder, i/benchPerFolder)
}

// benchStore has benchFiles files, unless the driver differs, mostly in memtables and the upper levels.
func benchStore(b *testing.B, open func(h host.Host, dir string) (Store, error)) Store {
	b.Helper()
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	s, err := open(host.NewReal(), b.TempDir()+"/s")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	benchPut(b, s, 0, benchFiles)
	return s
}

func benchPut(b *testing.B, s Store, from, count int) {
	const batch = 256
	index := s.AppliedIndex()
	for i := from; i < from+count; i += batch {
		index++
		if err := s.Apply(index, func(w Batch) {
			for j := i; j < min(i+batch, from+count); j++ {
				w.PutInode(benchInode(j))
			}
		}); err != nil {
			b.Fatal(err)
		}
	}
}

var benchDrivers = []struct {
	name string
	open func(h host.Host, dir string) (Store, error)
}{
	{"pebble", func(h host.Host, dir string) (Store, error) { return OpenPebble(h, dir, Options{}) }},
	{"nofilters", func(h host.Host, dir string) (Store, error) {
		return OpenPebble(h, dir, Options{LastLevelFilterBits: -1})
	}},
	{"heap", OpenHeap},
}

// BenchmarkChild: absent names, as creates ask for them; cold ones; hot ones.
func BenchmarkChild(b *testing.B) {
	for _, d := range benchDrivers {
		s := benchStore(b, d.open)
		ask := func(name string, question func(i int) (dfs.InodeID, string), want bool) {
			b.Run(d.name+"/"+name, func(b *testing.B) {
				parents, names := make([]dfs.InodeID, b.N), make([]string, b.N)
				for i := range b.N {
					parents[i], names[i] = question(i)
				}
				b.ReportAllocs()
				b.ResetTimer()
				for i := range b.N {
					if n, err := s.Child(parents[i], names[i]); err != nil || (n != nil) != want {
						b.Fatal(n, err)
					}
				}
			})
		}
		one := func(i int) (dfs.InodeID, string) { n := benchInode(i); return n.Parent, n.Name }
		ask("absent", func(i int) (dfs.InodeID, string) {
			p, n := one(rand.IntN(benchFiles))
			return p, n + fmt.Sprint(i)
		}, false)
		ask("absent-new-folder", func(i int) (dfs.InodeID, string) { return 1 << 40, fmt.Sprint("n", i) }, false)
		ask("present", func(int) (dfs.InodeID, string) { return one(rand.IntN(benchFiles)) }, true)
		ask("hot", func(i int) (dfs.InodeID, string) { return one(i * 7919 % 20_000) }, true)
	}
}

// BenchmarkApply: blind effects, 256 a batch.
func BenchmarkApply(b *testing.B) {
	for _, d := range benchDrivers {
		b.Run(d.name, func(b *testing.B) {
			s, err := d.open(host.NewReal(), b.TempDir()+"/s")
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			b.ReportAllocs()
			benchPut(b, s, 0, b.N)
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "inodes/s")
		})
	}
}

// BenchmarkDisk reports bytes an inode after a full compaction.
func BenchmarkDisk(b *testing.B) {
	s := benchStore(b, benchDrivers[0].open).(*pebbleStore)
	if err := s.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := s.current.Load().db.Compact(b.Context(), []byte{0}, []byte{0xff}, true); err != nil {
		b.Fatal(err)
	}
	st := s.Stats()
	m := s.current.Load().db.Metrics()
	b.Log(m.String())
	total := m.Total()
	b.ReportMetric(float64(total.TablesSize)/benchFiles, "B/inode")
	b.ReportMetric(float64(st.Inodes), "inodes")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkCreates: the effects of creates by many callers in one directory, 32 creates an entry, among a million.
func BenchmarkCreates(b *testing.B) {
	for _, d := range benchDrivers[:1] {
		b.Run(d.name, func(b *testing.B) {
			s, err := d.open(host.NewReal(), b.TempDir()+"/s")
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			b.ReportAllocs()
			id := dfs.InodeID(1000)
			index := uint64(0)
			for made := 0; made < b.N; made += 32 {
				index++
				err := s.Apply(index, func(w Batch) {
					for c := range 32 {
						id++
						w.PutInode(&Inode{ID: id, Parent: 77, Name: fmt.Sprintf("sample-%02d-%08d.jpg", (made+c)%64, made/64), Mode: 0o644, Owner: "root", Group: "root", BlockSize: 64 << 20, LastVersion: 1, Writing: true, ModTime: time.Unix(1_750_000_000, 0)})
						key := binary.BigEndian.AppendUint64(nil, uint64(id))
						w.PutRecord(TableLocation, key, []byte("12345678sample-00-00000000.jpg"))
						w.PutRecord(TableOpenWrite, binary.BigEndian.AppendUint32(key, 1), key)
					}
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
