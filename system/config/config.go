// Package config is what people may set: one tree for masters, workers and clients, read from defaults, a YAML file,
// the environment and flags, in that order. It owns the keys, their units and their checks, and remembers where each
// value came from. It never acts on a value; package node and the command line do.
//
// A key is the path of yaml tags, "master.journal.dir". Its environment variable is FOREBAY_MASTER_JOURNAL_DIR. Sizes
// take units ("64MiB", "10GB"), durations too ("500ms"). Every address is loopback unless it is set: opening a service
// to a network is a decision.
//
// # The life of a value
//
// Load begins with Default, then lets each source set what it has: file, environment, flags. Whatever the source, a value
// arrives as text at loader.set, which parses it as its field's type and notes the place it came from ("/etc/x.yaml:7",
// "environment FOREBAY_CLIENT_TIMEOUT", "flag --timeout"). Only lists and tiers that a file writes as sequences go another
// way, since their entries may hold the separators of the text form. When all sources are done, check looks at the values
// together. The result is not changed any more.
//
// # Mistakes
//
// A key that does not exist, a value of the wrong form, and one that cannot work are errors, never warnings: a process that
// starts with a setting other than the one that was meant is found out much later. Each names the place, the key, what was
// found and what would be right, for a key also the nearest one that exists.
//
// # Secrets
//
// What people see passes through field.shown: fields with the tag secret are masked whole, and in every other value the
// passwords of URIs and the parameters with a secret's name (MaskURI). The program gets values as they were set.
//
// # Concurrency
//
// Load is for one task, and may run in several at a time, as each has a loader of its own. What it gives is only read from
// then on, by any number of tasks, without a lock. There is no reload: a changed file takes effect at the next start, for all
// of its keys together.
//
// # A new key
//
// Add a field with the tags yaml and doc, its default, and a check if not every value of its type works. File, environment,
// flags, listing and documentation follow from the field.
package config

import (
	"time"

	"github.com/forebay/forebay/system/dfs"
)

// Config is the whole tree. Every process reads the same one and uses its own sections, so that one file can serve a machine
// that runs several.
type Config struct {
	Log    Log    `yaml:"log"`
	Master Master `yaml:"master"`
	Worker Worker `yaml:"worker"`
	Client Client `yaml:"client"`
}

// Log says how processes log, to standard error.
type Log struct {
	Level  string `yaml:"level" doc:"debug, info, warn or error"`
	Format string `yaml:"format" doc:"text or json"`
}

// HTTP is a process's door for people and monitoring.
//
// It asks for no name or password: whoever reaches the address may read what it shows, so that it is loopback by default.
type HTTP struct {
	Address string `yaml:"address" doc:"of /metrics, /healthz and /readyz; empty: none"`
}

// Master configures one master.
type Master struct {
	ID       string        `yaml:"id" doc:"name of this master in the quorum, never used again for another"`
	Address  string        `yaml:"address" doc:"where clients and workers find it"`
	HTTP     HTTP          `yaml:"http"`
	Journal  Journal       `yaml:"journal"`
	Peers    []string      `yaml:"peers" doc:"all masters at first start as id=journal-address/client-address; empty: this one alone"`
	Join     bool          `yaml:"join" doc:"at its first start, wait to be added to a quorum instead of founding one"`
	Metadata Metadata      `yaml:"metadata"`
	Root     Root          `yaml:"root"`
	Block    Block         `yaml:"block"`
	Session  MasterSession `yaml:"session"`
	Worker   MasterWorker  `yaml:"worker"`
}

// Journal configures the replicated log.
//
// Every mutation waits for a sync of this disk on most of the masters, so that its speed is that of
// the cluster's mutations.
type Journal struct {
	Address string `yaml:"address" doc:"where other masters find this one's journal"`
	Dir     string `yaml:"dir" doc:"of the log; on a disk that syncs fast"`
}

// Metadata configures the inode store.
//
// Its folder is the master's own, as the journal's is: two masters on one machine need two.
type Metadata struct {
	Dir   string        `yaml:"dir" doc:"of the inode store"`
	Store string        `yaml:"store" doc:"pebble, or heap (all in memory, for comparison)"`
	Cache MetadataCache `yaml:"cache"`
}

// MetadataCache sizes the inode store's caches.
//
// With the pebble store the two bound most of a master's memory; the collector's mark is set by them as well (package node).
type MetadataCache struct {
	Size   Size `yaml:"size" doc:"of the cache of hot inodes"`
	Blocks Size `yaml:"blocks" doc:"of the cache of the store's own blocks"`
}

// Root is the under store mounted at / when a cluster is made.
//
// A cluster that has a mount already is left as it is, so that a changed value does nothing to it.
type Root struct {
	URI string `yaml:"uri" doc:"under store of / when the cluster is made; empty: none"`
}

// Block sizes blocks.
//
// It counts for files that are made from then on: a file keeps the block size that it was made with.
type Block struct {
	Size Size `yaml:"size" doc:"of new files' blocks, unless a client asks for another"`
}

// MasterSession configures clients' sessions.
//
// It must be well above client.keepalive: a mutation that is in doubt when its session is forgotten stays in doubt.
type MasterSession struct {
	Timeout time.Duration `yaml:"timeout" doc:"after which a silent client's session is forgotten"`
}

// MasterWorker configures what the master thinks of workers.
type MasterWorker struct {
	Lost Lost `yaml:"lost"`
}

// Lost says when a worker is lost.
//
// It must be well above worker.heartbeat. Shorter means that readers learn of a death sooner, and that a pause counts as one.
type Lost struct {
	Timeout time.Duration `yaml:"timeout" doc:"after which a silent worker counts as lost"`
}

// Worker configures one worker.
type Worker struct {
	Address   string        `yaml:"address" doc:"where clients find it"`
	HTTP      HTTP          `yaml:"http"`
	Masters   []string      `yaml:"masters" doc:"addresses of all masters"`
	Dir       string        `yaml:"dir" doc:"of this worker's identity and, by default, its cache"`
	Tiers     []Tier        `yaml:"tiers" doc:"storage, fastest first: name, dir, capacity; in one text NAME:DIR:CAPACITY,..."`
	Watermark Watermark     `yaml:"watermark"`
	Heartbeat time.Duration `yaml:"heartbeat" doc:"interval of signs of life"`
	Scrub     Scrub         `yaml:"scrub"`
}

// Tier is one kind of storage of a worker. Capacity is what the worker fills, not what the disk has: leave room for others.
//
// Two tiers of one worker may have one name; what tells them apart is their order.
type Tier struct {
	Name     string `yaml:"name"` // MEM, SSD or HDD
	Dir      string `yaml:"dir"`
	Capacity Size   `yaml:"capacity"`
}

// Watermark says when a tier makes room in the background, as shares of its capacity. Low is below High: the distance is
// what one run of eviction frees.
type Watermark struct {
	High float64 `yaml:"high" doc:"share of a tier's capacity at which eviction begins"`
	Low  float64 `yaml:"low" doc:"share at which it stops"`
}

// Scrub configures the background check of cached pages.
//
// It reads beside what readers ask for, so that a high rate costs them.
type Scrub struct {
	Rate Size `yaml:"rate" doc:"bytes a second read to verify checksums; 0: none"`
}

// Client configures clients: the command line, gateways and mounts. Programs that use package client directly have its
// Config instead.
type Client struct {
	Masters     []string      `yaml:"masters" doc:"addresses of all masters"`
	User        string        `yaml:"user" doc:"on whose behalf; empty: the user of the process"`
	Groups      []string      `yaml:"groups" doc:"of the user; empty: those of the process's user"`
	ReadType    string        `yaml:"readtype" doc:"CACHE, CACHE_PROMOTE or NO_CACHE"`
	WriteType   string        `yaml:"writetype" doc:"CACHE_THROUGH, MUST_CACHE, THROUGH or ASYNC_THROUGH"`
	Block       ClientBlock   `yaml:"block"`
	Replication Replication   `yaml:"replication"`
	Timeout     time.Duration `yaml:"timeout" doc:"of operations that have no deadline of their own"`
	KeepAlive   time.Duration `yaml:"keepalive" doc:"interval of a session's signs of life"`
	ReadAhead   Size          `yaml:"readahead" doc:"largest range asked for ahead of a sequential reader"`
}

// ClientBlock sizes blocks of the files that a client writes.
type ClientBlock struct {
	Size Size `yaml:"size" doc:"of new files' blocks; 0: the master's"`
}

// Replication says how many copies writes make.
//
// With 1 the death of one worker loses what it had acknowledged of such writes and the under store does not have yet.
type Replication struct {
	Durable int `yaml:"durable" doc:"workers that have a block before an ASYNC_THROUGH write is acknowledged"`
}

// Default is the configuration of a process that was told nothing. It is made anew for each caller, and passes check. Its
// directories are relative to where the process runs, for trying out; an installation names absolute ones.
func Default() *Config {
	return &Config{
		Log: Log{Level: "info", Format: "text"},
		Master: Master{
			ID: "master-1", Address: "127.0.0.1:19998", HTTP: HTTP{Address: "127.0.0.1:19999"},
			Journal: Journal{Address: "127.0.0.1:19997", Dir: "forebay/journal"},
			Metadata: Metadata{
				Dir: "forebay/metadata", Store: "pebble", Cache: MetadataCache{Size: 256 << 20, Blocks: 256 << 20},
			},
			Block:   Block{Size: dfs.DefaultBlockSizeBytes},
			Session: MasterSession{Timeout: 2 * time.Minute},
			Worker:  MasterWorker{Lost: Lost{Timeout: 10 * time.Second}},
		},
		Worker: Worker{
			Address: "127.0.0.1:29999", HTTP: HTTP{Address: "127.0.0.1:30000"}, Masters: []string{"127.0.0.1:19998"},
			Dir: "forebay/worker", Tiers: []Tier{{Name: "SSD", Dir: "forebay/worker/ssd", Capacity: 10 << 30}},
			Watermark: Watermark{High: 0.95, Low: 0.85}, Heartbeat: time.Second, Scrub: Scrub{Rate: 16 << 20},
		},
		Client: Client{
			Masters: []string{"127.0.0.1:19998"}, ReadType: "CACHE", WriteType: "CACHE_THROUGH",
			Replication: Replication{Durable: 1}, Timeout: 30 * time.Second, KeepAlive: 10 * time.Second, ReadAhead: 64 << 20,
		},
	}
}
