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
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

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

// Options are a mount's options for this driver, all of them text.
type Options struct {
	Endpoint     string // host[:port] or URL; "" is AWS
	Region       string // "" asks AWS; us-east-1 elsewhere
	AccessKey    string // "" takes the environment, ~/.aws/credentials or the machine's role
	SecretKey    string
	SessionToken string
	Anonymous    bool
	PathStyle    bool // bucket in the path, not in the host name
	Insecure     bool // http where the endpoint names no scheme
	PartBytes    int64
}

// ParseOptions reads a mount's options. An unknown one is refused, so that a typing error is not a silent default.
// The values are checked for their form only; whether keys and endpoint are right, Open finds out.
func ParseOptions(options map[string]string) (Options, error) {
	o := Options{PartBytes: defaultPartBytes}
	texts := map[string]*string{"endpoint": &o.Endpoint, "region": &o.Region, "access_key": &o.AccessKey,
		"secret_key": &o.SecretKey, "session_token": &o.SessionToken}
	flags := map[string]*bool{"anonymous": &o.Anonymous, "path_style": &o.PathStyle, "insecure": &o.Insecure}
	for name, value := range options {
		var err error
		if text := texts[name]; text != nil {
			*text = value
		} else if flag := flags[name]; flag != nil {
			*flag, err = strconv.ParseBool(value)
		} else if name == "part_size" {
			o.PartBytes, err = strconv.ParseInt(value, 10, 64)
		} else {
			return o, dfs.Errorf(dfs.InvalidArgument, "open under store", name, "no such option of s3: use endpoint, region, "+
				"access_key, secret_key, session_token, anonymous, path_style, insecure or part_size")
		}
		if err != nil {
			return o, dfs.Errorf(dfs.InvalidArgument, "open under store", name, "option value %q: want true, false or a number of bytes", value)
		}
	}
	if o.PartBytes < minPartBytes {
		return o, dfs.Errorf(dfs.InvalidArgument, "open under store", "part_size", "%d bytes: the protocol's least is %d", o.PartBytes, minPartBytes)
	}
	if (o.AccessKey == "") != (o.SecretKey == "") {
		return o, dfs.Errorf(dfs.InvalidArgument, "open under store", "access_key", "give access_key and secret_key, or neither")
	}
	return o, nil
}

// Store is a bucket, or what lies below a prefix of it.
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

// newTransport makes a client's own connections: two mounts of one server do not wait for each other's. Requests end
// with their context; the timeouts here are for servers that are not there and for callers without a deadline.
func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		MaxIdleConnsPerHost:   256,
		IdleConnTimeout:       time.Minute,
		TLSHandshakeTimeout:   5 * time.Second,
		ResponseHeaderTimeout: time.Minute, // requests without a deadline end as well
		DisableCompression:    true,
		WriteBufferSize:       64 << 10,
		ReadBufferSize:        64 << 10,
	}
}

// connect makes the client and settles the bucket's region, so that no request has to ask for it.
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

// creds takes the keys that were given, or looks where the AWS tools look, in their order: environment, file, machine.
func creds(o Options) *credentials.Credentials {
	switch {
	case o.Anonymous:
		return credentials.NewStatic("", "", "", credentials.SignatureAnonymous)
	case o.AccessKey != "":
		return credentials.NewStaticV4(o.AccessKey, o.SecretKey, o.SessionToken)
	}
	return credentials.NewChainCredentials([]credentials.Provider{
		&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.IAM{},
	})
}

// Close implements ufs.Store.
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

// Mkdir implements ufs.Store: the marker of path. Those of its parents are implied.
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

// putMarker writes an empty object under the directory's own key, with its slash. Doing it twice is doing it once.
func (s *Store) putMarker(ctx context.Context, op, path string) error {
	_, err := s.core.PutObject(ctx, s.bucket, s.dirKey(path), bytes.NewReader(nil), 0, "", "", minio.PutObjectOptions{})
	return s.convert(err, op, path)
}

// Remove implements ufs.Store.
// Remove of a directory looks and then deletes: an object that is made below it in between stays, and so then does the
// directory. Removing the last object of a directory that has no marker removes the directory, since only keys make
// one.
func (s *Store) Remove(ctx context.Context, path string) error {
	if err := s.begin(ctx, "remove", path); err != nil {
		return err
	}
	if path == "" {
		return dfs.Errorf(dfs.InvalidArgument, "remove", path, "the root stays: unmount the store instead")
	}
	e, err := s.Stat(ctx, path)
	if err != nil {
		return dfs.Wrap(err, "remove", path)
	}
	if !e.Dir {
		return s.delete(ctx, "remove", path, s.key(path))
	}
	keys, err := s.count(ctx, s.dirKey(path), 2)
	if err != nil {
		return dfs.Wrap(err, "remove", path)
	}
	if keys > 1 {
		return dfs.Errorf(dfs.NotEmpty, "remove", path, "remove what it holds first")
	}
	return s.removeMarker(ctx, path)
}

// removeMarker removes an empty directory's marker. One key below the prefix may be another object than the marker.
func (s *Store) removeMarker(ctx context.Context, path string) error {
	result, err := s.page(ctx, s.dirKey(path), "", "", "", 1)
	if err != nil {
		return dfs.Wrap(err, "remove", path)
	}
	if len(result.Contents) == 1 && result.Contents[0].Key != s.dirKey(path) {
		return dfs.Errorf(dfs.NotEmpty, "remove", path, "remove what it holds first")
	}
	return s.delete(ctx, "remove", path, s.dirKey(path))
}

// delete succeeds for a key that is not there, as the protocol has it: who needs to know asks Stat first.
func (s *Store) delete(ctx context.Context, op, path, key string) error {
	return s.convert(s.core.RemoveObject(ctx, s.bucket, key, minio.RemoveObjectOptions{}), op, path)
}
