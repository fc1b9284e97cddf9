package s3

import (
	"net/url"
	"strings"

	"github.com/forebay/forebay/system/dfs"
)

// parseEndpoint splits the endpoint option into host:port and whether to use TLS.
// A scheme decides on TLS; without one it is used unless the option insecure is set.
func parseEndpoint(o Options) (endpoint string, secure bool, err error) {
	if o.Endpoint == "" {
		return "s3.amazonaws.com", true, nil
	}
	if !strings.Contains(o.Endpoint, "://") {
		return o.Endpoint, !o.Insecure, nil
	}
	u, err := url.Parse(o.Endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || strings.Trim(u.Path, "/") != "" {
		return "", false, dfs.Errorf(dfs.InvalidArgument, "open under store", o.Endpoint, "want http://host:port or https://host:port")
	}
	return u.Host, u.Scheme == "https", nil
}
