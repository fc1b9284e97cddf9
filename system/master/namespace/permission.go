package namespace

import (
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
)

// Permission bits, of one class.
const (
	permRead    = 4
	permWrite   = 2
	permExecute = 1
	modeSticky  = 0o1000
)

// allowed tells whether r has permission bit want on n.
// One class decides, the first that fits, as in POSIX: an owner whose bits are off gains nothing from the group's.
func allowed(r *Request, n *inodestore.Inode, want uint32) bool {
	if r.super() {
		return true
	}
	shift := 0
	switch {
	case r.Identity.User == n.Owner:
		shift = 6
	case r.Identity.MemberOf(n.Group):
		shift = 3
	}
	return n.Mode>>shift&want == want
}

// demand refuses when r lacks all of want on n. The error names what was asked, of whom the entry is, and its mode.
func demand(r *Request, n *inodestore.Inode, want uint32, op string, p dfs.Path) error {
	if allowed(r, n, want) {
		return nil
	}
	words := map[uint32]string{permRead: "read", permWrite: "write to", permWrite | permExecute: "change entries of", permExecute: "search",
		permRead | permExecute: "list"}
	return dfs.Errorf(dfs.PermissionDenied, op, string(p), "user %q may not %s %q (mode %04o, owner %s:%s)",
		r.Identity.User, words[want], nameOf(n), n.Mode, n.Owner, n.Group)
}

// The rights that Demand asks for, of more than one at a time.
const (
	RightRead   = permRead
	RightWrite  = permWrite
	RightSearch = permExecute
)

// Demand refuses when r lacks the rights on n: for callers that walk the tree themselves.
func Demand(r *Request, n *inodestore.Inode, rights uint32, op string, p dfs.Path) error {
	return demand(r, n, rights, op, p)
}

// demandOwner is for what only the owner and the superuser may do.
// chmod(2) and chgrp(2) ask for this; no mode bit stands in for it.
func demandOwner(r *Request, n *inodestore.Inode, op string, p dfs.Path) error {
	if r.super() || r.Identity.User == n.Owner {
		return nil
	}
	return dfs.Errorf(dfs.PermissionDenied, op, string(p), "user %q is not its owner %q", r.Identity.User, n.Owner)
}

// demandEntry is the right to remove or rename the entry n of directory parent, the sticky bit included.
// The entry's own mode is not asked: removing is a change of the directory.
func demandEntry(r *Request, parent, n *inodestore.Inode, op string, p dfs.Path) error {
	if err := demand(r, parent, permWrite|permExecute, op, p); err != nil {
		return err
	}
	if parent.Mode&modeSticky == 0 || r.super() || r.Identity.User == n.Owner || r.Identity.User == parent.Owner {
		return nil
	}
	return dfs.Errorf(dfs.PermissionDenied, op, string(p), "its directory has the sticky bit: only the owner may remove or rename it")
}
