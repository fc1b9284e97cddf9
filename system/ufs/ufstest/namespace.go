package ufstest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/ufs"
)

func testList(t *testing.T, f *fixture) {
	f.wantList("", "")
	f.put("b", "12345")
	f.put("a/1", "x")
	f.put("a/2/3", "x")
	f.ok("mkdir", f.s.Mkdir(f.ctx, "c", 0o755))
	f.wantList("", "", "a/", "b", "c/")
	f.wantList("a", "", "1", "2/")
	f.wantList("a/2", "", "3")
	f.wantList("c", "")
	for e, err := range f.s.List(f.ctx, "", "a") {
		f.ok("list", err)
		if e.Name == "b" && (e.Size != 5 || e.Dir || e.ModTime.IsZero()) {
			t.Errorf("listed %+v", e)
		}
		break // leaving early is allowed
	}
	for what, dir := range map[string]string{"missing": "missing", "missing below": "a/missing"} {
		var err error
		for _, err = range f.s.List(f.ctx, dir, "") {
			if err != nil {
				break
			}
		}
		f.want(dfs.NotFound, "list "+what, err)
		for _, err = range f.s.List(f.ctx, dir, "m") {
			if err != nil {
				break
			}
		}
		f.want(dfs.NotFound, "list after of "+what, err)
	}
	var err error
	for _, err = range f.s.List(f.ctx, "b", "") {
		if err != nil {
			break
		}
	}
	f.want(dfs.NotDirectory, "list of an object", err)
}

// orderNames are files and directories ("/" at the end) whose keys in an object store sort otherwise than their names:
// the directory "a" comes after "a.txt" there, since "a/" does.
var orderNames = []string{
	"a/", "a!x", "a!x.y/", "a-b", "a-b-c/", "a-b.c", "a.1", "a.2/", "a.3", "a.3.4", "a0", "a0b/", "aa", "ab.txt",
	"b", "b.", "b.c/", "b/x"[:1] + "0", "c c/", "c c c", "c c.d", "z", "é", "日本/", "日本.x", "Z", "_", "~",
}

func (f *fixture) populate(dir string, names []string) []string {
	f.Helper()
	var want []string
	for i, name := range names {
		path := ufs.Join(dir, strings.TrimSuffix(name, "/"))
		switch {
		case !strings.HasSuffix(name, "/"):
			f.put(path, "x")
		case i%2 == 0:
			f.ok("mkdir", f.s.Mkdir(f.ctx, path, 0o755))
		default:
			f.put(path+"/in", "x")
		}
		want = append(want, name)
	}
	slices.SortFunc(want, func(a, b string) int {
		return strings.Compare(strings.TrimSuffix(a, "/"), strings.TrimSuffix(b, "/"))
	})
	return want
}

func testListOrder(t *testing.T, f *fixture) {
	f.wantList("", "")
	want := f.populate("dir", orderNames)
	f.wantList("dir", "", want...)
	want = f.populate("", orderNames)
	want = append(want, "dir/")
	slices.SortFunc(want, func(a, b string) int {
		return strings.Compare(strings.TrimSuffix(a, "/"), strings.TrimSuffix(b, "/"))
	})
	f.wantList("", "", want...)
}

// testListAfter takes a listing up behind every name, and behind names that do not exist.
func testListAfter(t *testing.T, f *fixture) {
	all := f.populate("dir", orderNames)
	for i, name := range all {
		f.wantList("dir", strings.TrimSuffix(name, "/"), all[i+1:]...)
	}
	for _, after := range []string{"!", "a ", "a-", "a/", "b.b", "zz", "\xff"} {
		var want []string
		for _, name := range all {
			if strings.TrimSuffix(name, "/") > after {
				want = append(want, name)
			}
		}
		f.wantList("dir", after, want...)
	}
}

func testRemove(t *testing.T, f *fixture) {
	f.put("a/b", "x")
	f.want(dfs.NotEmpty, "remove a full directory", f.s.Remove(f.ctx, "a"))
	f.ok("remove", f.s.Remove(f.ctx, "a/b"))
	f.want(dfs.NotFound, "remove again", f.s.Remove(f.ctx, "a/b"))
	f.ok("mkdir", f.s.Mkdir(f.ctx, "d", 0o755))
	f.ok("remove an empty directory", f.s.Remove(f.ctx, "d"))
	if k := f.statKind("d"); k != dfs.NotFound {
		t.Errorf("stat after remove: %v", k)
	}
	f.want(dfs.NotFound, "remove what never was", f.s.Remove(f.ctx, "never/was"))
	f.want(dfs.InvalidArgument, "remove the root", f.s.Remove(f.ctx, ""))
}

func testRenameObject(t *testing.T, f *fixture) {
	f.put("a", "content")
	f.ok("rename", f.s.Rename(f.ctx, "a", "new/dir/b"))
	if f.get("new/dir/b") != "content" || f.statKind("a") != dfs.NotFound {
		t.Error("the object did not move")
	}
	f.put("c", "other")
	f.ok("rename over", f.s.Rename(f.ctx, "c", "new/dir/b"))
	if f.get("new/dir/b") != "other" || f.statKind("c") != dfs.NotFound {
		t.Error("the target was not replaced")
	}
	f.ok("rename onto itself", f.s.Rename(f.ctx, "new/dir/b", "new/dir/b"))
	if f.get("new/dir/b") != "other" {
		t.Error("a rename onto itself lost the object")
	}
	f.want(dfs.NotFound, "rename a missing object", f.s.Rename(f.ctx, "missing", "x"))
}

func testRenameDirectory(t *testing.T, f *fixture) {
	for i := range 25 {
		f.put(fmt.Sprintf("from/%02d/x", i), fmt.Sprint(i))
	}
	f.put("from.txt", "stays")
	f.ok("mkdir", f.s.Mkdir(f.ctx, "from/empty", 0o755))
	f.ok("rename", f.s.Rename(f.ctx, "from", "up/to"))
	for i := range 25 {
		if got := f.get(fmt.Sprintf("up/to/%02d/x", i)); got != fmt.Sprint(i) {
			t.Errorf("object %d: %q", i, got)
		}
	}
	if got := f.list("up/to", ""); len(got) != 26 {
		t.Errorf("%d entries, want 26: %q", len(got), got)
	}
	if k := f.statKind("from"); k != dfs.NotFound {
		t.Errorf("the source is still there: %v", k)
	}
	f.wantList("", "", "from.txt", "up/")
}

func testRenameErrors(t *testing.T, f *fixture) {
	f.put("d/x", "x")
	f.put("e/y", "y")
	f.put("o", "o")
	f.want(dfs.InvalidArgument, "a directory into itself", f.s.Rename(f.ctx, "d", "d/below"))
	f.want(dfs.InvalidArgument, "the root", f.s.Rename(f.ctx, "", "x"))
	f.want(dfs.NotEmpty, "onto a full directory", f.s.Rename(f.ctx, "d", "e"))
	f.want(dfs.IsDirectory, "an object onto a directory", f.s.Rename(f.ctx, "o", "d"))
	f.want(dfs.NotDirectory, "a directory onto an object", f.s.Rename(f.ctx, "d", "o"))
	if f.get("d/x") != "x" || f.get("e/y") != "y" || f.get("o") != "o" {
		t.Error("a refused rename changed something")
	}
	f.ok("mkdir", f.s.Mkdir(f.ctx, "empty", 0o755))
	f.ok("onto an empty directory", f.s.Rename(f.ctx, "d", "empty"))
	f.wantList("empty", "", "x")
}

func testMkdir(t *testing.T, f *fixture) {
	f.ok("mkdir", f.s.Mkdir(f.ctx, "a/b/c", 0o750))
	f.ok("mkdir again", f.s.Mkdir(f.ctx, "a/b/c", 0o750))
	f.ok("mkdir of the root", f.s.Mkdir(f.ctx, "", 0o750))
	e, err := f.s.Stat(f.ctx, "a/b/c")
	f.ok("stat", err)
	if !e.Dir {
		t.Errorf("%+v", e)
	}
	f.wantList("a/b", "", "c/")
	f.wantList("a/b/c", "")
	f.put("o", "x")
	f.want(dfs.NotDirectory, "mkdir over an object", f.s.Mkdir(f.ctx, "o", 0o755))
}

func testConfinement(t *testing.T, f *fixture) {
	bad := []string{"..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/", "/", ".", "a/./b", "nul\x00", "bad\xff"}
	for _, path := range bad {
		_, err := f.s.Stat(f.ctx, path)
		f.want(dfs.InvalidArgument, fmt.Sprintf("stat %q", path), err)
		_, err = f.s.Open(f.ctx, path, 0, 1)
		f.want(dfs.InvalidArgument, fmt.Sprintf("open %q", path), err)
		_, err = f.s.Create(f.ctx, path, 0o644)
		f.want(dfs.InvalidArgument, fmt.Sprintf("create %q", path), err)
		f.want(dfs.InvalidArgument, fmt.Sprintf("mkdir %q", path), f.s.Mkdir(f.ctx, path, 0o755))
		f.want(dfs.InvalidArgument, fmt.Sprintf("remove %q", path), f.s.Remove(f.ctx, path))
		f.want(dfs.InvalidArgument, fmt.Sprintf("rename from %q", path), f.s.Rename(f.ctx, path, "x"))
		f.want(dfs.InvalidArgument, fmt.Sprintf("rename to %q", path), f.s.Rename(f.ctx, "x", path))
	}
	if k := f.statKind(ufs.TempPrefix + "x"); k != dfs.NotFound {
		t.Errorf("stat of a temporary name: %v", k)
	}
	_, err := f.s.Create(f.ctx, "d/"+ufs.TempPrefix+"x", 0o644)
	f.want(dfs.NotFound, "create of a temporary name", err)
}

// testStaged writes an object that no listing shows and gives it its name, or takes it away.
func testStaged(t *testing.T, f *fixture) {
	f.put("d/kept", "old")
	f.put(ufs.Staged("1"), "new")
	f.put(ufs.Staged("2"), "late")
	f.wantList("", "", "d/")
	f.ok("publish", f.s.Rename(f.ctx, ufs.Staged("1"), "d/kept"))
	f.ok("publish in a directory that is not there", f.s.Rename(f.ctx, ufs.Staged("2"), "e/new"))
	if a, b := f.get("d/kept"), f.get("e/new"); a != "new" || b != "late" {
		t.Errorf("published %q and %q", a, b)
	}
	f.put(ufs.Staged("3"), "never")
	f.ok("remove", f.s.Remove(f.ctx, ufs.Staged("3")))
	for _, n := range []string{"1", "2", "3"} {
		if k := f.statKind(ufs.Staged(n)); k != dfs.NotFound {
			t.Errorf("staged object %s afterwards: %v", n, k)
		}
	}
	f.want(dfs.NotFound, "publish of nothing", f.s.Rename(f.ctx, ufs.Staged("1"), "d/kept"))
	for _, path := range []string{"d/" + ufs.Staged("1"), ufs.Staged("1/2"), ufs.Staged("../d")} {
		_, err := f.s.Create(f.ctx, path, 0o644)
		if err == nil || ufs.IsStaged(path) {
			t.Errorf("create of %q: %v", path, err)
		}
	}
}

// testNames writes names that quoting gets wrong.
func testNames(t *testing.T, f *fixture) {
	names := []string{"with space", "a+b", "a%20b", "a&b=c?d", "#hash", "quote\"'", "new\nline", "back\\slash", "日本語",
		"<xml>&amp;", "..dots", "trailing.", "~tilde", "*star", strings.Repeat("n", 200)}
	for _, name := range names {
		f.put("dir/"+name, name)
	}
	for _, name := range names {
		if got := f.get("dir/" + name); got != name {
			t.Errorf("%q reads %q", name, got)
		}
	}
	got := f.list("dir", "")
	slices.Sort(names)
	if !slices.Equal(got, names) {
		t.Errorf("listed %q, want %q", got, names)
	}
	for _, name := range names {
		f.ok("rename", f.s.Rename(f.ctx, "dir/"+name, "other/"+name))
		f.ok("remove", f.s.Remove(f.ctx, "other/"+name))
	}
}

func testSetAttr(t *testing.T, f *fixture) {
	setter, ok := ufs.As[ufs.AttrSetter](f.s)
	if f.o.NoAttributes {
		if ok {
			t.Error("the store has no attributes, but sets them")
		}
		return
	}
	if !ok {
		t.Fatal("no AttrSetter")
	}
	f.put("o", "x")
	mode := uint32(0o640)
	f.ok("set mode", setter.SetAttr(f.ctx, "o", &mode, nil, nil, nil))
	e, err := f.s.Stat(f.ctx, "o")
	f.ok("stat", err)
	stamp := e.ModTime.Add(-1e9 * 3600)
	f.ok("set time", setter.SetAttr(f.ctx, "o", nil, nil, nil, &stamp))
	if e, err = f.s.Stat(f.ctx, "o"); err != nil || e.Mode != mode || !e.ModTime.Equal(stamp) {
		t.Errorf("%+v, %v; want mode %o time %v", e, err, mode, stamp)
	}
	f.want(dfs.NotFound, "set attributes of a missing object", setter.SetAttr(f.ctx, "missing", &mode, nil, nil, nil))
}
