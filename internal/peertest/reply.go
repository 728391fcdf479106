package peertest

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"silly.store/etcd/internal/transport"
)

// Reply is the result of a call.
type Reply struct {
	Body  []byte        // none: an empty message
	Err   error         // in place of Body; see Lose
	After time.Duration // delay before the result
}

// Replies that tests share.
var (
	OK = Reply{}
	// Silence: no answer ever comes.
	Silence = Reply{After: 1000 * time.Hour}
	// Lost: the request may have been seen; the connection stays up.
	Lost = Reply{Err: &transport.Error{Code: transport.Unavailable, Cause: io.EOF}}
	// Cut: the connection ends.
	Cut      = Reply{Err: Lose(&transport.Error{Code: transport.Unavailable, Cause: io.EOF})}
	NotSent  = Reply{Err: &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Message: "server reset the stream: REFUSED_STREAM"}}
	Drained  = Reply{Err: &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Cause: transport.ErrDraining}}
	NoLeader = Says(transport.Unavailable, "etcdserver: no leader")
	Busy     = Says(transport.ResourceExhausted, "etcdserver: too many requests")
	Stopped  = Says(transport.Unavailable, "etcdserver: server stopped")
	NoLease  = Says(transport.NotFound, "etcdserver: requested lease not found")
	// ResetAtDeadline: the server has reset the stream when the call's deadline was near.
	ResetAtDeadline = Reply{Err: &transport.Error{Code: transport.DeadlineExceeded, Message: "server reset the stream: CANCEL"}}
)

// Says is an error that the member returns.
func Says(code transport.Code, text string) Reply {
	return Reply{Err: &transport.Error{Code: code, Message: text, Outcome: transport.Answered}}
}

// Delayed returns r with a delay.
func (r Reply) Delayed(after time.Duration) Reply {
	r.After = after
	return r
}

func (r Reply) handle(ctx context.Context, _ transport.Request) ([]byte, error) {
	if err := Sleep(ctx, r.After); err != nil {
		return nil, err
	}
	return r.Body, r.Err
}

// Script answers each call with the next reply, and then repeats the last one.
func Script(replies ...Reply) Handler {
	var mu sync.Mutex
	return func(ctx context.Context, req transport.Request) ([]byte, error) {
		mu.Lock()
		r := replies[0]
		if len(replies) > 1 {
			replies = replies[1:]
		}
		mu.Unlock()
		return r.handle(ctx, req)
	}
}

// Sleep pauses a handler. It returns ctx's error if ctx ends first.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Lose is an error for handlers that ends the connection with reason instead of
// answering.
func Lose(reason *transport.Error) error { return &lossError{reason} }

type lossError struct{ reason *transport.Error }

func (l *lossError) Error() string { return "the connection ends: " + l.reason.Error() }
func (l *lossError) Unwrap() error { return l.reason }

// loss returns the reason for which a handler's error ends the connection, or nil
// if it does not.
func loss(err error) *transport.Error {
	var l *lossError
	if errors.As(err, &l) {
		return l.reason
	}
	return nil
}
