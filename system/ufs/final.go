package ufs

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/forebay/forebay/system/dfs"
)

// Final is the outermost wrapper: what is still Unavailable after Retry becomes UnderStore. Unavailable means to clients
// that a Forebay server is away and that another may answer; when the under store is away, none can, and a client that
// went on asking would only find its deadline.
// Wrappers that are put around it would see UnderStore and not retry, which is why it goes outermost.
func Final(s Store) Store { return final{s} }

// final converts on the way out and adds nothing else: arguments, contexts and the order of calls pass unchanged.
type final struct{ Store }

// Unwrap lets As look inside.
func (f final) Unwrap() Store { return f.Store }

// FinalError is what Final makes of an error: the kind changes, the words stay.
// It keeps err as the cause, so that a log shows both, and returns nil for nil. Contexts that ended keep their kinds:
// that the caller gave up says nothing of the store.
func FinalError(err error) error {
	var e *dfs.Error
	if !errors.As(err, &e) || !e.Kind.Retryable() {
		return err
	}
	return &dfs.Error{Kind: dfs.UnderStore, Op: e.Op, Path: e.Path, Detail: e.Detail, Err: err}
}

func (f final) Stat(ctx context.Context, path string) (Entry, error) {
	e, err := f.Store.Stat(ctx, path)
	return e, FinalError(err)
}

// List converts the error that ends a listing; entries pass as they are.
func (f final) List(ctx context.Context, dir, after string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for e, err := range f.Store.List(ctx, dir, after) {
			if !yield(e, FinalError(err)) {
				return
			}
		}
	}
}

func (f final) Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, error) {
	r, err := f.Store.Open(ctx, path, offset, length)
	if err != nil {
		return nil, FinalError(err)
	}
	return finalReader{r}, nil
}

func (f final) Create(ctx context.Context, path string, mode uint32) (Writer, error) {
	w, err := f.Store.Create(ctx, path, mode)
	if err != nil {
		return nil, FinalError(err)
	}
	return finalWriter{w}, nil
}

func (f final) Remove(ctx context.Context, path string) error {
	return FinalError(f.Store.Remove(ctx, path))
}

func (f final) Rename(ctx context.Context, from, to string) error {
	return FinalError(f.Store.Rename(ctx, from, to))
}

func (f final) Mkdir(ctx context.Context, path string, mode uint32) error {
	return FinalError(f.Store.Mkdir(ctx, path, mode))
}

// SetAttr implements AttrSetter when the store inside does.
func (f final) SetAttr(ctx context.Context, path string, mode *uint32, owner, group *string, modTime *time.Time) error {
	inner, ok := As[AttrSetter](f.Store)
	if !ok {
		return dfs.Errorf(dfs.UnsupportedFeature, "set attributes in the under store", path, "this store keeps none")
	}
	return FinalError(inner.SetAttr(ctx, path, mode, owner, group, modTime))
}

// finalReader converts what Read says. Close has no error that a reader of pages would act on.
type finalReader struct{ io.ReadCloser }

func (r finalReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	return n, FinalError(err)
}

// Fingerprint implements Fingerprinted.
func (r finalReader) Fingerprint() string { return FingerprintOf(r.ReadCloser) }

// finalWriter converts what Write and Commit say; Abort has nothing to say.
type finalWriter struct{ Writer }

func (w finalWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	return n, FinalError(err)
}

func (w finalWriter) Commit(ctx context.Context) (Entry, error) {
	e, err := w.Writer.Commit(ctx)
	return e, FinalError(err)
}
