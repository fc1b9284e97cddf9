package metrics

import (
	"io"
	"log/slog"
	"strings"

	"github.com/forebay/forebay/system/dfs"
)

// NewLogger makes a logger that writes lines of the given format (text or json) from the given level (debug, info, warn,
// error) on.
// The level's and format's case does not matter. It writes nothing by itself, and never closes w. InvalidArgument for
// other levels and formats, which says the ones that there are.
func NewLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		return nil, dfs.Errorf(dfs.InvalidArgument, "set up logging", level, "no such level: want debug, info, warn or error")
	}
	options := &slog.HandlerOptions{Level: least}
	switch strings.ToLower(format) {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, dfs.Errorf(dfs.InvalidArgument, "set up logging", format, "no such format: want text or json")
}
