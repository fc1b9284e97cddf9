package client

import (
	"errors"
	"io"

	"github.com/forebay/forebay/system/dfs"
)

// This file is a File's sequential side: Read, WriteTo and Seek, with read-ahead.

// Read implements io.Reader. It returns what has come, at least one byte, rather than wait until p is full.
//
// An error leaves the position where it is. After Close it is InvalidArgument, or Canceled for a Read that was waiting.
func (f *File) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := f.turn.Lock(f.ctx); err != nil {
		return 0, dfs.Wrap(err, "read", string(f.Status().Path))
	}
	defer f.turn.Unlock()
	data, err := f.peek(int64(len(p)))
	if err != nil {
		return 0, err
	}
	n := copy(p, data)
	f.advance(n)
	return n, nil
}

// WriteTo implements io.WriterTo without copying: w sees the pages as they come, and must not keep them. The file's position
// is behind what w took, also when w failed.
// It holds turn from its beginning to its end, w's time included.
func (f *File) WriteTo(w io.Writer) (written int64, err error) {
	if err := f.turn.Lock(f.ctx); err != nil {
		return 0, dfs.Wrap(err, "read", string(f.Status().Path))
	}
	defer f.turn.Unlock()
	for {
		data, err := f.peek(f.c.core.cfg.ReadaheadBytes)
		if errors.Is(err, io.EOF) {
			return written, nil
		}
		if err != nil {
			return written, err
		}
		n, err := w.Write(data)
		written += int64(n)
		f.advance(n)
		if err != nil {
			return written, err
		}
		if n < len(data) {
			return written, io.ErrShortWrite
		}
	}
}

// Seek implements io.Seeker. A position past the end is allowed: reads there give io.EOF. A seek to where the position is
// keeps what was read ahead.
// It asks nobody and does not wait, but for a Read or a WriteTo under way.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	if err := f.turn.Lock(f.ctx); err != nil {
		return 0, dfs.Wrap(err, "seek", string(f.Status().Path))
	}
	defer f.turn.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += f.pos
	case io.SeekEnd:
		offset += f.Size()
	}
	if offset < 0 || whence < io.SeekStart || whence > io.SeekEnd {
		return 0, dfs.Errorf(dfs.InvalidArgument, "seek", string(f.Status().Path), "offset %d, whence %d", offset, whence)
	}
	if offset != f.pos {
		f.dropAhead()
		f.window = firstWindowBytes
		f.pos = offset
	}
	return f.pos, nil
}

// peek returns the bytes at the position, at least one, or io.EOF. wanted is how many the caller could use. The caller
// holds turn.
// A version that is exchanged under it keeps the position: nothing before it was given out, or the exchange would have been
// refused.
func (f *File) peek(wanted int64) ([]byte, error) {
	for {
		t, err := f.begin("read", f.pos)
		if err != nil {
			return nil, err
		}
		if f.pos >= t.status.Length {
			return nil, io.EOF
		}
		f.look(t, wanted)
		data, err := f.ahead.peek()
		if err == nil && f.deliver(t) {
			return data, nil
		}
		f.dropAhead()
		if err == nil { // of a version that was exchanged while they came
			continue
		}
		if !f.exchange(f.ctx, t, err) {
			return nil, dfs.Wrap(err, "read", string(t.status.Path))
		}
	}
}

// look sees to it that a range is being read ahead at the position. The window doubles only when one was read to its end
// without a seek: whoever jumps about is not served megabytes that nobody wants. The caller holds turn.
// The window is also the hint of what the worker may be asked for next, so that it can fetch from the under store ahead.
func (f *File) look(t *content, wanted int64) {
	if f.ahead != nil && f.ahead.content == t && f.ahead.next < f.ahead.end {
		return
	}
	if f.ahead != nil { // the window was read to its end: ask for a longer one
		f.window = min(2*f.window, f.c.core.cfg.ReadaheadBytes)
	}
	f.dropAhead()
	window := max(f.window, wanted)
	f.ahead = t.newRangeReader(f.ctx, f.pos, f.pos+window, f.o.readType, window)
}

// advance moves the position over n bytes of what peek returned. The caller holds turn.
// n is at most what peek returned.
func (f *File) advance(n int) {
	if n == 0 {
		return
	}
	f.ahead.skip(n)
	f.pos += int64(n)
}

// dropAhead ends reading ahead, after which what peek returned is invalid. The caller holds turn.
func (f *File) dropAhead() {
	if f.ahead != nil {
		f.ahead.close()
		f.ahead = nil
	}
}
