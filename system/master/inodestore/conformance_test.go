package inodestore_test

import (
	"fmt"
	"testing"

	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/inodestore/inodestoretest"
)

func pebbleDriver(opts inodestore.Options) inodestoretest.Driver {
	return inodestoretest.Driver{Exclusive: true, Open: func(h host.Host, dir string) (inodestore.Store, error) {
		return inodestore.OpenPebble(h, dir, opts)
	}}
}

var heapDriver = inodestoretest.Driver{Open: inodestore.OpenHeap}

// The variants of the pebble driver that take different ways to an answer: with its cache, with one so small that it
// evicts all the time, with none, without filters on the last level, with memtables that flush often.
var pebbleVariants = map[string]inodestore.Options{
	"pebble":         {},
	"tiny cache":     {InodeCacheBytes: 256 * 2000},
	"no cache":       {InodeCacheBytes: -1},
	"no filters":     {LastLevelFilterBits: -1, InodeCacheBytes: -1},
	"tiny memtables": {MemTableBytes: 64 << 10},
}

func TestConformance(t *testing.T) {
	t.Run("heap", func(t *testing.T) { inodestoretest.Run(t, heapDriver) })
	for name, opts := range pebbleVariants {
		t.Run(name, func(t *testing.T) { inodestoretest.Run(t, pebbleDriver(opts)) })
	}
}

// TestMetamorphic: heap and pebble are one store, whatever is done to them.
func TestMetamorphic(t *testing.T) {
	for name, opts := range pebbleVariants {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(6) {
				t.Run(fmt.Sprint(seed), func(t *testing.T) {
					inodestoretest.Compare(t, heapDriver, pebbleDriver(opts), seed, 1500)
				})
			}
		})
	}
}

// TestHeapInMemory: without a directory nothing is kept, and nothing is promised.
func TestHeapInMemory(t *testing.T) {
	s, err := inodestore.OpenHeap(host.NewReal(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(4, func(b inodestore.Batch) { b.PutInode(inodestoretest.File(1, 2, "a")) }); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if s.AppliedIndex() != 4 || s.FlushedIndex() != 0 {
		t.Fatalf("applied %d, flushed %d; want 4, 0", s.AppliedIndex(), s.FlushedIndex())
	}
}
