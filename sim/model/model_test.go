package model

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/proto"
)

// sample is a model with a different figure everywhere.
func sample() *Model {
	return &Model{
		Version: Version, Commit: "abc", Time: time.Unix(1_700_000_000, 0).UTC(), Machine: Machine{CPU: "c", Memory: "m", Kernel: "k", Go: "g"},
		Cores: 2, LatencyNs: 1, TurnNs: 2, StartNs: 3, StartShare: 0.5, IdleNs: 26, MessageSpread: 0.25,
		Methods: map[string]Method{
			Other:  {Client: End{4, 5, 6}, Server: End{7, 8, 9}},
			"/s/m": {Client: End{CallNs: 10, MessageNs: 100, KiBNs: 1000}, Server: End{CallNs: 20, MessageNs: 200, KiBNs: 2000}},
		},
		Operations: map[string]Operation{Other: {10, 11, 12, 13}, Status: {ClientNs: 1e4, ServerNs: 2e4}, List: {ClientEntryNs: 7, ServerEntryNs: 9}},
		Journal:    Journal{14, 15},
		Disk:       Disk{CreateNs: 16, WriteKiBNs: 17, SyncCPUNs: 18, SyncNs: 19, SyncSpread: 0.5, BytesPerSecond: 20},
		Store:      Store{21, 22, 23, 24, 25},
	}
}

// TestFile: what is written is read back, and no figure of it is lost.
func TestFile(t *testing.T) {
	text, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := m.Encode()
	if err != nil || !bytes.Equal(text, again) {
		t.Errorf("read back it is another: %v\n%s", err, again)
	}
	if m.Disk.SyncSpread != 0.5 || m.Store.CommitNs != 25 || m.Methods["/s/m"].Server.KiBNs != 2000 || !m.Time.Equal(sample().Time) {
		t.Errorf("read back: %+v", m)
	}
	if _, err := Load(path + "x"); err == nil || !strings.Contains(err.Error(), "calibrate") {
		t.Errorf("a file that is not there: %v", err)
	}
}

// changed is the sample's text with one thing changed.
func changed(t testing.TB, change func(m map[string]any)) []byte {
	t.Helper()
	text, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	change(m)
	if text, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	return text
}

func part(m map[string]any, key string) map[string]any { return m[key].(map[string]any) }

// TestRefused: what is no model is refused with a word that says what and where.
func TestRefused(t *testing.T) {
	text, _ := sample().Encode()
	for _, c := range []struct {
		name string
		text []byte
		says []string
	}{
		{"nothing", nil, []string{"JSON"}},
		{"other text", []byte("hello"), []string{"JSON"}},
		{"a list", []byte("[]"), []string{"JSON"}},
		{"no version", []byte("{}"), []string{"version", "calibrate again"}},
		{"another version", changed(t, func(m map[string]any) { m["version"] = 2; m["new"] = 1 }), []string{"version is not 1"}},
		{"unknown key", changed(t, func(m map[string]any) { m["corse"] = 1 }), []string{"corse"}},
		{"unknown key inside", changed(t, func(m map[string]any) { part(m, "disk")["sync"] = 1 }), []string{"sync"}},
		{"wrong kind", changed(t, func(m map[string]any) { m["cores"] = "two" }), []string{"cores"}},
		{"two values", append(text, text...), []string{"after top-level value"}},
		{"too large", bytes.Repeat([]byte(" "), maxFileBytes+1), []string{"bytes"}},
		{"all wrong at once", changed(t, func(m map[string]any) {
			m["cores"], m["turn_ns"], m["latency_wait_ns"], m["start_wait_ns"] = 0, -1, 2e9, -3
			m["idle_ns"], m["message_spread"], m["start_queue_share"] = -1, -1, 2
			part(m, "disk")["write_bytes_per_second"] = 0
			part(m, "disk")["sync_spread"] = 4
			part(m, "disk")["sync_wait_ns"] = -1
			part(m, "store")["open_ns"] = -1
			part(m, "journal")["entry_ns"] = -1
			part(part(part(m, "methods"), "/s/m"), "server")["kib_ns"] = -1
			part(part(m, "operations"), "list")["client_entry_ns"] = -1
		}), []string{"cores: 0", "turn_ns: -1", "latency_wait_ns", "start_wait_ns", "idle_ns", "start_queue_share: 2", "message_spread: -1", "write_bytes_per_second", "sync_spread", "disk.sync_wait_ns",
			"store.open_ns", "journal.entry_ns", `methods["/s/m"].server.kib_ns`, `operations["list"].client_entry_ns`}},
		{"no others", changed(t, func(m map[string]any) {
			delete(part(m, "methods"), Other)
			delete(part(m, "operations"), Other)
		}), []string{`methods: there is no "other"`, `operations: there is no "other"`}},
		{"no such operation", changed(t, func(m map[string]any) { part(m, "operations")["stats"] = map[string]any{} }), []string{`"stats"`, "status"}},
	} {
		_, err := Parse(c.text)
		for _, want := range c.says {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v; want %q in it", c.name, err, want)
			}
		}
	}
}

// TestCharges: each part of a message is charged once, at the right end.
func TestCharges(t *testing.T) {
	m := sample()
	two := &proto.OperationBatch{Operations: []*proto.Operation{
		{Kind: &proto.Operation_GetStatus{}}, {Kind: &proto.Operation_Rename{}},
	}}
	answer := &proto.ResultBatch{Results: []*proto.Result{{Entries: make([]*proto.FileStatus, 5)}, {}}}
	for _, c := range []struct {
		name string
		x    world.Message
		want time.Duration
	}{
		{"the client begins", world.Message{Method: "/s/m"}, 10},
		{"the server begins", world.Message{Method: "/s/m", Server: true}, 20},
		{"2 KiB from the client", world.Message{Method: "/s/m", Sends: true, Bytes: 2048, Body: &proto.ReadRequest{}}, 2100},
		{"2 KiB at the server", world.Message{Method: "/s/m", Server: true, Bytes: 2048, Body: &proto.ReadRequest{}}, 4200},
		{"another method", world.Message{Method: "/s/n", Server: true, Bytes: 1024, Body: &proto.ReadRequest{}}, 17},
		{"operations at the client", world.Message{Method: "/s/m", Sends: true, Body: two}, 100 + 1e4 + 10},
		{"operations at the server", world.Message{Method: "/s/m", Server: true, Body: two}, 200 + 2e4 + 11},
		{"entries from the server", world.Message{Method: "/s/m", Server: true, Sends: true, Body: answer}, 200 + 5*9},
		{"entries at the client", world.Message{Method: "/s/m", Body: answer}, 100 + 5*7},
	} {
		if got := m.Message(c.x); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if m.Turn() != 2 || m.Start(8) != 7 || m.Idle() != 26 || m.Spread() != 0.25 || m.Topology().Rack != 1 || m.Topology().Far != 1 {
		t.Error("turn, start or latency")
	}
	if d := m.DiskConfig(); d.Sync != 19 || d.Rate != 20 || d.Spread != 0.5 || !d.Together || d.CPU != (world.DiskCPU{Create: 16, KiB: 17, Sync: 18}) {
		t.Errorf("disk %+v", d)
	}
}

// TestKinds: the operations that have costs of their own are told apart.
func TestKinds(t *testing.T) {
	for want, op := range map[string]*proto.Operation{
		Status: {Kind: &proto.Operation_GetStatus{}}, List: {Kind: &proto.Operation_ListStatus{}}, Mkdir: {Kind: &proto.Operation_MakeDirectory{}},
		Create: {Kind: &proto.Operation_CreateFile{}}, Complete: {Kind: &proto.Operation_CompleteFile{}}, Other: {},
	} {
		if got := Kind(op); got != want {
			t.Errorf("%T is %q, want %q", op.Kind, got, want)
		}
	}
}

// FuzzParse: whatever is read is a model that can be written and read again, and nothing makes the reader fail otherwise than by
// an error.
func FuzzParse(f *testing.F) {
	text, err := sample().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"version":1}`))
	f.Add(changed(f, func(m map[string]any) { m["turn_ns"] = 1e300 }))
	f.Add([]byte(`{"version":1,"version":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := Parse(text)
		if err != nil {
			return
		}
		again, err := m.Encode()
		if err != nil {
			t.Fatalf("read, and cannot be written: %v", err)
		}
		back, err := Parse(again)
		if err != nil {
			t.Fatalf("written, and cannot be read: %v\n%s", err, again)
		}
		if last, err := back.Encode(); err != nil || !bytes.Equal(last, again) {
			t.Fatalf("it changes with each reading: %v", err)
		}
	})
}
