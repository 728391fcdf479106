package etcd

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"silly.store/etcd/internal/balance"
)

// observer is told what happens inside a client. It counts for Stats, calls the
// user's hooks and writes the log. All methods may be called concurrently, and
// none while a lock is held.
type observer struct {
	hooks Hooks
	log   *slog.Logger // nil: silent

	attempts, failures, retries, hedges    atomic.Int64
	connects, connectFailures, disconnects atomic.Int64
	authentications, watchesResumed        atomic.Int64
	batches, batchedCalls                  atomic.Int64
	renewals, leasesLost                   atomic.Int64
}

// quiet reports whether a message of the level would not be written.
func (o *observer) quiet(level slog.Level) bool {
	return o.log == nil || !o.log.Enabled(context.Background(), level)
}

func (o *observer) write(level slog.Level, text string, attrs ...slog.Attr) {
	if o.log != nil {
		o.log.LogAttrs(context.Background(), level, text, attrs...)
	}
}

// why is the attribute for an error.
func why(err error) slog.Attr { return slog.Any("error", err) }

// attemptWatch is one attempt that is observed; the zero value is of one that
// nobody but the counters wants to know of.
type attemptWatch struct {
	info  AttemptInfo
	began time.Time
	ended func(AttemptResult)
}

// attempt notes that a request is about to be sent.
func (o *observer) attempt(ctx context.Context, r *rpc, endpoint string, hedge bool) attemptWatch {
	o.attempts.Add(1)
	if hedge {
		o.hedges.Add(1)
	}
	if o.hooks.Attempt == nil && o.quiet(slog.LevelDebug) {
		return attemptWatch{}
	}
	a := attemptWatch{info: AttemptInfo{Op: r.op, Endpoint: endpoint, Hedge: hedge, Calls: r.fate.size()}, began: time.Now()}
	if o.hooks.Attempt != nil {
		a.ended = o.hooks.Attempt(ctx, a.info)
	}
	return a
}

// batch notes that so many calls share a request.
func (o *observer) batch(calls int) {
	o.batches.Add(1)
	o.batchedCalls.Add(int64(calls))
}

// attemptEnded notes what became of it.
func (o *observer) attemptEnded(a attemptWatch, err *Error) {
	if err != nil {
		o.failures.Add(1)
	}
	if a.began.IsZero() {
		return
	}
	took := time.Since(a.began)
	if a.ended != nil {
		a.ended(AttemptResult{Duration: took, Err: err})
	}
	if err != nil && !o.quiet(slog.LevelDebug) {
		o.write(slog.LevelDebug, "attempt failed", slog.String("op", a.info.Op), slog.String("endpoint", a.info.Endpoint),
			slog.Duration("took", took), slog.String("outcome", err.Outcome.String()), why(err))
	}
}

// retry notes that a request is sent again after a pause.
func (o *observer) retry(op string, attempt int, pause time.Duration, err *Error) {
	o.retries.Add(1)
	if o.hooks.Retry != nil {
		o.hooks.Retry(RetryInfo{Op: op, Attempt: attempt, Pause: pause, Err: err})
	}
	if o.quiet(slog.LevelInfo) {
		return
	}
	o.write(slog.LevelInfo, "trying again", slog.String("op", op), slog.Int("attempt", attempt),
		slog.Duration("pause", pause), why(err))
}

// Connected implements balance.Observer.
func (o *observer) Connected(c balance.Connected) {
	if c.Err == nil {
		o.connects.Add(1)
	} else {
		o.connectFailures.Add(1)
	}
	if o.hooks.Connected != nil {
		o.hooks.Connected(ConnectInfo{
			Endpoint: c.Endpoint, Purpose: purposeOf(c.Lane), Duration: c.Took, Err: c.Err, Failures: c.Failures,
		})
	}
	if o.log == nil {
		return
	}
	endpoint, purpose := slog.String("endpoint", c.Endpoint), slog.String("for", string(purposeOf(c.Lane)))
	switch {
	case c.Err == nil:
		o.write(slog.LevelInfo, "connected", endpoint, purpose, slog.Duration("took", c.Took))
	case c.Failures == 1:
		o.write(slog.LevelWarn, "cannot connect", endpoint, purpose, why(c.Err))
	default: // it goes on: a member that is down for an hour is worth one line
		o.write(slog.LevelDebug, "still cannot connect", endpoint, purpose, slog.Int("failures", c.Failures), why(c.Err))
	}
}

// Disconnected implements balance.Observer.
func (o *observer) Disconnected(d balance.Disconnected) {
	o.disconnects.Add(1)
	if o.hooks.Disconnected != nil {
		o.hooks.Disconnected(DisconnectInfo{Endpoint: d.Endpoint, Purpose: purposeOf(d.Lane), Lived: d.Lived, Err: d.Err})
	}
	level := slog.LevelWarn
	if d.Ordinary {
		level = slog.LevelInfo
	}
	o.write(level, "disconnected", slog.String("endpoint", d.Endpoint), slog.String("for", string(purposeOf(d.Lane))),
		slog.Duration("lived", d.Lived), why(d.Err))
}

func purposeOf(lane balance.Lane) Purpose {
	switch lane {
	case balance.Watch:
		return ForWatches
	case balance.Bulk:
		return ForBulk
	}
	return ForCalls
}

// watchResumed notes that a watch goes on on another stream.
func (o *observer) watchResumed(info WatchResumeInfo) {
	o.watchesResumed.Add(1)
	if o.hooks.WatchResumed != nil {
		o.hooks.WatchResumed(info)
	}
	o.write(slog.LevelDebug, "watch resumed", slog.String("endpoint", info.Endpoint),
		slog.Int64("revision", info.Revision), slog.Int64("behind", info.Behind), slog.Duration("interrupted", info.Interrupted))
}

// leaseLost notes that a lease is over and was not revoked by this client.
func (o *observer) leaseLost(id LeaseID, err *Error) {
	o.leasesLost.Add(1)
	o.write(slog.LevelWarn, "lease lost", slog.String("lease", id.String()), why(err))
}
