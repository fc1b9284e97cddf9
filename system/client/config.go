package client

import (
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/rpc"
)

// Defaults of Config.
const (
	DefaultTimeout         = 30 * time.Second
	DefaultKeepAlive       = 10 * time.Second
	DefaultWorkerListAge   = 2 * time.Second
	DefaultReadaheadBytes  = 64 << 20
	DefaultListPageEntries = 1000
)

// Config says how a client reaches its cluster, and its habits. Only Host and Masters are required; what is zero or negative
// elsewhere means the default. Of the masters one that lives is enough: answers name the leader.
type Config struct {
	Host     host.Host
	Masters  []string     // "host:port" of every master
	Identity dfs.Identity // on whose behalf; As makes others
	Name     string       // of this client, for people who look at sessions

	Timeout       time.Duration // of operations whose context has no deadline
	KeepAlive     time.Duration // between signs of life of the session
	WorkerListAge time.Duration // how old the known worker list may get

	ReadType       dfs.ReadType
	WriteType      dfs.WriteType
	BlockSizeBytes int64 // of new files; 0: the master's default
	Replication    int32 // workers that acknowledge an ASYNC_THROUGH block; 0: one
	ReadaheadBytes int64 // the largest range asked of a worker ahead of sequential reads

	Coalescer rpc.CoalescerConfig
}

// withDefaults fills in what is not set, and refuses what has no default.
func (c Config) withDefaults() (Config, error) {
	if c.Host == nil {
		return c, dfs.Errorf(dfs.InvalidArgument, "make client", "", "Config.Host is missing: give host.NewReal()")
	}
	if len(c.Masters) == 0 {
		return c, dfs.Errorf(dfs.InvalidArgument, "make client", "",
			"no master is named: give at least one host:port, with -master or FOREBAY_MASTERS")
	}
	setDefault(&c.Timeout, DefaultTimeout)
	setDefault(&c.KeepAlive, DefaultKeepAlive)
	setDefault(&c.WorkerListAge, DefaultWorkerListAge)
	setDefault(&c.ReadaheadBytes, DefaultReadaheadBytes)
	setDefault(&c.Coalescer.CallTimeout, c.Timeout)
	if c.Name == "" {
		c.Name = "forebay-client"
	}
	return c, nil
}

// setDefault gives value the standard unless it is set; negative values count as not set.
// It is for what has no meaning at zero.
func setDefault[T int64 | time.Duration](value *T, standard T) {
	if *value <= 0 {
		*value = standard
	}
}

// options are the settings of one call.
// What is zero means the master's or the mount's own setting, where there is one.
type options struct {
	readType    dfs.ReadType
	writeType   dfs.WriteType
	blockSize   int64
	replication int32
	minReplicas int32
	maxReplicas int32
	mode        uint32
	overwrite   bool
	recursive   bool
	ttl         time.Duration
	ttlAction   dfs.TTLAction
	sync        *time.Duration
	locations   bool
}

// Option changes one setting of one call; those that a call has no use for are ignored by it.
//
// Of two that set the same the last wins, so that helpers put their own first and callers can change them.
type Option func(*options)

// WithReadType says what reading does to the cache.
func WithReadType(t dfs.ReadType) Option { return func(o *options) { o.readType = t } }

// WithWriteType says where data must be before Close returns.
// MUST_CACHE data dies with its workers, ASYNC_THROUGH data until it is persisted.
func WithWriteType(t dfs.WriteType) Option { return func(o *options) { o.writeType = t } }

// WithBlockSize sets a new file's block size in bytes.
// 0 is the master's default. A reader and a worker learn it from the file, so that it can be chosen for each.
func WithBlockSize(bytes int64) Option { return func(o *options) { o.blockSize = bytes } }

// WithDurableReplicas sets how many workers must have a block of an ASYNC_THROUGH write before it is acknowledged.
// Fewer live workers than that make the write wait for more, and fail in the end, with Unavailable or with
// its context's error.
func WithDurableReplicas(n int32) Option { return func(o *options) { o.replication = n } }

// WithReplication sets how many cached copies of a new file to keep: at least least, at most most (0: no limit).
func WithReplication(least, most int32) Option {
	return func(o *options) { o.minReplicas, o.maxReplicas = least, most }
}

// WithMode sets a new file's or directory's permission bits.
// Without it a file gets 0o644 and a directory 0o755.
func WithMode(mode uint32) Option { return func(o *options) { o.mode = mode } }

// WithOverwrite lets Create replace a file that exists.
// The old content stays readable until Close, and stays for good when the write fails.
func WithOverwrite() Option { return func(o *options) { o.overwrite = true } }

// WithParents makes missing parents, and lets Mkdir succeed when the directory exists.
func WithParents() Option { return func(o *options) { o.recursive = true } }

// WithTTL gives a new file a time to live, and what happens at its end.
func WithTTL(ttl time.Duration, action dfs.TTLAction) Option {
	return func(o *options) { o.ttl, o.ttlAction = ttl, action }
}

// WithSyncInterval overrides the mount's: metadata older than d is compared with the under store first. 0 compares at
// once, a negative d never.
func WithSyncInterval(d time.Duration) Option { return func(o *options) { o.sync = &d } }

// WithLocations asks Stat and List for the bytes cached on workers.
func WithLocations() Option { return func(o *options) { o.locations = true } }

// options are the client's settings, changed by those of one call, the last of which win.
func (c *Client) options(given []Option) options {
	cfg := &c.core.cfg
	o := options{readType: cfg.ReadType, writeType: cfg.WriteType, blockSize: cfg.BlockSizeBytes, replication: cfg.Replication}
	for _, set := range given {
		set(&o)
	}
	return o
}

// syncFields are the two sync fields of a request.
// Without override the master goes by the mount's own interval.
func (o *options) syncFields() (interval int64, override bool) {
	if o.sync == nil {
		return 0, false
	}
	return int64(*o.sync), true
}
