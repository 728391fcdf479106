package etcd

import (
	"context"
	"time"
)

// Hooks are functions that a [Client] calls when something happens inside it,
// for metrics, tracing and tests. Every field may be nil, and costs nothing
// then.
//
// They are called from the goroutine in which it happens, several at the same
// time, and hold up what calls them: they should return at once. They must not
// call [Client.Close], which waits for them.
type Hooks struct {
	// Attempt is called before a request with a single answer is sent. What it
	// returns is called when that attempt has ended, if it is not nil. ctx is the
	// caller's, or one without values where several calls share the request. A hedged read is two attempts at the same time. Streams are not
	// attempts: they show as connections, WatchResumed and LeaseRenewed.
	Attempt func(ctx context.Context, a AttemptInfo) (ended func(AttemptResult))

	// Retry is called before the pause that precedes another attempt.
	Retry func(RetryInfo)

	// Connected is called when a connection is up, or could not be made.
	Connected func(ConnectInfo)

	// Disconnected is called when a connection that was up is over.
	Disconnected func(DisconnectInfo)

	// WatchResumed is called when a watch has been confirmed again after its
	// stream had ended, for each such watch.
	WatchResumed func(WatchResumeInfo)

	// LeaseRenewed is called for each answer to a renewal of a lease that the
	// client keeps alive.
	LeaseRenewed func(LeaseRenewInfo)
}

// AttemptInfo is an attempt that begins.
type AttemptInfo struct {
	Op       string // the method, like "Put"
	Endpoint string // the member that it goes to
	Hedge    bool   // it is the second attempt of a read whose first one is late
	// Calls is how many calls share the request, 1 if it is one's own: see
	// [Coalesce].
	Calls int
}

// AttemptResult is an attempt that has ended.
type AttemptResult struct {
	Duration time.Duration
	// Err is nil, or what the attempt ended with; Err.Outcome says what is known
	// of the request's fate. It is shared: do not change it.
	Err *Error
}

// RetryInfo is a request that is about to be sent again.
type RetryInfo struct {
	Op      string
	Attempt int           // the number of the attempt that failed; 1 is the first
	Pause   time.Duration // until the next
	Err     *Error        // why the last one failed; shared: do not change it
}

// Purpose is what a connection is used for. A member has up to one of each.
type Purpose string

// The purposes of connections.
const (
	ForCalls   Purpose = "calls"   // requests with one answer, and lease renewals
	ForWatches Purpose = "watches" // watch streams
	ForBulk    Purpose = "bulk"    // large ranges and snapshots
)

// ConnectInfo is an attempt to connect that has ended.
type ConnectInfo struct {
	Endpoint string
	Purpose  Purpose
	Duration time.Duration // name resolution and handshakes included
	Err      error         // nil: the connection is up
	Failures int           // in a row, this one included; 0 when Err is nil
}

// DisconnectInfo is a connection that is over.
type DisconnectInfo struct {
	Endpoint string
	Purpose  Purpose
	Lived    time.Duration
	Err      error // why
}

// WatchResumeInfo is a watch that has been confirmed on another stream.
type WatchResumeInfo struct {
	Endpoint string // the member that it is on now
	Key      string
	Revision int64 // the first revision that it asks for
	// Behind is how many revisions the store is ahead of it: 0 means that it has
	// missed nothing.
	Behind int64
	// Interrupted is how long it was on no stream.
	Interrupted time.Duration
}

// LeaseRenewInfo is a renewal of a lease that was answered.
type LeaseRenewInfo struct {
	ID       LeaseID
	Endpoint string
	TTL      time.Duration // that the lease has now, counted from when the renewal was sent
	// Margin is how long before the lease's deadline the answer came. A small
	// one means a member that is slow or far away, or a TTL that is too short.
	Margin time.Duration
}
