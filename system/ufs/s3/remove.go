package s3

import (
	"context"

	"github.com/minio/minio-go/v7"

	"github.com/forebay/forebay/system/dfs"
)

// Remove implements ufs.Store.
// Remove of a directory looks and then deletes: an object that is made below it in between stays, and so then does the
// directory. Removing the last object of a directory that has no marker removes the directory, since only keys make
// one.
func (s *Store) Remove(ctx context.Context, path string) error {
	if err := s.begin(ctx, "remove", path); err != nil {
		return err
	}
	if path == "" {
		return dfs.Errorf(dfs.InvalidArgument, "remove", path, "the root stays: unmount the store instead")
	}
	e, err := s.Stat(ctx, path)
	if err != nil {
		return dfs.Wrap(err, "remove", path)
	}
	if !e.Dir {
		return s.delete(ctx, "remove", path, s.key(path))
	}
	keys, err := s.count(ctx, s.dirKey(path), 2)
	if err != nil {
		return dfs.Wrap(err, "remove", path)
	}
	if keys > 1 {
		return dfs.Errorf(dfs.NotEmpty, "remove", path, "remove what it holds first")
	}
	return s.removeMarker(ctx, path)
}

// removeMarker removes an empty directory's marker. One key below the prefix may be another object than the marker.
// It looks at the first key only: count found at most one before.
func (s *Store) removeMarker(ctx context.Context, path string) error {
	result, err := s.page(ctx, s.dirKey(path), "", "", "", 1)
	if err != nil {
		return dfs.Wrap(err, "remove", path)
	}
	if len(result.Contents) == 1 && result.Contents[0].Key != s.dirKey(path) {
		return dfs.Errorf(dfs.NotEmpty, "remove", path, "remove what it holds first")
	}
	return s.delete(ctx, "remove", path, s.dirKey(path))
}

// delete succeeds for a key that is not there, as the protocol has it: who needs to know asks Stat first.
func (s *Store) delete(ctx context.Context, op, path, key string) error {
	return s.convert(s.core.RemoveObject(ctx, s.bucket, key, minio.RemoveObjectOptions{}), op, path)
}
