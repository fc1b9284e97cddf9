package trace

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// NodeKey is the attribute by which a log record names its node.
const NodeKey = "node"

// Logger makes a logger whose warnings and errors are recorded. now is the world's time: the records' own is the machine's.
func (r *Recorder) Logger(now func() time.Duration) *slog.Logger {
	if r == nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(&handler{r: r, now: now, node: RunNode})
}

// handler implements slog.Handler. Groups are left out: production code makes none.
type handler struct {
	r     *Recorder
	now   func() time.Duration
	node  string
	attrs string
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// Handle implements slog.Handler.
func (h *handler) Handle(_ context.Context, record slog.Record) error {
	var text strings.Builder
	text.WriteString(record.Message + h.attrs)
	record.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&text, " %s=%v", a.Key, a.Value)
		return true
	})
	h.r.Instant(Event{At: h.now(), Kind: Log, Node: h.node, What: text.String()})
	return nil
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	for _, a := range attrs {
		if a.Key == NodeKey {
			with.node = a.Value.String()
			continue
		}
		with.attrs += fmt.Sprintf(" %s=%v", a.Key, a.Value)
	}
	return &with
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(string) slog.Handler { return h }
