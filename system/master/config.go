package master

import (
	"log/slog"
	"time"

	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
	"github.com/forebay/forebay/system/master/inodestore"
)

// Config is what a master is made of. Host, ID, Address, Store, OpenJournal, OpenStore and Superuser must be set. The
// master closes Store and the journal when it stops.
type Config struct {
	Host    host.Host
	ID      string // its member id in the journal
	Address string // for clients and workers, as they reach it
	// Store and OpenJournal: the journal is opened on the state machine that lies in the store.
	Store       inodestore.Store
	OpenJournal func(journal.StateMachine) (journal.Journal, error)
	OpenStore   OpenStore
	Superuser   string // passes permission checks and owns the root
	Group       string // of the root
	Version     string
	Log         *slog.Logger
	// RootURI is mounted at / when the cluster is made; empty: nothing is.
	RootURI        string
	BlockSizeBytes int64 // of files whose writers do not say; 0: dfs.DefaultBlockSizeBytes

	WorkerLostAfter time.Duration // 0: DefaultWorkerLostAfter
	SessionTimeout  time.Duration // 0: DefaultSessionTimeout
	SafeStart       time.Duration // 0: DefaultSafeStart
}

// Defaults.
const (
	DefaultWorkerLostAfter = 30 * time.Second
	DefaultSessionTimeout  = 10 * time.Minute
	DefaultSafeStart       = 10 * time.Second // a new leader does not call data lost before
)

// withDefaults fills in what was left at zero, and changes nothing else. What operators set has been checked by
// package config before.
func withDefaults(cfg Config) Config {
	if cfg.WorkerLostAfter == 0 {
		cfg.WorkerLostAfter = DefaultWorkerLostAfter
	}
	if cfg.SessionTimeout == 0 {
		cfg.SessionTimeout = DefaultSessionTimeout
	}
	if cfg.SafeStart == 0 {
		cfg.SafeStart = DefaultSafeStart
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return cfg
}
