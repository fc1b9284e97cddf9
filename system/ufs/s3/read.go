package s3

import (
	"context"
	"io"
	"net/http"

	"github.com/minio/minio-go/v7"

	"github.com/forebay/forebay/system/dfs"
)

// Open implements ufs.Store.
// Open gives a reader of one answer's body. ctx ends it, in the middle of a read too. A range past the end reads as
// empty; the object must exist all the same.
func (s *Store) Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, error) {
	if err := s.begin(ctx, "open", path); err != nil {
		return nil, err
	}
	if offset < 0 || length < 0 {
		return nil, dfs.Errorf(dfs.InvalidArgument, "open", path, "range %d+%d: both must be at least 0", offset, length)
	}
	if path == "" {
		return nil, dfs.Errorf(dfs.IsDirectory, "open", path, "only objects can be read")
	}
	if length == 0 {
		return s.openEmpty(ctx, path)
	}
	var o minio.GetObjectOptions
	last := offset + min(length, 1<<62-offset) - 1
	if err := o.SetRange(offset, last); err != nil {
		return nil, dfs.Errorf(dfs.InvalidArgument, "open", path, "range %d+%d: %v", offset, length, err)
	}
	if offset == 0 && last == 0 { // minio-go takes 0-0 for "the whole object"
		o.Set("Range", "bytes=0-0")
	}
	body, info, _, err := s.core.GetObject(ctx, s.bucket, s.key(path), o)
	if err == nil {
		return &reader{s: s, path: path, body: body, left: length, print: fingerprint(info.ETag)}, nil
	}
	if minio.ToErrorResponse(err).StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return s.openEmpty(ctx, path)
	}
	err = s.convert(err, "open", path)
	if dfs.IsKind(err, dfs.NotFound) {
		return s.openEmpty(ctx, path) // it tells a directory from nothing
	}
	return nil, err
}

// openEmpty answers a read of nothing: the object must exist all the same.
// It costs the requests of a Stat, and answers with the fingerprint that this found.
func (s *Store) openEmpty(ctx context.Context, path string) (io.ReadCloser, error) {
	e, err := s.Stat(ctx, path)
	if err != nil {
		return nil, dfs.Wrap(err, "open", path)
	}
	if e.Dir {
		return nil, dfs.Errorf(dfs.IsDirectory, "open", path, "only objects can be read")
	}
	return &reader{s: s, path: path, body: http.NoBody, print: e.Fingerprint}, nil
}

// reader gives at most left bytes. A body that ends before is an error of the connection (Unavailable), and never a
// short object: the client compares with the length that the server announced.
type reader struct {
	s     *Store
	path  string
	body  io.ReadCloser
	left  int64 // a server that ignores ranges must not give more
	print string
}

// An error of the connection in the middle is Unavailable: ufs.Retry opens the rest anew, with the fingerprint
// compared.
func (r *reader) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, io.EOF
	}
	n, err := r.body.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if err != nil && err != io.EOF {
		err = r.s.convert(err, "read", r.path)
	}
	return n, err
}

// Fingerprint implements ufs.Fingerprinted.
func (r *reader) Fingerprint() string { return r.print }

// Close implements io.Closer. An unread rest is dropped with its connection.
func (r *reader) Close() error { return r.body.Close() }
