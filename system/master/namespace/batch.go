package namespace

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/inodestore"
)

// batch is one entry in the making.
type batch struct {
	sequence uint64
	bytes    int // about what the effects take
	effects  []effect
	answers  map[dfs.SessionID]*sessionAnswers
	nonces   []uint64
	after    []func() // the leader's soft state, once applied
	done     host.Event
	err      error // valid once done
}

// Ticket is a mutation that was evaluated: its answer holds once Wait returns nil.
type Ticket struct {
	// Replayed tells that this mutation had been evaluated before and its first answer is given again.
	Replayed bool
	batch    *batch
	answer   answer
}

// Wait returns once the mutation is applied, or why it may not have been. After an error of ctx the mutation may still
// take effect; after NotLeader or Unavailable it is the next leader's to say, when the same sequence is sent again.
func (t *Ticket) Wait(ctx context.Context) error {
	if t.batch == nil {
		return nil
	}
	return t.batch.wait(ctx)
}

// wait returns when the batch is applied, with the error of the leadership's end when it may not be. A ctx that ends
// tells nothing of the batch: it goes on.
func (b *batch) wait(ctx context.Context) error {
	if err := b.done.Wait(ctx); err != nil {
		return err
	}
	return b.err
}

// Settle waits until everything evaluated so far is applied: what an error answer must do that may stem from a pending
// proposal (INV-3). It returns the leadership's error when that has ended meanwhile: then the verdict is worth nothing
// and must not be given.
func (e *Evaluator) Settle(ctx context.Context) error {
	e.mu.Lock()
	b := e.open
	empty := len(b.effects) == 0 && len(b.answers) == 0
	idle := empty && e.idleLocked()
	if empty && !idle {
		// Nothing is open, but earlier entries are under way: an empty one behind them marks the end.
		b.effects = append(b.effects, e.markEffect())
		e.wake.Set()
	}
	failed := e.failed
	e.mu.Unlock()
	if failed != nil {
		return failed
	}
	if idle {
		return nil
	}
	return b.wait(ctx)
}

// idleLocked tells whether nothing is proposed and not yet applied. Batches in flight count, also one of answers
// alone, which leaves nothing in the overlay. e.mu is held.
func (e *Evaluator) idleLocked() bool {
	return len(e.view.dirs) == 0 && len(e.view.records) == 0 && len(e.flying) == 0
}

// markEffect changes nothing: it gives an entry something to carry. Settle's mark and commit's mark end in the same kind of
// entry: without any effect there would be no entry to wait for, and an answer must not be given before what it rests on
// is applied.
func (e *Evaluator) markEffect() effect {
	return effect{kind: effectPutRecord, table: inodestore.TableMeta, key: metaNextID, value: idKey(e.reserved)}
}
