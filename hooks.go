package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"silly.store/etcd/internal/transport"
)

// Hooks are functions that a [Client] calls when something happens inside it,
// for metrics, tracing and tests. A field that is nil costs nothing.
//
// The client calls a hook in the goroutine in which the event happens, possibly in
// several at the same time, and waits for it: a hook should return at once. A hook
// must not call [Client.Close], which waits for hooks. A panic of a hook is caught, written to
// the log, and counted in [Stats].
//
// [JoinHooks] combines several, each of which is called whatever the others do.
type Hooks struct {
	// Call is called when a method of the client is called that makes requests. The
	// context that it returns, which must be ctx or derived from it, is that of the call's
	// attempts; nil stands for ctx. The function that it returns, if not nil, is called
	// when the method returns. A Watch, a Range and a Snapshot are calls until they are
	// open; a loop over [Range.All] that reads more is a separate call, "Range" too.
	// Renewals of leases in the background are no calls.
	Call func(ctx context.Context, c CallInfo) (context.Context, func(CallResult))

	// Attempt is called before a request with a single answer is sent. The function
	// that it returns, if not nil, is called when that attempt has ended. ctx is the
	// caller's, as Call has returned it, or one without values where several calls share
	// the request: their contexts are in AttemptInfo.Shared. A hedged
	// read is two attempts at the same time. Streams are not attempts: they show as
	// connections, WatchResumed and LeaseRenewed.
	Attempt func(ctx context.Context, a AttemptInfo) (ended func(AttemptResult))

	// Retry is called before the pause that precedes another attempt, for every
	// method, streams that are being opened included.
	Retry func(RetryInfo)

	// Connected is called when a connection is up, or when connecting has failed.
	Connected func(ConnectInfo)

	// Disconnected is called when a connection that was up has ended.
	Disconnected func(DisconnectInfo)

	// WatchDelivered is called when [Watcher.Read] returns events, in the goroutine of the
	// reader.
	WatchDelivered func(WatchDeliverInfo)

	// WatchStale is called for each watch that no member has served for 10 seconds: its
	// reader sees an old state. Moves to another member and elections take less. It is called
	// once, until a member serves the watch again and WatchResumed is called. That, and
	// WatchEnded, are called after it.
	WatchStale func(WatchStaleInfo)

	// WatchResumed is called for each watch that a member serves again after the watch's
	// stream had ended: it has confirmed the watch, and has answered a linearizable read or
	// sent events. A member without a leader confirms watches and does not serve them.
	WatchResumed func(WatchResumeInfo)

	// WatchEnded is called when a watch has ended, by its Close too.
	WatchEnded func(WatchEndInfo)

	// LeaseGranted is called for each lease that [Client.Grant] has made.
	LeaseGranted func(LeaseGrantInfo)

	// LeaseLost is called for each lease that the client was renewing and that has ended
	// otherwise than by its Revoke or Close.
	LeaseLost func(LeaseLossInfo)

	// LeaseRenewed is called for each answer to a renewal of a lease that the
	// client knows, by whatever means it was sent.
	LeaseRenewed func(LeaseRenewInfo)
}

// CallInfo is a call that begins.
type CallInfo struct {
	Op string // the method, like "Put"
	// Key is the key of a Get, Put, Delete, Range or Watch, or the first one of its range,
	// as the caller wrote it; "" in a Batch or Txn. Keys do not belong in metrics.
	Key string
	// Operations is how many a Batch has, or the larger branch of a Txn; 1 otherwise.
	Operations int
	Bytes      int // the size of the encoded request; 0 of calls that are streams, and of a Batch
}

// CallResult is the end of a call.
type CallResult struct {
	Duration time.Duration
	// Err is nil after success. A Batch has the error of its first failed operation. Err is
	// the caller's: do not change it.
	Err *Error
	// Attempts is the number of requests sent for the call, including hedges and shared
	// requests, and Endpoint the member that the last one went to. They are 0 and, unless
	// the call failed, "" for calls that are streams.
	Attempts int
	Endpoint string
	Revision int64 // of the answer of a Get, Put, Delete or Txn
	Pairs    int   // how many pairs that answer has
}

// AttemptInfo is an attempt that begins.
type AttemptInfo struct {
	Op       string // the method, like "Put"
	Method   string // the gRPC method, like "etcdserverpb.KV/Range"
	Endpoint string // the member that it goes to
	Hedge    bool   // the second attempt of a read whose first one is late
	// Calls is how many calls share the request; 1 means one. See [Coalesce].
	Calls int
	// Shared are the contexts of the calls that share the request, as Hooks.Call has
	// returned them; nil when the request belongs to the caller of ctx alone.
	Shared []context.Context

	headers *[]transport.Header
}

const (
	maxHeaders     = 8
	maxHeaderBytes = 1 << 10
)

// SetHeader adds a header to the request, which etcd's interceptors see. Use it for the
// identity of a trace. It may be called until the hook returns.
//
// name is in lower case, and not one that gRPC, HTTP or etcd use themselves; value is
// printable ASCII. A request takes 8 headers of 1 KiB in all. The error says what is wrong;
// the request is then sent without the header.
func (a AttemptInfo) SetHeader(name, value string) error {
	h := transport.Header{Name: name, Value: value}
	if err := h.Check(); err != nil {
		return fmt.Errorf("etcd: SetHeader: %w", err)
	}
	if a.headers == nil {
		return errors.New("etcd: SetHeader: this AttemptInfo is of no request")
	}
	size := len(name) + len(value)
	for _, other := range *a.headers {
		size += len(other.Name) + len(other.Value)
	}
	if len(*a.headers) == maxHeaders || size > maxHeaderBytes {
		return fmt.Errorf("etcd: SetHeader: %q is too much: a request takes %d headers of %d bytes in all", name, maxHeaders, maxHeaderBytes)
	}
	*a.headers = append(*a.headers, h)
	return nil
}

// AttemptResult is the end of an attempt.
type AttemptResult struct {
	Duration time.Duration
	// Err is nil after an answer. Err.Outcome says whether the request may have been
	// applied. Err is shared: do not change it.
	Err *Error
}

// RetryInfo is a request that the client is about to send again.
type RetryInfo struct {
	Op      string
	Attempt int           // the number of the attempt that failed; 1 is the first
	Pause   time.Duration // until the next
	Err     *Error        // why the last one failed; shared: do not change it
}

// Purpose is the use of a connection. A member has one connection per purpose, and a
// further one while that is silent or has no stream left.
type Purpose string

// The purposes of connections.
const (
	ForCalls   Purpose = "calls"   // requests with a single answer, and lease renewals
	ForWatches Purpose = "watches" // watch streams
	ForBulk    Purpose = "bulk"    // large ranges and snapshots
)

// ConnectInfo is the end of an attempt to connect.
type ConnectInfo struct {
	Endpoint string
	Address  string // that the endpoint's name stood for; empty if it is no name, or none could be reached
	Purpose  Purpose
	Duration time.Duration // name resolution and handshakes included
	Err      error         // nil: the connection is up
	Failures int           // consecutive failures, this one included; 0 when Err is nil
}

// DisconnectInfo is the end of a connection.
type DisconnectInfo struct {
	Endpoint string
	Address  string // that the endpoint's name stood for; empty if it is no name
	Purpose  Purpose
	Lived    time.Duration
	Err      error // why
}

// WatchDeliverInfo is a response with events that a reader has received.
type WatchDeliverInfo struct {
	Key    string // as in the WatchRequest
	Events int
	Bytes  int // about what they take in memory
	// Lag is how long they waited in the client for their reader.
	Lag time.Duration
	// Behind is by how many revisions the member's store was ahead of the last event when
	// it sent them: after a lost connection, or while the member cannot keep up.
	Behind int64
}

// WatchEndInfo is a watch that has ended.
type WatchEndInfo struct {
	Key string // as in the WatchRequest
	// Err is what Read returns from now on; ErrWatchClosed after Close. It is shared: do not
	// change it.
	Err *Error
}

// LeaseGrantInfo is a lease that was granted.
type LeaseGrantInfo struct {
	ID  LeaseID
	TTL time.Duration // as the server has granted it
}

// LeaseLossInfo is a lease that was lost.
type LeaseLossInfo struct {
	ID  LeaseID
	Err error // as [Lease.Err] returns it
}

// WatchStaleInfo is a watch that no member serves.
type WatchStaleInfo struct {
	Key         string
	Revision    int64         // the first revision whose events have not arrived
	Interrupted time.Duration // how long no member has served it
	Err         *Error        // why; shared: do not change it
}

// WatchResumeInfo is a watch that a member serves again.
type WatchResumeInfo struct {
	Endpoint string // the member that serves it now
	Key      string
	Revision int64 // the first revision that it asked for
	// Behind is how many revisions the store was ahead of the watch; 0 means that it
	// has missed nothing.
	Behind int64
	// Interrupted is how long no member served it.
	Interrupted time.Duration
}

// LeaseRenewInfo is the answer to a renewal of a lease.
type LeaseRenewInfo struct {
	ID       LeaseID
	Endpoint string
	TTL      time.Duration // the lease's, counted from when the renewal was sent
	// Margin is how long before the lease's deadline the answer came. A small margin
	// means a member that is slow or far away, or a TTL that is too short.
	Margin time.Duration
}
