package s3

import (
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/forebay/forebay/system/dfs"
)

// Options are a mount's options for this driver, all of them text.
// Keys come from a mount's options, in the mount table, or from the process's surroundings; anonymous needs none.
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
