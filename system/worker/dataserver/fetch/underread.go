package fetch

import (
	"context"
	"errors"
	"io"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/worker/blockstore"
)

var (
	stateStale     = host.NewState("a fetch finds another content than its reader knows")
	pathFetchFails = host.NewPath("a fetch fails")
)

// fetch reads a run in one ranged read and stores it page by page.
// Each page is handed to its readers as soon as it is there, and stored behind that: the store's disk does not make
// them wait. It holds one page of memory at a time, besides what readers have a reference of.
// An error in the middle fails the flights that have not landed; pages before it are good, since the fingerprint
// was compared at the opening and the body is of one content.
func (f *Fetcher) fetch(ctx context.Context, m *proto.FileRef, ref *blockstore.Ref, run []*flight) {
	start, end := run[0].key.start, run[len(run)-1].end
	body, err := f.open(ctx, m, start, end-start)
	if err != nil {
		f.failRun(run, err)
		return
	}
	defer func() { _ = body.Close() }()
	for i, fl := range run {
		buffer := rpc.NewPageBuffer(int(fl.end - fl.key.start))
		if err := f.readFull(body, buffer.Bytes(), m, fl.key.start); err != nil {
			buffer.Free()
			f.failRun(run[i:], err)
			return
		}
		f.Counters.BytesFetched.Add(fl.end - fl.key.start)
		f.land(fl, buffer, nil)
		if !f.c.Store.Fill(ctx, ref, fl.key.start, buffer.Bytes()) {
			f.refused.Store(f.h.Now().UnixNano())
		}
		f.retire(fl)
	}
}

// readFull fills p. An object that ends early is another content than the reference names.
func (f *Fetcher) readFull(r io.Reader, p []byte, m *proto.FileRef, offset int64) error {
	n, err := io.ReadFull(r, p)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		f.Counters.StaleReads.Add(1)
		return stale(m, "it ends at %d, expected were %d bytes", offset+int64(n), m.Length)
	}
	return dfs.Wrap(err, "fetch", m.UfsPath)
}

// stale says that the under store has another content than the reference names. Only a new reference helps, so the
// words say how to get one.
func stale(m *proto.FileRef, format string, args ...any) error {
	e := dfs.Errorf(dfs.Stale, "fetch", m.UfsPath, format, args...)
	e.Detail = "the file changed in the under store (" + e.Detail + "): run `forebay fs load` on it, or sync its mount, and open it again"
	return e
}

// open begins a ranged read and compares the fingerprint of what it reads with the reference's (INV-2).
// The body is the caller's to close. With an error there is none.
func (f *Fetcher) open(ctx context.Context, m *proto.FileRef, offset, length int64) (io.ReadCloser, error) {
	store, err := f.c.Mount(ctx, dfs.MountID(m.MountId))
	if err != nil {
		return nil, dfs.Wrap(err, "fetch", m.UfsPath)
	}
	if pathFetchFails.Taken(f.h) {
		return nil, dfs.Errorf(dfs.Unavailable, "fetch", m.UfsPath, "as if the under store did not answer")
	}
	f.Counters.Fetches.Add(1)
	body, err := store.Open(ctx, m.UfsPath, offset, length)
	if err != nil {
		return nil, dfs.Wrap(err, "fetch", m.UfsPath)
	}
	if err := f.checkFingerprint(ctx, store, ufs.FingerprintOf(body), m); err != nil {
		_ = body.Close()
		return nil, err
	}
	return body, nil
}

// checkFingerprint compares the reader's fingerprint, or for stores whose readers have none, that of Stat, asked after the
// reader was opened: each time, since a content may change between two reads of the same version.
func (f *Fetcher) checkFingerprint(ctx context.Context, store ufs.Store, got string, m *proto.FileRef) error {
	if m.Fingerprint == "" {
		return nil
	}
	if got == "" {
		e, err := store.Stat(ctx, m.UfsPath)
		if err != nil {
			return dfs.Wrap(err, "fetch", m.UfsPath)
		}
		got = e.Fingerprint
	}
	if got != m.Fingerprint {
		stateStale.Reached(f.h)
		f.Counters.StaleReads.Add(1)
		return stale(m, "fingerprint %s, expected was %s", got, m.Fingerprint)
	}
	return nil
}
