package scenario

import (
	"context"
	"fmt"

	"github.com/forebay/forebay/sim/oracle"
	"github.com/forebay/forebay/sim/store"
	"github.com/forebay/forebay/system/dfs"
)

// Tables are what the operation scan reads: large files in the under store, that nobody changes.
type Tables struct {
	Count int  `yaml:"count"`
	Size  Size `yaml:"size"`
}

const (
	tablesPerDirectory = 100
	maxTables          = 100_000
	maxTableSize       = 1 << 40
	footerBytes        = 64 << 10
	columnBytes        = 1 << 20
	columnsOfScan      = 4
)

func tablePath(i int) dfs.Path {
	return dfs.Path(fmt.Sprintf("/tables/%04d/table-%05d", i/tablesPerDirectory, i))
}

// dataset is what the under store holds of them.
func (t Tables) dataset() store.Dataset {
	return store.Dataset{Dir: "tables/%04d", File: "table-%05d", Files: t.Count, PerDir: tablesPerDirectory, Size: int64(t.Size)}
}

// scan reads a table as a query on a columnar file does: its footer, which says where the columns are, then a part of each of
// some columns.
func (u *user) scan(ctx context.Context) error {
	t := u.r.s.Tables
	if t.Count == 0 {
		return nil
	}
	p := tablePath(u.rng.IntN(t.Count))
	f, err := u.c.Open(ctx, p)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // its error is of a wait that cannot end
	size := int64(t.Size)
	c := oracle.Content{Name: p, Write: 0, Size: size}
	read := func(offset, length int64) error {
		got := make([]byte, length)
		n, err := f.ReadAt(got, offset)
		if err == nil {
			oracle.Contents{Book: u.r.book}.Read(u.id, p, c, got[:n], offset, length)
		}
		return err
	}
	footer := min(footerBytes, size)
	if err := read(size-footer, footer); err != nil {
		return err
	}
	for range columnsOfScan {
		length := min(columnBytes, size)
		if err := read(u.rng.Int64N(size-length+1), length); err != nil {
			return err
		}
	}
	return nil
}
