package cli

import (
	"context"
	"io/fs"
	"sync"

	"github.com/forebay/forebay/system/host"
)

// transfer runs many copies at a time and goes on after errors. One goroutine starts copies and waits in the end; the copies
// fail and count progress concurrently. Memory is bounded by the number of copies at a time: no list of files is kept.
type transfer struct {
	a        *app
	ctx      context.Context
	group    *host.Group
	progress *progress

	mu     sync.Mutex
	failed failures
}

// newTransfer begins a transfer of at most parallel copies at a time, and one at least. Whoever begins one must wait.
func (a *app) newTransfer(ctx context.Context, what string, parallel int) *transfer {
	return &transfer{a: a, ctx: ctx, group: host.NewGroup(a.h, max(parallel, 1)), progress: a.newProgress(what)}
}

// start runs one copy, when there is a place for it, and waits for one until then. Its error is noted and printed, and not
// returned: what start returns says that nothing more is begun, since the command was interrupted. Whoever walks a tree must
// end the walk then.
func (t *transfer) start(copyOne func() error) error {
	if err := t.ctx.Err(); err != nil { // also when there is a place: every file left would be an error of its own
		return err
	}
	return t.group.Go(t.ctx, "transfer", func() error {
		t.fail(copyOne())
		return nil
	})
}

// fail notes an error and prints it.
func (t *transfer) fail(err error) {
	if err == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed.add(t.a, err)
}

// directory is what a walk returns for a directory that was made, or could not be (err): then everything below it is
// passed over and the walk goes on, unless the command was interrupted.
func (t *transfer) directory(err error) error {
	if err == nil || t.ctx.Err() != nil {
		return err
	}
	t.fail(err)
	return fs.SkipDir
}

// wait waits for the copies, takes the progress bar away, and returns the transfer's first error, marked as printed. It waits
// also after an interrupt: the copies see that themselves, drop what they had begun, and must have done so before the process
// ends.
func (t *transfer) wait() error {
	err := t.group.Wait(context.WithoutCancel(t.ctx)) // copies end with their own contexts
	t.progress.end()
	if err != nil {
		return err
	}
	return t.failed.result()
}
