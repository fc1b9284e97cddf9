package oracle

import "github.com/forebay/forebay/system/dfs"

// Once guards C2: a change is made once, however often its messages are sent. It judges changes whose second execution
// shows, on paths that nobody else works on and whose state is known: a file made without leave to overwrite would be there
// already, one that was renamed or removed would be gone.
type Once struct{ Book *Book }

// Changed judges the outcome of such a change. An error of another kind leaves the outcome open and is none of its business.
func (o Once) Changed(who int, what string, p dfs.Path, err error) {
	switch {
	case err == nil:
	case dfs.IsKind(err, dfs.NotFound), dfs.IsKind(err, dfs.AlreadyExists), dfs.IsKind(err, dfs.Stale), dfs.IsKind(err, dfs.NotEmpty),
		dfs.IsKind(err, dfs.NotDirectory), dfs.IsKind(err, dfs.IsDirectory):
		o.Book.Violation("once", "client %d: %s of %s was done twice or undone: %v", who, what, p, err)
	}
}
