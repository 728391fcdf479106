package etcd

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/callback"
	"silly.store/etcd/internal/keepalive"
	"silly.store/etcd/internal/transport"
)

// observer sees what happens inside a client. It counts for Stats, calls the
// user's hooks and writes the log. All methods may be called concurrently, and
// none while a lock is held.
type observer struct {
	hooks Hooks
	log   *slog.Logger // nil: silent

	attempts, failures, retries, hedges    atomic.Int64
	connects, connectFailures, disconnects atomic.Int64
	authentications, watchesResumed        atomic.Int64
	batches, batchedCalls, hookPanics      atomic.Int64

	// See compat.go: connections hears of each that has come up, has failed or has ended,
	// leaderless of renewals that find no leader.
	connections, leaderless listeners
}

// noCall is the context of lines that belong to no call.
var noCall = context.Background()

// quiet reports whether a message of the level would not be written. ctx is the call's or
// noCall.
func (o *observer) quiet(ctx context.Context, level slog.Level) bool {
	return o.log == nil || !o.log.Enabled(ctx, level)
}

// write writes a line. ctx is that of quiet: handlers read the trace from it.
func (o *observer) write(ctx context.Context, level slog.Level, text string, attrs ...slog.Attr) {
	if o.log != nil {
		o.log.LogAttrs(ctx, level, text, attrs...)
	}
}

// why is the attribute for an error.
func why(err error) slog.Attr { return slog.Any("error", err) }

// AttemptBegins implements call.Observer. The observation stays empty when only the
// counters need it.
func (o *observer) AttemptBegins(ctx context.Context, a call.Attempt) call.Observation {
	o.attempts.Add(1)
	if a.Hedge {
		o.hedges.Add(1)
	}
	if o.hooks.Call != nil {
		o.noteAttempts(ctx, &a)
	}
	if o.hooks.Attempt == nil && o.quiet(ctx, slog.LevelDebug) {
		return call.Observation{}
	}
	observation := call.Observation{Attempt: a, Context: ctx, Began: time.Now()}
	if o.hooks.Attempt == nil {
		return observation
	}
	info := AttemptInfo{
		Op: a.Op, Method: strings.TrimPrefix(a.Path, "/"), Endpoint: a.Endpoint, Hedge: a.Hedge, Calls: a.Calls, Shared: a.Contexts,
		headers: new([]transport.Header),
	}
	ended := o.hooks.Attempt(ctx, info)
	observation.Headers = *info.headers
	if ended != nil {
		observation.Ended = func(took time.Duration, err *call.Error) {
			defer o.caught(ctx, "Hooks.Attempt")
			ended(AttemptResult{Duration: took, Err: publicOrNil(err)})
		}
	}
	return observation
}

// noteAttempts notes an attempt for each of the calls that it is made for.
func (o *observer) noteAttempts(ctx context.Context, a *call.Attempt) {
	if len(a.Contexts) == 0 {
		o.noteAttempt(ctx, a.Endpoint)
	}
	for _, shared := range a.Contexts {
		o.noteAttempt(shared, a.Endpoint) //nolint:contextcheck // those of the calls that share the request
	}
}

// panicked is a callback.Report, for what belongs to no call.
func (o *observer) panicked(e *callback.Error) { o.panickedIn(noCall, e) }

// panickedIn notes that a function of the user has panicked.
func (o *observer) panickedIn(ctx context.Context, e *callback.Error) {
	o.hookPanics.Add(1)
	o.write(ctx, slog.LevelError, "callback panicked", slog.String("callback", e.Callback), slog.Any("panic", e.Value), slog.String("at", e.Place), slog.String("stack", e.Stack))
}

// AttemptEnds implements call.Observer.
func (o *observer) AttemptEnds(a call.Observation, err *call.Error) {
	if err != nil {
		o.failures.Add(1)
	}
	if a.Began.IsZero() {
		return
	}
	took := time.Since(a.Began)
	if a.Ended != nil {
		a.Ended(took, err)
	}
	if err != nil && !o.quiet(a.Context, slog.LevelDebug) {
		o.write(a.Context, slog.LevelDebug, "attempt failed", slog.String("op", a.Attempt.Op), slog.String("endpoint", a.Attempt.Endpoint),
			slog.Duration("took", took), slog.String("outcome", Outcome(err.Outcome).String()), why(public(err)))
	}
}

// publicOrNil is public for an error that need not be there.
func publicOrNil(err *call.Error) *Error {
	if err == nil {
		return nil
	}
	return public(err)
}

// loudRetries is how many retries of one request are logged at info level. Ready
// tries as long as its context lasts.
const loudRetries = 10

// Retrying implements call.Observer.
func (o *observer) Retrying(ctx context.Context, op string, attempt int, pause time.Duration, err *call.Error) {
	o.retries.Add(1)
	if o.hooks.Retry != nil {
		o.hooks.Retry(RetryInfo{Op: op, Attempt: attempt, Pause: pause, Err: public(err)})
	}
	level := slog.LevelInfo
	if attempt > loudRetries {
		level = slog.LevelDebug
	}
	if o.quiet(ctx, level) {
		return
	}
	o.write(ctx, level, "retrying", slog.String("op", op), slog.Int("attempt", attempt),
		slog.Duration("pause", pause), why(public(err)))
}

// Authenticated implements call.Observer.
func (o *observer) Authenticated() { o.authentications.Add(1) }

// batched notes that a request carries so many calls.
func (o *observer) batched(calls int) {
	o.batches.Add(1)
	o.batchedCalls.Add(int64(calls))
}

// Connected implements balance.Observer.
func (o *observer) Connected(c balance.Connected) {
	if c.Err == nil {
		o.connects.Add(1)
	} else {
		o.connectFailures.Add(1)
	}
	o.connections.tell()
	if o.hooks.Connected != nil {
		o.hooks.Connected(ConnectInfo{
			Endpoint: c.Endpoint, Address: c.Address, Purpose: purposeOf(c.Lane), Duration: c.Took, Err: c.Err, Failures: c.Failures,
		})
	}
	if o.log == nil {
		return
	}
	endpoint, purpose := at(c.Endpoint, c.Address), slog.String("for", string(purposeOf(c.Lane)))
	switch {
	case c.Err == nil:
		o.write(noCall, slog.LevelInfo, "connected", endpoint, purpose, slog.Duration("took", c.Took))
	case c.Failures == 1:
		o.write(noCall, slog.LevelWarn, "cannot connect", endpoint, purpose, why(c.Err))
	default: // a member that stays down for an hour is worth one line
		o.write(noCall, slog.LevelDebug, "still cannot connect", endpoint, purpose, slog.Int("failures", c.Failures), why(c.Err))
	}
}

// Disconnected implements balance.Observer.
func (o *observer) Disconnected(d balance.Disconnected) {
	o.disconnects.Add(1)
	o.connections.tell()
	if o.hooks.Disconnected != nil {
		o.hooks.Disconnected(DisconnectInfo{Endpoint: d.Endpoint, Address: d.Address, Purpose: purposeOf(d.Lane), Lived: d.Lived, Err: d.Err})
	}
	level := slog.LevelWarn
	if d.Ordinary {
		level = slog.LevelInfo
	}
	o.write(noCall, level, "disconnected", at(d.Endpoint, d.Address), slog.String("for", string(purposeOf(d.Lane))),
		slog.Duration("lived", d.Lived), why(d.Err))
}

// at is the attribute for an endpoint, with the address that its name stands for.
func at(endpoint, address string) slog.Attr {
	if address != "" {
		endpoint += " (" + address + ")"
	}
	return slog.String("endpoint", endpoint)
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

// watchResumed notes that another stream has resumed a watch.
func (o *observer) watchResumed(info WatchResumeInfo) {
	o.watchesResumed.Add(1)
	if o.hooks.WatchResumed != nil {
		o.hooks.WatchResumed(info)
	}
	o.write(noCall, slog.LevelDebug, "watch resumed", slog.String("endpoint", info.Endpoint),
		slog.Int64("revision", info.Revision), slog.Int64("behind", info.Behind), slog.Duration("interrupted", info.Interrupted))
}

// wantsStale reports whether stale watches are reported anywhere.
func (o *observer) wantsStale() bool {
	return o.hooks.WatchStale != nil || !o.quiet(noCall, slog.LevelWarn)
}

// watchesStale notes watches that no member has served for long. They are often many, and
// for one reason, which is worth one line.
func (o *observer) watchesStale(stale []WatchStaleInfo) {
	if len(stale) == 0 {
		return
	}
	if o.hooks.WatchStale != nil {
		for _, info := range stale {
			o.hooks.WatchStale(info)
		}
	}
	o.write(noCall, slog.LevelWarn, "watches are stale", slog.Int("watches", len(stale)),
		slog.Duration("interrupted", stale[0].Interrupted), why(stale[0].Err))
}

// leases is what the keeper of the leases reports.
func (o *observer) leases() keepalive.Config {
	config := keepalive.Config{
		Reason: func(reason *call.Error) error { return public(reason) },
		Lost: func(id int64, reason error) {
			if o.hooks.LeaseLost != nil {
				o.hooks.LeaseLost(LeaseLossInfo{ID: LeaseID(id), Err: reason})
			}
			o.write(noCall, slog.LevelWarn, "lease lost", slog.String("lease", LeaseID(id).String()), why(reason))
		},
		Leaderless: o.leaderless.tell,
	}
	if o.hooks.LeaseRenewed != nil {
		config.Renewed = func(r keepalive.Renewal) {
			o.hooks.LeaseRenewed(LeaseRenewInfo{ID: LeaseID(r.ID), Endpoint: r.Endpoint, TTL: r.TTL, Margin: r.Margin})
		}
	}
	return config
}
