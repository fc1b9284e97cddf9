package world

import (
	"fmt"
	"io"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A disk writes what was not synced when it likes: at a crash some of it has reached the platter and some has not. Which
// is the seed's choice, block by block, and the tree is walked in the order of its names, so that one seed has one outcome.
// (Pebble's CrashClone can choose too, but walks maps.)
//
// INV-1: what was synced is there. INV-2: what is there besides was written by somebody at that place.

// tornBlock is how much a disk writes at once.
const tornBlock = 4096

// crash takes the disk back to what a crash leaves.
func (d *disk) crash() {
	after := d.mem.CrashClone(vfs.CrashCloneCfg{}) // all that was synced and nothing else
	c := &crash{d: d, before: d.mem, after: after, luck: d.rng.IntN(101)}
	c.directory("")
	d.mem, d.FS, d.free = after, after, 0
}

// crash is one crash under way.
type crash struct {
	d      *disk
	before *vfs.MemFS // as the processes saw it
	after  *vfs.MemFS // as the next life will
	luck   int        // percent of what was not synced that is there all the same
}

func (c *crash) lucky() bool { return c.d.rng.IntN(100) < c.luck }

// must is for a file system in memory, whose operations fail only when this file is wrong.
func (c *crash) must(err error) {
	if err != nil {
		panic(fmt.Sprintf("world: crash of a disk in memory: %v", err))
	}
}

func names(fs vfs.FS, dir string) []string {
	all, err := fs.List(dir)
	if err != nil {
		return nil // it is not there
	}
	slices.Sort(all)
	return all
}

// directory decides about each entry that the directory had or has.
func (c *crash) directory(dir string) {
	had, has := names(c.before, dir), names(c.after, dir)
	all := slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(had), has...))))
	for _, name := range all {
		path := c.before.PathJoin(dir, name)
		was, is := slices.Contains(had, name), slices.Contains(has, name)
		switch {
		case !was: // its removal was not synced
			if c.lucky() {
				c.must(c.after.RemoveAll(path))
			}
		case is || c.lucky():
			c.entry(path, is)
		}
	}
}

// entry brings an entry that is there after the crash to what the disk holds of it.
func (c *crash) entry(path string, synced bool) {
	info, err := c.before.Stat(path)
	c.must(err)
	if info.IsDir() {
		if !synced {
			c.must(c.after.MkdirAll(path, 0o755))
		}
		c.directory(path)
		c.sync(c.after.OpenDir(path))
		return
	}
	now, old := read(c.before, path), []byte(nil)
	if synced {
		old = read(c.after, path)
	}
	if torn := c.tear(old, now); string(torn) != string(old) || !synced {
		f, err := c.after.Create(path, vfs.WriteCategoryUnspecified)
		c.must(err)
		_, err = f.Write(torn)
		c.must(err)
		c.sync(f, nil)
	}
}

func (c *crash) sync(f vfs.File, err error) {
	c.must(err)
	c.must(f.Sync())
	c.must(f.Close())
}

// tear mixes the synced content with the written one: a length between the two, and each block from one or the other.
func (c *crash) tear(old, now []byte) []byte {
	length := len(old)
	if grown := len(now) - len(old); grown > 0 && c.lucky() {
		length += c.d.rng.IntN(grown + 1)
	} else if grown < 0 && c.lucky() {
		length = len(now)
	}
	out := make([]byte, length)
	for from := 0; from < length; from += tornBlock {
		to := min(from+tornBlock, length)
		source := old
		if from >= len(old) || same(old, now, from, to) || c.lucky() {
			source = now
		}
		copy(out[from:to], source[min(from, len(source)):min(to, len(source))])
	}
	return out
}

func same(a, b []byte, from, to int) bool {
	return to <= len(a) && to <= len(b) && string(a[from:to]) == string(b[from:to])
}

func read(fs vfs.FS, path string) []byte {
	f, err := fs.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	data, _ := io.ReadAll(f) // of memory
	return data
}
