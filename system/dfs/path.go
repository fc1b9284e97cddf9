package dfs

import (
	"strings"
	"unicode/utf8"
)

// Limits on names and paths, in bytes: those of POSIX systems, so that every door can pass names through.
const (
	MaxNameBytes = 255
	MaxPathBytes = 4096
)

// Path is an absolute, clean path of the namespace: it begins with "/", has no empty, "." or ".." component and no
// trailing slash. "/" is the root. Only ParsePath and the methods of Path make one, so that a Path in hand is valid.
type Path string

// Root is the top of the namespace.
const Root Path = "/"

// ParsePath checks and cleans text from outside. Repeated and trailing slashes are removed; ".." is refused rather than
// resolved, since resolving it would differ between doors when links are involved. Names must be UTF-8 without NUL;
// every other byte, newlines included, is allowed, as POSIX allows it.
//
// Errors: InvalidArgument for what can be no path, NameTooLong for a component or a whole over its limit. Both quote at
// most the beginning of a long text.
func ParsePath(text string) (Path, error) {
	if isClean(text) {
		return Path(text), nil
	}
	if !strings.HasPrefix(text, "/") {
		return "", Errorf(InvalidArgument, "parse path", text, "it is not absolute: begin it with /")
	}
	var parts []string
	for part := range strings.SplitSeq(text, "/") {
		if part == "" {
			continue
		}
		if err := CheckName(part); err != nil {
			return "", Errorf(KindOf(err), "parse path", clip(text), "%s", DetailOf(err))
		}
		parts = append(parts, part)
	}
	clean := "/" + strings.Join(parts, "/")
	if len(clean) > MaxPathBytes {
		return "", Errorf(NameTooLong, "parse path", clip(text), "%d bytes, the limit is %d", len(clean), MaxPathBytes)
	}
	return Path(clean), nil
}

// isClean tells whether text is a Path already, as nearly everything that programs send is; it allocates nothing.
func isClean(text string) bool {
	if len(text) < 2 || text[0] != '/' || len(text) > MaxPathBytes || !utf8.ValidString(text) {
		return false
	}
	for rest := text[1:]; ; {
		name, after, more := strings.Cut(rest, "/")
		if name == "" || name == "." || name == ".." || len(name) > MaxNameBytes || strings.IndexByte(name, 0) >= 0 {
			return false
		}
		if !more {
			return true
		}
		rest = after
	}
}

// MustPath is ParsePath for constants; it panics on an invalid one.
func MustPath(text string) Path {
	p, err := ParsePath(text)
	if err != nil {
		panic(err)
	}
	return p
}

// CheckName tells whether name can be one component of a path.
// nil: it can. Its errors have the kinds of ParsePath's.
func CheckName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return Errorf(InvalidArgument, "check name", name, "%q cannot be a name here: give the path without it", name)
	case len(name) > MaxNameBytes:
		return Errorf(NameTooLong, "check name", clip(name), "a name of %d bytes, the limit is %d", len(name), MaxNameBytes)
	case strings.IndexByte(name, 0) >= 0 || strings.IndexByte(name, '/') >= 0:
		return Errorf(InvalidArgument, "check name", name, "a name cannot contain NUL or /")
	case !utf8.ValidString(name):
		return Errorf(InvalidArgument, "check name", clip(name), "the name is not valid UTF-8: rename it to UTF-8 first")
	}
	return nil
}

// clip shortens text for errors, which travel and are logged; it may cut a letter in two.
func clip(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}

// IsRoot tells whether p is "/".
func (p Path) IsRoot() bool { return p == Root }

// String is the path as text.
func (p Path) String() string { return string(p) }

// Name is the last component; "" for the root.
func (p Path) Name() string { return string(p[strings.LastIndexByte(string(p), '/')+1:]) }

// Parent is the path without its last component; the root is its own parent.
func (p Path) Parent() Path {
	i := strings.LastIndexByte(string(p), '/')
	if i <= 0 {
		return Root
	}
	return p[:i]
}

// Join appends one name, which the caller has checked.
func (p Path) Join(name string) Path {
	if p.IsRoot() {
		return Path("/" + name)
	}
	return p + "/" + Path(name)
}

// Components lists the names from the root down; none for the root.
func (p Path) Components() []string {
	if p.IsRoot() {
		return nil
	}
	return strings.Split(string(p[1:]), "/")
}

// Depth is the number of components.
func (p Path) Depth() int {
	if p.IsRoot() {
		return 0
	}
	return strings.Count(string(p), "/")
}

// Contains tells whether q is p or lies below it.
// It goes by components: /a contains /a/b and not /ab.
func (p Path) Contains(q Path) bool {
	return p.IsRoot() || p == q || (len(q) > len(p) && q[len(p)] == '/' && q[:len(p)] == p)
}

// Relative is q's part below p, without a leading slash; "" when they are equal. p must contain q.
func (p Path) Relative(q Path) string {
	if p == q {
		return ""
	}
	if p.IsRoot() {
		return string(q[1:])
	}
	return string(q[len(p)+1:])
}
