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
// INV-1: what was synced is there. INV-2: what is there besides was written by somebody at that place. INV-3: a rename is
// there or not, whole: a file is never lost between two names, and one that replaces another is never mixed with it.
//
// Three trees decide. before is what the processes saw. after begins as what was synced: the entries of directories by
// their syncs, and the files below them by theirs. durable has the entries of before and of each file what was synced of it,
// under whatever name it has now: from it follows what a disk must hold of a file whose entry was not synced.
//
// Renames that no sync of a directory confirmed happen up to one of them, in their order, as a file system's journal has
// it; the rest did not happen, and both their names are left as they were.

// tornBlock is how much a disk writes at once.
// Writes that cross blocks can be torn between them, and never within one: checksums of smaller records are not
// put to that test here.
const tornBlock = 4096

// crash takes the disk back to what a crash leaves.
func (d *disk) crash() {
	after := d.mem.CrashClone(vfs.CrashCloneCfg{}) // all that was synced and nothing else
	c := &crash{d: d, before: d.mem, after: after, luck: d.rng.IntN(101), asWas: map[string]bool{}, fresh: map[string]bool{}}
	c.syncDirectories("")
	c.durable = c.before.CrashClone(vfs.CrashCloneCfg{})
	c.rename(d.renames)
	c.directory("")
	c.sync(c.after.OpenDir("")) // what is there now is on the platter: the next crash leaves it
	d.mem, d.FS, d.renames = after, after, nil
	if !d.shared {
		d.n.on.diskFree = 0
	}
}

// crash is one crash under way.
// Luck is drawn once for each crash: some crashes lose nearly all that was not synced and some nearly nothing,
// which finds more than a coin for each block would.
type crash struct {
	d       *disk
	before  *vfs.MemFS
	durable *vfs.MemFS
	after   *vfs.MemFS      // what the next life will see
	luck    int             // percent of what was not synced that is there all the same
	asWas   map[string]bool // names of renames that did not happen
	fresh   map[string]bool // names that renames gave to files which had no synced name
}

func (c *crash) lucky() bool { return c.d.rng.IntN(100) < c.luck }

// must is for a file system in memory, whose operations fail only when this file is wrong.
func (c *crash) must(err error) {
	if err != nil {
		panic(fmt.Sprintf("world: crash of a disk in memory: %v", err))
	}
}

// syncDirectories makes durable's entries those of before, which nobody uses any more.
//
// It is done from the leaves up and after the clone that became after was taken: it must not change what was
// synced.
func (c *crash) syncDirectories(dir string) {
	for _, name := range names(c.before, dir) {
		path := c.before.PathJoin(dir, name)
		if isDir(c.before, path) {
			c.syncDirectories(path)
		}
	}
	c.sync(c.before.OpenDir(dir))
}

// rename does the first of the renames, as many as the seed says, and marks the names of the others.
// A rename of a file whose old name was never synced cannot be done in after, which has no such file (or another):
// the new name is marked fresh instead, and entry makes its content from what durable holds. fresh and made move
// with the file when it is renamed again.
func (c *crash) rename(all []renamed) {
	happened, made := 0, map[string]bool{} // made: names whose file is not the one that after has there
	for happened < len(all) && c.lucky() {
		r := all[happened]
		if r.from == "" {
			made[r.to] = true
			happened++
			continue
		}
		if c.after.MkdirAll(c.after.PathDir(r.to), 0o755) != nil { // a file is in the way: it was not removed
			break
		}
		happened++
		_, err := c.after.Stat(r.from)
		if c.fresh[r.from] || made[r.from] || err != nil {
			c.must(c.after.RemoveAll(r.to))
			delete(c.fresh, r.from)
			delete(made, r.from)
			c.fresh[r.to] = true
			continue
		}
		c.must(c.after.Rename(r.from, r.to))
		delete(c.fresh, r.to)
		delete(made, r.to)
	}
	for _, r := range all[happened:] {
		if r.from != "" {
			c.asWas[r.from], c.asWas[r.to] = true, true
		}
	}
}

func isDir(fs vfs.FS, path string) bool {
	info, err := fs.Stat(path)
	return err == nil && info.IsDir()
}

// names lists a directory in the order in which randomness is drawn for its entries, which must not be that of a
// map.
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
		case c.fresh[path] && was:
			c.entry(path, false)
		case c.asWas[path]:
		case !was: // its removal was not synced
			if c.lucky() {
				c.must(c.after.RemoveAll(path))
			}
		case is && c.replaced(path): // wholly the one or the other
			if c.lucky() {
				c.must(c.after.RemoveAll(path))
				c.entry(path, false)
			}
		case is || c.lucky():
			c.entry(path, is)
		}
	}
}

// replaced tells whether the synced entry is of something else than the present one. Two files with the same synced
// content count as one: nobody can tell them apart.
func (c *crash) replaced(path string) bool {
	one, other := isDir(c.after, path), isDir(c.before, path)
	return one != other || !one && string(read(c.after, path)) != string(read(c.durable, path))
}

// entry brings an entry that is there after the crash to what the disk holds of it. there tells whether after has it.
func (c *crash) entry(path string, there bool) {
	if isDir(c.before, path) {
		if !there {
			c.must(c.after.MkdirAll(path, 0o755))
		}
		c.directory(path)
		c.sync(c.after.OpenDir(path))
		return
	}
	old := read(c.durable, path)
	if torn := c.tear(old, read(c.before, path)); string(torn) != string(old) || !there {
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
// A block that both have alike draws no luck. Beyond the synced content there is nothing older than what was
// written, so that such a block is always the written one.
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
