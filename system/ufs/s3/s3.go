// Package s3 is the under store on a bucket of Amazon S3 or a server that speaks its protocol, by way of minio-go. It owns
// no data and keeps no state but connections.
//
// Directories are what keys imply: "a/b" makes the directory "a". An empty one is a marker object, "a/". Where an object
// "a" and keys below "a/" are both there, the object is seen and the directory is not. A key's etag is its fingerprint.
//
// Requests end with their context and are hardly retried: package ufs has the retries. A rename copies on the server and
// deletes; see Rename for what a crash in the middle leaves. Uploads that a crash left unfinished cost money until they
// are aborted: give the bucket a lifecycle rule (AbortIncompleteMultipartUpload).
//
// # What a request costs
//
//	Stat of an object 1 request, of a directory or of nothing 2
//	Open              1, 2 for a range past the end
//	List              1 for 1,000 keys, and 1 for a directory that the server's order hides (list.go)
//	Create to Commit  1 up to a part, else 2 and 1 for each part
//	Remove            2, of a directory 5
//	Rename            5 for an object; for a directory 2 for each key below it, and some
//
// # What is atomic
//
// An object appears, and is replaced, whole: at the single PUT, or at the completion of an upload. Directories have no
// such moment: a listing beside a rename sees some keys at the old and some at the new place. Two writers of one key
// both succeed, and the later one stays.
//
// # Lost replies
//
// A request whose reply is lost may have taken effect. A PUT or a copy that is repeated does the same again; a DELETE
// of what is gone succeeds by the protocol; a completion that is repeated finds no upload, and is taken for done if the
// object that is there has the size and age of the one that was written.
package s3

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/minio/minio-go/v7"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/ufs"
)

// Sizes of uploads. An object up to one part is a single PUT; a larger one is uploaded in parts, of which the writer
// holds one in memory. Parts grow tenfold behind the first growAfterParts, so that the protocol's 10,000 parts are
// enough for 880 GB at the default size.
const (
	defaultPartBytes = 16 << 20
	minPartBytes     = 5 << 20 // the protocol's
	growAfterParts   = 5000
	maxKeyBytes      = 1024 // the protocol's
	copyLimitBytes   = 5 << 30

	// attempts of one request in minio-go: two, since a connection that the server closed while it was idle shows only
	// when it is used again. Everything else is for ufs.Retry.
	attempts = 2
)

// Store is a bucket, or what lies below a prefix of it.
// It is safe for concurrent use. Nothing of it changes after Open but the connections and the count of skipped
// keys.
type Store struct {
	h         host.Host
	endpoint  string
	options   minio.Options
	transport *http.Transport
	core      *minio.Core
	bucket    string
	prefix    string // "" or "a/b/"
	partBytes int64
	skipped   atomic.Int64
}

// Open opens the store at s3://bucket/prefix. It asks the server once, so that wrong keys and a missing bucket are found
// here.
// The prefix need not exist. Connections are made as they are needed and shared by all calls; Close ends those that are
// idle.
func Open(ctx context.Context, h host.Host, bucket, prefix string, o Options) (*Store, error) {
	if err := ufs.CheckPath("open under store", prefix); err != nil {
		return nil, err
	}
	if prefix != "" {
		prefix += "/"
	}
	s := &Store{h: h, bucket: bucket, prefix: prefix, partBytes: o.PartBytes, transport: newTransport()}
	if err := s.connect(ctx, o); err != nil {
		return nil, err
	}
	if _, err := s.page(ctx, s.prefix, "", "", "/", 1); err != nil {
		return nil, dfs.Wrap(err, "open under store", "s3://"+bucket+"/"+prefix)
	}
	return s, nil
}

// connect makes the client and settles the bucket's region, so that no request has to ask for it.
// Where it cannot be known, as on AWS without the option, the server is asked once; other servers take the default.
func (s *Store) connect(ctx context.Context, o Options) error {
	endpoint, secure, err := parseEndpoint(o)
	if err != nil {
		return err
	}
	s.endpoint = endpoint
	s.options = minio.Options{Creds: creds(o), Secure: secure, Region: o.Region, Transport: s.transport, MaxRetries: attempts}
	if o.PathStyle {
		s.options.BucketLookup = minio.BucketLookupPath
	}
	if o.Region == "" && o.Endpoint != "" {
		s.options.Region = "us-east-1"
	}
	for {
		s.core, err = minio.NewCore(endpoint, &s.options)
		if err != nil {
			return dfs.Errorf(dfs.InvalidArgument, "open under store", endpoint, "%v: correct the endpoint", err)
		}
		if s.options.Region != "" {
			return nil
		}
		if s.options.Region, err = s.core.GetBucketLocation(ctx, s.bucket); err != nil {
			return s.convert(err, "open under store", "")
		}
	}
}

// Close implements ufs.Store.
// Streams that are still open keep their connections until they are closed.
func (s *Store) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

// Skipped implements ufs.SkipCounter.
func (s *Store) Skipped() int64 { return s.skipped.Load() }

// begin checks the path and the context before any request. The limit on keys counts the prefix and a directory's
// slash.
func (s *Store) begin(ctx context.Context, op, path string) error {
	if err := ufs.CheckPath(op, path); err != nil {
		return err
	}
	if len(s.prefix)+len(path)+1 > maxKeyBytes {
		return dfs.Errorf(dfs.NameTooLong, op, path, "S3 keys have at most %d bytes: shorten the path", maxKeyBytes)
	}
	return dfs.Wrap(ctx.Err(), op, path)
}

// key is the object that path names; dirKey the marker and common prefix of a directory.
func (s *Store) key(path string) string { return s.prefix + path }

func (s *Store) dirKey(path string) string {
	if path == "" {
		return s.prefix
	}
	return s.prefix + path + "/"
}

// Stat implements ufs.Store.
// Stat asks for the object first and for keys below it only if there is none: an object hides a directory of its name.
// Two writers can come between the two requests; the answer was true at one moment of each.
func (s *Store) Stat(ctx context.Context, path string) (ufs.Entry, error) {
	if err := s.begin(ctx, "stat", path); err != nil {
		return ufs.Entry{}, err
	}
	if path == "" {
		return ufs.Entry{Dir: true}, nil
	}
	_, name := ufs.Split(path)
	info, err := s.core.StatObject(ctx, s.bucket, s.key(path), minio.StatObjectOptions{})
	if err == nil {
		return entryOf(name, info), nil
	}
	err = s.convert(err, "stat", path)
	if !dfs.IsKind(err, dfs.NotFound) {
		return ufs.Entry{}, err
	}
	keys, probeErr := s.count(ctx, s.dirKey(path), 1)
	if probeErr != nil {
		return ufs.Entry{}, dfs.Wrap(probeErr, "stat", path)
	}
	if keys == 0 {
		return ufs.Entry{}, err
	}
	return ufs.Entry{Name: name, Dir: true}, nil
}

func entryOf(name string, info minio.ObjectInfo) ufs.Entry {
	return ufs.Entry{Name: name, Size: info.Size, ModTime: info.LastModified, Fingerprint: fingerprint(info.ETag)}
}

// fingerprint is the etag without its quotes, which some answers have and others have not.
func fingerprint(etag string) string { return strings.Trim(etag, `"`) }

// Mkdir implements ufs.Store: the marker of path. Those of its parents are implied.
// It is no error that the directory is there. The mode is not kept.
func (s *Store) Mkdir(ctx context.Context, path string, _ uint32) error {
	if err := s.begin(ctx, "mkdir", path); err != nil || path == "" {
		return err
	}
	e, err := s.Stat(ctx, path)
	switch {
	case err == nil && e.Dir:
		return nil
	case err == nil:
		return dfs.Errorf(dfs.NotDirectory, "mkdir", path, "an object of that name exists")
	case !dfs.IsKind(err, dfs.NotFound):
		return dfs.Wrap(err, "mkdir", path)
	}
	return s.putMarker(ctx, "mkdir", path)
}

// emptySHA256 is the hash of no bytes.
const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// putMarker writes an empty object under the directory's own key, with its slash. Doing it twice is doing it once.
// It is signed with the hash of nothing. By default minio-go signs a body in chunks on plain HTTP, an empty one too: a server
// that knows a directory by its key may answer and close without reading that, and then sending it fails (broken pipe, about
// one marker in 750 on a busy machine), on the second attempt as on the first.
func (s *Store) putMarker(ctx context.Context, op, path string) error {
	_, err := s.core.PutObject(ctx, s.bucket, s.dirKey(path), bytes.NewReader(nil), 0, "", emptySHA256,
		minio.PutObjectOptions{DisableContentSha256: true})
	return s.convert(err, op, path)
}
