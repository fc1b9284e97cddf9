package namespace

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal/memjournal"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/mounttable"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/ufs"
)

// TestScripts runs the scenarios of testdata: each block is a list of operations, each line of the output an answer.
// `go test ./system/master/namespace -rewrite` writes the answers anew; read the difference before you commit it.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := newScript(t)
		defer s.close()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var out strings.Builder
			for line := range strings.SplitSeq(d.Input, "\n") {
				if answer := s.line(line); answer != "" {
					fmt.Fprintln(&out, answer)
				}
			}
			s.checkClean(t)
			return out.String()
		})
	})
}

// checkClean holds the records against the inodes after each block, unless removed directories are still being collected.
func (s *script) checkClean(t *testing.T) {
	t.Helper()
	garbage := 0
	if err := s.store.Records(inodestore.TableGarbage, nil, nil, func(_, _ []byte) bool { garbage++; return true }); err != nil {
		t.Fatal(err)
	}
	if garbage == 0 {
		checkRecords(t, s.m)
	}
}

// script is one namespace under test, with its leader.
type script struct {
	h        host.Host
	store    inodestore.Store
	m        *Machine
	e        *Evaluator
	user     string
	session  dfs.SessionID
	sequence uint64
	removed  []string
}

func newScript(t testing.TB) *script {
	h := host.NewReal()
	store, err := inodestore.OpenHeap(h, "")
	if err != nil {
		t.Fatal(err)
	}
	s := &script{h: h, store: store, user: "root"}
	s.lead()
	return s
}

func (s *script) ctx() context.Context { return context.Background() }

// lead starts a machine on the store and a new leadership, as after a failover.
func (s *script) lead() {
	m, err := NewMachine(s.h, s.store)
	if err != nil {
		panic(err)
	}
	s.m = m
	j := memjournal.Open(s.h, m)
	if s.e, err = NewEvaluator(s.h, m, j, nil); err != nil {
		panic(err)
	}
	if err := s.e.Bootstrap(s.ctx(), "root", "root", "m1", "127.0.0.1:1"); err != nil {
		panic(err)
	}
}

func (s *script) close() { s.e.Close() }

func (s *script) request() Request {
	r := Request{Identity: dfs.Identity{User: s.user, Groups: []string{s.user}}, Superuser: "root", Session: s.session}
	if s.session != 0 {
		s.sequence++
		r.Sequence = s.sequence
	}
	return r
}

// line runs one operation: a verb, paths, and key=value options.
func (s *script) line(line string) string {
	fields := strings.Fields(line)
	if len(fields) == 0 || strings.HasPrefix(line, "#") {
		return ""
	}
	verb, args, opts := fields[0], []string{}, map[string]string{}
	for _, f := range fields[1:] {
		if k, v, ok := strings.Cut(f, "="); ok {
			opts[k] = v
		} else {
			args = append(args, f)
		}
	}
	answer, err := s.run(verb, args, opts)
	if err != nil {
		return err.Error()
	}
	if answer == "" {
		answer = "ok"
	}
	return answer
}

func (s *script) path(args []string, i int) dfs.Path {
	if i >= len(args) || !strings.HasPrefix(args[i], "/") {
		return ""
	}
	p, err := dfs.ParsePath(args[i])
	if err != nil {
		panic(err)
	}
	return p
}

func number(opts map[string]string, key string) int64 {
	n, _ := strconv.ParseInt(opts[key], 0, 64)
	return n
}

func flag(args []string, name string) bool {
	for _, a := range args {
		if a == name {
			return true
		}
	}
	return false
}

func (s *script) wait(out Outcome, err error) (Outcome, error) {
	if err != nil {
		return out, err
	}
	return out, out.Ticket.Wait(s.ctx())
}

func (s *script) forgotten(n *inodestore.Inode) { s.removed = append(s.removed, n.Name) }

func (s *script) run(verb string, args []string, opts map[string]string) (string, error) {
	p := s.path(args, 0)
	if f, ok := map[string]func(dfs.Path, []string, map[string]string) (string, error){
		"mkdir": s.mkdir, "create": s.create, "complete": s.complete, "abandon": s.abandon, "put": s.put, "rm": s.rm, "mv": s.mv,
		"ls": s.ls, "stat": s.stat, "set": s.set, "xattr": s.xattr, "mount": s.mount, "unmount": s.unmount, "sync": s.sync,
		"persisted": s.persisted, "persist": s.persist, "tables": s.tables, "find": s.find, "writes": s.writes, "queue": s.queue,
		"needs-store": s.needsStore, "left": s.left,
	}[verb]; ok {
		return f(p, args, opts)
	}
	switch verb {
	case "as":
		s.user = args[0]
	case "session":
		t, id, err := s.e.OpenSession(s.ctx(), uint64(number(opts, "nonce")), "script")
		if err == nil {
			err = t.Wait(s.ctx())
		}
		s.session, s.sequence = id, uint64(number(opts, "after"))
		return "", err
	case "no-session":
		s.session = 0
	case "again": // the next mutation repeats the sequence of the last one
		s.sequence--
	case "close-session":
		err := s.e.CloseSession(s.ctx(), s.session)
		return "", err
	case "failover":
		s.e.Close()
		s.lead()
	case "garbage":
		n, err := s.e.CollectGarbage(s.ctx(), int(number(opts, "limit")), s.forgotten)
		return fmt.Sprintf("%d steps, files freed: %s", n, s.freed()), err
	case "due":
		return s.due()
	case "collect": // all of the garbage, and not what it frees
		for {
			if n, err := s.e.CollectGarbage(s.ctx(), 3, s.forgotten); n == 0 || err != nil {
				s.removed = nil
				return "", err
			}
		}
	default:
		return "", fmt.Errorf("unknown verb %q", verb)
	}
	return "", nil
}

func (s *script) freed() string {
	sort.Strings(s.removed)
	out := strings.Join(s.removed, " ")
	s.removed = nil
	return out
}

func (s *script) mkdir(p dfs.Path, args []string, opts map[string]string) (string, error) {
	mode := uint32(0o755)
	if opts["mode"] != "" {
		mode = uint32(number(opts, "mode"))
	}
	op := &proto.MakeDirectory{Mode: mode, Recursive: flag(args, "-p")}
	_, err := s.wait(s.e.MakeDirectory(s.ctx(), s.request(), p, op, flag(args, "persisted")))
	return "", err
}

func (s *script) createOp(args []string, opts map[string]string) *proto.CreateFile {
	w, _ := dfs.ParseWriteType(opts["type"])
	if opts["type"] == "" {
		w = dfs.WriteMustCache
	}
	return &proto.CreateFile{Mode: 0o644, Overwrite: flag(args, "-f"), Recursive: flag(args, "-p"), WriteType: uint32(w),
		BlockSize: number(opts, "block"), Ttl: number(opts, "ttl")}
}

func (s *script) create(p dfs.Path, args []string, opts map[string]string) (string, error) {
	out, err := s.wait(s.e.Create(s.ctx(), s.request(), p, s.createOp(args, opts)))
	if err != nil {
		return "", err
	}
	id, version, _ := out.Ticket.Answer()
	replayed := ""
	if out.Ticket.Replayed {
		replayed = " (first answer)"
	}
	return fmt.Sprintf("inode %d version %d%s", id, version, replayed), nil
}

func (s *script) complete(_ dfs.Path, _ []string, opts map[string]string) (string, error) {
	op := &proto.CompleteFile{Inode: uint64(number(opts, "inode")), Version: uint32(number(opts, "version")), Length: number(opts, "length"),
		Fingerprint: opts["fingerprint"]}
	_, err := s.wait(s.e.Complete(s.ctx(), s.request(), op, nil))
	return "", err
}

func (s *script) abandon(_ dfs.Path, _ []string, opts map[string]string) (string, error) {
	op := &proto.AbandonFile{Inode: uint64(number(opts, "inode")), Version: uint32(number(opts, "version"))}
	_, err := s.wait(s.e.Abandon(s.ctx(), s.request(), op))
	return "", err
}

// put creates and completes.
func (s *script) put(p dfs.Path, args []string, opts map[string]string) (string, error) {
	out, err := s.wait(s.e.Create(s.ctx(), s.request(), p, s.createOp(args, opts)))
	if err != nil {
		return "", err
	}
	id, version, _ := out.Ticket.Answer()
	_, err = s.wait(s.e.Complete(s.ctx(), s.request(), &proto.CompleteFile{Inode: uint64(id), Version: version, Length: number(opts, "length"),
		Fingerprint: opts["fingerprint"]}, nil))
	return "", err
}

func (s *script) rm(p dfs.Path, args []string, _ map[string]string) (string, error) {
	op := &proto.Remove{Recursive: flag(args, "-r"), Directory: flag(args, "-d"), File: flag(args, "file"), CacheOnly: flag(args, "cache-only")}
	_, err := s.wait(s.e.Remove(s.ctx(), s.request(), p, op, s.forgotten))
	return "", err
}

func (s *script) mv(p dfs.Path, args []string, _ map[string]string) (string, error) {
	_, err := s.wait(s.e.Rename(s.ctx(), s.request(), p, s.path(args, 1), &proto.Rename{NoReplace: flag(args, "-n")}, s.forgotten))
	if len(s.removed) > 0 && err == nil {
		return "replaced " + s.freed(), nil
	}
	return "", err
}

func (s *script) ls(p dfs.Path, _ []string, opts map[string]string) (string, error) {
	var names []string
	next := ""
	err := s.m.View(func(r inodestore.Reader) error {
		req := s.request()
		entries, token, err := s.m.List(r, &req, p, opts["after"], int(number(opts, "limit")))
		for _, n := range entries {
			name := n.Name
			if n.IsDir() {
				name += "/"
			}
			if !n.Completed() {
				name += "*"
			}
			names = append(names, name)
		}
		next = token
		return err
	})
	if next != "" {
		names = append(names, "more after "+next)
	}
	if len(names) == 0 && err == nil {
		return "empty", nil
	}
	return strings.Join(names, " "), err
}

func (s *script) stat(p dfs.Path, _ []string, _ map[string]string) (string, error) {
	var out string
	err := s.m.View(func(r inodestore.Reader) error {
		req := s.request()
		n, err := s.m.Status(r, &req, p)
		if err != nil {
			return err
		}
		st := ToProto(n, p, s.m.Mounts())
		out = fmt.Sprintf("id=%d version=%d/%d length=%d mode=%04o %s:%s %v", n.ID, n.Version, n.LastVersion, n.Length, n.Mode, n.Owner, n.Group, n.Persist)
		if st.MountId != 0 {
			out += fmt.Sprintf(" mount=%d ufs=%q", st.MountId, st.UfsPath)
		}
		if n.Pinned {
			out += " pinned"
		}
		for _, k := range sortedKeys(n.Xattr) {
			out += fmt.Sprintf(" %s=%q", k, n.Xattr[k])
		}
		return nil
	})
	return out, err
}

func sortedKeys(m map[string][]byte) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

func (s *script) set(p dfs.Path, _ []string, opts map[string]string) (string, error) {
	op := &proto.SetAttribute{}
	if v, ok := opts["mode"]; ok {
		n, _ := strconv.ParseUint(v, 8, 32)
		mode := uint32(n)
		op.Mode = &mode
	}
	if v, ok := opts["owner"]; ok {
		op.Owner = &v
	}
	if v, ok := opts["group"]; ok {
		op.Group = &v
	}
	if v, ok := opts["pinned"]; ok {
		pinned := v == "true"
		op.Pinned = &pinned
	}
	if v, ok := opts["ttl"]; ok {
		d, _ := time.ParseDuration(v)
		ns := int64(d)
		op.Ttl = &ns
	}
	if _, ok := opts["min"]; ok {
		low, high := int32(number(opts, "min")), int32(number(opts, "max"))
		op.ReplicationMin, op.ReplicationMax = &low, &high
	}
	_, err := s.wait(s.e.SetAttribute(s.ctx(), s.request(), p, op, nil))
	return "", err
}

func (s *script) xattr(p dfs.Path, args []string, opts map[string]string) (string, error) {
	op := &proto.SetXattr{Name: opts["name"], Value: []byte(opts["value"]), Remove: flag(args, "remove"), Create: flag(args, "create"), Replace: flag(args, "replace")}
	_, err := s.wait(s.e.SetXattr(s.ctx(), s.request(), p, op))
	return "", err
}

func (s *script) mount(p dfs.Path, args []string, opts map[string]string) (string, error) {
	m := mounttable.Mount{Path: p, URI: opts["uri"], ReadOnly: flag(args, "ro"), SyncInterval: -1}
	out, err := s.wait(s.e.Mount(s.ctx(), s.request(), m))
	if err != nil {
		return "", err
	}
	_, _, id := out.Ticket.Answer()
	return fmt.Sprintf("mount %d", id), nil
}

func (s *script) unmount(p dfs.Path, _ []string, _ map[string]string) (string, error) {
	_, err := s.wait(s.e.Unmount(s.ctx(), s.request(), p))
	return "", err
}

// sync tells what the under store says of children: name:size:fingerprint, name/ for directories, -name for gone ones.
func (s *script) sync(p dfs.Path, args []string, _ map[string]string) (string, error) {
	var entries []SyncEntry
	loaded := false
	for _, a := range args[1:] {
		parts := strings.Split(a, ":")
		switch {
		case a == "all":
			loaded = true
		case strings.HasPrefix(a, "-"):
			entries = append(entries, SyncEntry{Entry: ufs.Entry{Name: a[1:]}, Gone: true})
		case strings.HasSuffix(a, "/"):
			entries = append(entries, SyncEntry{Entry: ufs.Entry{Name: a[:len(a)-1], Dir: true}})
		default:
			size, _ := strconv.ParseInt(parts[1], 10, 64)
			entries = append(entries, SyncEntry{Entry: ufs.Entry{Name: parts[0], Size: size, Fingerprint: parts[2]}})
		}
	}
	n, err := s.e.SyncChildren(s.ctx(), nil, p, entries, loaded, s.forgotten)
	return fmt.Sprintf("%d changed, freed: %s", n, s.freed()), err
}

func (s *script) persisted(p dfs.Path, _ []string, opts map[string]string) (string, error) {
	err := s.e.SetPersisted(s.ctx(), nil, p, dfs.InodeID(number(opts, "inode")), uint32(number(opts, "version")), opts["fingerprint"])
	return "", err
}

func (s *script) persist(p dfs.Path, _ []string, _ map[string]string) (string, error) {
	_, err := s.wait(s.e.RequestPersist(s.ctx(), s.request(), p))
	return "", err
}

// tables counts the records that go along with inodes: what should be gone must be gone.
func (s *script) tables(dfs.Path, []string, map[string]string) (string, error) {
	var out []string
	for _, t := range []struct {
		table inodestore.Table
		name  string
	}{{inodestore.TableLocation, "locations"}, {inodestore.TableTTL, "ttls"}, {inodestore.TablePersist, "persist"},
		{inodestore.TableOpenWrite, "writes"}, {inodestore.TableGarbage, "garbage"}, {inodestore.TableMount, "mounts"}, {inodestore.TableSession, "sessions"}} {
		n := 0
		if err := s.store.Records(t.table, nil, nil, func(_, _ []byte) bool { n++; return true }); err != nil {
			return "", err
		}
		out = append(out, fmt.Sprintf("%s=%d", t.name, n))
	}
	return strings.Join(out, " "), nil
}

// find is the path of an inode that something refers to by id.
func (s *script) find(_ dfs.Path, _ []string, opts map[string]string) (string, error) {
	p, _, err := s.m.PathOf(dfs.InodeID(number(opts, "inode")))
	return string(p), err
}

// writes lists the open writes, and whether each leads to its file.
func (s *script) writes(dfs.Path, []string, map[string]string) (string, error) {
	var out []string
	err := s.store.Records(inodestore.TableOpenWrite, nil, nil, func(key, value []byte) bool {
		id := dfs.InodeID(keyID(key))
		w, err := decodeOpenWrite(value)
		if err != nil {
			out = append(out, err.Error())
			return true
		}
		at := "leads nowhere"
		if n, err := w.find(s.store, id); err == nil && n != nil {
			at = n.Name
		}
		out = append(out, fmt.Sprintf("%d v%d %v %s", id, w.version, w.writeType, at))
		return true
	})
	if len(out) == 0 {
		out = []string{"none"}
	}
	return strings.Join(out, ", "), err
}

// queue lists what waits to be persisted.
func (s *script) queue(_ dfs.Path, _ []string, opts map[string]string) (string, error) {
	limit := 100
	if opts["limit"] != "" {
		limit = int(number(opts, "limit"))
	}
	queue, err := s.m.PersistQueue(dfs.InodeID(number(opts, "from")), limit)
	var out []string
	for _, f := range queue {
		out = append(out, fmt.Sprintf("%s v%d", f.Path, f.Inode.Version))
	}
	if len(out) == 0 {
		out = []string{"none"}
	}
	return strings.Join(out, ", "), err
}

func (s *script) needsStore(_ dfs.Path, _ []string, opts map[string]string) (string, error) {
	return fmt.Sprint(s.e.NeedsStore(dfs.InodeID(number(opts, "inode")), uint32(number(opts, "version")))), nil
}

// left asks whether a writer may take what it left at a path that its file no longer has.
func (s *script) left(p dfs.Path, _ []string, _ map[string]string) (string, error) {
	return "", s.e.CheckLeft(Request{Identity: dfs.Identity{User: s.user, Groups: []string{s.user}}, Superuser: "root"}, p, "complete")
}

func (s *script) due() (string, error) {
	due, _, err := s.m.DueTTLs(s.h.Now().Add(time.Hour), nil, 100)
	var out []string
	for _, d := range due {
		out = append(out, fmt.Sprintf("%s %v", d.Path, d.Action))
	}
	if len(out) == 0 {
		out = []string{"none"}
	}
	return strings.Join(out, ", "), err
}
