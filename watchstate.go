package etcd

import "time"

// WatchState is how a watch is doing, see [Watcher.State].
type WatchState struct {
	// Endpoint is the member that serves the watch; empty while none does.
	Endpoint string
	// Err is nil while a member serves the watch. While none does it is why the
	// last one no longer does, or why no other could be had; after the watch has
	// ended it is what Read returns at the end.
	Err error
	// Since is when the watch was left without a member; zero while one serves it.
	Since time.Time
	// NextRevision is the first revision whose events have not arrived.
	NextRevision int64
	// BufferedBytes are those of the responses that wait for Read.
	BufferedBytes int
	// SlowReader: the reader was so far behind that the watch has a stream of its
	// own, on which the server is made to wait.
	SlowReader bool
}

// State tells how the watch is doing: which member serves it, and since when and
// why none does. A watch whose members are all down goes on trying until it is
// closed; this is where that shows. It does not wait. See also [Hooks.WatchResumed]
// and [Client.Stats].
func (w *Watcher) State() WatchState {
	w.hub.mu.Lock()
	trouble := w.hub.lastErr
	w.hub.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	state := WatchState{NextRevision: w.next, BufferedBytes: w.buffered, SlowReader: w.alone}
	switch {
	case w.err != nil:
		state.Err, state.Since = w.err, w.left
	case w.stream != nil && w.place.confirmed:
		state.Endpoint = w.stream.conn.Endpoint
	default:
		state.Err, state.Since = w.leftErr, w.left
		if trouble != nil {
			state.Err = trouble
		}
		if state.Err == nil {
			state.Err = errWatchWaits
		}
	}
	return state
}

// errIncomplete is the state of a watch that is begun anew because of what the
// server has left out.
var errIncomplete = &Error{Op: rpcWatch.op, Code: CodeUnavailable, Message: "the server sent events without their previous values", transient: true}

// errWatchWaits is the state of a watch before anything has gone wrong.
var errWatchWaits = &Error{Op: rpcWatch.op, Code: CodeUnavailable, Message: "not confirmed by a member yet", transient: true}
