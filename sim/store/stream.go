package store

import (
	"context"
	"io"

	"github.com/forebay/forebay/sim/store/content"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/ufs"
)

// pieceBytes is how much of a stream one wait is for: streams take turns piece by piece.
const pieceBytes = 1 << 20

// piece waits for the next size bytes of a stream. It fails, before any of them have passed, in an outage, when the network is
// cut, and by chance.
func (h *handle) piece(ctx context.Context, op, path string, size int, to bool) error {
	if h.n == nil {
		return nil
	}
	if err := h.reached(ctx, op, path); err != nil {
		return err
	}
	if err := h.wait(ctx, h.s.transfer(h.n, size, to)); err != nil {
		return dfs.Wrap(err, op, path)
	}
	if h.s.breaks(size) || h.s.trouble.Down {
		h.s.counts.Errors++
		return dfs.Errorf(dfs.Unavailable, op, path, "the stream broke: go on where it ended")
	}
	if to {
		h.s.counts.WrittenBytes += uint64(size)
	} else {
		h.s.counts.ReadBytes += uint64(size)
	}
	return nil
}

// reader reads one content, which later changes of the path do not touch. One task uses it.
type reader struct {
	h       *handle
	ctx     context.Context
	path    string
	n       *node
	at, end int64
}

// Read implements io.Reader: at most a piece at a time.
func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.at >= r.end {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), r.end-r.at, pieceBytes)]
	if err := r.h.piece(r.ctx, "read", r.path, len(p), false); err != nil {
		return 0, err
	}
	r.n.fill(p, r.at)
	r.at += int64(len(p))
	return len(p), nil
}

// Fingerprint implements ufs.Fingerprinted.
func (r *reader) Fingerprint() string { return r.n.fingerprint() }

// Close implements io.Closer.
func (r *reader) Close() error { return nil }

// writer gathers one file. One task uses it.
type writer struct {
	h    *handle
	ctx  context.Context
	path string
	mode uint32
	sink sink
	done *node // what Commit made
	over bool  // aborted
}

// Write implements io.Writer. When the stream breaks it has taken all pieces before.
func (w *writer) Write(p []byte) (int, error) {
	if w.done != nil || w.over {
		return 0, dfs.Errorf(dfs.InvalidArgument, "write", w.path, "the writer was committed or aborted before")
	}
	taken := 0
	for taken < len(p) {
		next := p[taken:min(taken+pieceBytes, len(p))]
		if err := w.h.piece(w.ctx, "write", w.path, len(next), true); err != nil {
			return taken, err
		}
		w.sink.add(next)
		taken += len(next)
	}
	return taken, nil
}

// Commit implements ufs.Writer. When the answer of a first one was lost a second tells what that made.
func (w *writer) Commit(ctx context.Context) (e ufs.Entry, err error) {
	lost := w.done != nil
	if w.over {
		return ufs.Entry{}, dfs.Errorf(dfs.InvalidArgument, "commit", w.path, "the writer was aborted before")
	}
	err = w.h.request(ctx, Commit, w.path, func() error {
		if !lost {
			n := w.sink.node()
			n.mode, n.modTime = w.mode, w.h.s.clock()
			if err := w.h.s.files.put("commit", w.path, n); err != nil {
				return err
			}
			w.done = n
		}
		_, name := ufs.Split(w.path)
		e = w.done.entry(name)
		return nil
	})
	if err != nil {
		return ufs.Entry{}, err
	}
	return e, nil
}

// Abort implements ufs.Writer. What was committed stays.
func (w *writer) Abort() { w.over, w.sink = true, sink{} }

// sink keeps what is written: as a content's ID for as long as it is one, else as it is.
type sink struct {
	id    content.ID
	size  int64
	known bool   // id is that of all bytes so far
	plain bool   // they are in data
	data  []byte // all bytes when plain; the first few before there are enough of them to tell the content
}

func (k *sink) add(p []byte) {
	switch {
	case k.plain:
		k.data = append(k.data, p...)
	case !k.known:
		k.data = append(k.data, p...)
		if id, ok := content.Begins(k.data); ok {
			k.id = id
			if k.known = id.Wrong(k.data, 0) < 0; k.known {
				k.data = nil
			} else {
				k.plain = true
			}
		}
	case k.id.Wrong(p, k.size) >= 0:
		k.data = append(k.id.Make(int(k.size)), p...)
		k.plain, k.known = true, false
	}
	k.size += int64(len(p))
}

// node is what was written, which is not to be added to any more.
func (k *sink) node() *node {
	n := &node{id: k.id, size: k.size}
	if !k.known {
		n.data = append([]byte{}, k.data...)
	}
	return n
}
