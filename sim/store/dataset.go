package store

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/forebay/forebay/sim/store/content"
	"github.com/forebay/forebay/system/ufs"
)

// Dataset is files that are in the store before the run: Files of them, all of one size, PerDir to a directory.
//
// A pattern is a name with one number of fixed width, "%06d", so that the order of names is that of numbers. Dir is a path
// below the store's root, whose last component is a pattern ("train/%04d"), or without a number: then all files are in that
// one directory, and PerDir means nothing. Files are numbered through, not anew for each directory.
type Dataset struct {
	Dir    string
	File   string
	Files  int
	PerDir int // 0: 1000
	Size   int64
}

const defaultPerDir = 1000

// Path is where the i-th file is.
func (d Dataset) Path(i int) string {
	dir := d.Dir
	if strings.Contains(dir, "%") {
		dir = fmt.Sprintf(dir, i/d.perDir())
	}
	return ufs.Join(dir, fmt.Sprintf(d.File, i))
}

// Content is what the i-th file holds: the first version of what is at its path.
func (d Dataset) Content(i int) content.ID { return content.Of("/"+d.Path(i), 0) }

func (d Dataset) perDir() int {
	if d.PerDir <= 0 {
		return defaultPerDir
	}
	return d.PerDir
}

// pattern is a name with a number in it.
type pattern struct {
	before, after string
	width         int
}

var numbered = regexp.MustCompile(`^([^%]*)%0([1-9])d([^%]*)$`)

// parsePattern refuses what would make names that are not in the order of their numbers. most is the largest number.
func parsePattern(text string, most int) (pattern, error) {
	m := numbered.FindStringSubmatch(text)
	if m == nil {
		return pattern{}, fmt.Errorf("%q is no pattern: want a name with one number of fixed width, such as file-%%06d", text)
	}
	p := pattern{before: m[1], after: m[3], width: int(m[2][0] - '0')}
	if len(strconv.Itoa(most)) > p.width {
		return pattern{}, fmt.Errorf("%q has no room for the number %d: make it wider", text, most)
	}
	return p, nil
}

func (p pattern) name(i int) string {
	n := strconv.Itoa(i)
	return p.before + strings.Repeat("0", p.width-len(n)) + n + p.after
}

// index is the number in a name; -1 when the pattern does not make it.
func (p pattern) index(name string) int {
	rest, ok := strings.CutPrefix(name, p.before)
	if !ok {
		return -1
	}
	rest, ok = strings.CutSuffix(rest, p.after)
	if !ok || len(rest) != p.width {
		return -1
	}
	i := 0
	for _, c := range []byte(rest) {
		if c < '0' || c > '9' {
			return -1
		}
		i = i*10 + int(c-'0')
	}
	return i
}

// set is a dataset that was checked.
type set struct {
	Dataset
	parent string  // of the numbered directories; the only directory when there are none
	dirs   pattern // unset when there is one directory
	file   pattern
}

// check tells all that is wrong with a dataset at once.
func (d Dataset) check() (*set, error) {
	s := &set{Dataset: d, parent: d.Dir}
	s.PerDir = d.perDir()
	var err error
	if d.Files < 1 || d.Size < 0 {
		err = fmt.Errorf("%d files of %d bytes: want 1 file or more, of 0 bytes or more", d.Files, d.Size)
	}
	most := max(d.Files-1, 0)
	var wrong error
	if s.file, wrong = parsePattern(d.File, most); wrong != nil {
		err = errors.Join(err, fmt.Errorf("file: %w", wrong))
	}
	if strings.Contains(d.Dir, "%") {
		last := ""
		s.parent, last = ufs.Split(d.Dir)
		if s.dirs, wrong = parsePattern(last, most/s.PerDir); wrong != nil {
			err = errors.Join(err, fmt.Errorf("dir: the last component of %q: %w", d.Dir, wrong))
		}
	} else {
		s.PerDir = max(d.Files, 1)
	}
	if wrong := errors.Join(ufs.CheckPath("declare", s.parent), ufs.CheckPath("declare", strings.ReplaceAll(d.File, "%", "0"))); wrong != nil {
		err = errors.Join(err, wrong)
	}
	if err != nil {
		return nil, fmt.Errorf("dataset at %q: %w", d.Dir, err)
	}
	return s, nil
}

// level is what a dataset puts into one directory: the numbered directories, or files [first, first+count) of it.
type level struct {
	set          *set
	directories  bool
	first, count int
}

// top is the level of the directory that a dataset is declared in.
func (s *set) top() *level {
	if s.dirs.width == 0 {
		return &level{set: s, count: s.Files}
	}
	return &level{set: s, directories: true, count: (s.Files + s.PerDir - 1) / s.PerDir}
}

func (l *level) pattern() pattern {
	if l.directories {
		return l.set.dirs
	}
	return l.set.file
}

// child is the node that the declaration has under a name; nil when it has none. The node is made for the caller: a tree that
// changes it keeps it.
func (l *level) child(name string) *node {
	if l == nil {
		return nil
	}
	i := l.pattern().index(name)
	if i < l.first || i >= l.first+l.count {
		return nil
	}
	return l.node(i)
}

func (l *level) node(i int) *node {
	if l.directories {
		first := i * l.set.PerDir
		files := &level{set: l.set, first: first, count: min(l.set.PerDir, l.set.Files-first)}
		return &node{dir: true, mode: 0o755, modTime: before, below: files}
	}
	id := l.set.Content(i)
	return &node{id: id, size: l.set.Size, mode: 0o644, modTime: before, print: uint64(id)}
}

// after is the first number whose name is greater than a name. All names of a level have one length, so that this is where
// a binary search ends.
func (l *level) after(name string) int {
	low, high := l.first, l.first+l.count
	for low < high {
		mid := (low + high) / 2
		if l.pattern().name(mid) > name {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low
}
