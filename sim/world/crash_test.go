package world

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// The crash tests do random things to a disk, crash it, and hold what is left against a model of what was synced. Each
// file's blocks name the file and the version that wrote them, so that of every byte it can be said where it comes from.

// inode is the model's file, whatever its name.
type inode struct {
	id      uint32
	version uint32
	blocks  []uint32 // the version of each, now
	synced  []uint32
	open    vfs.File
}

const blockFill = 8 // bytes of one tag

// tag fills one block.
func (i *inode) tag(version uint32) []byte {
	one := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, i.id), version)
	return slices.Repeat(one, tornBlock/blockFill)
}

// place is the model's view of one name: what was there at the last sync of its directory, and since.
type place struct {
	synced  *inode // nil: nothing
	touched bool   // by a creation, a rename or a removal since then
	since   []*inode
}

// diskModel is a disk and what is known of it.
type diskModel struct {
	t      *testing.T
	fs     vfs.FS
	rng    *rand.Rand
	dirs   []string
	files  map[string]*inode // now
	places map[string]*place
	ids    uint32
	all    []*inode
	log    []string
}

func newDiskModel(t *testing.T, fs vfs.FS, rng *rand.Rand) *diskModel {
	m := &diskModel{t: t, fs: fs, rng: rng, dirs: []string{"", "d", "e", "d/s"}, files: map[string]*inode{}, places: map[string]*place{}}
	for _, dir := range m.dirs[1:] {
		m.must(fs.MkdirAll(dir, 0o755))
	}
	for i := range m.dirs {
		m.syncDir(m.dirs[len(m.dirs)-1-i])
	}
	return m
}

func (m *diskModel) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err, m.log)
	}
}

func (m *diskModel) note(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf(format, args...))
}

func (m *diskModel) at(path string) *place {
	if m.places[path] == nil {
		m.places[path] = &place{}
	}
	return m.places[path]
}

// touch notes that a name means something else from now on.
func (m *diskModel) touch(path string, now *inode) {
	p := m.at(path)
	p.touched = true
	if now == nil {
		delete(m.files, path)
		return
	}
	m.files[path] = now
	p.since = append(p.since, now)
}

func (m *diskModel) name() string {
	dir := m.dirs[m.rng.IntN(len(m.dirs))]
	return strings.TrimPrefix(dir+"/"+string(rune('l'+m.rng.IntN(5))), "/")
}

// existing is a file that is there; "" when none is.
func (m *diskModel) existing() string {
	var all []string
	for path := range m.files {
		all = append(all, path)
	}
	if len(all) == 0 {
		return ""
	}
	slices.Sort(all)
	return all[m.rng.IntN(len(all))]
}

func (m *diskModel) syncDir(dir string) {
	d, err := m.fs.OpenDir(dir)
	m.must(err)
	m.must(d.Sync())
	m.must(d.Close())
	for path, p := range m.places {
		if parent(path) == dir {
			*p = place{synced: m.files[path]}
		}
	}
	m.note("sync dir %q", dir)
}

func parent(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return ""
}

// step does one random thing.
func (m *diskModel) step() {
	path := m.existing()
	switch op := m.rng.IntN(12); {
	case op < 3 || path == "": // create, over what is there or not
		path = m.name()
		f, err := m.fs.Create(path, vfs.WriteCategoryUnspecified)
		m.must(err)
		m.ids++
		i := &inode{id: m.ids, open: f}
		m.all = append(m.all, i)
		m.touch(path, i)
		m.note("create %s as %d", path, i.id)
		m.write(i)
	case op < 5:
		m.write(m.files[path])
	case op < 7:
		i := m.files[path]
		if m.rng.IntN(2) == 0 {
			m.must(i.open.Sync())
		} else {
			m.must(i.open.SyncData())
		}
		i.synced = slices.Clone(i.blocks)
		m.note("sync %s (%d) at %v", path, i.id, i.synced)
	case op < 9:
		to := m.name()
		if to == path {
			return
		}
		m.must(m.fs.Rename(path, to))
		m.note("rename %s (%d) to %s", path, m.files[path].id, to)
		i := m.files[path]
		m.touch(path, nil)
		m.touch(to, i)
	case op < 10:
		m.must(m.fs.Remove(path))
		m.note("remove %s (%d)", path, m.files[path].id)
		m.touch(path, nil)
	default:
		m.syncDir(m.dirs[m.rng.IntN(len(m.dirs))])
	}
}

// write changes one block of a file or adds one.
func (m *diskModel) write(i *inode) {
	at := m.rng.IntN(len(i.blocks) + 1)
	i.version++
	_, err := i.open.WriteAt(i.tag(i.version), int64(at)*tornBlock)
	m.must(err)
	if at == len(i.blocks) {
		i.blocks = append(i.blocks, 0)
	}
	i.blocks[at] = i.version
	m.note("write block %d of %d", at, i.id)
}

// found is what a crash left of one file: whose it is and which versions its blocks have.
type found struct {
	owner    *inode
	versions []uint32
	length   int
}

// look reads a file after the crash. Blocks of two owners, or of none, are a violation of INV-2 or INV-3.
func (m *diskModel) look(path string, data []byte) found {
	f := found{length: len(data)}
	for from := 0; from+blockFill <= len(data); from += tornBlock {
		block := data[from:min(from+tornBlock, len(data))]
		id, version := binary.BigEndian.Uint32(block), binary.BigEndian.Uint32(block[4:])
		if id == 0 || int(id) > len(m.all) {
			m.t.Fatalf("%s: block %d is of no file: %x\n%s", path, from/tornBlock, block[:8], strings.Join(m.log, "\n"))
		}
		owner := m.all[id-1]
		if f.owner != nil && f.owner != owner {
			m.t.Fatalf("%s: mixed of the files %d and %d\n%s", path, f.owner.id, id, strings.Join(m.log, "\n"))
		}
		if want := owner.tag(version)[:len(block)]; string(block) != string(want) {
			m.t.Fatalf("%s: a block is torn below the disk's unit\n%s", path, strings.Join(m.log, "\n"))
		}
		f.owner = owner
		f.versions = append(f.versions, version)
	}
	return f
}

// check holds what is there after the crash against the model.
func (m *diskModel) check(fs vfs.FS) (survivors int) {
	names := map[*inode]string{}
	for _, dir := range m.dirs {
		list, err := fs.List(dir)
		if err != nil {
			m.t.Fatalf("directory %q, which was synced, is gone: %v", dir, err)
		}
		for _, name := range list {
			path := strings.TrimPrefix(dir+"/"+name, "/")
			if slices.Contains(m.dirs, path) {
				continue
			}
			f := m.look(path, m.read(fs, path))
			m.checkPlace(path, f)
			if f.owner != nil {
				names[f.owner] = path
				survivors++
			}
		}
	}
	bad := func(format string, args ...any) {
		m.t.Fatalf(format+"\n%s", append(args, strings.Join(m.log, "\n"))...)
	}
	for path, p := range m.places {
		if p.synced == nil || len(p.synced.synced) == 0 {
			continue
		}
		if !p.touched && names[p.synced] == "" {
			bad("INV-1: %s was synced as file %d and is gone", path, p.synced.id)
		}
		if m.lives(p.synced) && names[p.synced] == "" {
			bad("INV-3: file %d, synced as %s and only renamed since, is nowhere", p.synced.id, path)
		}
	}
	return survivors
}

func (m *diskModel) lives(i *inode) bool {
	for _, other := range m.files {
		if other == i {
			return true
		}
	}
	return false
}

// checkPlace checks one file that is there: that it may have this name, and what it holds.
func (m *diskModel) checkPlace(path string, f found) {
	bad := func(format string, args ...any) {
		m.t.Fatalf(path+": "+format+"\n%s", append(args, strings.Join(m.log, "\n"))...)
	}
	p := m.at(path)
	if f.owner == nil {
		return // of length 0: of a file that was made and not synced
	}
	if f.owner != p.synced && !slices.Contains(p.since, f.owner) {
		bad("INV-2: file %d never had this name since the directory's last sync", f.owner.id)
	}
	if !p.touched && f.owner != p.synced {
		bad("INV-1: file %d is there, %v was synced", f.owner.id, p.synced)
	}
	i := f.owner
	if f.length < len(i.synced)*tornBlock || f.length > len(i.blocks)*tornBlock {
		bad("INV-1: length %d of file %d: %d blocks were synced, %d written", f.length, i.id, len(i.synced), len(i.blocks))
	}
	for b, version := range f.versions {
		if version == i.blocks[b] || b < len(i.synced) && version == i.synced[b] {
			continue
		}
		bad("INV-2: block %d of file %d has version %d: synced %v, written %v", b, i.id, version, i.synced, i.blocks)
	}
}

func (m *diskModel) read(fs vfs.FS, path string) []byte {
	f, err := fs.Open(path)
	m.must(err)
	data, err := io.ReadAll(f)
	m.must(err)
	m.must(f.Close())
	return data
}

// TestCrashKeepsWhatWasSynced: INV-1, INV-2 and INV-3 hold after any sequence of creations, writes, syncs, renames within
// and between directories, removals and syncs of directories; the next life can be crashed at once and loses nothing more.
func TestCrashKeepsWhatWasSynced(t *testing.T) {
	lost, kept := 0, 0
	for seed := range uint64(600) {
		w := New(seed)
		n := w.NewNode("n", NodeConfig{})
		m := newDiskModel(t, n.FS(), rand.New(rand.NewPCG(seed, 5)))
		for range 5 + m.rng.IntN(60) {
			m.step()
		}
		n.Crash()
		n.Restart()
		survivors := m.check(n.FS())
		kept += survivors
		if survivors < len(m.files) {
			lost++
		}
		before := tree(m, n.FS())
		n.Crash()
		n.Restart()
		if again := tree(m, n.FS()); !slices.Equal(again, before) {
			t.Fatalf("seed %d: a second crash, with nothing written in between, changed the disk:\n%v\n%v", seed, before, again)
		}
		w.Close()
	}
	if lost < 100 || kept < 1000 {
		t.Errorf("%d crashes lost something, %d files survived: the test shows nothing", lost, kept)
	}
}

// tree is every file with its content, for comparing.
func tree(m *diskModel, fs vfs.FS) []string {
	var all []string
	for _, dir := range m.dirs {
		list, _ := fs.List(dir)
		for _, name := range list {
			path := strings.TrimPrefix(dir+"/"+name, "/")
			if !slices.Contains(m.dirs, path) {
				all = append(all, fmt.Sprintf("%s %x", path, sha256.Sum256(m.read(fs, path))))
			}
		}
	}
	return all
}

// TestCrashFollowsTheSeed: one seed has one outcome, another seed another, and a node that crashes elsewhere changes nothing.
func TestCrashFollowsTheSeed(t *testing.T) {
	left := func(seed uint64, others int) string {
		w := New(seed)
		defer w.Close()
		n := w.NewNode("n", NodeConfig{})
		for i := range others {
			w.NewNode(fmt.Sprint("other", i), NodeConfig{}).Crash()
		}
		m := newDiskModel(t, n.FS(), rand.New(rand.NewPCG(1, 1)))
		for range 60 {
			m.step()
		}
		n.Crash()
		n.Restart()
		return strings.Join(tree(m, n.FS()), "\n")
	}
	outcomes := map[string]bool{}
	for seed := range uint64(30) {
		one := left(seed, 0)
		if left(seed, 0) != one || left(seed, 3) != one {
			t.Fatalf("seed %d has two outcomes", seed)
		}
		outcomes[one] = true
	}
	if len(outcomes) < 10 {
		t.Errorf("30 seeds have %d outcomes", len(outcomes))
	}
}

// TestCrashOfDirectories: directories that were made, renamed, removed, or took the place of a file without a sync are as
// before or as after, and what was synced in one that was renamed goes with it.
func TestCrashOfDirectories(t *testing.T) {
	write := func(fs vfs.FS, path, text string) {
		f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
		if err == nil {
			_, _ = f.Write([]byte(text))
			err = f.Sync()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	syncAll := func(fs vfs.FS, dirs ...string) {
		for _, dir := range dirs {
			d, err := fs.OpenDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			_ = d.Sync()
		}
	}
	for _, c := range []struct {
		name string
		do   func(fs vfs.FS)
		want []string // the outcomes, all of which must occur
	}{
		{"renamed", func(fs vfs.FS) {
			_ = fs.MkdirAll("old/sub", 0o755)
			write(fs, "old/sub/f", "x")
			syncAll(fs, "old/sub", "old", "")
			_ = fs.Rename("old", "new")
		}, []string{"old/ old/sub/ old/sub/f=x", "new/ new/sub/ new/sub/f=x"}},
		{"removed", func(fs vfs.FS) {
			_ = fs.MkdirAll("dir", 0o755)
			syncAll(fs, "")
			_ = fs.Remove("dir")
		}, []string{"", "dir/"}},
		{"made", func(fs vfs.FS) { _ = fs.MkdirAll("dir", 0o755) }, []string{"", "dir/"}},
		{"made in the place of a file", func(fs vfs.FS) {
			write(fs, "x", "file")
			syncAll(fs, "")
			_ = fs.Remove("x")
			_ = fs.MkdirAll("x", 0o755)
			write(fs, "x/y", "inner")
			syncAll(fs, "x")
		}, []string{"x=file", "x/", "x/ x/y=inner"}},
		{"replaced by a file", func(fs vfs.FS) {
			_ = fs.MkdirAll("x", 0o755)
			syncAll(fs, "")
			_ = fs.Remove("x")
			write(fs, "x", "file")
		}, []string{"x/", "x=file"}},
		{"written aside and renamed over", func(fs vfs.FS) {
			write(fs, "x", "old")
			syncAll(fs, "")
			write(fs, "x.tmp", "new")
			_ = fs.Rename("x.tmp", "x")
		}, []string{"x=old", "x=new"}},
		{"written aside, renamed over and synced", func(fs vfs.FS) {
			write(fs, "x", "old")
			syncAll(fs, "")
			write(fs, "x.tmp", "new")
			_ = fs.Rename("x.tmp", "x")
			syncAll(fs, "")
		}, []string{"x=new"}},
		{"two files that change their names", func(fs vfs.FS) {
			write(fs, "a", "1")
			write(fs, "b", "2")
			syncAll(fs, "")
			_ = fs.Rename("a", "t")
			_ = fs.Rename("b", "a")
			_ = fs.Rename("t", "b")
		}, []string{"a=1 b=2", "b=2 t=1", "a=2 t=1", "a=2 b=1"}},
		{"into a new directory, of which only the old one was synced", func(fs vfs.FS) {
			write(fs, "a", "1")
			syncAll(fs, "")
			_ = fs.MkdirAll("p/q", 0o755)
			_ = fs.Rename("a", "p/q/a")
			syncAll(fs, "")
		}, []string{"p/ p/q/ p/q/a=1"}},
		{"into a new directory, of which only that was synced", func(fs vfs.FS) {
			write(fs, "a", "1")
			syncAll(fs, "")
			_ = fs.MkdirAll("p/q", 0o755)
			_ = fs.Rename("a", "p/q/a")
			syncAll(fs, "p/q")
		}, []string{"p/ p/q/ p/q/a=1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			seen := map[string]int{}
			for seed := range uint64(300) {
				w := New(seed)
				n := w.NewNode("n", NodeConfig{})
				c.do(n.FS())
				n.Crash()
				n.Restart()
				seen[strings.Join(walk(n.FS(), ""), " ")]++
				w.Close()
			}
			for _, want := range c.want {
				if seen[want] == 0 {
					t.Errorf("%q never came out: %v", want, seen)
				}
				delete(seen, want)
			}
			if len(seen) > 0 {
				t.Errorf("came out, and must not: %v", seen)
			}
		})
	}
}

// walk lists everything below dir with the contents of files.
func walk(fs vfs.FS, dir string) []string {
	var all []string
	list, _ := fs.List(dir)
	for _, name := range list {
		path := fs.PathJoin(dir, name)
		info, err := fs.Stat(path)
		switch {
		case err != nil:
			all = append(all, path+"?")
		case info.IsDir():
			all = append(append(all, path+"/"), walk(fs, path)...)
		default:
			all = append(all, path+"="+string(read(fs, path)))
		}
	}
	return all
}

// TestTear: a length between the two, blocks of one or the other, and nothing that neither has.
func TestTear(t *testing.T) {
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 3))
		old, now := make([]byte, rng.IntN(3*tornBlock)), make([]byte, rng.IntN(3*tornBlock))
		for i := range old {
			old[i] = 'o'
		}
		for i := range now {
			now[i] = 'n'
		}
		for _, luck := range []int{0, 50, 100} {
			c := &crash{d: &disk{rng: rng}, luck: luck}
			got := c.tear(old, now)
			if len(got) < min(len(old), len(now)) || len(got) > max(len(old), len(now)) {
				t.Fatalf("seed %d: length %d of %d and %d", seed, len(got), len(old), len(now))
			}
			if luck == 0 && string(got) != string(old) {
				t.Fatalf("seed %d: without luck something changed", seed)
			}
			for i, b := range got {
				if b != 'o' && b != 'n' && (i < len(old) && i < len(now)) {
					t.Fatalf("seed %d: byte %d is %q", seed, i, b)
				}
				if at := i - i%tornBlock; b != got[at] && i < min(len(old), len(now)) {
					t.Fatalf("seed %d: the block of byte %d is torn", seed, i)
				}
			}
		}
	}
}

// TestListIsSorted: a directory's names come in one order, whatever order they were made in.
func TestListIsSorted(t *testing.T) {
	w := New(1)
	defer w.Close()
	fs := w.NewNode("n", NodeConfig{}).FS()
	for i := range 50 {
		if _, err := fs.Create(fmt.Sprint("f", i*7%50), vfs.WriteCategoryUnspecified); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := fs.List(""); err != nil || len(all) != 50 || !slices.IsSorted(all) {
		t.Errorf("%v, %v", all, err)
	}
}

// TestRenamesAreBounded: a disk that is never synced remembers only so many renames, and a crash of it still works.
func TestRenamesAreBounded(t *testing.T) {
	w := New(1)
	defer w.Close()
	n := w.NewNode("n", NodeConfig{})
	fs := n.FS()
	if _, err := fs.Create("f0", vfs.WriteCategoryUnspecified); err != nil {
		t.Fatal(err)
	}
	for i := range 3 * maxRenames {
		if err := fs.Rename(fmt.Sprint("f", i), fmt.Sprint("f", i+1)); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(n.disk.renames); got != maxRenames {
		t.Errorf("%d renames are kept, want %d", got, maxRenames)
	}
	n.Crash()
	n.Restart()
	if len(n.disk.renames) != 0 {
		t.Error("the next life remembers the renames of the last")
	}
}
