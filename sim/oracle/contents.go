package oracle

import (
	"github.com/forebay/forebay/sim/store/content"
	"github.com/forebay/forebay/system/dfs"
)

// Contents guards C4 and C5: a completed version never changes, and no byte is wrong silently. What a file holds follows
// from the name under which it was written and from which write it was, so that every byte can be checked at any offset
// without being kept, and bytes of another file or of an older write are found out as surely as damaged ones.
type Contents struct{ Book *Book }

// Content is what one write put into a file.
type Content struct {
	Name  dfs.Path // under which it was written; a rename does not change it
	Write uint64
	Size  int64
}

// ID is the content without its length.
func (c Content) ID() content.ID { return content.Of(string(c.Name), c.Write) }

// Bytes is the whole content.
func (c Content) Bytes() []byte { return c.ID().Make(int(c.Size)) }

// Differs tells where got, read at offset, first differs from the content; -1 when it does not. What was asked for is
// want bytes: an answer of another length differs where the shorter one ends.
func (c Content) Differs(got []byte, offset, want int64) int64 {
	if at := c.ID().Wrong(got, offset); at >= 0 {
		return offset + int64(at)
	}
	if expected := max(min(want, c.Size-offset), 0); int64(len(got)) != expected {
		return offset + min(int64(len(got)), expected)
	}
	return -1
}

// Read judges an answer without an error to a read of want bytes at offset.
func (o Contents) Read(who int, p dfs.Path, c Content, got []byte, offset, want int64) bool {
	at := c.Differs(got, offset, want)
	if at >= 0 {
		o.Book.Violation("contents", "client %d: %s has wrong bytes from %d on: read %d at %d of %d, write %d of %s", who, p, at, len(got), offset, c.Size, c.Write, c.Name)
	}
	return at < 0
}
