package oracle

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/forebay/forebay/system/dfs"
)

// Boards guard C1 between clients: status and content are linearizable. A board carries a number that its one writer raises
// by one with each change. A look at it that began after a change was acknowledged, or after another look saw the number,
// sees that number or a later one; and never one that nobody has written yet.
//
// A change that failed may be made at any later time, behind changes that were acknowledged, as the linearization of an
// operation that never ended: its number is accepted from then on. After maxOpen of those the board is no longer written.
type Boards struct {
	book   *Book
	boards []board
}

type board struct {
	begun, seen uint64 // the highest number that a change was begun with, and that somebody was told
	by          string // who was told, and when, for the report
	open        []uint64
	writing     bool
}

// maxOpen bounds the numbers whose outcome is open on one board: what can come late hides what comes wrong.
const maxOpen = 8

// NewBoards makes n boards that show 0.
func NewBoards(book *Book, n int) *Boards { return &Boards{book: book, boards: make([]board, n)} }

// Len is how many there are.
func (o *Boards) Len() int { return len(o.boards) }

// Write begins a change of board i and gives its number. A board has one change at a time; false: not now, or never again.
func (o *Boards) Write(i int) (number uint64, ok bool) {
	b := &o.boards[i]
	if b.writing || len(b.open) >= maxOpen {
		return 0, false
	}
	b.writing = true
	b.begun++
	return b.begun, true
}

// Written ends a change.
func (o *Boards) Written(i, who int, number uint64, err error) {
	b := &o.boards[i]
	b.writing = false
	if err != nil {
		b.open = append(b.open, number)
		return
	}
	b.saw(number, who, "wrote", o.book.Now())
}

func (b *board) saw(number uint64, who int, how string, now time.Duration) {
	if number > b.seen {
		b.seen, b.by = number, fmt.Sprintf("client %d %s it by %v", who, how, now)
	}
}

// Look is one look at a board, under way.
type Look struct {
	i, who int
	least  uint64
	by     string
	began  time.Duration
}

// Look begins a look.
func (o *Boards) Look(i, who int) Look {
	return Look{i: i, who: who, least: o.boards[i].seen, by: o.boards[i].by, began: o.book.Now()}
}

// Saw ends a look that was answered with text.
func (o *Boards) Saw(l Look, text []byte) {
	b := &o.boards[l.i]
	number, err := strconv.ParseUint(string(text), 10, 64)
	switch {
	case err != nil:
		o.book.Violation("boards", "client %d: board %d shows %q", l.who, l.i, text)
	case number > b.begun:
		o.book.Violation("boards", "client %d: board %d shows %d, and %d is the last that anybody wrote", l.who, l.i, number, b.begun)
	case number < l.least && !slices.Contains(b.open, number):
		o.book.Violation("boards", "client %d: board %d shows %d to a look that began at %v; %s, and saw %d", l.who, l.i, number, l.began, l.by, l.least)
	}
	if err == nil {
		b.saw(number, l.who, "saw", o.book.Now())
	}
}

// Missing ends a look that found no board. Before the first acknowledged change there need not be one.
func (o *Boards) Missing(l Look, err error) {
	if l.least > 0 {
		o.book.Violation("boards", "client %d: board %d is gone (%v); %s, and saw %d", l.who, l.i, err, l.by, l.least)
	}
}

// BoardPath is where board i is. The last half of the boards are files, the others attributes of directories.
func (o *Boards) BoardPath(i int) dfs.Path { return dfs.Path("/boards/b" + strconv.Itoa(i)) }

// InContent tells whether board i shows its number as the content of a file rather than as an attribute.
func (o *Boards) InContent(i int) bool { return i >= (len(o.boards)+1)/2 }
