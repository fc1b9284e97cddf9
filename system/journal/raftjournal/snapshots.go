package raftjournal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/forebay/forebay/system/host"
)

// snapshotStore keeps snapshots as directories: a description, and below "state" the state machine's checkpoint. Only the
// newest is kept, and those that are being sent. It implements raft.SnapshotStore.
//
// INV-1: a directory whose name has no temporary suffix is complete and synced.
type snapshotStore struct {
	host host.Host
	fs   fileSystem
	dir  string

	// mu is never held while the disk is busy: a follower's stream would hold up the snapshot that relieves a full disk.
	mu        sync.Mutex
	snapshots []*snapshot // newest first
	made      int
}

// snapshot is one directory.
// Its directory does not change from its rename to its removal: readers need no lock for the files.
type snapshot struct {
	dir         string
	description description

	readers int  // guarded by the store's mu, like replaced
	dropped bool // remove it with the last reader
}

// description is the file beside the state.
type description struct {
	Raft raft.SnapshotMeta
	// StateIndex is what the state machine's checkpoint stands for: Raft's index, less Raft's own entries before it, plus
	// what was applied while the checkpoint was being taken.
	StateIndex uint64
}

const (
	descriptionName = "snapshot.json"
	stateDirName    = "state"
	temporarySuffix = ".tmp"
)

func (s *snapshot) stateDir(fs fileSystem) string { return fs.PathJoin(s.dir, stateDirName) }

// openSnapshots reads what is in dir, and removes what a crash left unfinished.
func openSnapshots(h host.Host, fs fileSystem, dir string) (*snapshotStore, error) {
	s := &snapshotStore{host: h, fs: fs, dir: dir}
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return nil, diskError(err, "open snapshots", dir)
	}
	if err := fs.syncDir(fs.PathDir(dir)); err != nil {
		return nil, diskError(err, "open snapshots", dir)
	}
	names, err := fs.List(dir)
	if err != nil {
		return nil, diskError(err, "open snapshots", dir)
	}
	// More than one is there when a crash came between the new one's rename and the old one's removal.
	slices.Sort(names) // by index
	slices.Reverse(names)
	for _, name := range names {
		if err := s.load(name); err != nil {
			return nil, err
		}
	}
	s.dropOld()
	return s, nil
}

// load adds the snapshot in the directory of this name. By INV-1 one that cannot be read was damaged, not interrupted, and
// the log that led to it may be gone: that is for a person to decide on, so it is an error and not left out.
func (s *snapshotStore) load(name string) error {
	dir := s.fs.PathJoin(s.dir, name)
	if strings.HasSuffix(name, temporarySuffix) {
		return diskError(s.fs.RemoveAll(dir), "remove an unfinished snapshot", dir)
	}
	snap := &snapshot{dir: dir}
	data, err := s.fs.readFile(s.fs.PathJoin(dir, descriptionName))
	if err == nil {
		err = json.Unmarshal(data, &snap.description)
	}
	if err != nil {
		return corruptedError("open snapshot", dir, "%v", err)
	}
	s.snapshots = append(s.snapshots, snap)
	return nil
}

// newest is the newest snapshot, or nil.
// It may be dropped as soon as this returns; who reads its files opens it (Open), which keeps them.
func (s *snapshotStore) newest() *snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.snapshots) == 0 {
		return nil
	}
	return s.snapshots[0]
}

// dropOld forgets all but the newest, and removes those that nobody reads.
func (s *snapshotStore) dropOld() {
	s.mu.Lock()
	var remove []string
	for i, old := range s.snapshots {
		if i == 0 {
			continue
		}
		old.dropped = true
		if old.readers == 0 {
			remove = append(remove, old.dir)
		}
	}
	if len(s.snapshots) > 1 {
		s.snapshots = s.snapshots[:1]
	}
	s.mu.Unlock()
	for _, dir := range remove {
		s.remove(dir)
	}
}

// remove gives a snapshot the name of an unfinished one first, so that a crash cannot leave half of it under its own
// (INV-1). What cannot be removed now is removed by the next open.
func (s *snapshotStore) remove(dir string) {
	// No sync: if the rename is lost in a crash, the snapshot is whole under its old name, and dropped by the next open.
	// Errors leave files behind and nothing else, so they are not reported.
	if s.fs.Rename(dir, dir+temporarySuffix) == nil {
		_ = s.fs.RemoveAll(dir + temporarySuffix)
	}
}

// List implements raft.SnapshotStore.
// At most one: Raft restores from the newest and has no use for others.
func (s *snapshotStore) List() ([]*raft.SnapshotMeta, error) {
	snap := s.newest()
	if snap == nil {
		return nil, nil
	}
	meta := snap.description.Raft
	return []*raft.SnapshotMeta{&meta}, nil
}

// Open implements raft.SnapshotStore. What it returns streams the snapshot when it is read, and is what Restore on this
// machine takes the directory from.
// The caller closes the reader, which keeps the directory until then, though a newer snapshot comes. An id that is not the newest's is an error.
func (s *snapshotStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, snap := range s.snapshots {
		if snap.description.Raft.ID == id {
			snap.readers++
			meta := snap.description.Raft
			return &meta, &snapshotReader{store: s, snapshot: snap}, nil
		}
	}
	return nil, nil, fmt.Errorf("snapshot %s is not here any more", id)
}

// release ends one reader's use. The last reader of a dropped snapshot removes it, so a slow follower costs disk space for as
// long as it reads; after a crash the next open removes what was dropped.
func (s *snapshotStore) release(snap *snapshot) {
	s.mu.Lock()
	snap.readers--
	remove := snap.dropped && snap.readers == 0
	s.mu.Unlock()
	if remove {
		s.remove(snap.dir)
	}
}

// Create implements raft.SnapshotStore. The sink is filled by checkpoint when the snapshot is our own, by Write when it
// comes from the leader.
func (s *snapshotStore) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	s.mu.Lock()
	// The counter tells apart what one clock reading would make the same. Names sort by index, then term (openSnapshots).
	s.made++
	id := fmt.Sprintf("%020d-%020d-%020d-%06d", index, term, s.host.Now().UnixNano(), s.made)
	s.mu.Unlock()
	sink := &snapshotSink{store: s, final: s.fs.PathJoin(s.dir, id)}
	sink.dir = sink.final + temporarySuffix
	sink.description.Raft = raft.SnapshotMeta{Version: version, ID: id, Index: index, Term: term,
		Configuration: configuration, ConfigurationIndex: configurationIndex}
	if err := s.fs.MkdirAll(sink.dir, 0o755); err != nil {
		return nil, diskError(err, "create snapshot", sink.dir)
	}
	return sink, nil
}

// snapshotSink is a snapshot that is being made.
// One task of Raft's uses it: Create, then Write or the checkpoint, then Close or Cancel. What happens behind the first
// of those two does nothing.
type snapshotSink struct {
	store       *snapshotStore
	dir, final  string
	description description
	receiver    *receiver // nil: our own checkpoint
	done        bool
}

var _ raft.SnapshotSink = (*snapshotSink)(nil)

// ID implements raft.SnapshotSink.
func (s *snapshotSink) ID() string { return s.description.Raft.ID }

func (s *snapshotSink) stateDir() string { return s.store.fs.PathJoin(s.dir, stateDirName) }

// Write implements raft.SnapshotSink: the next piece of a stream from the leader.
// It may block while the disk is busy, which slows the leader's stream down. After an error every further Write
// fails with it, and Raft cancels the sink.
func (s *snapshotSink) Write(p []byte) (int, error) {
	if s.receiver == nil {
		s.receiver = newReceiver(s.store.host, s.store.fs, s.stateDir())
	}
	return s.receiver.Write(p)
}

// Close implements raft.SnapshotSink: the snapshot becomes the newest one.
// With an error the snapshot is not there, its files are removed, and the older one is still the newest. Without
// one it is durable.
func (s *snapshotSink) Close() error {
	if s.done {
		return nil
	}
	s.done = true
	err := s.finish()
	if err != nil {
		return errors.Join(diskError(err, "finish snapshot", s.dir), s.store.fs.RemoveAll(s.dir))
	}
	s.store.dropOld()
	return nil
}

// finish makes INV-1 hold: files first (the state machine and the receiver have synced theirs), then the description, then
// the directory that lists both, and the name last, with the directory above synced, before Raft hears of the snapshot and
// trims the log. A crash before the rename leaves a name with the temporary suffix, which the next start removes.
func (s *snapshotSink) finish() error {
	fs := s.store.fs
	if s.receiver != nil {
		stateIndex, err := s.receiver.finish()
		if err != nil {
			return err
		}
		s.description.StateIndex = stateIndex
	} else if err := fs.syncDir(s.stateDir()); err != nil {
		return err
	}
	size, err := streamSize(fs, s.stateDir(), s.description.StateIndex)
	if err != nil {
		return err
	}
	s.description.Raft.Size = size
	data, err := json.MarshalIndent(s.description, "", "  ")
	if err != nil {
		return err
	}
	if err := fs.writeFile(fs.PathJoin(s.dir, descriptionName), data); err != nil {
		return err
	}
	if err := fs.syncDir(s.dir); err != nil {
		return err
	}
	if err := fs.Rename(s.dir, s.final); err != nil {
		return err
	}
	if err := fs.syncDir(s.store.dir); err != nil {
		return err
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.store.snapshots = append([]*snapshot{{dir: s.final, description: s.description}}, s.store.snapshots...)
	return nil
}

// Cancel implements raft.SnapshotSink. The space is free again when it returns, which a full disk is waiting for.
func (s *snapshotSink) Cancel() error {
	if s.done {
		return nil
	}
	s.done = true
	if s.receiver != nil {
		s.receiver.abort()
	}
	return s.store.fs.RemoveAll(s.dir)
}

// snapshotReader is a snapshot in use.
// It counts as a reader of its snapshot from Open to Close, be it read or not: Restore on this machine takes the
// directory and never reads the stream.
type snapshotReader struct {
	store    *snapshotStore
	snapshot *snapshot
	stream   *io.PipeReader
	closed   bool
}

// Read implements io.Reader: the next piece of the stream, which starts with the first call.
func (r *snapshotReader) Read(p []byte) (int, error) {
	if r.stream == nil {
		reader, writer := io.Pipe()
		r.stream = reader
		fs, snap := r.store.fs, r.snapshot
		r.store.host.Go("send snapshot", func() {
			writer.CloseWithError(writeStream(writer, fs, snap.stateDir(fs), snap.description.StateIndex))
		})
	}
	return r.stream.Read(p)
}

// Close implements io.Closer.
// The sending task ends with its next write, and may read the directory until then: a file that goes away under it
// is an error that nobody hears.
func (r *snapshotReader) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	if r.stream != nil {
		_ = r.stream.Close() // ends the sending task; it cannot fail
	}
	r.store.release(r.snapshot)
	return nil
}
