package stm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/idempotent"
	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/call"
)

// ErrConflict means that other clients changed what the function had read, in each of
// Config.Attempts attempts. Nothing was written.
var ErrConflict = errors.New("other clients changed what the transaction had read")

// Config says how Run works. The zero value is ready to use.
type Config struct {
	// Attempts limits how many times the function runs. The zero value means as
	// many times as the context allows.
	Attempts int
	// Alone applies the transaction in its own Txn. Without it, transactions of one
	// client that change the same keys at the same time are applied together, one after
	// the other, in one Txn: watches see only the last value of a key, and the key's
	// version grows by one. Ranges, deletions and leases are left out of that.
	//
	// Transactions over different keys share a Txn while the servers are busy, unless they
	// read ranges, the client is etcd.CoalesceOff or limits the size of responses, or it
	// authenticates itself: etcd without the fix of GHSA-rfx7-8w68-q57q does not check the
	// permissions of transactions inside one. Each succeeds or conflicts by itself, and those that succeed
	// have one revision, so that watches see them together.
	//
	// A transaction with Attempts or a Writer is always alone.
	Alone bool
	// Writer makes the commits exactly once: when the answer to one is lost, Run finds out
	// whether it was applied, and goes on accordingly. Run's client must be the Writer's,
	// or nil. A transaction can then have 127 compares and 126 writes. Nil means that Run
	// fails with an error that etcd.MaybeApplied reports.
	Writer *idempotent.Writer
}

// Result says what became of a transaction.
type Result struct {
	// Revision is the one at which the writes were applied, or, if there were none,
	// the one at which the function read. It is 0 if the function did neither.
	Revision int64
	// Attempts is how many times the function ran.
	Attempts int
}

// From the third conflict on, attempts pause: a crowd of transactions over the same keys
// makes faster progress when they come one by one.
const conflictsAtOnce = 2

var pause = backoff.Backoff{First: time.Millisecond, Cap: 50 * time.Millisecond}

// Run calls f, possibly several times, and applies what f has written if nothing that f
// has read was changed meanwhile. f must have no effect but through its [Tx], and must
// not keep the Tx. When f returns an error, the writes are discarded and Run returns
// that error as it is. When f returns nil although a method of the Tx failed, Run
// returns the error of that method.
//
// ctx bounds the whole, pauses included. Without a deadline and without
// Config.Attempts, Run tries for as long as there are conflicts.
//
// Errors: those of f, ErrConflict, etcd.ErrInvalidRequest, etcd.ErrTooManyOps, and
// those of etcd's Get and Txn. The writes may have been applied if
// etcd.MaybeApplied(err) says so; Run does not try again then, whatever
// etcd.Config.RetryWrites is, because the function would be applied twice. With a Writer
// that happens only when ctx ends, or the history that would tell is compacted;
// [idempotent.Writer.Resolve] tells later, and its result's Succeeded is false if there was a
// conflict, so that nothing was written.
//
// Run may be called concurrently. f must not wait for another transaction that changes
// what f has read: its own would conflict each time.
//
// etcd: KV/Range and KV/Txn (since 3.3)
func Run(ctx context.Context, c *etcd.Client, config Config, f func(tx *Tx) error) (*Result, error) {
	if config.Writer != nil && c == nil {
		c = config.Writer.Client()
	}
	switch {
	case ctx == nil:
		return nil, invalid("Run", "the context is nil; use context.Background() if there is none")
	case c == nil:
		return nil, invalid("Run", "the client is nil")
	case config.Writer != nil && config.Writer.Client() != c:
		return nil, invalid("Run", "the client is not that of Config.Writer; pass nil, or the Writer's")
	case f == nil:
		return nil, invalid("Run", "the function is nil")
	case config.Attempts < 0:
		return nil, invalid("Run", "Config.Attempts is %d; use 0 for no limit", config.Attempts)
	}
	r := run{ctx: ctx, client: c, config: config, f: f}
	if !config.Alone && config.Attempts == 0 && config.Writer == nil {
		cr := enter(c)
		defer cr.leave()
		r.crowd = cr
	}
	return r.run()
}

// run is one call of Run.
type run struct {
	ctx    context.Context
	client *etcd.Client
	config Config
	f      func(*Tx) error
	crowd  *crowd // nil with Config.Alone and what implies it
	alone  bool   // no attempt joins a batch any more
}

func (r *run) run() (*Result, error) {
	known := &snapshot{}
	for attempt := 1; ; attempt++ {
		tx := newTx(r.ctx, r.client, known)
		tx.writer, tx.crowd, tx.alone = r.config.Writer, r.crowd, r.alone
		newer, err := tx.attempt(r.ctx, r.f)
		switch {
		case errors.Is(err, errAlone):
			r.alone, known = true, &snapshot{}
			continue
		case err != nil:
			return nil, err
		case newer == nil:
			return &Result{Revision: tx.revision, Attempts: attempt}, nil
		case attempt == r.config.Attempts:
			return nil, fmt.Errorf("stm: %w (%d attempts)", ErrConflict, attempt)
		}
		if r.crowd != nil && tx.batch == nil {
			r.crowd.conflicted(tx.known, newer)
			r.alone = r.alone || attempt >= conflictsAtOnce
		}
		if err := wait(r.ctx, attempt-conflictsAtOnce-1); err != nil {
			return nil, fmt.Errorf("stm: after %d attempts that met conflicts: %w", attempt, err)
		}
		known = newer
	}
}

// wait pauses before the next attempt, not at all before the first ones.
func wait(ctx context.Context, failures int) error {
	if failures >= 0 {
		call.Sleep(ctx, pause.Jittered(failures))
	}
	return context.Cause(ctx)
}

func invalid(method, format string, args ...any) error {
	return fmt.Errorf("stm: %s: %w: %s", method, etcd.ErrInvalidRequest, fmt.Sprintf(format, args...))
}
