package ufs

import (
	"context"
	"io"

	"github.com/forebay/forebay/system/dfs"
)

// retryWriter repeats Write with what was not taken, under the context of Create, and Commit as it was, under its own.
// Abort is the driver's: it is not repeated, as it has no error.
type retryWriter struct {
	Writer
	r   *retry
	ctx context.Context
}

// It reports what was taken by all attempts together, so that a caller that repeats a failed Write begins behind
// it.
func (w *retryWriter) Write(p []byte) (int, error) {
	taken := 0
	_, err := w.r.do(w.ctx, func() error {
		n, err := w.Writer.Write(p[taken:])
		taken += n
		return err
	})
	return taken, err
}

// A Commit whose reply was lost is repeated: drivers publish once (Writer).
func (w *retryWriter) Commit(ctx context.Context) (e Entry, err error) {
	_, err = w.r.do(ctx, func() error { e, err = w.Writer.Commit(ctx); return err })
	return e, err
}

// retryReader reads [offset, offset+left) and opens it anew where it broke, if the content is still the same.
// INV-1: [offset, offset+left) is exactly what was not given yet. One task uses it. Close gives back the body, if
// there is one; a driver's error in closing a body that was only read from is dropped.
type retryReader struct {
	r            *retry
	ctx          context.Context
	path         string
	offset, left int64
	body         io.ReadCloser // nil between a failure and the next attempt
	print        string
	attempt      int
}

// reopen opens what is left of the range. Stale ends the reader: it is no kind that again repeats.
func (rr *retryReader) reopen() (err error) {
	rr.body, err = rr.r.Store.Open(rr.ctx, rr.path, rr.offset, rr.left)
	if err != nil {
		rr.body = nil
		return err
	}
	if print := FingerprintOf(rr.body); rr.print != "" && print != rr.print {
		rr.drop() // nobody may read on in another content
		return dfs.Errorf(dfs.Stale, "read", rr.path, "the content changed in the under store while it was read: read it again")
	}
	return nil
}

// Fingerprint implements Fingerprinted.
func (rr *retryReader) Fingerprint() string { return rr.print }

// Read gives bytes that came with an error first and meets the error at the next call, when it may be gone. Progress
// makes the next failure a first one, as in List.
func (rr *retryReader) Read(p []byte) (int, error) {
	for {
		n, err := 0, error(nil)
		if rr.body == nil {
			err = rr.reopen()
		}
		if err == nil {
			n, err = rr.body.Read(p)
			rr.offset, rr.left = rr.offset+int64(n), rr.left-int64(n)
		}
		if n > 0 {
			rr.attempt = 0
		}
		if err == nil || err == io.EOF || n > 0 && dfs.IsKind(err, dfs.Unavailable) {
			if err != io.EOF && err != nil { // the failure shows again at the next read, if it lasts
				rr.drop()
				err = nil
			}
			return n, err
		}
		rr.attempt++
		if !rr.r.again(rr.ctx, rr.attempt, err) {
			return n, err
		}
		rr.drop()
	}
}

func (rr *retryReader) drop() {
	if rr.body != nil {
		_ = rr.body.Close()
		rr.body = nil
	}
}

// Close implements io.Closer.
func (rr *retryReader) Close() error {
	rr.drop()
	return nil
}
