package call

import (
	"context"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/transport"
)

// Observer watches the engine's work. Its methods may be called concurrently, and
// never while a lock is held.
type Observer interface {
	balance.Observer
	// AttemptBegins is called before a request is sent to a member, and AttemptEnds
	// with the result once the answer has come or is no longer expected. err is nil
	// for an answer; it must not be modified.
	AttemptBegins(ctx context.Context, a Attempt) Observation
	AttemptEnds(o Observation, err *Error)
	// Retrying is called before the pause that precedes another attempt. ctx is the
	// request's.
	Retrying(ctx context.Context, op string, attempt int, pause time.Duration, err *Error)
	// Authenticated is called each time the server issues a token.
	Authenticated()
}

// Attempt is a request that goes to one member.
type Attempt struct {
	Op       string
	Endpoint string
	Hedge    bool // the second request of a late read
	Calls    int  // how many calls share it
	Path     string
	// Contexts are those of the calls that share it, if somebody wants them.
	Contexts []context.Context
}

// Observation is the observer's record of an attempt. The observer fills it; the
// zero value belongs to an attempt that only the counters see.
type Observation struct {
	Attempt Attempt
	Context context.Context // the request's
	Began   time.Time
	Ended   func(took time.Duration, err *Error)
	// Headers are sent with the request.
	Headers []transport.Header
}
