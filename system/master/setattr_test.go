package master

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/ufs"
)

// asked is a store that notes the changes of attributes that it is asked for.
type asked struct {
	ufs.Store
	paths []string
	then  func(path string) error // after a change; nil: nothing
}

func (s *asked) SetAttr(ctx context.Context, path string, mode *uint32, owner, group *string, modTime *time.Time) error {
	s.paths = append(s.paths, path)
	setter, _ := ufs.As[ufs.AttrSetter](s.Store)
	err := setter.SetAttr(ctx, path, mode, owner, group, modTime)
	if err == nil && s.then != nil {
		err = s.then(path)
	}
	return err
}

// askedRig is a mounted rig whose stores note what they are asked for.
func askedRig(t *testing.T) (*rig, *asked) {
	t.Helper()
	a := &asked{}
	r := mounted(t, withStore(func(s ufs.Store) ufs.Store { a.Store = s; return a }))
	return r, a
}

func opSet(p string, op *proto.SetAttribute) *proto.Operation {
	op.Path = p
	return &proto.Operation{Kind: &proto.Operation_SetAttribute{SetAttribute: op}}
}

// opMode is a change of the mode.
func opMode(p string, mode uint32, recursive bool) *proto.Operation {
	return opSet(p, &proto.SetAttribute{Mode: &mode, Recursive: recursive})
}

func ptr[T any](v T) *T { return &v }

// TestWhatReachesTheStore: a store hears of the attributes that it keeps, for files that it has, and of nothing else.
func TestWhatReachesTheStore(t *testing.T) {
	for name, c := range map[string]struct {
		path string
		op   *proto.SetAttribute
		want []string
	}{
		"mode":             {"/m/f", &proto.SetAttribute{Mode: ptr[uint32](0o600)}, []string{"f"}},
		"owner":            {"/m/f", &proto.SetAttribute{Owner: ptr("bob")}, []string{"f"}},
		"group":            {"/m/f", &proto.SetAttribute{Group: ptr("staff")}, []string{"f"}},
		"time":             {"/m/f", &proto.SetAttribute{ModTime: ptr(int64(5))}, []string{"f"}},
		"pinned":           {"/m/f", &proto.SetAttribute{Pinned: ptr(true)}, nil},
		"ttl":              {"/m/f", &proto.SetAttribute{Ttl: ptr(int64(time.Hour))}, nil},
		"replication":      {"/m/f", &proto.SetAttribute{ReplicationMin: ptr(int32(2)), ReplicationMax: ptr(int32(3))}, nil},
		"mode and pinned":  {"/m/f", &proto.SetAttribute{Mode: ptr[uint32](0o600), Pinned: ptr(true)}, []string{"f"}},
		"a directory":      {"/m/d", &proto.SetAttribute{Mode: ptr[uint32](0o700)}, []string{"d"}},
		"here alone":       {"/m/cached", &proto.SetAttribute{Mode: ptr[uint32](0o600)}, nil},
		"the mount's root": {"/m", &proto.SetAttribute{Mode: ptr[uint32](0o700)}, nil},
		"no mount":         {"/", &proto.SetAttribute{Mode: ptr[uint32](0o700)}, nil},
		"read-only":        {"/ro/f", &proto.SetAttribute{Mode: ptr[uint32](0o600)}, nil},
		"children first":   {"/m/d", &proto.SetAttribute{Mode: ptr[uint32](0o700), Recursive: true}, []string{"d/a", "d/b", "d"}},
		"a file, all of it": {"/m/f", &proto.SetAttribute{Mode: ptr[uint32](0o600), Recursive: true},
			[]string{"f"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, a := askedRig(t)
			r.must(opMkdir("/m/d"))
			for _, p := range []string{"/m/f", "/m/d/a", "/m/d/b"} {
				r.mustPut(p, "THROUGH")
			}
			r.mustPut("/m/cached", "MUST_CACHE")
			r.must(opMount("/ro", "mem://a", true))
			r.must(opStat("/ro/f"))
			res := r.must(opSet(c.path, c.op))
			if !slices.Equal(a.paths, c.want) {
				t.Errorf("the store was asked for %q, want %q", a.paths, c.want)
			}
			if want := int64(max(1, len(c.want))); res.Count != want {
				t.Errorf("%d were changed, want %d", res.Count, want)
			}
			s := r.must(opStat(c.path)).Status
			if c.op.Mode != nil && s.Mode != *c.op.Mode || c.op.Owner != nil && s.Owner != *c.op.Owner || c.op.Pinned != nil && !s.Pinned {
				t.Errorf("the namespace has %v", s)
			}
		})
	}
}

// TestRefusedAttributesAskNoStore: who may not change a file changes it in neither tree, and values that the namespace
// refuses of a file that only Forebay has leave it as it is.
func TestRefusedAttributesAskNoStore(t *testing.T) {
	r, a := askedRig(t)
	r.must(opMkdir("/m/d"))
	r.mustPut("/m/d/f", "THROUGH")
	before := r.tree("/m")
	r.user = "bob"
	for name, op := range map[string]*proto.Operation{
		"mode":         opMode("/m/d/f", 0o777, false),
		"owner":        opSet("/m/d/f", &proto.SetAttribute{Owner: ptr("bob")}),
		"time":         opSet("/m/d/f", &proto.SetAttribute{ModTime: ptr(int64(1))}),
		"all of it":    opMode("/m/d", 0o777, true),
		"what is mine": opMode("/m", 0o777, true),
	} {
		if _, err := r.do(op); !dfs.IsKind(err, dfs.PermissionDenied) {
			t.Errorf("%s by somebody: %v", name, err)
		}
	}
	r.user = "root"
	for name, c := range map[string]struct {
		op   *proto.Operation
		want dfs.Kind
	}{
		"nothing there":  {opMode("/m/none", 0o600, false), dfs.NotFound},
		"nothing, all":   {opMode("/m/none", 0o600, true), dfs.NotFound},
		"below a file":   {opMode("/m/d/f/x", 0o600, false), dfs.NotDirectory},
		"TTL of a dir":   {opSet("/m/d", &proto.SetAttribute{Ttl: ptr(int64(1))}), dfs.InvalidArgument},
		"negative TTL":   {opSet("/m/d/f", &proto.SetAttribute{Ttl: ptr(int64(-1))}), dfs.InvalidArgument},
		"unknown action": {opSet("/m/d/f", &proto.SetAttribute{TtlAction: ptr(uint32(99))}), dfs.InvalidArgument},
		"more than at most": {opSet("/m/d/f", &proto.SetAttribute{ReplicationMin: ptr(int32(3)), ReplicationMax: ptr(int32(2))}),
			dfs.InvalidArgument},
	} {
		if _, err := r.do(c.op); !dfs.IsKind(err, c.want) {
			t.Errorf("%s: %v, want kind %v", name, err, c.want)
		}
	}
	if len(a.paths) != 0 {
		t.Errorf("the store was asked for %q", a.paths)
	}
	if after := r.tree("/m"); after != before {
		t.Errorf("the namespace changed:\n%s\nwas\n%s", after, before)
	}
}

// TestRecursiveChangeGoesOn: a store that fails at any of the changes ends it there, with what came before changed and
// the top not; the client's retry with the same sequence does all of it and tells the whole count.
func TestRecursiveChangeGoesOn(t *testing.T) {
	order := []string{"d/a", "d/e/x", "d/e", "d/z", "d"}
	for i, at := range []string{"d/a", "d/e", "d/e/x", "d/z", "d"} {
		t.Run(at, func(t *testing.T) {
			broken := &refusing{op: "set", path: at, off: true}
			r := mounted(t, withStore(func(s ufs.Store) ufs.Store { broken.Store = s; return broken }))
			r.must(opMkdir("/m/d"))
			r.must(opMkdir("/m/d/e"))
			for _, p := range []string{"/m/d/a", "/m/d/e/x", "/m/d/z"} {
				r.mustPut(p, "THROUGH")
			}
			broken.off = false
			op := opMode("/m/d", 0o711, true)
			if _, err := r.do(op); !dfs.IsKind(err, dfs.Unavailable) {
				t.Fatalf("%v", err)
			}
			changed := 0
			for _, p := range order {
				if r.must(opStat("/m/"+p)).Status.Mode == 0o711 {
					changed++
				}
			}
			if changed != i { // as many as come before it, parents before what lies below them and the top last
				t.Errorf("%d were changed before %s failed, want %d", changed, at, i)
			}
			broken.off = true
			if res := r.must(op); res.Count != int64(len(order)) {
				t.Errorf("the retry changed %d, want %d", res.Count, len(order))
			}
			for _, p := range order {
				here := r.must(opStat("/m/" + p)).Status.Mode
				e, err := r.space.Open(r.h, "a").Stat(context.Background(), p)
				if err != nil || here != 0o711 || e.Mode&0o777 != 0o711 {
					t.Errorf("%s has mode %o here and %o in the store, %v", p, here, e.Mode, err)
				}
			}
		})
	}
}

// TestRecursiveChangePassesOverWhatGoes: files that are removed while the change is on its way are neither an error nor
// counted.
func TestRecursiveChangePassesOverWhatGoes(t *testing.T) {
	r, a := askedRig(t)
	r.must(opMkdir("/m/d"))
	for i := range 5 {
		r.mustPut(fmt.Sprint("/m/d/", i), "THROUGH")
	}
	a.then = func(path string) error {
		if path == "d/1" {
			for _, p := range []string{"/m/d/2", "/m/d/4"} {
				r.must(opRemove(p, false))
			}
		}
		return nil
	}
	op := opMode("/m/d", 0o700, true)
	op.Sequence = 1 << 20 // the removals above have lower ones
	res := r.must(op)
	if res.Count != 4 { // the directory, 0, 1 and 3
		t.Errorf("%d were changed, want 4", res.Count)
	}
	if want := []string{"d/0", "d/1", "d/3", "d"}; !slices.Equal(a.paths, want) {
		t.Errorf("the store was asked for %q, want %q", a.paths, want)
	}
}
