package inodestoretest

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
)

// Compare runs the same random operations on two drivers and compares every answer. A failure names its seed.
func Compare(t *testing.T, a, b Driver, seed uint64, operations int) {
	t.Helper()
	c := &comparison{t: t, rng: rand.New(rand.NewPCG(seed, 0)), drivers: [2]Driver{a, b}, seed: seed}
	for i := range c.drivers {
		c.hosts[i], _ = newDisk(t)
		c.stores[i] = open(t, c.drivers[i], c.hosts[i])
	}
	for c.step = range operations {
		c.one()
	}
	c.all()
	for _, s := range c.stores {
		must(t, s.Close())
	}
}

type comparison struct {
	t       *testing.T
	rng     *rand.Rand
	seed    uint64
	step    int
	index   uint64
	copies  int
	drivers [2]Driver
	hosts   [2]Disk
	stores  [2]inodestore.Store
}

func (c *comparison) fatalf(format string, args ...any) {
	c.t.Helper()
	c.t.Fatalf("seed %d, step %d: %s", c.seed, c.step, fmt.Sprintf(format, args...))
}

func (c *comparison) parent() dfs.InodeID { return dfs.InodeID(1 + c.rng.IntN(5)) }
func (c *comparison) name() string        { return fmt.Sprintf("n%d", c.rng.IntN(40)) }
func (c *comparison) key() []byte         { return fmt.Appendf(nil, "%x", c.rng.IntN(64)) }

func (c *comparison) table() inodestore.Table {
	return []inodestore.Table{inodestore.TableMeta, inodestore.TableTTL}[c.rng.IntN(2)]
}

func (c *comparison) one() {
	switch p := c.rng.IntN(100); {
	case p < 45:
		c.apply()
	case p < 70:
		c.child(c.parent(), c.name())
	case p < 80:
		c.list(c.parent(), []string{"", c.name()}[c.rng.IntN(2)], 1+c.rng.IntN(50))
	case p < 90:
		c.records(c.table(), c.key()[:1], c.key())
	case p < 94:
		c.record(c.table(), c.key())
	case p < 97:
		for _, s := range c.stores {
			must(c.t, s.Flush())
		}
	case p < 98:
		c.reopen()
	default:
		c.checkpoint()
	}
}

func (c *comparison) apply() {
	c.index += 1 + uint64(c.rng.IntN(3))
	var effects []func(inodestore.Batch)
	for range 1 + c.rng.IntN(6) {
		effects = append(effects, c.effect())
	}
	for _, s := range c.stores {
		must(c.t, s.Apply(c.index, func(b inodestore.Batch) {
			for _, e := range effects {
				e(b)
			}
		}))
	}
}

func (c *comparison) effect() func(inodestore.Batch) {
	parent, name, table, key := c.parent(), c.name(), c.table(), c.key()
	switch c.rng.IntN(5) {
	case 0, 1:
		n := RandomInode(c.rng, parent, name)
		return func(b inodestore.Batch) { b.PutInode(n) }
	case 2:
		return func(b inodestore.Batch) { b.DeleteInode(parent, name) }
	case 3:
		value := c.key()
		return func(b inodestore.Batch) { b.PutRecord(table, key, value) }
	}
	return func(b inodestore.Batch) { b.DeleteRecord(table, key) }
}

func (c *comparison) child(parent dfs.InodeID, name string) {
	var got [2]*inodestore.Inode
	for i, s := range c.stores {
		n, err := s.Child(parent, name)
		must(c.t, err)
		got[i] = n
	}
	if why := Difference(got[0], got[1]); why != "" {
		c.fatalf("child %q of %d: %s", name, parent, why)
	}
}

func (c *comparison) list(parent dfs.InodeID, after string, most int) {
	var got [2][]*inodestore.Inode
	for i, s := range c.stores {
		must(c.t, s.List(parent, after, func(n *inodestore.Inode) bool {
			got[i] = append(got[i], n)
			return len(got[i]) < most
		}))
	}
	if len(got[0]) != len(got[1]) {
		c.fatalf("list %d after %q: %d and %d entries", parent, after, len(got[0]), len(got[1]))
	}
	for i := range got[0] {
		if why := Difference(got[0][i], got[1][i]); why != "" {
			c.fatalf("list %d after %q, entry %d: %s", parent, after, i, why)
		}
	}
}

func (c *comparison) record(table inodestore.Table, key []byte) {
	var got [2][]byte
	for i, s := range c.stores {
		v, err := s.Record(table, key)
		must(c.t, err)
		got[i] = v
	}
	if string(got[0]) != string(got[1]) || (got[0] == nil) != (got[1] == nil) {
		c.fatalf("record %c %q: %q and %q", table, key, got[0], got[1])
	}
}

func (c *comparison) records(table inodestore.Table, prefix, from []byte) {
	var got [2]string
	for i, s := range c.stores {
		must(c.t, s.Records(table, prefix, from, func(key, value []byte) bool {
			got[i] += fmt.Sprintf("%q=%q ", key, value)
			return true
		}))
	}
	if got[0] != got[1] {
		c.fatalf("records %c %q from %q: %s and %s", table, prefix, from, got[0], got[1])
	}
}

func (c *comparison) reopen() {
	for i := range c.stores {
		must(c.t, c.stores[i].Close())
		c.stores[i] = open(c.t, c.drivers[i], c.hosts[i])
	}
	c.indexes()
}

func (c *comparison) indexes() {
	for i, s := range c.stores {
		if s.AppliedIndex() != c.index {
			c.fatalf("store %d applied %d, want %d", i, s.AppliedIndex(), c.index)
		}
	}
}

// checkpoint takes one, applies more, and goes back to it.
func (c *comparison) checkpoint() {
	c.copies++
	dir := fmt.Sprintf("/master/checkpoint%d", c.copies)
	for _, s := range c.stores {
		index, err := s.Checkpoint(dir)
		must(c.t, err)
		if index != c.index {
			c.fatalf("checkpoint at %d, want %d", index, c.index)
		}
	}
	kept := c.index
	for range c.rng.IntN(10) {
		c.apply()
	}
	c.all()
	for _, s := range c.stores {
		must(c.t, s.Replace(dir))
	}
	c.index = kept
	c.indexes()
	c.all()
}

func (c *comparison) all() {
	for parent := range dfs.InodeID(7) {
		c.list(parent, "", 1000)
	}
	for _, table := range []inodestore.Table{inodestore.TableMeta, inodestore.TableTTL} {
		c.records(table, nil, nil)
	}
}

// RandomInode makes an inode whose every field is now usual, now odd.
func RandomInode(r *rand.Rand, parent dfs.InodeID, name string) *inodestore.Inode {
	n := File(parent, dfs.InodeID(r.Uint64()>>r.IntN(64)), name)
	sometimes := func(set func()) {
		if r.IntN(3) == 0 {
			set()
		}
	}
	sometimes(func() { n.Type, n.Mode, n.BlockSize, n.Version = dfs.TypeDirectory, 0o755, 0, 0 })
	sometimes(func() { n.Mode = r.Uint32() & 0o7777 })
	sometimes(func() { n.Owner, n.Group = "", "root" })
	sometimes(func() { n.Owner, n.Group = "root", "" })
	sometimes(func() { n.Length = int64(r.Uint64() >> r.IntN(64)) })
	sometimes(func() { n.BlockSize = int64(r.Uint64() >> r.IntN(64)) })
	sometimes(func() { n.ModTime = time.Unix(r.Int64N(1<<34)-1<<33, r.Int64N(1e9)).UTC() })
	sometimes(func() { n.ModTime = time.Time{} })
	sometimes(func() { n.Writing = true })
	sometimes(func() { n.Version = r.Uint32() >> r.IntN(32) })
	sometimes(func() { n.LastVersion = r.Uint32() >> r.IntN(32) })
	sometimes(func() { n.Persist = dfs.PersistState(r.IntN(3)) })
	sometimes(func() { n.Fingerprint = fmt.Sprintf("etag-%x", r.Uint64()) })
	sometimes(func() { n.MountID = dfs.MountID(r.Uint64() >> r.IntN(64)) })
	sometimes(func() { n.Pinned = true })
	sometimes(func() { n.Loaded = true })
	sometimes(func() { n.ReplicationMin, n.ReplicationMax = int32(r.Uint32()), int32(r.Uint32()) })
	sometimes(func() { n.ReplicationDurable = 2 })
	sometimes(func() { n.TTL, n.TTLAction = time.Duration(r.Int64()), dfs.TTLFree })
	sometimes(func() {
		n.Xattr = map[string][]byte{"user.a": {}, "user.b": []byte(name), "": {0, 255}}
	})
	return n
}
