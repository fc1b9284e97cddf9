package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/forebay/forebay/system/config"
	"github.com/forebay/forebay/system/dfs"
)

// fileInfo is a file status as JSON has it. Lengths are bytes, times RFC 3339, durations as Go writes them, mode octal text;
// xattr's values are base64. cachedBytes is as the master last heard of it from workers, and 0 unless it was asked for.
type fileInfo struct {
	Path        string            `json:"path"`
	Name        string            `json:"name"`
	Type        string            `json:"type"`
	Length      int64             `json:"length"`
	ID          uint64            `json:"id"`
	Version     uint32            `json:"version"`
	Completed   bool              `json:"completed"`
	BlockSize   int64             `json:"blockSize"`
	Mode        string            `json:"mode"`
	Owner       string            `json:"owner"`
	Group       string            `json:"group"`
	ModTime     time.Time         `json:"modTime"`
	Persist     string            `json:"persist"`
	MountID     uint64            `json:"mountId"`
	MountPoint  bool              `json:"mountPoint"`
	UfsPath     string            `json:"ufsPath"`
	Pinned      bool              `json:"pinned"`
	Replication [3]int32          `json:"replicationMinMaxDurable"`
	TTL         string            `json:"ttl"`
	TTLAction   string            `json:"ttlAction"`
	Xattr       map[string][]byte `json:"xattr,omitempty"`
	Fingerprint string            `json:"fingerprint"`
	CachedBytes int64             `json:"cachedBytes"`
}

// describe is the JSON form of a status. Scripts depend on its names: append only.
func describe(s *dfs.FileStatus) fileInfo {
	return fileInfo{
		Path: string(s.Path), Name: s.Name, Type: typeName(s), Length: s.Length, ID: uint64(s.ID), Version: s.Version,
		Completed: s.Completed, BlockSize: s.BlockSize, Mode: fmt.Sprintf("%04o", s.Mode), Owner: s.Owner, Group: s.Group,
		ModTime: s.ModTime, Persist: s.Persist.String(), MountID: uint64(s.MountID), MountPoint: s.MountPoint,
		UfsPath: s.UfsPath, Pinned: s.Pinned,
		Replication: [3]int32{s.ReplicationMin, s.ReplicationMax, s.ReplicationDurable}, TTL: s.TTL.String(),
		TTLAction: s.TTLAction.String(), Xattr: s.Xattr, Fingerprint: s.Fingerprint, CachedBytes: s.CachedBytes,
	}
}

// typeName is the only two types there are: links are none of the namespace's.
func typeName(s *dfs.FileStatus) string {
	if s.IsDir() {
		return "directory"
	}
	return "file"
}

// escape makes text safe to print on a line: control characters and what is not printable appear as Go escapes.
func escape(text string) string {
	clean := func(r rune) bool { return unicode.IsPrint(r) && r != unicode.ReplacementChar }
	if strings.IndexFunc(text, func(r rune) bool { return !clean(r) }) < 0 {
		return text
	}
	var out strings.Builder
	for _, r := range text {
		if clean(r) {
			out.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRuneToASCII(r)
		out.WriteString(quoted[1 : len(quoted)-1])
	}
	return out.String()
}

func (a *app) asJSON() bool { return a.flags.output == "json" }

// printf prints to standard output. A failure (a full disk, a closed pipe) sticks to the buffer and shows when it is
// flushed in the end, in the exit code.
func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.out, format, args...) }

// printJSON prints one value.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// table prints rows in columns, after a header whose names are separated by tabs. It holds all rows to find the widths: for
// what may be endless there is listing. Cells are escaped, so that none breaks its row.
func (a *app) table(header string, rows func(row func(cells ...any))) error {
	t := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, header)
	rows(func(cells ...any) {
		texts := make([]string, len(cells))
		for i, c := range cells {
			texts[i] = escape(fmt.Sprint(c))
		}
		fmt.Fprintln(t, strings.Join(texts, "\t"))
	})
	return t.Flush()
}

// listing prints items one by one, as lines or as a JSON array, without holding them.
type listing struct {
	a     *app
	items int
}

// add prints one item at once: a listing of millions needs no memory, and an error in the middle comes after what was
// found before it. Whoever adds must end, or the JSON is not closed.
func (l *listing) add(asJSON any, line func(w io.Writer)) error {
	if !l.a.asJSON() {
		line(l.a.out)
		return nil
	}
	before := "[\n  "
	if l.items > 0 {
		before = ",\n  "
	}
	l.items++
	text, err := json.Marshal(asJSON)
	if err != nil {
		return err
	}
	l.a.printf("%s%s", before, text)
	return nil
}

// end closes the array; an empty one is an array, too. It comes also after an error, so that what was printed is JSON.
func (l *listing) end() {
	switch {
	case !l.a.asJSON():
	case l.items == 0:
		l.a.printf("[]\n")
	default:
		l.a.printf("\n]\n")
	}
}

// bytesText is a size for people: exact in JSON's number, else short.
func bytesText(n int64, human bool) string {
	if !human {
		return strconv.FormatInt(n, 10)
	}
	names := "BKMGTPE"
	f, i := float64(n), 0
	for f >= 1024 && i < len(names)-1 {
		f /= 1024
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%dB", n)
	}
	return fmt.Sprintf("%.1f%ciB", f, names[i])
}

// sizeFlag is a size with a unit in bytes; "" is 0, the flag was not given.
func sizeFlag(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	size, err := config.ParseSize(text)
	return int64(size), err
}

// modeText is permission bits as ls prints them.
func modeText(s *dfs.FileStatus) string {
	text := []byte("-rwxrwxrwx")
	if s.IsDir() {
		text[0] = 'd'
	}
	for i := range 9 {
		if s.Mode&(1<<(8-i)) == 0 {
			text[i+1] = '-'
		}
	}
	for _, special := range []struct {
		bit    uint32
		at     int
		letter byte
	}{{0o4000, 3, 's'}, {0o2000, 6, 's'}, {0o1000, 9, 't'}} {
		switch {
		case s.Mode&special.bit == 0:
		case text[special.at] == 'x':
			text[special.at] = special.letter
		default: // set without the right to execute, which means nothing: in capitals, as ls has it
			text[special.at] = special.letter - 'a' + 'A'
		}
	}
	return string(text)
}
