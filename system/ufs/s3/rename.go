package s3

import (
	"context"
	"io"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/ufs"
)

// renameMark is an object in the target directory while a rename runs. Its content is the source's path.
const renameMark = ufs.TempPrefix + "rename"

// Rename implements ufs.Store. An object is copied on the server and then deleted. A directory is moved key by key, each
// copied before it is deleted, so that at any moment every object is at its old or its new path (or, for an instant, at
// both). A mark in the target makes a rename that was cut off go on when it is called again with the same paths; it
// takes a page of keys in memory at a time.
// After an error the caller may call it again, with the same paths. An object that was copied and not yet deleted
// is copied again; nothing is lost. ctx ends it between two requests.
func (s *Store) Rename(ctx context.Context, from, to string) error {
	const op = "rename"
	if err := ufs.CheckRename(from, to); err != nil {
		return err
	}
	for _, path := range []string{from, to} {
		if err := s.begin(ctx, op, path); err != nil {
			return err
		}
	}
	source, err := s.Stat(ctx, from)
	if dfs.IsKind(err, dfs.NotFound) {
		if begun, markErr := s.renameBegun(ctx, from, to); markErr == nil && begun { // it was cut off behind the last key
			return s.finishRename(ctx, to)
		}
	}
	if err != nil || from == to {
		return dfs.Wrap(err, op, from)
	}
	if err := s.checkTarget(ctx, source, from, to); err != nil {
		return dfs.Wrap(err, op, from)
	}
	if source.Dir {
		return s.moveDirectory(ctx, from, to)
	}
	if err := s.copy(ctx, s.key(from), s.key(to), source.Size); err != nil {
		return s.convert(err, op, from)
	}
	return s.delete(ctx, op, from, s.key(from))
}

// checkTarget holds the target to POSIX's rules, except that a rename which was begun may go on.
func (s *Store) checkTarget(ctx context.Context, source ufs.Entry, from, to string) error {
	target, err := s.Stat(ctx, to)
	if dfs.IsKind(err, dfs.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	full := false
	if target.Dir && source.Dir {
		begun, err := s.renameBegun(ctx, from, to)
		if err != nil || begun {
			return err
		}
		result, err := s.page(ctx, s.dirKey(to), s.dirKey(to), "", "", 1)
		if err != nil {
			return err
		}
		full = len(result.Contents) > 0
	}
	return ufs.CheckReplace(source.Dir, target.Dir, full, to)
}

// renameBegun tells whether to holds the mark of a rename from from.
// A mark of another source is none: two renames into one target do not go on with each other's keys.
func (s *Store) renameBegun(ctx context.Context, from, to string) (bool, error) {
	body, _, _, err := s.core.GetObject(ctx, s.bucket, s.dirKey(to)+renameMark, minio.GetObjectOptions{})
	if err != nil {
		err = s.convert(err, "rename", to)
		if dfs.IsKind(err, dfs.NotFound) {
			return false, nil
		}
		return false, err
	}
	defer func() { _ = body.Close() }()
	content, err := io.ReadAll(io.LimitReader(body, maxKeyBytes+1))
	return string(content) == from, s.convert(err, "rename", to)
}

// moveDirectory moves everything below from.
//
// INV-1: the mark is in the target from before the first key is moved until after the last one is, so that a rename
// which was cut off is told from a target that others fill.
// INV-2: an object is deleted only after its copy was acknowledged.
//
// Objects that others make below from meanwhile are moved too, if they come before the last page; a writer that keeps
// making them keeps the rename busy, and its context ends it.
func (s *Store) moveDirectory(ctx context.Context, from, to string) error {
	const op = "rename"
	mark := s.dirKey(to) + renameMark
	_, err := s.core.PutObject(ctx, s.bucket, mark, strings.NewReader(from), int64(len(from)), "", "", minio.PutObjectOptions{})
	if err != nil {
		return s.convert(err, op, to)
	}
	// Always the first page: what was moved is gone from it.
	for {
		page, err := s.page(ctx, s.dirKey(from), "", "", "", pageKeys)
		if err != nil {
			return dfs.Wrap(err, op, from)
		}
		if len(page.Contents) == 0 {
			break
		}
		moved, err := s.movePage(ctx, page.Contents, from, to)
		if err != nil {
			return s.convert(err, op, from)
		}
		if moved == 0 {
			return dfs.Errorf(dfs.UnderStore, op, from, "the server keeps %q: remove it there, then rename again", page.Contents[0].Key)
		}
	}
	return s.finishRename(ctx, to)
}

// finishRename removes the mark. The target's marker comes first: an empty directory stays one.
func (s *Store) finishRename(ctx context.Context, to string) error {
	if err := s.putMarker(ctx, "rename", to); err != nil {
		return err
	}
	return s.delete(ctx, "rename", to, s.dirKey(to)+renameMark)
}

// movePage moves the keys of one page, the deepest first, and tells how many are gone from the source. Servers that keep
// keys as files do not remove a directory's marker while something is below it: such a marker stays for the next page.
func (s *Store) movePage(ctx context.Context, objects []minio.ObjectInfo, from, to string) (moved int, err error) {
	for i := len(objects) - 1; i >= 0; i-- {
		o := objects[i]
		target := s.dirKey(to) + strings.TrimPrefix(o.Key, s.dirKey(from))
		marker := strings.HasSuffix(o.Key, "/") && o.Size == 0
		if marker {
			err = s.putMarker(ctx, "rename", strings.TrimSuffix(strings.TrimPrefix(target, s.prefix), "/"))
		} else {
			err = s.copy(ctx, o.Key, target, o.Size)
		}
		if err == nil {
			err = s.delete(ctx, "rename", from, o.Key)
			if marker && dfs.IsKind(err, dfs.NotEmpty) {
				continue
			}
		}
		if err != nil && !dfs.IsKind(err, dfs.NotFound) { // not found: another task removed it
			return moved, err
		}
		moved++
	}
	return moved, nil
}

// copy copies one object on the server; over the protocol's limit for one request, in parts.
// The server copies; no byte comes through this process. A copy has another etag than its source when either was
// uploaded in parts, and with it another fingerprint: workers then fetch anew what they had cached of it.
func (s *Store) copy(ctx context.Context, from, to string, size int64) error {
	source := minio.CopySrcOptions{Bucket: s.bucket, Object: from}
	target := minio.CopyDestOptions{Bucket: s.bucket, Object: to}
	var err error
	if size <= copyLimitBytes {
		_, err = s.core.Client.CopyObject(ctx, target, source)
	} else {
		_, err = s.core.ComposeObject(ctx, target, source)
	}
	return s.convert(err, "copy", strings.TrimPrefix(from, s.prefix))
}
