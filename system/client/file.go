package client

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

// Windows of sequential reading: the first range asked of a worker is small, in case the reader wants a header only, and
// each following one twice as long, up to Config.ReadaheadBytes or the block's end.
const firstWindowBytes = dfs.PageSizeBytes

// File is an open file: one version of its content. ReadAt and ReadRange may be called concurrently with everything
// else; Read, Seek and WriteTo share one position and wait for each other.
//
// Close must be called: until then a stream to a worker may be open, ahead of the position, with what its window holds.
// Errors do not stick: a read that failed may be tried again, and asks anew.
type File struct {
	c    *Client
	ctx  context.Context
	stop context.CancelFunc // ends ctx
	o    options

	// INV-1: all bytes that a File gives out are of one version: content is exchanged only while delivered is false, and
	// whoever read from what was exchanged meanwhile reads again (deliver).
	mu        sync.Mutex
	content   *content
	delivered bool // bytes of content have been given out: it cannot be exchanged any more
	reopened  bool // content was exchanged, or could not be: there is no second time
	closed    bool

	exchanging *host.Mutex // held by the one task that looks for a newer version

	turn   *host.Mutex // guards what follows; held while waiting for data
	pos    int64
	window int64
	ahead  *rangeReader // reads at pos, when pos is where the last read ended
}

// Open opens a complete file for reading. The file's reads end with ctx; see ReadRange for a context of its own. Options:
// WithReadType, WithSyncInterval.
func (c *Client) Open(ctx context.Context, path dfs.Path, opts ...Option) (*File, error) {
	status, err := c.Stat(ctx, path, opts...)
	if err != nil {
		return nil, dfs.Wrap(err, "open", string(path))
	}
	return c.OpenStatus(ctx, status, opts...)
}

// OpenStatus opens the version that an earlier Stat or List told of, without asking the master again. Should that version be
// gone by the first read, the current one is read instead, once. It does not check permissions: the status was given to
// somebody who had them. The File must be closed.
func (c *Client) OpenStatus(ctx context.Context, status *dfs.FileStatus, opts ...Option) (*File, error) {
	switch {
	case status.IsDir():
		return nil, dfs.Errorf(dfs.IsDirectory, "open", string(status.Path), "list it instead")
	case !status.Completed:
		return nil, dfs.Errorf(dfs.Incomplete, "open", string(status.Path), "it is still being written: wait for its writer to close it")
	}
	f := &File{
		c: c, o: c.options(opts), content: newContent(c, status), turn: host.NewMutex(c.core.h), window: firstWindowBytes,
		exchanging: host.NewMutex(c.core.h),
	}
	f.ctx, f.stop = c.core.h.WithCancel(ctx)
	return f, nil
}

// Status is the file's status as it was opened; after a first read that found it stale, that of the version read instead.
func (f *File) Status() *dfs.FileStatus { return f.current().status }

// Size is the file's length in bytes.
func (f *File) Size() int64 { return f.Status().Length }

// current is the content that reads begin with now.
func (f *File) current() *content {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.content
}

// begin returns the content to read, or why there can be no reading.
func (f *File) begin(op string, offset int64) (*content, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, dfs.Errorf(dfs.InvalidArgument, op, string(f.content.status.Path), "the file is closed")
	}
	if offset < 0 {
		return nil, dfs.Errorf(dfs.InvalidArgument, op, string(f.content.status.Path), "offset %d is negative", offset)
	}
	return f.content, nil
}

// ReadAt implements io.ReaderAt. Fewer bytes than asked for come only with an error, io.EOF at the file's end.
func (f *File) ReadAt(p []byte, offset int64) (int, error) { return f.ReadRange(f.ctx, p, offset) }

// ReadRange is ReadAt with a context of its own; that of Open does not end it.
func (f *File) ReadRange(ctx context.Context, p []byte, offset int64) (int, error) {
	for {
		t, err := f.begin("read", offset)
		if err != nil {
			return 0, err
		}
		n, err := f.readFrom(ctx, t, p, offset)
		if n > 0 && !f.deliver(t) {
			continue
		}
		if n == 0 && f.exchange(ctx, t, err) {
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			err = dfs.Wrap(err, "read", string(t.status.Path))
		}
		return n, err
	}
}

// readFrom reads one block after the other from t, each with a search of its own.
// Bytes before an error are good. io.EOF comes only when p reaches past the file's end.
func (f *File) readFrom(ctx context.Context, t *content, p []byte, offset int64) (n int, err error) {
	for n < len(p) {
		at := offset + int64(n)
		if at >= t.status.Length {
			return n, io.EOF
		}
		r := t.newRangeReader(ctx, at, at+int64(len(p)-n), f.o.readType, 0)
		got, err := r.readFull(p[n:min(len(p), n+int(r.end-at))])
		r.close()
		n += got
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// deliver notes that bytes of t are about to be given out. It is false when t was exchanged meanwhile: they must not be.
func (f *File) deliver(t *content) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.content != t {
		return false
	}
	f.delivered = true
	return true
}

// exchange reopens a file whose version went stale before any of it was given out, once. It tells whether there is
// another version to read. Readers that meet the same stale version wait for the one that looks.
//
// A file of which bytes were given out stays with its version and answers Stale: to go on with another one would mix the two
// (INV-1). The status is asked past all sync intervals, since it is a change in the under store that may have made it stale.
func (f *File) exchange(ctx context.Context, stale *content, cause error) bool {
	if !dfs.IsKind(cause, dfs.Stale) || f.exchanging.Lock(ctx) != nil {
		return false
	}
	defer f.exchanging.Unlock()
	f.mu.Lock()
	refused := f.delivered || f.reopened || f.content != stale
	f.reopened = true
	f.mu.Unlock()
	if refused {
		return f.current() != stale // another reader has exchanged it
	}
	now, err := f.c.Stat(ctx, stale.status.Path, WithSyncInterval(0))
	if err != nil || now.IsDir() || !now.Completed {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.delivered { // by a reader that found its part on a worker while this one asked
		return false
	}
	f.content = newContent(f.c, now)
	return true
}

// Close ends all reading that has no context of its own. It may be called more than once. It waits for a WriteTo whose
// writer takes its time.
//
// Its error is that of the wait for the turn, which cannot end by ctx: it is nil in fact.
func (f *File) Close() error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.stop()
	if err := f.turn.Lock(context.WithoutCancel(f.ctx)); err != nil {
		return err
	}
	defer f.turn.Unlock()
	f.dropAhead()
	return nil
}
