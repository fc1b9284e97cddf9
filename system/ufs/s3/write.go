package s3

import (
	"bytes"
	"context"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/ufs"
)

// abortTimeout bounds the request that drops an unfinished upload; it runs after its caller has gone.
const abortTimeout = 15 * time.Second

// Create implements ufs.Store. Modes are not kept.
func (s *Store) Create(ctx context.Context, path string, _ uint32) (ufs.Writer, error) {
	if err := s.begin(ctx, "create", path); err != nil {
		return nil, err
	}
	if path == "" {
		return nil, dfs.Errorf(dfs.IsDirectory, "create", path, "give a name below the root")
	}
	return &writer{s: s, ctx: ctx, path: path}, nil
}

// writer holds at most one part in memory.
//
// INV-1: buffer is what was taken and not uploaded; a part that failed to upload stays in it, so that the next call
// tries it again.
// One task uses it. ctx is Create's, for the uploads of Write; Commit has its own. After done nothing but Abort
// may be called.
type writer struct {
	s      *Store
	ctx    context.Context
	path   string
	buffer []byte
	upload string // the multipart upload, "" before the first full part
	parts  []minio.CompletePart
	size   int64
	done   bool
}

// partBytes is the size of the part that is being filled.
// It depends on the number of parts alone, so every part but the last has the size that the protocol wants.
func (w *writer) partBytes() int64 {
	if len(w.parts) >= growAfterParts {
		return 10 * w.s.partBytes
	}
	return w.s.partBytes
}

// Write uploads a full part only when more follows: an object of exactly one part is a single PUT.
func (w *writer) Write(p []byte) (int, error) {
	if w.done {
		return 0, dfs.Errorf(dfs.InvalidArgument, "write", w.path, "the writer was committed or aborted before")
	}
	taken := 0
	for len(p) > 0 {
		room := w.partBytes() - int64(len(w.buffer))
		if room <= 0 {
			if err := w.flush(w.ctx); err != nil {
				return taken, err
			}
			continue
		}
		n := int(min(room, int64(len(p))))
		w.grow(n)
		w.buffer = append(w.buffer, p[:n]...)
		w.size += int64(n)
		p, taken = p[n:], taken+n
	}
	return taken, nil
}

// grow doubles the buffer up to one part, never past it.
// Growing by doubling copies each byte twice at most, and small objects, which are most, do not take a part's memory.
func (w *writer) grow(n int) {
	need := int64(len(w.buffer) + n)
	if need <= int64(cap(w.buffer)) {
		return
	}
	bigger := make([]byte, len(w.buffer), min(w.partBytes(), max(need, 2*int64(cap(w.buffer)))))
	copy(bigger, w.buffer)
	w.buffer = bigger
}

// flush uploads the buffer as the next part.
// An error leaves everything as it was, except that the upload may have begun: the next call goes on from there.
func (w *writer) flush(ctx context.Context) error {
	if w.upload == "" {
		id, err := w.s.core.NewMultipartUpload(ctx, w.s.bucket, w.s.key(w.path), minio.PutObjectOptions{})
		if err != nil {
			return w.s.convert(err, "write", w.path)
		}
		w.upload = id
	}
	number := len(w.parts) + 1
	part, err := w.s.core.PutObjectPart(ctx, w.s.bucket, w.s.key(w.path), w.upload, number,
		bytes.NewReader(w.buffer), int64(len(w.buffer)), minio.PutObjectPartOptions{})
	if err != nil {
		return w.s.convert(err, "write", w.path)
	}
	w.parts = append(w.parts, minio.CompletePart{PartNumber: number, ETag: part.ETag})
	w.buffer = w.buffer[:0]
	return nil
}

// Commit implements ufs.Writer. A repeated single PUT writes the same again; a repeated completion of an upload that the
// server no longer knows was done before if the object is the one that was written.
// ModTime is this host's clock and not the server's: another request would be needed to learn that one, and the
// fingerprint is what versions are told apart by.
func (w *writer) Commit(ctx context.Context) (ufs.Entry, error) {
	if w.done {
		return ufs.Entry{}, dfs.Errorf(dfs.InvalidArgument, "commit", w.path, "the writer was committed or aborted before")
	}
	etag, err := w.publish(ctx)
	if err != nil {
		return ufs.Entry{}, err
	}
	w.done, w.buffer = true, nil
	_, name := ufs.Split(w.path)
	return ufs.Entry{Name: name, Size: w.size, ModTime: w.s.h.Now(), Fingerprint: fingerprint(etag)}, nil
}

// publish is Commit's request, or its last two. An error leaves the parts that are there for a repetition.
func (w *writer) publish(ctx context.Context) (etag string, err error) {
	key := w.s.key(w.path)
	if w.upload == "" {
		info, err := w.s.core.PutObject(ctx, w.s.bucket, key, bytes.NewReader(w.buffer), int64(len(w.buffer)), "", "",
			minio.PutObjectOptions{})
		return info.ETag, w.s.convert(err, "commit", w.path)
	}
	if len(w.buffer) > 0 {
		if err := w.flush(ctx); err != nil {
			return "", err
		}
	}
	before := w.s.h.Now()
	info, err := w.s.core.CompleteMultipartUpload(ctx, w.s.bucket, key, w.upload, w.parts, minio.PutObjectOptions{})
	if err == nil {
		return info.ETag, nil
	}
	if minio.ToErrorResponse(err).Code == "NoSuchUpload" {
		e, statErr := w.s.Stat(ctx, w.path)
		if statErr == nil && e.Size == w.size && before.Sub(e.ModTime) < time.Hour {
			return e.Fingerprint, nil
		}
	}
	return "", w.s.convert(err, "commit", w.path)
}

// Abort implements ufs.Writer. The server is told in the background.
// It returns at once, and nobody hears whether the server took it: an upload that stays costs money and shows
// nowhere.
func (w *writer) Abort() {
	if w.done {
		return
	}
	w.done, w.buffer = true, nil
	if w.upload == "" {
		return
	}
	w.s.h.Go("s3-abort-upload", func() {
		ctx, cancel := w.s.h.WithTimeout(context.WithoutCancel(w.ctx), abortTimeout)
		defer cancel()
		_ = w.s.core.AbortMultipartUpload(ctx, w.s.bucket, w.s.key(w.path), w.upload) // a lifecycle rule takes what stays
	})
}
