// Package dfs holds the nouns of the file system: paths, inode and block ids, file statuses, read and write types, and
// the one error type. It owns no state and does no I/O; every other package speaks in its terms.
//
// # Concepts
//
// An inode is a file or a directory, named by an id that is never used again, whatever path leads to it. A file's content is
// immutable: each rewrite is another version (FileVersion), and what caches hold of one is right for ever (contract C4). A
// version is cut into blocks (BlockID), which are what workers hold and what the master knows the places of; a block is cut
// into pages of a mebibyte, which are what is checked, cached and evicted. A mount joins an under store to the namespace
// at a path.
//
// # Values
//
// Everything here is a value: methods change nothing, and need no locks. A FileStatus is shared by pointer and is not
// changed by who receives it. Numbers of enumerations travel between builds and lie on disks: they are appended to, never
// renumbered, and a number that a build does not know is kept and printed, not refused.
//
// # Errors
//
// Callers decide by Kind, which also says what they can do; texts are for people, and say why and what to do next. Errors
// are wrapped once with what the caller was about (Wrap), and cross processes with their kind (package rpc).
package dfs
