//go:build !linux

package raftjournal

import "github.com/cockroachdb/pebble/v2/vfs"

// preallocate gives f its space where the system has a call for it.
func preallocate(f vfs.File, size int64) error { return f.Preallocate(0, size) }
