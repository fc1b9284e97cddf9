// Package dfs holds the nouns of the file system: paths, inode and block ids, file statuses, read and write types, and
// the one error type. It owns no state and does no I/O; every other package speaks in its terms.
package dfs
