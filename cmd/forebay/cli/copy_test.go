package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
)

// TestPutTrees: what a local tree may hold: links to files and to directories, links that lead nowhere and around, pipes, empty
// directories, permissions. Everything that is a file arrives, everything else is told of, once, by its name.
func TestPutTrees(t *testing.T) {
	s, at := shared(t)
	dir := t.TempDir()
	local(t, dir, map[string]string{"real": "r", "sub/deep/file": "d", "outside/x": "o"})
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "empty"), 0o750), os.Symlink("real", filepath.Join(dir, "link")), os.Symlink("../real", filepath.Join(dir, "sub", "up")),
		os.Chmod(filepath.Join(dir, "real"), 0o604),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.ok("fs", "put", "-r", dir, at+"/good")
	back := filepath.Join(t.TempDir(), "back")
	s.ok("fs", "get", "-r", at+"/good", back)
	want := map[string]string{
		"real": "r", "link": "r", "sub": "dir", "sub/deep": "dir", "sub/deep/file": "d", "sub/up": "r", "outside": "dir", "outside/x": "o", "empty": "dir",
	}
	if got := contents(t, back); !maps.Equal(got, want) {
		t.Errorf("came back as %v, want %v", got, want)
	}
	if info, err := os.Stat(filepath.Join(back, "real")); err != nil || info.Mode().Perm() != 0o604 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	for _, err := range []error{
		os.Symlink("nowhere", filepath.Join(dir, "sub", "dangling")), os.Symlink(".", filepath.Join(dir, "sub", "around")),
		os.Symlink("loop", filepath.Join(dir, "sub", "loop")), syscall.Mkfifo(filepath.Join(dir, "sub", "pipe"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	code, _, errs := forebay(t, s.environ, "fs", "put", "-r", dir, at+"/bad")
	if code == exitOK || strings.Count(errs, "\n") != 4 {
		t.Errorf("code %d: four things cannot be put:\n%s", code, errs)
	}
	for _, name := range []string{"dangling", "around", "loop", "pipe"} {
		if n := strings.Count(errs, "/"+name+`"`); n != 1 {
			t.Errorf("%s is named %d times:\n%s", name, n, errs)
		}
	}
	if !strings.Contains(errs, "link to a directory") {
		t.Errorf("a link to a directory is told of as something else:\n%s", errs)
	}
	if got := s.array("fs", "count", at+"/bad"); got[0]["files"] != 5.0 || got[0]["directories"] != 5.0 {
		t.Errorf("of the rest arrived %v", got)
	}
}

// TestPutNames: where sources land: into a directory under their names, or as the target; also by links and by "..".
func TestPutNames(t *testing.T) {
	s, at := shared(t)
	dir := t.TempDir()
	local(t, dir, map[string]string{"f": "f", "g": "g", "tree/h": "h"})
	if err := os.Symlink("tree", filepath.Join(dir, "linked")); err != nil {
		t.Fatal(err)
	}
	s.ok("fs", "mkdir", at+"/d")
	s.play(at, dir, []step{
		{line: "fs put LOCAL/f LOCAL/g AT/d"}, {line: "fs cat AT/d/f AT/d/g", out: "fg"},
		{line: "fs put LOCAL/f AT/new"}, {line: "fs cat AT/new", out: "f"},
		{line: "fs put LOCAL/f LOCAL/g AT/none", code: exitWrongState, errs: "AT/none"},
		{line: "fs put LOCAL/f LOCAL/g AT/new", code: exitWrongState, errs: "AT/new"},
		{line: "fs put LOCAL/f LOCAL/none LOCAL/g -f AT/d", code: exitNotFound, errs: "none"},
		{line: "fs put LOCAL/f AT/d", code: exitExists, errs: "AT/d/f"},
		{line: "fs put -r LOCAL/tree/../tree AT/d"}, {line: "fs cat AT/d/tree/h", out: "h"},
		{line: "fs put -r LOCAL/tree AT/as"}, {line: "fs cat AT/as/h", out: "h"},
		{line: "fs put -r LOCAL/linked AT/d"}, {line: "fs cat AT/d/linked/h", out: "h"}, // a source is what it leads to
		{line: "fs put -r LOCAL/linked/ AT/d/slash"}, {line: "fs cat AT/d/slash/h", out: "h"},
		{line: "fs put LOCAL/tree AT/d", code: exitWrongState, errs: "-r"},
		{line: "fs put -r LOCAL/tree AT/new", code: exitExists, errs: "AT/new"},
		{line: "fs put LOCAL/f AT/no/parent", code: exitNotFound, errs: "AT/no"},
		{line: "fs put - AT/d", code: exitWrongState, errs: "no name"},
		{line: "fs put -j 0 LOCAL/f AT/zero"}, {line: "fs put -j x LOCAL/f AT/zero", code: exitUsage, errs: "jobs"},
		{line: "fs put --block-size 1MiB LOCAL/f AT/blocks"}, {line: "fs stat AT/blocks", has: "1048576"},
		{line: "fs put --block-size lots LOCAL/f AT/blocks", code: exitUsage, errs: "lots"},
		{line: "fs put -w must_cache LOCAL/f AT/cached"},
	})
}

// TestGetNames: where files land on the disk, what is refused, and that nothing is overwritten or left half.
func TestGetNames(t *testing.T) {
	s, at := shared(t)
	s.ok("fs", "mkdir", at+"/d", at+"/e")
	s.play(at, "", []step{{line: "fs put - AT/d/f", in: "first"}, {line: "fs put - AT/e/f", in: "second"}, {line: "fs touch AT/d/zero"}})
	dir := t.TempDir()
	local(t, dir, map[string]string{"taken": "mine"})
	if err := os.Symlink("taken", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	s.play(at, dir, []step{
		{line: "fs get AT/d/f AT/d/zero LOCAL"},
		{line: "fs get AT/d/f AT/e/f LOCAL/none", code: exitWrongState, errs: "several files"},
		{line: "fs get AT/d/f AT/e/f LOCAL/taken", code: exitWrongState, errs: "several files"},
		{line: "fs get AT/e/f LOCAL/taken", code: exitExists, errs: "LOCAL/taken"},
		{line: "fs get AT/e/f LOCAL/link", code: exitExists, errs: "LOCAL/link"},
		{line: "fs get AT/e/f LOCAL/none/x", code: exitNotFound, errs: "local file"},
		{line: "fs get AT/e/f LOCAL/taken/x", code: exitError, errs: "local file"},
		{line: "fs get AT/d LOCAL/x", code: exitWrongState, errs: "-r"},
		{line: "fs get AT/d/f -", out: "first"}, {line: "fs get AT/d/f AT/e/f -", out: "firstsecond"},
		{line: "fs get AT/d -", code: exitWrongState, errs: "AT/d"},
		{line: "fs get -r AT/d AT/e LOCAL"},
	})
	want := map[string]string{"taken": "mine", "link": "-> taken", "f": "first", "zero": "", "d": "dir", "d/f": "first", "d/zero": "", "e": "dir", "e/f": "second"}
	if got := contents(t, dir); !maps.Equal(got, want) {
		t.Errorf("the folder holds %v, want %v", got, want)
	}
	s.play(at, dir, []step{
		{line: "fs get -f AT/e/f LOCAL/link"}, // the link is replaced, and not what it leads to
		{line: "fs get -rf AT/e LOCAL"},
		{line: "fs get -f AT/e/f LOCAL/d", code: exitOK}, // a directory takes the file
	})
	want["link"], want["d/f"] = "second", "second"
	if got := contents(t, dir); !maps.Equal(got, want) {
		t.Errorf("with -f the folder holds %v, want %v", got, want)
	}
	// Two sources of one name: without -f the second is an error, and either is whole.
	clash := t.TempDir()
	s.play(at, clash, []step{{line: "fs get AT/d/f AT/e/f LOCAL", code: exitExists, errs: "LOCAL/f"}})
	if got := contents(t, clash); len(got) != 1 || got["f"] != "first" && got["f"] != "second" {
		t.Errorf("the folder holds %v", got)
	}
}

// TestCpTable: copies within the namespace: targets, overwriting, modes, itself.
func TestCpTable(t *testing.T) {
	s, at := shared(t)
	s.ok("fs", "mkdir", "-p", at+"/d/e", at+"/into", "--mode", "750")
	s.play(at, "", []step{
		{line: "fs put - AT/d/f", in: "first"}, {line: "fs put - AT/g", in: "other"}, {line: "fs chmod 640 AT/d/f"},
		{line: "fs cp AT/d/f AT/h"}, {line: "fs cat AT/h", out: "first"}, {line: "fs ls AT/h", has: "-rw-r-----"},
		{line: "fs cp AT/d/f AT/g", code: exitExists, errs: "AT/g"}, {line: "fs cat AT/g", out: "other"},
		{line: "fs cp -f AT/d/f AT/g"}, {line: "fs cat AT/g", out: "first"},
		{line: "fs cp AT/g AT/into"}, {line: "fs cat AT/into/g", out: "first"},
		{line: "fs cp AT/d AT/into", code: exitWrongState, errs: "-r"},
		{line: "fs cp -r AT/d AT/into"}, {line: "fs cat AT/into/d/f", out: "first"}, {line: "fs ls -d AT/into/d/e", has: "drwxr-x---"},
		{line: "fs cp -r AT/d AT/into", code: exitExists, errs: "AT/into/d/f"},
		{line: "fs cp -rf AT/d AT/into"},
		{line: "fs cp -r AT/d AT/d/e", code: exitUsage, errs: "itself"},
		{line: "fs cp -r AT/d AT/d", code: exitUsage, errs: "itself"},
		{line: "fs cp -r / AT/into", code: exitUsage, errs: "itself"},
		{line: "fs cp AT/none AT/x", code: exitNotFound, errs: "AT/none"},
		{line: "fs cp AT/g AT/g", code: exitExists, errs: "AT/g"},
		{line: "fs cp -f AT/g AT/g", code: exitUsage, errs: "itself"}, {line: "fs cat AT/g", out: "first"},
		{line: "fs cp -w THROUGH --block-size 2MiB AT/g AT/thick"}, {line: "fs stat AT/thick", has: "2097152"},
		{line: "fs cp -w NEVER AT/g AT/n", code: exitUsage, errs: "NEVER"},
		{line: "fs cp -r AT/g AT/single"}, {line: "fs cat AT/single", out: "first"},
	})
}

// failing gives some bytes and then an error that is none of the end.
type failing struct{ left int }

func (f *failing) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, errors.New("the pipe broke")
	}
	n := min(len(p), f.left)
	f.left -= n
	return n, nil
}

// TestBrokenInput: standard input that breaks off is an error, and half a file is none, for every way to write.
func TestBrokenInput(t *testing.T) {
	s, at := shared(t)
	for _, w := range []string{"MUST_CACHE", "CACHE_THROUGH", "THROUGH", "ASYNC_THROUGH"} {
		code, _, errs := s.with(t.Context(), &failing{2 << 20}, "fs", "put", "-w", w, "-", at+"/"+w)
		if code != exitError || !strings.Contains(errs, "the pipe broke") {
			t.Errorf("%s: code %d, %s", w, code, errs)
		}
		s.play(at, "", []step{{line: "fs put - AT/kept" + w, in: "whole"}})
		code, _, _ = s.with(t.Context(), &failing{2 << 20}, "fs", "put", "-f", "-w", w, "-", at+"/kept"+w)
		if got := s.ok("fs", "cat", at+"/kept"+w); code != exitError || got != "whole" {
			t.Errorf("%s: code %d, the file that was to be replaced holds %d bytes", w, code, len(got))
		}
	}
	if out := s.ok("fs", "ls", at); strings.Count(out, "\n") != 4 {
		t.Errorf("broken writes left\n%s", out)
	}
}

// TestPipes: a named pipe as a source is read as a file would be, and waiting for its writer ends with Ctrl-C.
func TestPipes(t *testing.T) {
	s, at := shared(t)
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() {
		if f, err := os.OpenFile(pipe, os.O_WRONLY, 0); err == nil {
			_, _ = io.WriteString(f, "through a pipe")
			_ = f.Close()
		}
	}()
	s.ok("fs", "put", pipe, at+"/piped")
	s.play(at, "", []step{{line: "fs cat AT/piped", out: "through a pipe"}})
	ctx, interrupt := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer interrupt()
	ended := make(chan int, 1)
	go func() {
		code, _, _ := s.with(ctx, strings.NewReader(""), "fs", "put", pipe, at+"/silent")
		ended <- code
	}()
	select {
	case code := <-ended:
		if code == exitOK {
			t.Error("a pipe without a writer was put")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("a pipe on which nobody writes holds up the interrupt")
	}
	if f, err := os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil { // let go who still waits
		_ = f.Close()
	}
	s.play(at, "", []step{{line: "fs test AT/silent", code: exitError}})
}

// TestManyFilesInParallel: more files than copies at a time, in and out, and each is itself.
func TestManyFilesInParallel(t *testing.T) {
	s, at := shared(t)
	dir, want := t.TempDir(), map[string]string{}
	for i := range 120 {
		name := fmt.Sprintf("d%d/f%03d", i%7, i)
		want[name], want[filepath.Dir(name)] = strings.Repeat(fmt.Sprint(i), i*10), "dir"
		local(t, dir, map[string]string{name: want[name]})
	}
	for _, jobs := range []string{"1", "16"} {
		back := filepath.Join(t.TempDir(), "back")
		s.ok("fs", "put", "-r", "-j", jobs, dir, at+"/in"+jobs)
		s.ok("fs", "cp", "-r", "-j", jobs, at+"/in"+jobs, at+"/cp"+jobs)
		s.ok("fs", "get", "-r", "-j", jobs, at+"/cp"+jobs, back)
		if got := contents(t, back); !maps.Equal(got, want) {
			t.Errorf("-j %s: the tree came back otherwise: %d entries of %d", jobs, len(got), len(want))
		}
		s.play(at, "", []step{{line: "fs load -j " + jobs + " AT/cp" + jobs, has: "120 files loaded"}})
	}
}

// TestInterruptedGet leaves no file that is not whole, under any name.
func TestInterruptedGet(t *testing.T) {
	s, at := shared(t)
	big := strings.Repeat("x", 6<<20)
	s.play(at, "", []step{{line: "fs put - AT/a", in: big}, {line: "fs put - AT/b", in: big}, {line: "fs put - AT/c", in: big}})
	for i := range 6 {
		dir := t.TempDir()
		ctx, interrupt := context.WithCancel(t.Context())
		go func() {
			for part := 0; part == 0 && ctx.Err() == nil; { // until the first bytes are on the disk
				names, _ := filepath.Glob(filepath.Join(dir, "out", ".forebay-*"))
				part = len(names)
			}
			interrupt()
		}()
		code, _, errs := s.with(ctx, strings.NewReader(""), "fs", "get", "-r", "-j", fmt.Sprint(1+i%2), at, filepath.Join(dir, "out"))
		interrupt()
		if code != exitOK && code != exitInterrupted {
			t.Errorf("code %d, %s", code, errs)
		}
		for name, text := range contents(t, filepath.Join(dir, "out")) {
			if text != big {
				t.Errorf("%s is left with %d bytes", name, len(text))
			}
		}
	}
}

// TestTransferHelpers: a directory that cannot be made is told of and passed over, but not after an interrupt: then the walk
// ends, or every file below would be an error of its own.
func TestTransferHelpers(t *testing.T) {
	var out strings.Builder
	a := testApp(&out)
	tr := a.newTransfer(t.Context(), "x", 0)
	if err := tr.directory(nil); err != nil {
		t.Error(err)
	}
	boom := dfs.Errorf(dfs.AlreadyExists, "mkdir", "/x", "it is there")
	if err := tr.directory(boom); !errors.Is(err, filepath.SkipDir) || !strings.Contains(out.String(), "it is there") {
		t.Errorf("%v, %q", err, out.String())
	}
	if err := tr.wait(); !errors.Is(err, boom) || !wasPrinted(err) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	tr = a.newTransfer(ctx, "x", 4)
	if err := tr.directory(boom); !errors.Is(err, boom) {
		t.Errorf("after an interrupt: %v", err)
	}
	if err := tr.start(func() error { t.Error("it was started"); return nil }); err == nil {
		t.Error("a copy begins after an interrupt")
	}
}
