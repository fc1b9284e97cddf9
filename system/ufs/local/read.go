package local

import (
	"context"
	"io"
	"os"
	"syscall"

	"github.com/forebay/forebay/system/dfs"
)

// Open implements ufs.Store.
// Open takes ctx for the reader's life: Read looks at it before each read. The file that is open stays what it was when
// another one gets its name meanwhile.
func (s *Store) Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, error) {
	if err := begin(ctx, "open", path); err != nil {
		return nil, err
	}
	if offset < 0 || length < 0 {
		return nil, dfs.Errorf(dfs.InvalidArgument, "open", path, "range %d+%d: both must be at least 0", offset, length)
	}
	// O_NONBLOCK: opening a pipe must not wait for its writer.
	f, err := s.root.OpenFile(native(path), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, convert(err, "open", path)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		err = convert(err, "open", path)
	case info.IsDir():
		err = dfs.Errorf(dfs.IsDirectory, "open", path, "only files can be read")
	case !info.Mode().IsRegular():
		err = special("open", path)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &reader{ctx: ctx, f: f, r: io.NewSectionReader(f, offset, length), path: path, print: fingerprint(info)}, nil
}

// reader gives a part of the open file. It has no buffer: its callers read by pages.
type reader struct {
	ctx   context.Context
	f     *os.File
	r     *io.SectionReader
	path  string
	print string
}

// Read stops at the context's end; one read from a disk is not interrupted.
func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, dfs.Wrap(err, "read", r.path)
	}
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		err = convert(err, "read", r.path)
	}
	return n, err
}

// Fingerprint implements ufs.Fingerprinted: of the file that is open, even if another has its name by now.
func (r *reader) Fingerprint() string { return r.print }

// Close implements io.Closer.
//
// It must be called once, by whoever called Open: the descriptor is open until then, whatever became of ctx.
func (r *reader) Close() error { return convert(r.f.Close(), "close", r.path) }
