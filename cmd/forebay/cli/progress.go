package cli

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress shows bytes moved on a terminal's standard error; elsewhere it shows nothing. Its methods may be called
// concurrently.
type progress struct{ bar *progressbar.ProgressBar }

// newProgress begins a bar. Its total grows with expect, since a walk finds files while others are copied already: the share
// that it shows may fall. No bar is drawn in a pipe or a file, with --quiet, or with JSON, whose reader is no human.
func (a *app) newProgress(what string) *progress {
	if a.flags.quiet || a.asJSON() || !isTerminal(a.Err) {
		return &progress{}
	}
	return &progress{bar: progressbar.NewOptions64(0,
		progressbar.OptionSetDescription(what), progressbar.OptionSetWriter(a.Err), progressbar.OptionShowBytes(true),
		progressbar.OptionUseIECUnits(true), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
		progressbar.OptionFullWidth(), progressbar.OptionSetPredictTime(true))}
}

// expect says that bytes more are to be moved.
func (p *progress) expect(bytes int64) {
	if p.bar != nil && bytes > 0 {
		p.bar.AddMax64(bytes)
	}
}

// moved counts bytes; a retry counts its bytes again, so that the bar may end beyond its total.
func (p *progress) moved(bytes int) {
	if p.bar != nil {
		_ = p.bar.Add(bytes) // a bar that cannot be drawn is no reason to fail
	}
}

// end wipes the bar, so that what is printed next begins a line of its own.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// writer counts what passes to w. Without a bar it is w itself, so that fast paths of w (ReadFrom, a file's copy in the kernel)
// stay.
func (p *progress) writer(w io.Writer) io.Writer {
	if p.bar == nil {
		return w
	}
	return countingWriter{w, p}
}

type countingWriter struct {
	w io.Writer
	p *progress
}

func (c countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.p.moved(n)
	return n, err
}

// reader counts what is read from r; without a bar it is r itself.
func (p *progress) reader(r io.Reader) io.Reader {
	if p.bar == nil {
		return r
	}
	return countingReader{r, p}
}

type countingReader struct {
	r io.Reader
	p *progress
}

func (c countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.p.moved(n)
	return n, err
}
