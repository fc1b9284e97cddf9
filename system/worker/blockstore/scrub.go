package blockstore

import (
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

// scrubLoop checks everything that is held, over and over, at the configured pace.
// A round that has come to the end rests for a minute, so that an empty store is not walked in a loop. A page that
// cannot be read ends its file's turn: the next round comes back to it.
func (s *Store) scrubLoop() {
	pace := host.NewTicker(s.h, time.Duration(float64(time.Second)*dfs.PageSizeBytes/float64(s.config.ScrubBytesPerSecond)))
	var last dfs.FileVersion
	for s.ctx.Err() == nil {
		f, indexes := s.nextFile(last)
		if f == nil {
			last = dfs.FileVersion{}
			if s.h.Sleep(s.ctx, time.Minute) != nil {
				return
			}
			continue
		}
		last = f.id
		for _, index := range indexes {
			var r CheckResult
			if s.checkBlock(s.ctx, f, index, pace, &r) != nil {
				break
			}
			s.Counters.ScrubbedPages.Add(r.Pages)
		}
	}
}

// nextFile is the first file behind id.
// The scrub goes by it: files that come or go meanwhile do not make it begin again, and nothing of the tree is copied.
func (s *Store) nextFile(id dfs.FileVersion) (next *file, indexes []uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files.Ascend(&file{id: id}, func(f *file) bool {
		if f.id != id {
			next, indexes = f, f.indexes()
		}
		return next == nil
	})
	return next, indexes
}
