package inodestore

import (
	"context"
	"fmt"
	"log/slog"
)

// pebbleLogger passes Pebble's log on. Its routine messages are of use only when debugging Pebble.
type pebbleLogger struct{ to *slog.Logger }

func (l pebbleLogger) enabled() bool { return l.to.Enabled(context.Background(), slog.LevelDebug) }

// Infof implements pebble.Logger.
func (l pebbleLogger) Infof(format string, args ...any) {
	if l.enabled() {
		l.to.Debug("pebble: " + fmt.Sprintf(format, args...))
	}
}

// Errorf implements pebble.Logger.
func (l pebbleLogger) Errorf(format string, args ...any) {
	l.to.Error("pebble: " + fmt.Sprintf(format, args...))
}

// Fatalf implements pebble.Logger. Pebble calls it when it cannot go on, above all when the manifest cannot be written,
// and relies on it not to return. The panic ends the process with the reason: the journal has everything, and a restart
// recovers.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	panic("inode store: pebble cannot go on: " + fmt.Sprintf(format, args...))
}

// silentLogger is for the events that nobody asked for.
type silentLogger struct{}

// Infof implements pebble.Logger.
func (silentLogger) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (silentLogger) Errorf(string, ...any) {}

// Fatalf implements pebble.Logger.
func (silentLogger) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
