package s3

import (
	"context"
	"slices"
	"strings"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/ufs"
)

// lister turns the server's order into that of names.
//
// The server sorts by key, in which a directory's name ends with "/": "a.txt" comes before "a/", since "." sorts before
// "/". Names must ascend: "a" before "a.txt". So before a name is yielded, each of its proper prefixes that is followed
// by a byte below "/" is a candidate: a directory of that name would come later in the server's order and must be
// yielded now.
//
// INV-1: before the first name with candidate X is yielded, only names below X were: what the server lists earlier and
// does not begin with X and a byte below "/" is less than X.
// INV-2: known holds only prefixes of the current key, so it has at most as many elements as a name has bytes.
//
// Whether X exists is looked up in the keys that are ahead (at most two pages), else asked with one request.
type lister struct {
	s           *Store
	ctx         context.Context
	dir, prefix string
	after       string
	yield       func(ufs.Entry) bool

	ahead []item // in the server's order
	token string
	more  bool // the server has more pages
	seen  bool // some key lies below the prefix: the directory exists
	known []candidate
}

// item is one line of the server's answer: an object, or a common prefix that stands for a directory.
type item struct {
	key   string // relative to the directory: name, or name/ for a directory
	entry ufs.Entry
}

// candidate is a name of which it is known whether it was yielded as a directory (or as an object, which hides one).
type candidate struct {
	name    string
	yielded bool
}

// run steps through the keys in the server's order, one page after the other, until they end or the caller has enough.
func (l *lister) run() error {
	for {
		if len(l.ahead) == 0 {
			if !l.more {
				return l.checkExists()
			}
			if err := l.fetch(); err != nil {
				return err
			}
			continue
		}
		ok, err := l.step(l.ahead[0])
		if err != nil || !ok {
			return err
		}
		l.ahead = l.ahead[1:]
	}
}

// checkExists tells an empty directory from a missing one when no key was seen.
func (l *lister) checkExists() error {
	if l.seen || l.dir == "" {
		return nil
	}
	e, err := l.s.Stat(l.ctx, l.dir)
	if err == nil && !e.Dir {
		return dfs.Errorf(dfs.NotDirectory, "list", l.dir, "it is an object")
	}
	return err
}

// fetch appends the next page to what is ahead.
// After the first page the server's token says where to go on; after is only for the first. A page may be shorter than
// was asked for, or empty, and have a successor all the same.
func (l *lister) fetch() error {
	startAfter := ""
	if l.token == "" && l.after != "" {
		startAfter = l.prefix + l.after
	}
	page, err := l.s.page(l.ctx, l.prefix, startAfter, l.token, "/", pageKeys)
	if err != nil {
		return err
	}
	l.more, l.token = page.IsTruncated && page.NextContinuationToken != "", page.NextContinuationToken
	items := make([]item, 0, len(page.Contents)+len(page.CommonPrefixes))
	for _, o := range page.Contents {
		key := strings.TrimPrefix(o.Key, l.prefix)
		items = append(items, item{key, entryOf(key, o)})
	}
	for _, p := range page.CommonPrefixes {
		key := strings.TrimPrefix(p.Prefix, l.prefix)
		items = append(items, item{key, ufs.Entry{Name: strings.TrimSuffix(key, "/"), Dir: true}})
	}
	slices.SortFunc(items, func(a, b item) int { return strings.Compare(a.key, b.key) })
	l.seen = l.seen || len(items) > 0
	l.ahead = append(l.ahead, items...)
	return nil
}

// step yields the candidates of one item, then itself. It returns false when the caller has enough.
func (l *lister) step(it item) (bool, error) {
	if it.key == "" { // the directory's own marker
		return true, nil
	}
	l.known = slices.DeleteFunc(l.known, func(c candidate) bool { return !strings.HasPrefix(it.key, c.name) })
	name := it.entry.Name
	for i := 1; i < len(name); i++ {
		if name[i] >= '/' || l.isKnown(name[:i]) {
			continue
		}
		exists, err := l.directoryAhead(name[:i])
		if err != nil {
			return false, err
		}
		l.known = append(l.known, candidate{name[:i], exists})
		if exists && !l.emit(ufs.Entry{Name: name[:i], Dir: true}) {
			return false, nil
		}
	}
	if it.entry.Dir && l.wasYielded(name) {
		return true, nil
	}
	if !it.entry.Dir {
		l.known = append(l.known, candidate{name, true})
	}
	return l.emit(it.entry), nil
}

// emit yields e unless it lies before the start or cannot be shown.
// It returns false when the caller has enough; what is skipped is counted and returns true. Temporary names are
// not counted: they are Forebay's own.
func (l *lister) emit(e ufs.Entry) bool {
	if e.Name <= l.after {
		return true
	}
	if !ufs.ListableName(e.Name) {
		if !strings.HasPrefix(e.Name, ufs.TempPrefix) {
			l.s.skipped.Add(1)
		}
		return true
	}
	return l.yield(e)
}

// isKnown tells whether it was looked up whether the directory name exists; wasYielded, whether it was shown.
func (l *lister) isKnown(name string) bool {
	return slices.ContainsFunc(l.known, func(c candidate) bool { return c.name == name })
}

func (l *lister) wasYielded(name string) bool { return slices.Contains(l.known, candidate{name, true}) }

// directoryAhead tells whether the server will list the directory name.
// It looks through the keys that were read already, reads on while there is room for them, and asks otherwise: a
// directory far behind costs one request, not the pages in between. The caller sees to it that l.ahead is not empty.
func (l *lister) directoryAhead(name string) (bool, error) {
	if name <= l.after {
		return false, nil // it would not be yielded anyway
	}
	key := name + "/"
	for {
		_, found := slices.BinarySearchFunc(l.ahead, key, func(it item, k string) int { return strings.Compare(it.key, k) })
		if found || !l.more || l.ahead[len(l.ahead)-1].key >= key {
			return found, nil
		}
		if len(l.ahead) > lookAheadKeys-pageKeys {
			keys, err := l.s.count(l.ctx, l.prefix+key, 1)
			return keys > 0, err
		}
		if err := l.fetch(); err != nil {
			return false, err
		}
	}
}
