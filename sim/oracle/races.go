package oracle

import "github.com/forebay/forebay/system/dfs"

// Races guard C1 and C2 where several clients make one file at once, without leave to overwrite: at most one of them is told
// that it did, whoever looks afterwards finds the winner's content, and nobody is refused before somebody has begun.
type Races struct {
	book  *Book
	races map[dfs.Path]*race
}

type race struct {
	begun  int
	winner int // the client that was told so; 0: none yet
}

// NewRaces knows none yet.
func NewRaces(book *Book) *Races { return &Races{book: book, races: map[dfs.Path]*race{}} }

// Begin notes that a client sets out to make p.
func (o *Races) Begin(p dfs.Path) {
	if o.races[p] == nil {
		o.races[p] = &race{}
	}
	o.races[p].begun++
}

// Made judges the outcome: err is nil, AlreadyExists, or leaves it open. Clients are numbered from 1 here.
func (o *Races) Made(p dfs.Path, client int, err error) {
	r := o.races[p]
	switch {
	case err == nil && r.winner != 0:
		o.book.Violation("races", "client %d: %s was made, and client %d was told that it made it", client, p, r.winner)
	case err == nil:
		r.winner = client
	case dfs.IsKind(err, dfs.AlreadyExists) && r.begun < 2:
		o.book.Violation("races", "client %d: %s was made twice by its only writer: %v", client, p, err)
	}
}

// Winner is the client that was told to have made p; 0: none.
func (o *Races) Winner(p dfs.Path) int {
	if r := o.races[p]; r != nil {
		return r.winner
	}
	return 0
}

// Saw judges the content that somebody found, who began to look when winner was known: it is that of one writer, the winner's
// if there was one.
func (o *Races) Saw(who int, p dfs.Path, winner, found int) {
	if found == 0 || winner != 0 && found != winner {
		o.book.Violation("races", "client %d: %s holds what client %d wrote, and client %d was told to have made it", who, p, found, winner)
	}
}
