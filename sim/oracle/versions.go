package oracle

import "github.com/forebay/forebay/system/dfs"

// Versions guard C2 and C4 where a second execution of an overwrite leaves no other trace: each write of a file gives it
// one version more. The version that is seen has grown by the writes that were acknowledged at least, and by those that were begun
// at most.
type Versions struct{ Book *Book }

// Count is what was written to one file since its first version.
type Count struct {
	First               uint32 // the version of the first write; 0: not known
	Acknowledged, Begun uint32 // writes after the first
}

// Saw judges a version that was seen when no write was under way. The first one that is seen is taken as it is, less what
// was written before it was looked at.
func (o Versions) Saw(who int, p dfs.Path, c *Count, version uint32) {
	if c.First == 0 {
		c.First, c.Acknowledged, c.Begun = version, 0, 0
		return
	}
	if version < c.First+c.Acknowledged || version > c.First+c.Begun {
		o.Book.Violation("versions", "client %d: %s has version %d; its first look gave %d, and then %d writes were acknowledged of %d", who, p, version, c.First, c.Acknowledged, c.Begun)
	}
}
