package oracle

import (
	"slices"
	"testing"

	"github.com/forebay/forebay/system/dfs"
)

func file(name dfs.Path, write uint64) *File {
	return &File{Content: Content{Name: name, Write: write, Size: 100}}
}

// seen is the status that a file must have.
func seen(f *File) *dfs.FileStatus {
	s := &dfs.FileStatus{Length: f.Size, Completed: true, Version: 1, Mode: f.Mode}
	if f.Attribute != "" {
		s.Xattr = map[string][]byte{AttributeName: []byte(f.Attribute)}
	}
	return s
}

// TestTreeFollows (INV-1): what is known follows what was acknowledged, through writes, moves of files and directories, and
// removals, in the order in which paths came.
func TestTreeFollows(t *testing.T) {
	b, _ := newBook()
	tree := Tree{Book: b, Who: 5}
	tree.Made("/d")
	tree.Made("/d/e")
	for _, p := range []dfs.Path{"/a", "/d/b", "/d/e/c", "/da"} {
		tree.Wrote(p, file(p, 1))
	}
	tree.Wrote("/a", file("/a", 2))
	tree.Moved("/d", "/x")
	if want := []dfs.Path{"/a", "/da", "/x/b", "/x/e/c"}; !slices.Equal(tree.Files(), want) {
		t.Errorf("files %v, want %v", tree.Files(), want)
	}
	if want := []dfs.Path{"/x", "/x/e"}; !slices.Equal(tree.Dirs(), want) || tree.File("/x/e/c").Name != "/d/e/c" || tree.File("/a").Write != 2 {
		t.Errorf("directories %v, want %v", tree.Dirs(), want)
	}
	tree.Moved("/a", "/da") // over another
	if tree.Len() != 3 || tree.File("/da").Name != "/a" || tree.File("/a") != nil {
		t.Errorf("after a rename over another: %v", tree.Files())
	}
	tree.Listed("/x", []string{"b", "e"})
	tree.Listed("/x/e", []string{"c"})
	expect(t, b, "listings that are right")
	tree.Listed("/x", []string{"b", "z"})
	expect(t, b, "a listing that is not", "listing of /x has z", "listing of /x lacks e")
	went := tree.GoneBelow("/x")
	if len(went) != 2 || tree.Len() != 1 || len(tree.Dirs()) != 0 {
		t.Errorf("went %v, left %v, %v", went, tree.Files(), tree.Dirs())
	}
	tree.Gone("/never")
}

// TestDoubts (INV-2): what is in doubt is known no more, nor are the directories it is in; it explains what is there and
// nothing beside it.
func TestDoubts(t *testing.T) {
	b, _ := newBook()
	tree := Tree{Book: b}
	tree.Made("/d")
	tree.Made("/e")
	f := file("/d/f", 1)
	tree.Wrote("/d/f", f)
	tree.Wrote("/e/g", file("/e/g", 1))
	tree.Doubt("rename", State{"/d/f": f, "/d/to": nil}, State{"/d/f": nil, "/d/to": f})
	if tree.Len() != 1 || !slices.Equal(tree.Dirs(), []dfs.Path{"/e"}) {
		t.Errorf("known are %v, %v", tree.Files(), tree.Dirs())
	}
	for p, want := range map[dfs.Path]bool{"/d/f": true, "/d/to": true, "/d": true, "/d/other": false, "/e": false, "/d/f/x": false} {
		if tree.Doubtful(p) != want {
			t.Errorf("%s is doubtful: %v", p, !want)
		}
	}
	tree.DoubtTree("remove", "/e")
	if tree.Len() != 0 || len(tree.Dirs()) != 0 || !tree.Doubtful("/e/any/thing") || tree.Doubtful("/ee") {
		t.Errorf("a tree in doubt: %v, %v", tree.Files(), tree.Dirs())
	}
	tree.Listed("/", []string{"d", "e"})
	expect(t, b, "what is in doubt")
	for _, tt := range []struct {
		when  string
		there []dfs.Path
		right bool
	}{{"before", []dfs.Path{"/d/f"}, true}, {"after", []dfs.Path{"/d/to"}, true}, {"both", []dfs.Path{"/d/f", "/d/to"}, false}, {"neither", nil, false}} {
		for _, d := range tree.Doubts() {
			tree.Settled(d, func(p dfs.Path, f *File) bool { return slices.Contains(tt.there, p) == (f != nil) })
		}
		if tt.right {
			expect(t, b, tt.when)
		} else {
			expect(t, b, tt.when, "rename of [/d/f /d/to] had an open outcome")
		}
	}
}

// TestTreeSaw: each part of a status is judged.
func TestTreeSaw(t *testing.T) {
	b, _ := newBook()
	tree := Tree{Book: b}
	f := file("/f", 1)
	f.Mode, f.Attribute = 0o640, "7"
	tree.Wrote("/f", f)
	tree.Saw("/f", seen(f))
	expect(t, b, "as it is")
	for when, harm := range map[string]func(*dfs.FileStatus){
		"is a complete file": func(s *dfs.FileStatus) { s.Completed = false },
		"has 99 bytes":       func(s *dfs.FileStatus) { s.Length-- },
		"has mode 600":       func(s *dfs.FileStatus) { s.Mode = 0o600 },
		`has attribute ""`:   func(s *dfs.FileStatus) { s.Xattr = nil },
		"has version 2":      func(s *dfs.FileStatus) { s.Version++ },
	} {
		s := seen(f)
		harm(s)
		tree.Saw("/f", s)
		expect(t, b, when, when)
	}
	tree.Lost("/f", failed(dfs.NotFound))
	tree.Returned("/g", seen(f))
	expect(t, b, "gone and back", "/f was acknowledged and is lost", "/g was removed and is there")
}

// TestMayBeLost: a file that only workers have is excused by as many lost disks as it had copies, since it was written.
func TestMayBeLost(t *testing.T) {
	for _, tt := range []struct {
		kind          dfs.WriteType
		copies, wipes int
		lost          bool
	}{
		{dfs.WriteMustCache, 1, 2, false}, {dfs.WriteMustCache, 1, 3, true}, {dfs.WriteAsyncThrough, 2, 3, false}, {dfs.WriteAsyncThrough, 2, 4, true},
		{dfs.WriteAsyncThrough, 0, 3, true}, {dfs.WriteThrough, 1, 9, false}, {dfs.WriteCacheThrough, 1, 9, false},
	} {
		f := &File{WriteType: tt.kind, Copies: tt.copies, Wipes: 2}
		if f.MayBeLost(tt.wipes) != tt.lost {
			t.Errorf("%+v", tt)
		}
	}
}
