package oracle

import (
	"slices"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/worker/blockstore"
)

// Kept guards C3 on the workers: pages of what is pinned, or of what the under store does not have, are not evicted. It watches
// file versions that were pinned before any of their pages were cached: a worker that held a page of one holds it for as
// long as the file is watched and the worker's process and disk are the same.
type Kept struct {
	book    *Book
	watched []*watched
}

type watched struct {
	status *dfs.FileStatus
	held   []holding
}

// holding is one worker's pages, as they were when it was looked at last.
type holding struct {
	worker string
	life   any // whatever is another one when the worker has begun anew
	pages  []int64
}

// NewKept watches nothing yet.
func NewKept(book *Book) *Kept { return &Kept{book: book} }

// Watch begins to watch a file version.
func (o *Kept) Watch(s *dfs.FileStatus) { o.watched = append(o.watched, &watched{status: s}) }

// Forget ends it: before the file is unpinned, freed, changed or removed.
func (o *Kept) Forget(f dfs.FileVersion) {
	o.watched = slices.DeleteFunc(o.watched, func(w *watched) bool { return w.status.File() == f })
}

// Look compares what one worker holds with what it held. Pages that it dropped since they were damaged are excused by
// damaged.
func (o *Kept) Look(worker string, life any, store *blockstore.Store, damaged bool) {
	for _, w := range o.watched {
		ref := &blockstore.Ref{File: w.status.File(), Length: w.status.Length, BlockSize: w.status.BlockSize, Persisted: true, Pinned: true}
		var pages []int64
		for at := int64(0); at < ref.Length; at += dfs.PageSizeBytes {
			if store.Has(ref, at) {
				pages = append(pages, at)
			}
		}
		i := slices.IndexFunc(w.held, func(h holding) bool { return h.worker == worker })
		if i < 0 {
			w.held = append(w.held, holding{worker, life, pages})
			continue
		}
		h := &w.held[i]
		for _, at := range h.pages {
			if h.life == life && !damaged && !slices.Contains(pages, at) {
				o.book.Violation("kept", "worker %s: the page at %d of %s, which is pinned, is gone", worker, at, w.status.Path)
			}
		}
		h.life, h.pages = life, pages
	}
}
