package ufs_test

import (
	"context"
	"io"
	"testing"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/mem"
)

// TestFinalKinds: through Final nothing is Unavailable any more, whatever the call; other kinds pass as they are.
func TestFinalKinds(t *testing.T) {
	h, ctx := host.NewReal(), context.Background()
	inner := mem.New(h)
	broken := ufs.Final(ufs.Faults(h, inner, ufs.FaultOptions{ErrorRate: 1, Seed: 1}))
	mode := uint32(0o600)
	for name, call := range map[string]func() error{
		"stat":   func() error { _, err := broken.Stat(ctx, ""); return err },
		"remove": func() error { return broken.Remove(ctx, "x") },
		"rename": func() error { return broken.Rename(ctx, "x", "y") },
		"mkdir":  func() error { return broken.Mkdir(ctx, "x", 0o755) },
		"open":   func() error { _, err := broken.Open(ctx, "x", 0, 1); return err },
		"create": func() error { _, err := broken.Create(ctx, "x", 0o644); return err },
		"list": func() error {
			for _, err := range broken.List(ctx, "", "") {
				if err != nil {
					return err
				}
			}
			return nil
		},
	} {
		if err := call(); !dfs.IsKind(err, dfs.UnderStore) {
			t.Errorf("%s: %v", name, err)
		}
	}
	sound := ufs.Final(inner)
	if _, err := sound.Stat(ctx, "missing"); !dfs.IsKind(err, dfs.NotFound) {
		t.Errorf("another kind: %v", err)
	}
	w, err := sound.Create(ctx, "f", 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "data"); err != nil {
		t.Fatal(err)
	}
	if e, err := w.Commit(ctx); err != nil || e.Size != 4 {
		t.Errorf("commit: %+v, %v", e, err)
	}
	r, err := sound.Open(ctx, "f", 0, 4)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != "data" || ufs.FingerprintOf(r) == "" {
		t.Errorf("read %q, %v, fingerprint %q", b, err, ufs.FingerprintOf(r))
	}
	setter, ok := ufs.As[ufs.AttrSetter](sound)
	if !ok || setter.SetAttr(ctx, "f", &mode, nil, nil, nil) != nil {
		t.Error("attributes cannot be set through Final")
	}
	if ufs.FinalError(nil) != nil {
		t.Error("nil became an error")
	}
}
