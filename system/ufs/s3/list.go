package s3

import (
	"context"
	"iter"
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/ufs"
)

// Listing limits. The protocol's page has at most 1,000 keys; a listing holds at most lookAheadKeys of them.
const (
	pageKeys      = 1000
	lookAheadKeys = 2 * pageKeys
)

// bound carries a context into requests of minio-go calls that take none (Core.ListObjectsV2).
// Its client is made for one request, which is cheap: connections are the transport's, and shared.
type bound struct {
	ctx  context.Context
	base http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b bound) RoundTrip(r *http.Request) (*http.Response, error) {
	return b.base.RoundTrip(r.WithContext(b.ctx))
}

// page reads one page of keys.
// The errors are converted, and a context that ended is told as such: minio-go would hide it in an error of the
// connection.
func (s *Store) page(ctx context.Context, prefix, startAfter, token, delimiter string, keys int) (minio.ListBucketV2Result, error) {
	options := s.options
	options.Transport = bound{ctx, s.transport}
	core, err := minio.NewCore(s.endpoint, &options)
	if err != nil {
		return minio.ListBucketV2Result{}, s.convert(err, "list", "")
	}
	result, err := core.ListObjectsV2(s.bucket, prefix, startAfter, token, delimiter, keys)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return result, s.convert(err, "list", strings.TrimPrefix(prefix, s.prefix))
}

// count is how many keys begin with prefix, up to most.
// It answers whether a directory exists (most 1), or holds more than its marker (most 2), for one request.
// An error is page's, converted already.
func (s *Store) count(ctx context.Context, prefix string, most int) (int, error) {
	result, err := s.page(ctx, prefix, "", "", "", most)
	return len(result.Contents), err
}

// List implements ufs.Store.
// An error may come after entries. Entries are yielded as their pages arrive, so a consumer that stops early spares the
// rest of the requests.
func (s *Store) List(ctx context.Context, dir, after string) iter.Seq2[ufs.Entry, error] {
	return func(yield func(ufs.Entry, error) bool) {
		if err := s.begin(ctx, "list", dir); err != nil {
			yield(ufs.Entry{}, err)
			return
		}
		l := &lister{s: s, ctx: ctx, dir: dir, prefix: s.dirKey(dir), after: after, more: true,
			yield: func(e ufs.Entry) bool { return yield(e, nil) }}
		if err := l.run(); err != nil {
			yield(ufs.Entry{}, dfs.Wrap(err, "list", dir))
		}
	}
}
