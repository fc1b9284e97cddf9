// Package drivers opens under stores by their URI. It knows every driver by name, so that what a process can mount is
// what is written here and not what happens to be linked in.
//
// What a URI may say:
//
//	/path, file:///path   a directory of this machine, the same one on every master and worker
//	s3://bucket/prefix    also s3a and s3n, as Hadoop writes them; options as s3.Options says
//	mem://name            tests and the simulator only
//
// A new driver is one case in Open, a package beside local and s3, and a run of ufstest's suite. Nothing here wraps
// what it opens: the caller knows what a mount's options ask for (throttle, read-only), and package ufs in which order
// they go.
package drivers

import (
	"context"
	"net/url"
	"strings"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/local"
	"github.com/forebay/forebay/system/ufs/mem"
	"github.com/forebay/forebay/system/ufs/s3"
)

const op = "open under store"

// Drivers is the table of drivers. The zero value has those of production.
type Drivers struct {
	// Mem holds the stores of mem:// URIs, for tests and the simulator; nil refuses them.
	Mem *mem.Space
}

// Open opens the store at uri with the drivers of production.
func Open(ctx context.Context, h host.Host, uri string, options map[string]string) (ufs.Store, error) {
	return Drivers{}.Open(ctx, h, uri, options)
}

// Open opens the store at uri: /path, file:///path, s3://bucket/prefix or mem://name. Unknown schemes and options are
// InvalidArgument; what the store itself says (missing, wrong keys, no connection) has its kind.
func (d Drivers) Open(ctx context.Context, h host.Host, uri string, options map[string]string) (ufs.Store, error) {
	scheme, rest, found := strings.Cut(uri, "://")
	if !found {
		scheme, rest = "file", uri
	}
	switch strings.ToLower(scheme) {
	case "file", "local":
		return openLocal(h, uri, rest, found, options)
	case "s3", "s3a", "s3n":
		return openS3(ctx, h, rest, options)
	case "mem":
		if d.Mem == nil {
			return nil, dfs.Errorf(dfs.InvalidArgument, op, uri, "mem:// stores exist only in tests: mount /path or s3://bucket")
		}
		return d.Mem.Open(h, rest), nil
	}
	return nil, dfs.Errorf(dfs.InvalidArgument, op, uri, "no driver for %q: use /path, file:///path or s3://bucket/prefix", scheme)
}

// openLocal takes a plain path as it is, and decodes the path of a URI: a directory with a blank in its name can be
// given either way. It refuses options, all of them: a typing error is not to become a silent default.
func openLocal(h host.Host, uri, path string, isURI bool, options map[string]string) (ufs.Store, error) {
	for name := range options {
		return nil, dfs.Errorf(dfs.InvalidArgument, op, uri, "a local store has no options; %q is not one", name)
	}
	if isURI {
		decoded, err := url.PathUnescape(strings.TrimPrefix(path, "localhost"))
		if err != nil || !strings.HasPrefix(decoded, "/") {
			return nil, dfs.Errorf(dfs.InvalidArgument, op, uri, "want file:///path, with three slashes")
		}
		path = decoded
	}
	s, err := local.Open(h, path)
	if err != nil {
		return nil, err // not a typed nil
	}
	return s, nil
}

// openS3 splits s3://bucket/prefix. A store that s3.Open refuses is nil here, not an interface around a nil pointer,
// since callers compare with nil.
func openS3(ctx context.Context, h host.Host, rest string, options map[string]string) (ufs.Store, error) {
	o, err := s3.ParseOptions(options)
	if err != nil {
		return nil, err
	}
	bucket, prefix, _ := strings.Cut(rest, "/")
	if bucket == "" {
		return nil, dfs.Errorf(dfs.InvalidArgument, op, "s3://"+rest, "want s3://bucket/prefix")
	}
	s, err := s3.Open(ctx, h, bucket, strings.Trim(prefix, "/"), o)
	if err != nil {
		return nil, err
	}
	return s, nil
}
