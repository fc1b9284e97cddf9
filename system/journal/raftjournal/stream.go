package raftjournal

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/forebay/forebay/system/host"
)

// A snapshot travels as a tar stream: streamHead, the state's files below "state/", and streamSums, which has the CRC32C
// of each file in their order. Neither side holds more than a copy buffer of it. Its size is known before it is made,
// since raft sends the size first: tar's blocks make it a sum.
const (
	streamHeadName = "snapshot"
	streamSumsName = "sums"
	streamPrefix   = stateDirName + "/"
	tarBlockBytes  = 512
	sumBytes       = len("00000000\n")
	maxHeadBytes   = 4 << 10
	// maxSumsBytes bounds what a receiver reads into memory: over a million files.
	maxSumsBytes = 16 << 20
)

// streamHead begins a stream.
type streamHead struct {
	Format     int
	StateIndex uint64
}

const streamFormat = 1

// makeHead's length depends on the index's digits, which is why streamSize makes it, too.
func makeHead(stateIndex uint64) ([]byte, error) {
	return json.Marshal(streamHead{Format: streamFormat, StateIndex: stateIndex})
}

// streamSize is the number of bytes that writeStream writes.
func streamSize(fs fileSystem, dir string, stateIndex uint64) (int64, error) {
	head, err := makeHead(stateIndex)
	if err != nil {
		return 0, err
	}
	entry := func(size int64) int64 { return tarBlockBytes + (size+tarBlockBytes-1)/tarBlockBytes*tarBlockBytes }
	total, files := entry(int64(len(head))), 0
	err = fs.walk(dir, "", func(_ string, size int64) error {
		total += entry(size)
		files++
		return nil
	})
	return total + entry(int64(files*sumBytes)) + 2*tarBlockBytes, err
}

// writeStream writes the state in dir, which holds still: the snapshot has a reader (snapshotStore.Open).
// An error ends the stream where it is, which the other side takes for a broken one. The files are read once and sent
// as they are; their sums are made on the way and follow them.
func writeStream(w io.Writer, fs fileSystem, dir string, stateIndex uint64) error {
	tw := tar.NewWriter(w)
	head, err := makeHead(stateIndex)
	if err != nil {
		return err
	}
	if err := writeEntry(tw, streamHeadName, head); err != nil {
		return err
	}
	var sums []byte
	err = fs.walk(dir, "", func(rel string, size int64) error {
		sum, err := writeStreamFile(tw, fs, fs.PathJoin(dir, rel), streamPrefix+rel, size)
		sums = fmt.Appendf(sums, "%08x\n", sum)
		return err
	})
	if err != nil {
		return err
	}
	if err := writeEntry(tw, streamSumsName, sums); err != nil {
		return err
	}
	return tw.Close()
}

// writeEntry writes one of the stream's own small entries.
func writeEntry(tw *tar.Writer, name string, data []byte) error {
	if err := tw.WriteHeader(streamHeader(name, int64(len(data)))); err != nil {
		return err
	}
	_, err := tw.Write(data)
	return err
}

// streamHeader is of the GNU format, whose header is one block whatever the size; names are at most 100 bytes in it.
func streamHeader(name string, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, Format: tar.FormatGNU}
}

// writeStreamFile sends exactly size bytes, as promised. Nobody changes a checkpoint's files (journal.StateMachine), so a
// file that is shorter now is damaged, and the stream fails.
func writeStreamFile(tw *tar.Writer, fs fileSystem, file, name string, size int64) (sum uint32, err error) {
	const maxName = 100
	if len(name) > maxName {
		return 0, fmt.Errorf("snapshot: %s: a name of more than %d bytes cannot be sent", name, maxName)
	}
	f, err := fs.Open(file, vfs.SequentialReadsOption)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := tw.WriteHeader(streamHeader(name, size)); err != nil {
		return 0, err
	}
	hash := crc32.New(castagnoli)
	_, err = io.CopyN(io.MultiWriter(tw, hash), f, size)
	return hash.Sum32(), err
}

// receiver unpacks a stream that is written to it. The pipe has no buffer, so a slow disk slows the sender down and nothing
// piles up in memory. A failure ends the pipe, and with the next Write the transfer; Raft cancels the sink and tries again.
type receiver struct {
	pipe *io.PipeWriter
	done host.Event

	stateIndex uint64 // with err, valid once done is set
	err        error
}

// newReceiver unpacks into the new directory dir.
func newReceiver(h host.Host, fs fileSystem, dir string) *receiver {
	reader, writer := io.Pipe()
	r := &receiver{pipe: writer, done: h.NewEvent()}
	h.Go("receive snapshot", func() {
		defer r.done.Set()
		r.stateIndex, r.err = readStream(reader, fs, dir)
		if r.err == nil {
			_, r.err = io.Copy(io.Discard, reader) // the padding behind the last entry
		}
		_ = reader.CloseWithError(r.err) // the next Write fails; CloseWithError itself cannot
	})
	return r
}

// Write implements io.Writer.
func (r *receiver) Write(p []byte) (int, error) { return r.pipe.Write(p) }

// finish ends the stream and returns the state's index once everything is unpacked, checked and synced.
func (r *receiver) finish() (uint64, error) {
	_ = r.pipe.Close() // cannot fail
	_ = r.done.Wait(background)
	return r.stateIndex, r.err
}

// abort ends a stream that will not be whole, and waits until nobody writes into the directory, which the caller removes.
func (r *receiver) abort() {
	_ = r.pipe.CloseWithError(io.ErrUnexpectedEOF) // cannot fail
	_ = r.done.Wait(background)
}

// readStream unpacks a stream into the new directory dir, and syncs it. After an error, or a crash, dir is rubbish: it lies
// below a temporary name (INV-1 of snapshotStore).
func readStream(r io.Reader, fs fileSystem, dir string) (stateIndex uint64, err error) {
	tr := tar.NewReader(r)
	var head streamHead
	data, err := readEntry(tr, streamHeadName, maxHeadBytes)
	if err != nil {
		return 0, err
	}
	if err := json.Unmarshal(data, &head); err != nil || head.Format != streamFormat {
		return 0, fmt.Errorf("snapshot stream: format %d (%v): the members' versions do not fit together", head.Format, err)
	}
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	sums, err := readFiles(tr, fs, dir)
	if err != nil {
		return 0, err
	}
	return head.StateIndex, checkSums(tr, sums)
}

// readEntry reads the next entry into memory; it must have this name and at most limit bytes.
//
// The limit is checked before anything is read: the size is the sender's word.
func readEntry(tr *tar.Reader, name string, limit int64) ([]byte, error) {
	h, err := tr.Next()
	if err != nil {
		return nil, fmt.Errorf("snapshot stream: %w", err)
	}
	if h.Name != name || h.Size > limit {
		return nil, fmt.Errorf("snapshot stream: found %q of %d bytes, want %q", h.Name, h.Size, name)
	}
	return io.ReadAll(tr)
}

// readFiles unpacks the state's files and leaves tr at the sums.
// A file's name may come twice in a damaged stream: the second one fails on the sums. Nothing bounds the number of
// files but the disk and maxSumsBytes.
func readFiles(tr *tar.Reader, fs fileSystem, dir string) (sums []byte, err error) {
	// Directories are synced once, at the end: their entries need not be there before the snapshot gets its name.
	dirs := map[string]bool{dir: true}
	for {
		h, err := tr.Next()
		if err != nil {
			return nil, fmt.Errorf("snapshot stream: %w", err)
		}
		if h.Name == streamSumsName {
			if h.Size > maxSumsBytes {
				return nil, fmt.Errorf("snapshot stream: %d bytes of checksums", h.Size)
			}
			break
		}
		// The peer is a member, yet its stream may be damaged: no name may lead out of dir.
		rel := strings.TrimPrefix(h.Name, streamPrefix)
		if h.Typeflag != tar.TypeReg || rel == h.Name || rel != path.Clean(rel) || rel[0] == '/' || strings.HasPrefix(rel, "..") {
			return nil, fmt.Errorf("snapshot stream: entry %q has no place here", h.Name)
		}
		name := fs.PathJoin(dir, rel)
		for parent := fs.PathDir(name); !dirs[parent]; parent = fs.PathDir(parent) {
			dirs[parent] = true
		}
		sum, err := readStreamFile(tr, fs, name)
		if err != nil {
			return nil, err
		}
		sums = fmt.Appendf(sums, "%08x\n", sum)
	}
	for d := range dirs {
		if err := fs.syncDir(d); err != nil {
			return nil, err
		}
	}
	return sums, nil
}

// readStreamFile makes one file, with its directories, synced, and gives the CRC32C of what arrived.
func readStreamFile(tr *tar.Reader, fs fileSystem, name string) (sum uint32, err error) {
	if err := fs.MkdirAll(fs.PathDir(name), 0o755); err != nil {
		return 0, err
	}
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	hash := crc32.New(castagnoli)
	// The hash goes first: a vfs.File may change what it is given to write.
	if _, err := io.Copy(io.MultiWriter(hash, f), tr); err != nil {
		return 0, err
	}
	return hash.Sum32(), f.Sync()
}

// checkSums compares what arrived with what the sender read from its disk. TCP's own sum is too weak for gigabytes.
func checkSums(tr *tar.Reader, got []byte) error {
	want, err := io.ReadAll(tr)
	if err != nil {
		return fmt.Errorf("snapshot stream: %w", err)
	}
	if string(got) != string(want) {
		return errors.New("snapshot stream: a file does not match its checksum")
	}
	if _, err := tr.Next(); err != io.EOF {
		return fmt.Errorf("snapshot stream: something follows the checksums (%v)", err)
	}
	return nil
}
