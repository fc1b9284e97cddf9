package worker

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/worker/tier"
)

// Files in a worker's directory.
const (
	idFile   = "worker.id"
	lockFile = "worker.lock"
)

// identity takes the worker's directory for this process and reads the worker's id, making one at the first start.
// The lock is held until the worker stops; the caller closes it. It is taken before the id is read, so that two
// processes never make one each.
func identity(h host.Host, dir string) (id dfs.WorkerID, lock io.Closer, err error) {
	const op = "start worker"
	fs := h.FS()
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return "", nil, tier.Convert(err, op, dir)
	}
	// The directory must outlast a power cut as the id in it does: else the worker would come back as another one. It is an
	// attempt, since a parent that this user may not read is none of ours.
	_ = syncDir(fs, fs.PathDir(dir))
	lock, err = fs.Lock(fs.PathJoin(dir, lockFile))
	if err != nil {
		return "", nil, dfs.Errorf(dfs.Unavailable, op, dir, "the directory is in use (%v): stop the other worker, or give this one a directory of its own", err)
	}
	id, err = readID(fs, fs.PathJoin(dir, idFile))
	if errors.Is(err, os.ErrNotExist) {
		id = dfs.WorkerID(fmt.Sprintf("worker-%016x", h.Rand().Uint64()))
		err = writeID(fs, dir, id)
	}
	if err != nil {
		_ = lock.Close()
		return "", nil, tier.Convert(err, op, dir)
	}
	return id, lock, nil
}

// readID reads the id. A file that holds something else is Corrupted and left alone: taking a new id would orphan, in
// the master's eyes, what this worker holds.
func readID(fs vfs.FS, path string) (dfs.WorkerID, error) {
	f, err := fs.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, 256))
	id := strings.TrimSpace(string(text))
	if err == nil && !strings.HasPrefix(id, "worker-") {
		err = dfs.Errorf(dfs.Corrupted, "start worker", path, "it holds %q and not a worker's id: remove it for a new id, and the master will "+
			"take this for a new worker", id)
	}
	return dfs.WorkerID(id), err
}

// writeID writes the id so that a crash leaves either all of it or nothing.
func writeID(fs vfs.FS, dir string, id dfs.WorkerID) error {
	path := fs.PathJoin(dir, idFile)
	f, err := fs.Create(path+".new", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(id + "\n"))
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = fs.Rename(path+".new", path)
	}
	if err != nil {
		return err
	}
	return syncDir(fs, dir)
}

// syncDir makes the names in a directory durable.
func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
