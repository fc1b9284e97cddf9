package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal: Tty is what a command takes for the user's, and Shown is what the user would have seen.
type terminal struct {
	Tty   *os.File
	mu    sync.Mutex
	shown bytes.Buffer
	ended chan struct{}
	pty   *os.File
}

// newTerminal opens one of 80 columns; where the machine has none the test is skipped.
func newTerminal(t *testing.T) *terminal {
	t.Helper()
	pty, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	fd := int(pty.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}); err != nil {
		t.Fatal(err)
	}
	term := &terminal{Tty: tty, pty: pty, ended: make(chan struct{})}
	go func() {
		defer close(term.ended)
		b := make([]byte, 4096)
		for {
			n, err := pty.Read(b)
			term.mu.Lock()
			term.shown.Write(b[:n])
			term.mu.Unlock()
			if err != nil { // EIO, once the other side is closed
				return
			}
		}
	}()
	t.Cleanup(func() { term.Close() })
	return term
}

// Close ends the terminal and returns everything that was shown.
func (term *terminal) Close() string {
	_ = term.Tty.Close()
	<-term.ended
	_ = term.pty.Close()
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.shown.String()
}

// TestProgressOnATerminal: a bar is drawn on a terminal's standard error, in the command's name, and wiped in the end; with
// -q, --json, or when only standard output is a terminal, nothing is drawn. Output never has a bar in it.
func TestProgressOnATerminal(t *testing.T) {
	s, at := shared(t)
	dir := t.TempDir()
	local(t, dir, map[string]string{"a": strings.Repeat("a", 3<<20), "b": strings.Repeat("b", 1<<20)})
	for i, tt := range []struct {
		line string
		bar  string // what it is called; "" for none
	}{
		{"fs put -r LOCAL AT/0", "put"}, {"fs get -r AT/0 LOCAL/out1", "get"}, {"fs cp -r AT/0 AT/2", "cp"}, {"fs load AT/0", "load"},
		{"-q fs put -r LOCAL/a AT/4", ""}, {"--quiet fs load AT/0", ""}, {"--json fs load AT/0", ""}, {"fs ls AT/0", ""},
	} {
		term := newTerminal(t)
		args := strings.Fields(strings.NewReplacer("AT", at, "LOCAL", dir).Replace(tt.line))
		var out bytes.Buffer
		code := Main(t.Context(), args, Streams{In: strings.NewReader(""), Out: &out, Err: term.Tty}, s.environ)
		shown := term.Close()
		if code != exitOK || tt.bar == "" && shown != "" || tt.bar != "" && !strings.Contains(shown, tt.bar) {
			t.Errorf("%d, %s: code %d, shown %q", i, tt.line, code, shown)
		}
		if strings.ContainsAny(out.String(), "\r\x1b") {
			t.Errorf("%s: the bar is in the output: %q", tt.line, out.String())
		}
		if _, last, _ := cutLast(shown, "\r"); strings.TrimSpace(last) != "" {
			t.Errorf("%s: the bar is left on the screen: %q", tt.line, last)
		}
	}
}

// cutLast cuts at the last separator.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, s, false
}

// TestErrorsOnATerminal: an error begins a line of its own, in spite of a bar before it, and is printed once.
func TestErrorsOnATerminal(t *testing.T) {
	s, at := shared(t)
	s.play(at, "", []step{{line: "fs put - AT/f", in: strings.Repeat("x", 1<<20)}})
	term := newTerminal(t)
	code := Main(t.Context(), []string{"fs", "get", at + "/f", at + "/none", t.TempDir()}, Streams{In: strings.NewReader(""), Out: io.Discard, Err: term.Tty}, s.environ)
	shown := term.Close()
	if code != exitNotFound || strings.Count(shown, "forebay: ") != 1 {
		t.Fatalf("code %d, %q", code, shown)
	}
	before, _, _ := strings.Cut(shown, "forebay: ")
	if _, line, _ := cutLast(before, "\r"); before != "" && strings.TrimSpace(line) != "" && !strings.HasSuffix(before, "\n") {
		t.Errorf("the error goes on behind %q", line)
	}
}

// TestIsTerminal: a terminal is one; files, pipes, buffers and what is closed are none.
func TestIsTerminal(t *testing.T) {
	term := newTerminal(t)
	if !isTerminal(term.Tty) {
		t.Error("a terminal is none")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	_ = file.Close()
	for name, stream := range map[string]any{"a pipe": w, "a buffer": &bytes.Buffer{}, "a closed file": file, "nothing": nil} {
		if isTerminal(stream) {
			t.Errorf("%s is a terminal", name)
		}
	}
}

// TestProgressCounts: what passes is counted by its length, and passes unchanged, errors included; many may count at a time.
func TestProgressCounts(t *testing.T) {
	term := newTerminal(t)
	a := testApp(term.Tty)
	p := a.newProgress("test")
	if p.bar == nil {
		t.Fatal("no bar on a terminal")
	}
	p.expect(1000)
	p.expect(500)
	p.expect(-1) // a length that is not known
	if got := p.bar.GetMax64(); got != 1500 {
		t.Errorf("%d bytes are expected, want 1500", got)
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			var b bytes.Buffer
			n, err := io.Copy(p.writer(&b), p.reader(strings.NewReader(strings.Repeat("x", 50))))
			if err != nil || n != 50 || b.Len() != 50 {
				t.Errorf("%d bytes, %v", n, err)
			}
		})
	}
	wg.Wait()
	if got := p.bar.State().CurrentNum; got != 1000 { // each byte was read and written
		t.Errorf("%d bytes are counted, want 1000", got)
	}
	if _, err := p.writer(&stuck{}).Write([]byte("x")); err == nil {
		t.Error("an error of a writer is swallowed")
	}
	if _, err := p.reader(&failing{}).Read(make([]byte, 1)); err == nil {
		t.Error("an error of a reader is swallowed")
	}
	p.end()
}
