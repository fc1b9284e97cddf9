package s3

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/forebay/forebay/system/dfs"
)

// codes maps the protocol's error codes to what a caller can do about them.
// Codes that are not here are judged by their status (classifyResponse). A row is worth its line when the status leads
// to another kind, or when there is something that a person can do.
var codes = map[string]struct {
	kind   dfs.Kind
	remedy string
}{

	"NoSuchKey":                    {dfs.NotFound, ""},
	"NoSuchBucket":                 {dfs.NotFound, "make the bucket, or correct the mount's URI"},
	"NoSuchUpload":                 {dfs.NotFound, "the upload was aborted, by a lifecycle rule perhaps: write it again"},
	"AccessDenied":                 {dfs.PermissionDenied, "let these keys list, read and write the bucket"},
	"AllAccessDisabled":            {dfs.PermissionDenied, "the bucket's owner has closed it"},
	"InvalidAccessKeyId":           {dfs.PermissionDenied, "the server does not know access_key: correct the mount's option"},
	"XAdminUserNotFound":           {dfs.PermissionDenied, "the server does not know access_key: correct the mount's option"},
	"SignatureDoesNotMatch":        {dfs.PermissionDenied, "correct the mount's option secret_key"},
	"ExpiredToken":                 {dfs.PermissionDenied, "renew session_token"},
	"InvalidToken":                 {dfs.PermissionDenied, "correct session_token"},
	"RequestTimeTooSkewed":         {dfs.PermissionDenied, "set this machine's clock"},
	"InvalidObjectState":           {dfs.UnsupportedFeature, "the object is archived: restore it first"},
	"NotImplemented":               {dfs.UnsupportedFeature, "the server does not have this call"},
	"KeyTooLongError":              {dfs.NameTooLong, "shorten the path"},
	"EntityTooLarge":               {dfs.InvalidArgument, "the server's limit on an object is lower"},
	"ObjectParentIsFile":           {dfs.NotDirectory, "an object has the name of a directory on the way"},
	"ExistingObjectIsDirectory":    {dfs.IsDirectory, "a directory has that name"},
	"DirectoryNotEmpty":            {dfs.NotEmpty, "remove its entries first"},
	"QuotaExceeded":                {dfs.NoSpace, "raise the bucket's quota or free some"},
	"XMinioStorageFull":            {dfs.NoSpace, "the server's disks are full"},
	"InsufficientStorage":          {dfs.NoSpace, "the server's disks are full"},
	"PreconditionFailed":           {dfs.Conflict, "the object changed meanwhile"},
	"OperationAborted":             {dfs.Unavailable, ""},
	"SlowDown":                     {dfs.Unavailable, "the server limits requests: set the mount's throttle lower"},
	"ServiceUnavailable":           {dfs.Unavailable, ""},
	"InternalError":                {dfs.Unavailable, ""},
	"RequestTimeout":               {dfs.Unavailable, ""},
	"TooManyRequests":              {dfs.Unavailable, "the server limits requests: set the mount's throttle lower"},
	"AuthorizationHeaderMalformed": {dfs.PermissionDenied, "correct the mount's option region"},
	"PermanentRedirect":            {dfs.InvalidArgument, "correct the mount's options endpoint and region"},
}

// convert makes a dfs.Error of what minio-go answered. It returns nil for nil.
// The path is told as the URI of the object, which is what its owner looks for in the bucket.
func (s *Store) convert(err error, op, path string) error {
	if err == nil {
		return nil
	}
	var already *dfs.Error
	if errors.As(err, &already) {
		return err
	}
	kind, detail := classify(err)
	return &dfs.Error{Kind: kind, Op: op, Path: "s3://" + s.bucket + "/" + s.key(path), Detail: detail, Err: err}
}

// classify tells apart what the caller did (its context), what the server said (by its code, else by its status) and
// what the network did. Everything that the network does is Unavailable: the server may be back at the next attempt.
func classify(err error) (dfs.Kind, string) {
	switch {
	case errors.Is(err, context.Canceled):
		return dfs.Canceled, "the caller gave up"
	case errors.Is(err, context.DeadlineExceeded):
		return dfs.DeadlineExceeded, "the server did not answer in time"
	}
	var response minio.ErrorResponse
	if errors.As(err, &response) {
		return classifyResponse(response)
	}
	var network net.Error
	var address *url.Error
	switch {
	case errors.As(err, &network), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return dfs.Unavailable, "no connection to the server: " + err.Error() + ": is it running, and is the endpoint right?"
	case errors.As(err, &address):
		return dfs.UnderStore, err.Error() + ": check the endpoint and its certificate"
	}
	return dfs.UnderStore, err.Error()
}

// classifyResponse takes the code's row when there is one. An answer to HEAD has no body, so that minio-go makes up a
// code from the status: the statuses below are then what decides.
func classifyResponse(r minio.ErrorResponse) (dfs.Kind, string) {
	detail := strings.TrimSuffix(r.Message, ".")
	if detail == "" {
		detail = http.StatusText(r.StatusCode)
	}
	if known, ok := codes[r.Code]; ok {
		if known.remedy != "" {
			detail += ": " + known.remedy
		}
		return known.kind, detail
	}
	detail = r.Code + ": " + detail
	switch {
	case r.StatusCode == http.StatusNotFound:
		return dfs.NotFound, detail
	case r.StatusCode == http.StatusForbidden || r.StatusCode == http.StatusUnauthorized:
		return dfs.PermissionDenied, detail + ": check the mount's keys and their rights"
	case r.StatusCode == http.StatusInsufficientStorage:
		return dfs.NoSpace, detail
	case r.StatusCode == http.StatusTooManyRequests || r.StatusCode >= 500:
		return dfs.Unavailable, detail
	}
	return dfs.UnderStore, detail
}
