package namespace

import (
	"context"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/proto"
)

// Outcome is what a mutation tells besides success.
type Outcome struct {
	Ticket *Ticket
	Inode  *inodestore.Inode // the inode made or changed, as proposed; nil in a replay
}

// Answer is the compact answer that the session remembers.
func (t *Ticket) Answer() (id dfs.InodeID, version uint32, count int64) {
	return t.answer.inode, t.answer.version, t.answer.count
}

const (
	maxBlockSizeBytes = 4 << 30
	minBlockSizeBytes = dfs.PageSizeBytes
)

// Create makes a file that is being written, or begins a new version of one with overwrite.
func (e *Evaluator) Create(ctx context.Context, r Request, p dfs.Path, op *proto.CreateFile) (Outcome, error) {
	const what = "create"
	if op.BlockSize != 0 && (op.BlockSize < minBlockSizeBytes || op.BlockSize > maxBlockSizeBytes || op.BlockSize%dfs.PageSizeBytes != 0) {
		return Outcome{}, dfs.Errorf(dfs.InvalidArgument, what, string(p), "block size %d: want a multiple of 1 MiB between 1 MiB and 4 GiB", op.BlockSize)
	}
	if p.IsRoot() {
		return Outcome{}, dfs.Errorf(dfs.IsDirectory, what, string(p), "the root is a directory")
	}
	if err := checkCreate(op, p); err != nil {
		return Outcome{}, err
	}
	var out Outcome
	var err error
	out.Ticket, err = e.do(ctx, r, []dfs.Path{p}, func(t *txn) error {
		if err := e.checkWritable(what, p, dfs.WriteType(op.WriteType)); err != nil {
			return err
		}
		f, err := lookup(e.view, &r, p)
		if err != nil {
			return dfs.Wrap(err, what, string(p))
		}
		if f.inode != nil {
			out.Inode, err = t.overwrite(&r, f, p, op)
			return err
		}
		parent, err := t.parents(&r, f, p, op.Recursive, dfs.NotPersisted, what)
		if err != nil {
			return err
		}
		out.Inode = t.newFile(&r, parent, p.Name(), op)
		return nil
	})
	return out, err
}

// checkCreate refuses numbers that mean nothing. They are checked before they are narrowed: 256 would become 0, which
// means something else.
func checkCreate(op *proto.CreateFile, p dfs.Path) error {
	const what = "create"
	switch {
	case op.WriteType > uint32(dfs.WriteAsyncThrough):
		return dfs.Errorf(dfs.InvalidArgument, what, string(p), "write type %d: this master knows 0 to %d", op.WriteType, dfs.WriteAsyncThrough)
	case op.TtlAction > uint32(dfs.TTLFree):
		return dfs.Errorf(dfs.InvalidArgument, what, string(p), "TTL action %d: this master knows 0 to %d", op.TtlAction, dfs.TTLFree)
	case op.Ttl < 0:
		return dfs.Errorf(dfs.InvalidArgument, what, string(p), "TTL %d: want 0 (none) or more", op.Ttl)
	case op.ReplicationDurable < 0:
		return dfs.Errorf(dfs.InvalidArgument, what, string(p), "durable replicas %d: want 0 or more", op.ReplicationDurable)
	}
	return checkReplication(op.ReplicationMin, op.ReplicationMax, what, p)
}

func checkReplication(low, high int32, op string, p dfs.Path) error {
	if low < 0 || high < 0 {
		return dfs.Errorf(dfs.InvalidArgument, op, string(p), "replication min %d, max %d: want 0 or more", low, high)
	}
	if high != 0 && low > high {
		return dfs.Errorf(dfs.InvalidArgument, op, string(p), "replication min %d is over max %d", low, high)
	}
	return nil
}

// MaxFileBlocks bounds a file's blocks, since some walks over them are not in steps: 64 TiB at 64 MiB, 4 PiB at 4 GiB.
const MaxFileBlocks = 1 << 20

func checkLength(length, blockSize int64, op, path string) error {
	if length < 0 {
		return dfs.Errorf(dfs.InvalidArgument, op, path, "length %d", length)
	}
	if blockSize > 0 && length/blockSize >= MaxFileBlocks {
		return dfs.Errorf(dfs.InvalidArgument, op, path, "length %d is over %d blocks of %d bytes: create it with a larger block size", length, MaxFileBlocks, blockSize)
	}
	return nil
}

// checkWritable refuses writes to read-only mounts, and under-store writes where no store is mounted.
func (e *Evaluator) checkWritable(op string, p dfs.Path, w dfs.WriteType) error {
	mount, _ := e.m.Mounts().Resolve(p)
	if mount == nil {
		if w == dfs.WriteMustCache {
			return nil
		}
		return dfs.Errorf(dfs.InvalidArgument, op, string(p),
			"no under store is mounted here, so %s cannot be kept: mount one with 'forebay fs mount', or write with MUST_CACHE", w)
	}
	if mount.ReadOnly {
		return dfs.Errorf(dfs.ReadOnly, op, string(p), "the mount at %s is read-only", mount.Path)
	}
	return nil
}

// parents finds the parent directory, making missing ones when asked to.
// made ones get state persist.
func (t *txn) parents(r *Request, f found, p dfs.Path, recursive bool, persist dfs.PersistState, op string) (*inodestore.Inode, error) {
	if f.missing > 1 && !recursive {
		return nil, dfs.Errorf(dfs.NotFound, op, string(p), "directory %q does not exist: make it first, or ask for parents", ancestor(p, f.missing-1))
	}
	if err := demand(r, f.deepest, permWrite|permExecute, op, p); err != nil {
		return nil, err
	}
	dir := f.deepest
	names := p.Components()
	for _, name := range names[len(names)-f.missing : len(names)-1] {
		dir = t.newDirectory(r, dir, name, 0o755, persist, true)
	}
	return dir, nil
}

// newDirectory makes a directory. empty tells that its under store has nothing in it either, so that there is nothing to
// load.
func (t *txn) newDirectory(r *Request, parent *inodestore.Inode, name string, mode uint32, persist dfs.PersistState, empty bool) *inodestore.Inode {
	n := &inodestore.Inode{
		ID: dfs.InodeID(t.newID()), Parent: parent.ID, Name: name, Type: dfs.TypeDirectory, Mode: mode & 0o7777,
		Owner: r.Identity.User, Group: groupOf(r, parent), ModTime: t.e.now(), Persist: persist, Loaded: empty,
	}
	t.putInode(n)
	t.putLocation(n)
	t.e.view.absent.made(n.ID)
	return n
}

func groupOf(r *Request, parent *inodestore.Inode) string {
	if len(r.Identity.Groups) > 0 {
		return r.Identity.Groups[0]
	}
	return parent.Group
}

func (e *Evaluator) now() time.Time {
	e.lastTime = max(e.lastTime, e.h.Now().UnixNano())
	return time.Unix(0, e.lastTime)
}

func (t *txn) newFile(r *Request, parent *inodestore.Inode, name string, op *proto.CreateFile) *inodestore.Inode {
	n := &inodestore.Inode{
		ID: dfs.InodeID(t.newID()), Parent: parent.ID, Name: name, Type: dfs.TypeFile, Mode: op.Mode & 0o7777,
		Owner: r.Identity.User, Group: groupOf(r, parent), ModTime: t.e.now(), BlockSize: op.BlockSize,
		LastVersion: 1, Writing: true, Persist: dfs.NotPersisted,
		ReplicationMin: op.ReplicationMin, ReplicationMax: op.ReplicationMax, ReplicationDurable: op.ReplicationDurable,
		TTL: time.Duration(op.Ttl), TTLAction: dfs.TTLAction(op.TtlAction),
	}
	if n.BlockSize == 0 {
		n.BlockSize = dfs.DefaultBlockSizeBytes
	}
	t.putInode(n)
	t.beginWrite(r, n, dfs.WriteType(op.WriteType))
	return n
}

func (t *txn) putLocation(n *inodestore.Inode) {
	t.putRecord(inodestore.TableLocation, idKey(uint64(n.ID)), location{n.Parent, n.Name}.encode())
}

func (t *txn) putOpenWrite(id dfs.InodeID, w openWrite) {
	t.putRecord(inodestore.TableOpenWrite, idKey(uint64(id)), w.encode())
}

func (t *txn) beginWrite(r *Request, n *inodestore.Inode, w dfs.WriteType) {
	t.putOpenWrite(n.ID, openWrite{location{n.Parent, n.Name}, n.LastVersion, r.Session, w})
	t.answer.inode, t.answer.version = n.ID, n.LastVersion
}

// overwrite begins a new version of an existing file; the readable one stays until Complete. A write that another
// client had begun is taken over: its Complete will be refused as Stale.
func (t *txn) overwrite(r *Request, f found, p dfs.Path, op *proto.CreateFile) (*inodestore.Inode, error) {
	const what = "create"
	switch {
	case f.inode.IsDir():
		return nil, dfs.Errorf(dfs.IsDirectory, what, string(p), "a directory has this name")
	case !op.Overwrite:
		return nil, dfs.Errorf(dfs.AlreadyExists, what, string(p), "ask for overwrite to replace it")
	}
	if err := demand(r, f.inode, permWrite, what, p); err != nil {
		return nil, err
	}
	n := *f.inode
	n.LastVersion, n.Writing = n.LastVersion+1, true
	if op.BlockSize != 0 && n.Version == 0 {
		n.BlockSize = op.BlockSize
	}
	t.putInode(&n)
	t.beginWrite(r, &n, dfs.WriteType(op.WriteType))
	return &n, nil
}

// Complete publishes the version that the session was writing. When NeedsStore says so, the caller has made sure that
// the under store has it.
func (e *Evaluator) Complete(ctx context.Context, r Request, op *proto.CompleteFile, onApplied func(before, after *inodestore.Inode)) (Outcome, error) {
	const what = "complete"
	id := dfs.InodeID(op.Inode)
	var out Outcome
	var err error
	out.Ticket, err = e.do(ctx, r, nil, func(t *txn) error {
		before, open, err := e.writing(&r, id, op.Version, what, op.Path)
		if err == nil {
			err = checkLength(op.Length, before.BlockSize, what, op.Path)
		}
		if err != nil {
			return err
		}
		n := *before
		n.Version, n.Length, n.ModTime = op.Version, op.Length, e.now()
		n.Fingerprint, n.Writing = op.Fingerprint, false
		n.Persist = persistAfter(open.writeType)
		t.publish(before, &n)
		if n.Persist == dfs.Persisted {
			if err := t.persistParents(&n); err != nil {
				return err
			}
		}
		t.answer.inode, t.answer.version = n.ID, n.Version
		if onApplied != nil {
			t.then(func() { onApplied(before, &n) })
		}
		out.Inode = &n
		return nil
	})
	return out, err
}

func persistAfter(w dfs.WriteType) dfs.PersistState {
	switch w {
	case dfs.WriteMustCache:
		return dfs.NotPersisted
	case dfs.WriteAsyncThrough:
		return dfs.ToBePersisted
	}
	return dfs.Persisted
}

// NeedsStore tells whether a version is written through to an under store, so that Complete must be confirmed there. It
// asks what the writer said when it began: what it says at the end could talk unconfirmed content into the namespace.
func (e *Evaluator) NeedsStore(id dfs.InodeID, version uint32) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	open, found, err := openWriteOf(e.view.record, id)
	if err != nil || !found || open.version != version {
		return false // Complete says what is wrong
	}
	return persistAfter(open.writeType) == dfs.Persisted
}

// writing finds the inode whose version r is writing. A version belongs to the session that began it and, since session
// ids are no secret, to a user who may write the file.
func (e *Evaluator) writing(r *Request, id dfs.InodeID, version uint32, op, path string) (*inodestore.Inode, openWrite, error) {
	n, open, err := e.openVersion(id, version, op, path)
	if err != nil {
		return n, open, err
	}
	if open.session != r.Session {
		return nil, open, dfs.Errorf(dfs.PermissionDenied, op, path, "version %d of inode %d is being written by another session", version, id)
	}
	if r.Identity.User != n.Owner {
		err = demand(r, n, permWrite, op, dfs.Path(path))
	}
	return n, open, err
}

// CheckLeft tells whether r, who was writing at p in the under store, may take what lies there now, after its file was
// renamed. p comes from the client, so it must not name another file, known or unknown.
func (e *Evaluator) CheckLeft(r Request, p dfs.Path, op string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	f, err := lookup(e.view, &r, p)
	switch {
	case err != nil:
		return dfs.Wrap(err, op, string(p))
	case f.inode != nil:
		return dfs.Errorf(dfs.Conflict, op, string(p), "another file has the path where this one was written: write again")
	case f.missing > 1 && f.deepest.Loaded:
		return nil // its directory went: all that can lie there is what this writer left
	}
	return demand(&r, f.deepest, permWrite|permExecute, op, p)
}

// openVersion finds an open write, whoever it belongs to.
func (e *Evaluator) openVersion(id dfs.InodeID, version uint32, op, path string) (*inodestore.Inode, openWrite, error) {
	open, found, err := openWriteOf(e.view.record, id)
	if err != nil {
		return nil, openWrite{}, dfs.Wrap(err, op, path)
	}
	if !found || open.version != version {
		return nil, openWrite{}, dfs.Errorf(dfs.Stale, op, path,
			"version %d of inode %d is not being written: it was completed, removed, taken over by another writer, or its session expired", version, id)
	}
	n, err := open.find(e.view, id)
	if err == nil && n == nil {
		err = dfs.Errorf(dfs.NotFound, op, path, "the file was removed while it was being written")
	}
	return n, open, err
}

// publish replaces before by n, keeping the records in step with it.
func (t *txn) publish(before, n *inodestore.Inode) {
	t.putInode(n)
	t.deleteRecord(inodestore.TableOpenWrite, idKey(uint64(n.ID)))
	t.reindex(before, n)
}

// reindex keeps the location, persist and TTL records of a file in step with a change of it.
func (t *txn) reindex(before, n *inodestore.Inode) {
	switch {
	case n.Persist == dfs.ToBePersisted:
		t.putRecord(inodestore.TablePersist, idKey(uint64(n.ID)), []byte{})
	case before.Persist == dfs.ToBePersisted:
		t.deleteRecord(inodestore.TablePersist, idKey(uint64(n.ID)))
	}
	switch {
	case needsLocation(n):
		t.putLocation(n)
	case needsLocation(before):
		t.deleteRecord(inodestore.TableLocation, idKey(uint64(n.ID)))
	}
	was, is := expiry(before), expiry(n)
	if was.Equal(is) && before.Completed() == n.Completed() {
		return
	}
	if !was.IsZero() {
		t.deleteRecord(inodestore.TableTTL, ttlKey(was, n.ID))
	}
	if !is.IsZero() && n.Completed() {
		t.putRecord(inodestore.TableTTL, ttlKey(is, n.ID), []byte{})
	}
}

// persistParents marks the directories above n as present in the under store, since its driver made them.
func (t *txn) persistParents(n *inodestore.Inode) error {
	for up := n; up.Parent != 0; {
		parent, err := located(t.e.view, t.e.view.record, up.Parent)
		if err != nil {
			return err
		}
		if parent == nil || parent.Persist == dfs.Persisted || parent.MountID != 0 {
			return nil
		}
		marked := *parent
		marked.Persist = dfs.Persisted
		t.putInode(&marked)
		up = parent
	}
	return nil
}

// persistUp marks dir, and the directories above it.
func (t *txn) persistUp(dir *inodestore.Inode) error {
	if dir.Persist == dfs.Persisted || dir.MountID != 0 {
		return nil
	}
	marked := *dir
	marked.Persist = dfs.Persisted
	t.putInode(&marked)
	return t.persistParents(dir)
}

// Abandon drops a version that was being written; a file that never had another is removed.
func (e *Evaluator) Abandon(ctx context.Context, r Request, op *proto.AbandonFile) (Outcome, error) {
	var out Outcome
	var err error
	out.Ticket, err = e.do(ctx, r, nil, func(t *txn) error {
		n, _, err := e.writing(&r, dfs.InodeID(op.Inode), op.Version, "abandon", "")
		if err != nil {
			return err
		}
		t.abandon(n)
		return nil
	})
	return out, err
}

func (t *txn) abandon(n *inodestore.Inode) {
	t.deleteRecord(inodestore.TableOpenWrite, idKey(uint64(n.ID)))
	if n.Version == 0 {
		t.drop(n)
		return
	}
	after := *n
	after.Writing = false
	t.putInode(&after)
	t.reindex(n, &after)
}
