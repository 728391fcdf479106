package call

import (
	"context"
	"sync/atomic"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// Config configures an Engine.
type Config struct {
	// Endpoints, Dial, Resolve and DialTimeout are those of balance.Config.
	Endpoints   []balance.Endpoint
	Dial        balance.Dialer
	Resolve     balance.Resolver
	DialTimeout time.Duration

	// Retries is how many attempts may follow the first one.
	Retries int
	// RetrySleep is the approximate pause before each of them.
	RetrySleep time.Duration
	// Timeout bounds an attempt whose context has no deadline; 0 means no bound.
	Timeout time.Duration
	// AtLeastOnce allows a write to be sent again after it may have been applied.
	AtLeastOnce bool
	// HedgeAfter is how long a read waits for one member before it also goes to a
	// second one. 0 hedges only when something is wrong, a negative value never.
	HedgeAfter time.Duration
	// Prefer says which member calls go to.
	Prefer Preference

	// Credentials returns the client's credentials; nil means that it has none.
	Credentials func(ctx context.Context) (Credentials, error)
	// FixedCredentials says that Credentials always returns the same.
	FixedCredentials bool

	// OnHistoryReset, when not nil, is called once per reset, when an answer shows
	// that the cluster has fallen back to the given revision. No lock is held
	// during the call.
	OnHistoryReset func(revision int64)
	// Observer must not be nil.
	Observer Observer
}

// Engine makes calls to one cluster. All methods may be called concurrently.
type Engine struct {
	// Set holds the members and the connections to them.
	Set *balance.Set

	config   Config
	observer Observer
	hedges   hedges
	learned  atomic.Int32 // how many copies a first one counts as (answerWait)
	history  cluster
	tokens   *tokens        // nil: no credentials
	leader   *leaderTracker // nil: no member is preferred
	done     chan struct{}  // closed by Stop; ends all pauses
	stopped  atomic.Bool
}

// New makes an engine. It does not connect.
func New(config Config) *Engine {
	e := &Engine{config: config, observer: config.Observer, done: make(chan struct{})}
	e.Set = balance.New(balance.Config{
		Endpoints:   config.Endpoints,
		DialTimeout: config.DialTimeout,
		Observer:    config.Observer,
		Dial:        config.Dial,
		Resolve:     config.Resolve,
		Check:       e.identify,
		Probe:       e.probe,
	})
	e.hedges.init(config.HedgeAfter)
	e.tokens = newTokens(e)
	e.leader = newLeaderTracker(e, config.Prefer)
	return e
}

// Stop ends the pauses between attempts: waiting calls fail with ErrClosed. It may
// be called more than once.
func (e *Engine) Stop() {
	if !e.stopped.Swap(true) {
		close(e.done)
	}
}

// Close ends the engine, its goroutines and every connection. Close the engine's
// users first, so that they open nothing meanwhile.
func (e *Engine) Close() {
	e.Stop()
	e.tokens.close()
	e.leader.close()
	e.Set.Close()
}

// probe checks that a member serves reads, which requires a leader. Any answer is
// enough, even one that denies permission.
func (e *Engine) probe(ctx context.Context, conn transport.Conn) error {
	_, err := conn.Call(ctx, transport.Request{Path: rpc.Ready.Path, Message: probeMessage, RequireLeader: true})
	if err == nil {
		return nil
	}
	if failed := FromTransport(rpc.Ready, "", err); !failed.provesLife() {
		return failed
	}
	return nil
}

// probeMessage counts the values of one key, which costs a member almost nothing.
var probeMessage = countMessage("\x00")

// Ready attempts a linearizable read until a member answers. It keeps trying while
// the fault may pass.
//
// An answer that denies permission is enough: to give it the member had to identify
// the user.
func (e *Engine) Ready(ctx context.Context, p Patience) *Error {
	r := Request{Method: rpc.Ready, Message: probeMessage}
	_, err := e.RetryFor(ctx, r, p, func() *Error {
		_, err := e.Once(ctx, r)
		if err != nil && err.Sentinel == ErrPermissionDenied {
			return nil
		}
		return err
	})
	return err
}
