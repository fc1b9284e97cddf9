package cli

import (
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
	"time"
)

// TestNamesTable: the commands that make, move and remove names: flags, codes, and that an error says what it is about.
func TestNamesTable(t *testing.T) {
	s, at := shared(t)
	s.play(at, "", []step{
		{line: "fs mkdir AT/a AT/b"},
		{line: "fs mkdir AT/a AT/c", code: exitExists, errs: "AT/a"}, // and c is made
		{line: "fs test -d AT/c"},
		{line: "fs mkdir -p AT/a"},
		{line: "fs mkdir AT/x/y", code: exitNotFound, errs: "AT/x"},
		{line: "fs mkdir -p --mode 700 AT/x/y"},
		{line: "fs ls -d AT/x/y", has: "drwx------ "},
		{line: "fs mkdir --mode 1777 AT/sticky"},
		{line: "fs ls -d AT/sticky", has: "drwxrwxrwt "},
		{line: "fs mkdir --mode 999 AT/m", code: exitUsage, errs: "octal"},
		{line: "fs test AT/m", code: exitError},
		{line: "fs touch AT/f AT/a/g"},
		{line: "fs mkdir -p AT/f", code: exitExists, errs: "AT/f"},
		{line: "fs mkdir AT/f/z", code: exitWrongState, errs: "AT/f"},
		{line: "fs touch AT/none/f AT/h", code: exitNotFound, errs: "AT/none"}, // and h is made
		{line: "fs test -z AT/h"},
		{line: "fs mv AT/f AT/h", code: exitExists, errs: "AT/h"},
		{line: "fs mv -f AT/f AT/h"},
		{line: "fs test AT/f", code: exitError},
		{line: "fs mv AT/h AT/a"}, // into it
		{line: "fs test -f AT/a/h"},
		{line: "fs mv AT/a AT/a/inside", code: exitUsage, errs: "AT/a"},
		{line: "fs mv AT/none AT/q", code: exitNotFound, errs: "AT/none"},
		{line: "fs mv AT/a/h AT/nowhere/h", code: exitNotFound, errs: "AT/nowhere"},
		{line: "fs mv AT/a AT/moved"},
		{line: "fs ls AT/moved", has: "AT/moved/g\n"},
		{line: "fs rm AT/moved", code: exitWrongState, errs: "AT/moved"},
		{line: "fs rm AT/none AT/moved/g", code: exitNotFound, errs: "AT/none"}, // and g is removed
		{line: "fs test AT/moved/g", code: exitError},
		{line: "fs rm -f AT/none AT/moved/h"},
		{line: "fs rm AT/moved"}, // empty by now
		{line: "fs rm -rf AT/moved AT/x"},
		{line: "fs rm -r /", code: exitUsage, errs: "/"},
		{line: "fs count AT", out: fmt.Sprintf("%10d dirs %10d files %16d bytes  AT\n", 4, 0, 0)},
	})
}

// TestPredicates: each flag of test over each sort of path, alone and together; an error is no "false".
func TestPredicates(t *testing.T) {
	s, at := shared(t)
	s.ok("fs", "mkdir", at+"/empty", at+"/full")
	s.ok("fs", "touch", at+"/full/zero")
	s.play(at, "", []step{{line: "fs put - AT/some", in: "x"}})
	for path, holds := range map[string]string{"/empty": "ed", "/full": "eds", "/full/zero": "efz", "/some": "efs", "/none": "", "/some/below": ""} {
		for _, flags := range []string{"e", "d", "f", "s", "z", "ed", "fs", "fz", "ds", "df", "sz"} {
			want := exitOK
			for _, f := range flags {
				if !strings.ContainsRune(holds, f) {
					want = exitError
				}
			}
			args := []string{"fs", "test"}
			for _, f := range flags {
				args = append(args, "-"+string(f))
			}
			code, out, errs := forebay(t, s.environ, append(args, at+path)...)
			if code != want || out != "" || errs != "" {
				t.Errorf("test -%s %s: code %d, want %d; %q, %q", flags, path, code, want, out, errs)
			}
		}
	}
	if code, _, _ := forebay(t, s.environ, "fs", "test", "-e", at+"/empty", at+"/full"); code != exitUsage {
		t.Errorf("two paths: code %d", code)
	}
}

// TestAttributesTable: each attribute, one path and recursive, in text and JSON, and what is refused.
func TestAttributesTable(t *testing.T) {
	s, at := shared(t)
	s.ok("fs", "mkdir", "-p", at+"/d/e")
	s.ok("fs", "touch", at+"/d/f", at+"/d/e/g")
	s.play(at, "", []step{
		{line: "fs chmod 600 AT/d/f AT/none AT/d/e/g", code: exitNotFound, errs: "AT/none"}, // goes on
		{line: "fs ls AT/d/e", has: "-rw-------"},
		{line: "fs chmod 711 AT/d"},
		{line: "fs ls -d AT/d/e", has: "drwxr-xr-x"}, // not recursive
		{line: "fs chmod -R 4750 AT/d"},
		{line: "fs ls -R AT/d", has: "-rwsr-x---"},
		{line: "fs chown daemon AT/d/f"}, {line: "fs chown :bin AT/d/f"}, {line: "fs ls AT/d", has: "daemon     bin "},
		{line: "fs chown bin: AT/d/f"}, {line: "fs ls AT/d", has: "bin        bin "}, // the group stays
		{line: "fs chown -R daemon:sys AT/d"}, {line: "fs ls AT/d/e", has: "daemon     sys "},
		{line: "fs chgrp -R bin AT/d/e"}, {line: "fs ls AT/d/e", has: "daemon     bin "}, {line: "fs ls AT/d", has: "daemon     sys "},
		{line: "fs chown no-such-user-here AT/d/f", code: exitUsage, errs: "no-such-user-here"},
		{line: "fs setTtl 90m AT/d/f"}, {line: "fs stat AT/d/f", has: "1h30m0s"}, {line: "fs stat AT/d/f", has: "DELETE"},
		{line: "fs set-ttl --action free 24h AT/d/f"}, {line: "fs stat AT/d/f", has: "FREE"},
		{line: "fs setTtl 0 AT/d/f"}, {line: "fs stat AT/d/f", has: "0s"},
		{line: "fs setTtl -- -5s AT/d/f", code: exitUsage, errs: "duration"}, {line: "fs setTtl 5 AT/d/f", code: exitUsage, errs: "duration"},
		{line: "fs setTtl --action burn 5s AT/d/f", code: exitUsage, errs: "burn"},
		{line: "fs pin AT/d AT/none", code: exitNotFound, errs: "AT/none"},
		{line: "fs unpin AT/d AT/none", code: exitNotFound, errs: "AT/none"},
		{line: "--user eve fs chmod 777 AT/d/f", code: exitPermission, errs: "AT/d/f"},
		{line: "--user eve fs chown eve AT/d/f", code: exitPermission, errs: "AT/d/f"},
		{line: "fs chmod 644", code: exitUsage, errs: "arg"},
	})
	got := s.object("fs", "stat", at+"/d/f")
	for key, want := range map[string]any{
		"mode": "4750", "owner": "daemon", "group": "sys", "ttl": "0s", "type": "file", "length": 0.0, "completed": true, "pinned": false, "name": "f",
		"path": at + "/d/f", "mountPoint": false,
	} {
		if got[key] != want {
			t.Errorf("stat: %s is %v, want %v", key, got[key], want)
		}
	}
}

// TestTouchKeepsContent: touching a file sets its time and nothing else.
func TestTouchKeepsContent(t *testing.T) {
	s, at := shared(t)
	s.play(at, "", []step{{line: "fs put - AT/f", in: "text"}})
	before := s.object("fs", "stat", at+"/f")
	s.ok("fs", "touch", at+"/f")
	after := s.object("fs", "stat", at+"/f")
	older, err1 := time.Parse(time.RFC3339, before["modTime"].(string))
	newer, err2 := time.Parse(time.RFC3339, after["modTime"].(string))
	if err1 != nil || err2 != nil || !newer.After(older) || after["id"] != before["id"] || s.ok("fs", "cat", at+"/f") != "text" {
		t.Errorf("%v, %v: before %v, after %v", err1, err2, before, after)
	}
}

// TestXattrTable: values are bytes: quoted for people, exact in JSON; attributes are printed sorted by name.
func TestXattrTable(t *testing.T) {
	s, at := shared(t)
	s.ok("fs", "touch", at+"/f", at+"/g")
	value := "\x00\xff\n\""
	s.ok("fs", "setfattr", "-n", "user.b", "-v", value, at+"/f", at+"/g")
	s.play(at, "", []step{
		{line: "fs setfattr -n user.a AT/f"}, // an empty value
		{line: "fs getfattr AT/f", out: `AT/f  user.a=""` + "\n" + `AT/f  user.b="\x00\xff\n\""` + "\n"},
		{line: "fs getfattr -n user.b AT/f AT/none AT/g", code: exitNotFound, errs: "AT/none", has: `AT/g  user.b=`},
		{line: "fs getfattr -n user.none AT/f", code: exitNotFound, errs: "user.none"},
		{line: "fs setfattr -x user.a AT/f"},
		{line: "fs setfattr -x user.a AT/f", code: exitNotFound, errs: "user.a"},
		{line: "fs setfattr -n user.a -x user.b AT/f", code: exitUsage, errs: "either"},
		{line: "fs setfattr -v x AT/f", code: exitUsage, errs: "either"},
		{line: "--json fs getfattr AT/none", code: exitNotFound, out: "[]\n", errs: "AT/none"},
	})
	all := s.array("fs", "getfattr", at+"/f", at+"/g")
	want := base64.StdEncoding.EncodeToString([]byte(value))
	if len(all) != 2 || fmt.Sprint(all[0]["xattr"]) != fmt.Sprint(map[string]any{"user.b": want}) {
		t.Errorf("%v, want %s", all, want)
	}
}

// TestReadingTable: the edges of head, tail, cat, checksum, and that an error of one path keeps none of the others from theirs.
func TestReadingTable(t *testing.T) {
	s, at := shared(t)
	text := strings.Repeat("0123456789", 300)
	s.play(at, "", []step{
		{line: "fs put - AT/f", in: text}, {line: "fs touch AT/zero"}, {line: "fs mkdir AT/d"},
		{line: "fs cat AT/f AT/none AT/zero AT/f", code: exitNotFound, out: text + text, errs: "AT/none"},
		{line: "fs head AT/f", out: text[:1024]}, {line: "fs tail AT/f", out: text[3000-1024:]},
		{line: "fs head -c 0 AT/f"}, {line: "fs head -c 1 AT/f", out: "0"}, {line: "fs tail -c 1 AT/f", out: "9"},
		{line: "fs head -c 3000 AT/f", out: text}, {line: "fs tail -c 3000 AT/f", out: text}, {line: "fs tail -c 2999 AT/f", out: text[1:]},
		{line: "fs head -c 1TiB AT/f", out: text}, {line: "fs tail -c 1TiB AT/f", out: text},
		{line: "fs head -c -1 AT/f", code: exitUsage, errs: "size"},
		{line: "fs head AT/zero"}, {line: "fs tail AT/zero"},
		{line: "fs head -c 2 AT/f AT/d AT/f", code: exitWrongState, out: "0101", errs: "AT/d"},
		{line: "fs checksum -a crc32c AT/f", out: fmt.Sprintf("%08x  AT/f\n", crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli)))},
		{line: "fs checksum AT/d AT/zero", code: exitWrongState, errs: "AT/d",
			out: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  AT/zero\n"},
		{line: "fs location AT/zero", out: "BLOCK  WORKERS\n"},
		{line: "--json fs location AT/zero", out: "[]\n"},
		{line: "fs location AT/f AT/f", code: exitUsage, errs: "arg"},
	})
	s.ok("fs", "tail", "-c", "0", at+"/f")
	sums := s.array("fs", "checksum", "-a", "CRC32C", at+"/f")
	if len(sums) != 1 || sums[0]["algorithm"] != "crc32c" || sums[0]["path"] != at+"/f" {
		t.Errorf("%v", sums)
	}
}

// TestListingTable: ls, du and count over the same tree, as lines and as JSON.
func TestListingTable(t *testing.T) {
	s, at := shared(t)
	s.ok("fs", "mkdir", "-p", at+"/d/e")
	s.play(at, "", []step{
		{line: "fs put -w MUST_CACHE - AT/d/two", in: strings.Repeat("x", 2048)}, {line: "fs put - AT/d/e/three", in: "xxx"},
		{line: "fs ls -H AT/d", has: "2.0KiB NOT_PERSISTED 100%"},
		{line: "fs ls AT/d/two AT/none AT/d/e", code: exitNotFound, errs: "AT/none", has: "AT/d/e/three\n"},
		{line: "fs ls -d AT/d", has: "  AT/d\n"},
		{line: "fs ls --sync 0s AT/d", has: "AT/d/two"}, {line: "fs ls --sync -1s AT/d", has: "AT/d/two"},
		{line: "fs ls --sync soon AT/d", code: exitUsage, errs: "soon"},
		{line: "fs count AT/d AT/d/two", out: fmt.Sprintf("%10d dirs %10d files %16d bytes  AT/d\n%10d dirs %10d files %16d bytes  AT/d/two\n", 2, 2, 2051, 0, 1, 2048)},
		{line: "fs du -H AT/d/two", has: "2.0KiB"},
		{line: "fs du AT/none AT/d", code: exitNotFound, errs: "AT/none", has: "2051 "},
		{line: "--json fs count AT/none", code: exitNotFound, errs: "AT/none", out: "[]\n"},
	})
	paths := func(args ...string) (out []string) {
		for _, e := range s.array(append([]string{"fs", "ls"}, args...)...) {
			out = append(out, strings.TrimPrefix(e["path"].(string), at))
		}
		return out
	}
	for want, args := range map[string][]string{
		"[/d/e /d/two]":              {at + "/d"},
		"[/d/e /d/e/three /d/two]":   {"-R", at + "/d"},
		"[/d]":                       {"-d", at + "/d"},
		"[/d/two]":                   {"-R", at + "/d/two"},
		"[/d/two /d/e/three /d/two]": {at + "/d/two", at + "/d/e", at + "/d/two"},
	} {
		if got := fmt.Sprint(paths(args...)); got != want {
			t.Errorf("ls %v: %s, want %s", args, got, want)
		}
	}
	if sums := s.array("fs", "du", at+"/d"); len(sums) != 1 || sums[0]["bytes"] != 2051.0 || sums[0]["files"] != 2.0 || sums[0]["directories"] != 2.0 {
		t.Errorf("du: %v", sums)
	}
}

// TestMountTable: mounts are told as they are set, and what cannot be mounted is refused with what is wrong; an option's
// value, which may be a secret, is not repeated.
func TestMountTable(t *testing.T) {
	s, at := shared(t)
	dir := t.TempDir()
	local(t, dir, map[string]string{"f": "text"})
	s.play(at, dir, []step{
		{line: "fs mount --read-only --shared --sync 5m AT/m file://LOCAL"},
		{line: "fs mount AT/m file://LOCAL", code: exitExists, errs: "AT/m"},
		{line: "fs mount AT/n nothing://LOCAL", code: exitUsage, errs: "nothing"},
		{line: "fs mount -O secretvalue AT/n file://LOCAL", code: exitUsage, errs: "key=value"},
		{line: "fs cat AT/m/f", out: "text"},
		{line: "fs rm AT/m/f", code: exitPermission, errs: "AT/m/f"},
		{line: "fs mv AT/m/f AT/f", code: exitWrongState, errs: "cp"},
		{line: "fs cp AT/m/f AT/f"}, {line: "fs cat AT/f", out: "text"},
		{line: "fs load --metadata-only AT/m", out: "AT/m: 2 files known\n"},
		{line: "fs load AT/m/f AT/missing", code: exitNotFound, errs: "AT/missing", has: "AT/m/f: 1 files loaded, 4B\n"},
		{line: "fs free AT/m", code: exitWrongState, errs: "AT/m"},
		{line: "fs free -r AT/m", has: "AT/m: "},
		{line: "fs persist AT/none", code: exitNotFound, errs: "AT/none"},
		{line: "fs unmount AT/m/f AT/m", code: exitNotFound, errs: "AT/m/f"}, // and m is unmounted
		{line: "fs ls AT", has: "AT/f\n"},
		{line: "fs umount AT/m", code: exitNotFound, errs: "AT/m"},
	})
	_, _, errs := forebay(t, s.environ, "fs", "mount", "-O", "=secret", at+"/n", "file://"+dir)
	if strings.Contains(errs, "secret") {
		t.Errorf("an option's value is repeated: %q", errs)
	}
	if got := contents(t, dir); len(got) != 1 || got["f"] != "text" {
		t.Errorf("the under store of a read-only mount holds %v", got)
	}
}

// TestOutputFails: when standard output cannot take what is printed, the code says so: a script must not take half for all.
func TestOutputFails(t *testing.T) {
	s, at := shared(t)
	s.play(at, "", []step{{line: "fs put - AT/f", in: strings.Repeat("x", 100_000)}})
	for _, args := range [][]string{{"fs", "ls", at}, {"fs", "cat", at + "/f"}, {"--json", "fs", "stat", at + "/f"}, {"config", "keys"}, {"fs", "get", at + "/f", "-"}, {"version"}} {
		w := &stuck{room: 10}
		var errs stuck
		errs.room = 1 << 20
		code := Main(t.Context(), args, Streams{In: strings.NewReader(""), Out: w, Err: &errs}, s.environ)
		if code == exitOK || !strings.HasPrefix(errs.String(), "forebay: ") {
			t.Errorf("%q: code %d, %q", args, code, errs.String())
		}
	}
}
