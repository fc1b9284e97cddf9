package journaltest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
)

// RefusePrefix begins the entries that a Recorder refuses.
const RefusePrefix = "refuse "

// Recorder is a state machine that remembers what was applied to it and checks that the journal keeps its side.
type Recorder struct {
	host host.Host

	mu         sync.Mutex
	state      recorderState
	flushed    recorderState // what a crash leaves
	fromLog    []uint64      // indexes that came by Apply, not by Restore
	restores   int
	violations []string
	gate       host.Event // Apply waits for it
}

// recorderState is what a checkpoint holds. Refused entries are not in it.
type recorderState struct {
	Applied uint64
	Entries []journal.Entry
}

// NewRecorder makes an empty one. Its checkpoints lie on h's disk.
func NewRecorder(h host.Host) *Recorder { return &Recorder{host: h} }

var _ journal.StateMachine = (*Recorder)(nil)

// Apply implements journal.StateMachine.
func (r *Recorder) Apply(entries []journal.Entry) []error {
	r.mu.Lock()
	// The gate is waited for without the lock, so that the state can be looked at meanwhile.
	gate := r.gate
	r.mu.Unlock()
	if gate != nil {
		_ = gate.Wait(background)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	answers := make([]error, len(entries))
	for i, e := range entries {
		answers[i] = r.apply(e)
	}
	return answers
}

// apply checks the contract of Apply. Members skip what they have, so an index at or below Applied is the journal's mistake.
// r.mu is held.
func (r *Recorder) apply(e journal.Entry) error {
	if e.Index <= r.state.Applied {
		r.violations = append(r.violations, fmt.Sprintf("entry %d came after %d", e.Index, r.state.Applied))
		return nil
	}
	r.state.Applied = e.Index
	r.fromLog = append(r.fromLog, e.Index)
	if strings.HasPrefix(string(e.Data), RefusePrefix) {
		return dfs.Errorf(dfs.Conflict, "apply", "", "%s", e.Data)
	}
	r.state.Entries = append(r.state.Entries, journal.Entry{Index: e.Index, Data: append([]byte{}, e.Data...)})
	return nil
}

// AppliedIndex implements journal.StateMachine.
func (r *Recorder) AppliedIndex() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.Applied
}

// FlushedIndex implements journal.StateMachine.
func (r *Recorder) FlushedIndex() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.flushed.Applied
}

// Flush makes the present state survive Crash.
func (r *Recorder) Flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flush()
}

func (r *Recorder) flush() {
	r.flushed = recorderState{r.state.Applied, append([]journal.Entry{}, r.state.Entries...)}
}

// Crash is the state machine after a restart of its process: what was flushed.
func (r *Recorder) Crash() *Recorder {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := &Recorder{host: r.host, state: r.flushed, violations: r.violations}
	next.flush()
	return next
}

// Checkpoint implements journal.StateMachine. Two files, one of them in a folder, so that a journal has to carry both.
func (r *Recorder) Checkpoint(dir string) (uint64, error) {
	r.mu.Lock()
	r.flush()
	state := r.flushed
	r.mu.Unlock()
	fs := r.host.FS()
	data, err := json.Marshal(state)
	if err != nil {
		return 0, err
	}
	if err := fs.MkdirAll(fs.PathJoin(dir, "sub"), 0o755); err != nil {
		return 0, err
	}
	if err := writeFile(fs, fs.PathJoin(dir, "sub", "state.json"), data); err != nil {
		return 0, err
	}
	if err := writeFile(fs, fs.PathJoin(dir, "applied"), fmt.Append(nil, state.Applied)); err != nil {
		return 0, err
	}
	return state.Applied, errors.Join(syncDir(fs, fs.PathJoin(dir, "sub")), syncDir(fs, dir))
}

// Restore implements journal.StateMachine. It consumes dir.
func (r *Recorder) Restore(dir string) error {
	fs := r.host.FS()
	data, err := readFile(fs, fs.PathJoin(dir, "sub", "state.json"))
	if err != nil {
		return err
	}
	var state recorderState
	if err := json.Unmarshal(data, &state); err != nil {
		return err
	}
	applied, err := readFile(fs, fs.PathJoin(dir, "applied"))
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if string(applied) != fmt.Sprint(state.Applied) {
		r.violations = append(r.violations, "a checkpoint's files do not belong together")
	}
	r.state = state
	r.restores++
	r.flush()
	return fs.RemoveAll(dir)
}

// Entries are the entries that took effect, in their order.
func (r *Recorder) Entries() []journal.Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]journal.Entry{}, r.state.Entries...)
}

// FromLog are the indexes that arrived by Apply since the recorder was made.
func (r *Recorder) FromLog() []uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]uint64{}, r.fromLog...)
}

// Restores counts the calls of Restore.
func (r *Recorder) Restores() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.restores
}

// Violations are what the journal did wrong.
func (r *Recorder) Violations() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string{}, r.violations...)
}

// Hold makes Apply wait until the returned function is called.
func (r *Recorder) Hold() (release func()) {
	gate := r.host.NewEvent()
	r.mu.Lock()
	r.gate = gate
	r.mu.Unlock()
	return func() {
		r.mu.Lock()
		r.gate = nil
		r.mu.Unlock()
		gate.Set()
	}
}

func writeFile(fs vfs.FS, name string, data []byte) error {
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func readFile(fs vfs.FS, name string) ([]byte, error) {
	f, err := fs.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	_ = f.Close()
	return data, err
}
