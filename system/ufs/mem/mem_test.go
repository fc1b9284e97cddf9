package mem_test

import (
	"testing"

	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/mem"
	"github.com/forebay/forebay/system/ufs/ufstest"
)

// TestConformance holds the in-memory driver to ufs.Store's contract.
func TestConformance(t *testing.T) {
	ufstest.Run(t, func(t *testing.T) ufs.Store { return mem.New(host.NewReal()) }, ufstest.Options{})
}

// TestSpace checks that two nodes which open one name see one store.
func TestSpace(t *testing.T) {
	var space mem.Space
	h := host.NewReal()
	ufstest.Put(t.Context(), t, space.Open(h, "a"), "o", []byte("x"))
	if got := ufstest.Get(t.Context(), t, space.Open(h, "a"), "o", 0, 1); string(got) != "x" {
		t.Errorf("got %q", got)
	}
	if _, err := space.Open(h, "b").Stat(t.Context(), "o"); err == nil {
		t.Error("another name shows the same store")
	}
}
