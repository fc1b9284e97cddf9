// Package system is the tour of Forebay's production code. It holds no code, only the tests that keep the house in order.
//
// # What Forebay does
//
// Applications see one namespace of files. The truth lies in under stores (a local or NFS directory, S3); workers keep
// what is in use on their own memory and disks; masters know the tree, and agree on it through a journal.
//
//	applications
//	     |
//	   client ------ metadata (gRPC) ------> master x 1/3/5 : namespace <- journal, inode store
//	     |                                      ^
//	     +---------- data (gRPC) ----------> worker x N --- blocks, heartbeats
//	                                            |
//	                                       under stores
//
// # The layers, top down
//
//   - cmd: the entrances. forebay for operators, forebay-lab for researchers.
//   - system/node builds a process from its configuration and a host.
//   - system/master and system/worker are the services; each has sub-packages of one idea: the namespace (a logged state
//     machine), the inode store, the mount table, the block map, the worker registry, metadata sync; the block store,
//     tiers, eviction, the data service.
//   - system/client is the public Go API: what applications use, and everything else that reads and writes files.
//   - system/journal orders the master's changes; system/ufs reaches under stores.
//   - system/rpc and system/proto are the wire.
//   - system/dfs is the nouns, system/host the seam to time, tasks, network and disk, system/config and system/metrics
//     what operators set and see.
//
// # How a read goes
//
// The client asks the leader for the file's status (length, version, where its under store has it). It ranks the live
// workers for each block by rendezvous hashing and asks the first. The worker answers from its pages, each with a
// checksum, or reads them from the under store once however many ask, keeps them, and answers.
//
// # How a change goes
//
// The leader checks it in memory against the applied state and what is already proposed, and adds its plain effects to
// the open batch. A batch is one entry of the journal. When a quorum has synced it, every master applies it blindly and
// the leader answers. A client that got no answer sends the same mutation with the same sequence number, to whichever
// master leads by then, and gets the first answer.
//
// # Where to start reading
//
// dfs, then host, then proto/metadata.proto, then master/namespace (its doc.go has the invariants), then worker and
// client. docs/decisions says why things are as they are.
package system
