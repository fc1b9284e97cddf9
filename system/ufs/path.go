package ufs

import (
	"strings"

	"github.com/forebay/forebay/system/dfs"
)

// TempPrefix begins the names of objects that are being written or moved. They are hidden from listings, nobody else
// can make them, and the local driver removes those that are a day old.
const TempPrefix = ".forebay-tmp-"

// stagedPrefix begins the names of staged objects, which lie in the root of a store.
const stagedPrefix = TempPrefix + "staged-"

// Staged is the path of an object that is whole and waits to be renamed to where it belongs, or to be removed. It is the one
// path of Forebay's own that a Store takes; no listing shows it. Names with a slash make no such path.
func Staged(name string) string { return stagedPrefix + name }

// IsStaged tells whether path is one that Staged makes.
func IsStaged(path string) bool {
	return strings.HasPrefix(path, stagedPrefix) && dfs.CheckName(path) == nil
}

// CheckPath tells whether path is one that a Store takes. Every driver calls it first, so that no path leaves its root.
// A path has no slash at its ends and none doubled, since each name is checked. Names of Forebay's own are
// NotFound, as if there were none, but for staged ones.
func CheckPath(op, path string) error {
	if path == "" || IsStaged(path) {
		return nil
	}
	for name := range strings.SplitSeq(path, "/") {
		if err := dfs.CheckName(name); err != nil {
			return dfs.Wrap(err, op, path)
		}
		if strings.HasPrefix(name, TempPrefix) {
			return dfs.Errorf(dfs.NotFound, op, path, "names that begin with %q are Forebay's own: choose another", TempPrefix)
		}
	}
	return nil
}

// ListableName tells whether a name found in a store can be shown: valid in the namespace and not a temporary one.
// A listing leaves out, and counts, what this is false for.
func ListableName(name string) bool {
	return dfs.CheckName(name) == nil && !strings.HasPrefix(name, TempPrefix)
}

// Join appends name to dir.
// dir "" is the root, below which the path is the name alone.
func Join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// Split cuts the last name off path.
// Of a name at the top the directory is "", the root; of "" both are "".
func Split(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path
	}
	return path[:i], path[i+1:]
}

// Inside tells whether path is dir or lies below it.
// Names are compared whole: "ab" is not inside "a". Everything is inside the root, the root itself included.
func Inside(dir, path string) bool {
	return dir == "" || path == dir || (len(path) > len(dir) && path[len(dir)] == '/' && path[:len(dir)] == dir)
}

// CheckRename refuses what no store can do: moving the root, or a directory into itself.
// Renaming a path to itself is no error here: a driver answers whether it exists.
func CheckRename(from, to string) error {
	for _, p := range []string{from, to} {
		if err := CheckPath("rename", p); err != nil {
			return err
		}
		if p == "" {
			return dfs.Errorf(dfs.InvalidArgument, "rename", from, "the root cannot be moved or replaced")
		}
	}
	if from != to && Inside(from, to) {
		return dfs.Errorf(dfs.InvalidArgument, "rename", from, "%q lies inside it", to)
	}
	return nil
}

// CheckReplace holds a rename onto an existing target to POSIX's rules: object onto object, directory onto an empty one.
// It is for a target that exists; drivers whose system calls do not tell the cases apart ask it first. What a driver
// looked at may change before it acts, so a driver that can leaves the last word to the store.
func CheckReplace(fromDir, toDir, toHasChildren bool, to string) error {
	switch {
	case !fromDir && toDir:
		return dfs.Errorf(dfs.IsDirectory, "rename", to, "an object cannot replace a directory")
	case fromDir && !toDir:
		return dfs.Errorf(dfs.NotDirectory, "rename", to, "a directory cannot replace an object")
	case toHasChildren:
		return dfs.Errorf(dfs.NotEmpty, "rename", to, "the target directory has entries: remove them first")
	}
	return nil
}
