package host

import (
	"github.com/cockroachdb/pebble/v2/vfs"
)

// diskFS is the machine's file system, whose read-write files can also punch holes. Files opened in other ways cannot: nothing
// but the stores of pages, which open theirs for both, gives space back.
type diskFS struct{ vfs.FS }

// newDiskFS wraps fs, which must be one of real files: holes are punched by their descriptors.
func newDiskFS(fs vfs.FS) vfs.FS { return diskFS{fs} }

// OpenReadWrite implements vfs.FS. Its file is a HolePuncher.
func (d diskFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.OpenReadWrite(name, category, opts...)
	if err != nil {
		return nil, err
	}
	return diskFile{f}, nil
}

// Unwrap implements vfs.FS.
func (d diskFS) Unwrap() vfs.FS { return d.FS }

// diskFile is a file with a descriptor.
type diskFile struct{ vfs.File }

// PunchHole implements HolePuncher.
// The file must be open. An error is the system's own; where the system has no call for it, nothing happens.
func (f diskFile) PunchHole(offset, length int64) error { return punchHole(f.Fd(), offset, length) }
