package inodestore

import "github.com/forebay/forebay/system/dfs"

// AppendInode appends n's record as the store keeps it; parent and name are not part of it. The journal's entries carry
// inodes in the same form.
func AppendInode(dst []byte, n *Inode) []byte { return appendInode(dst, n) }

// DecodeInode reads a record; any bytes are safe to give.
func DecodeInode(parent dfs.InodeID, name string, record []byte) (*Inode, error) {
	return decodeInode(parent, name, record)
}
