package call

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"silly.store/etcd/internal/balance"
)

// lookAgain is the time after which a reader whose member is silent looks for another
// member again.
const lookAgain = 500 * time.Millisecond

// Leaving is a stream of messages from a member that the reader can leave for another one.
// It is left when the member is silent, or takes long for a message, and another one may
// serve the request at once.
type Leaving struct {
	*Stream
	ctx, reading context.Context
	leave        context.CancelFunc
	patience     time.Duration
	left         atomic.Bool
	look         func(conn balance.Picked) bool // GiveUpOn

	mu      sync.Mutex // guards the fields below
	waiting bool       // for a message
	stays   bool
	late    *time.Timer
}

// OpenLeaving opens a stream that reads the answer to r. patience is how long a message may
// take. ctx bounds the reading too.
func (e *Engine) OpenLeaving(ctx context.Context, r Request, patience time.Duration) (*Leaving, *Error) {
	s := &Leaving{ctx: ctx, patience: patience, stays: r.pinned()}
	s.reading, s.leave = context.WithCancel(ctx)
	s.look = func(conn balance.Picked) bool { return e.GiveUpOn(conn, r.Method) }
	stream, failed := e.Open(ctx, r, StreamOptions{CloseSend: true, OnSuspect: s.leaveIfBetter})
	if failed != nil {
		s.leave()
		return nil, failed
	}
	s.Stream = stream
	return s, nil
}

// leaveIfBetter leaves conn's member if another one may serve at once.
func (s *Leaving) leaveIfBetter(conn balance.Picked) {
	s.mu.Lock()
	stays := s.stays
	s.mu.Unlock()
	if stays || !s.look(conn) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stays { // it may have been told so meanwhile
		s.left.Store(true)
		s.leave()
	}
}

// Recv waits for the next message.
func (s *Leaving) Recv() ([]byte, error) {
	s.wait(true)
	defer s.wait(false) // the time that the reader takes does not count
	return s.Stream.Recv(s.reading)
}

func (s *Leaving) wait(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = on
	switch {
	case s.stays:
	case !on:
		s.late.Stop()
	case s.late == nil:
		s.late = time.AfterFunc(s.patience, s.isLate)
	default:
		s.late.Reset(s.patience)
	}
}

// isLate looks for another member, and again later if there is none.
func (s *Leaving) isLate() {
	s.leaveIfBetter(s.Conn)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting && !s.stays {
		s.late.Reset(lookAgain)
	}
}

// Stay has the reader read the rest from this member, whatever becomes of it. The error is
// not nil if the member was left by then.
func (s *Leaving) Stay() *Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stays = true
	if s.left.Load() {
		return s.wasLeft()
	}
	return nil
}

func (s *Leaving) wasLeft() *Error { return s.Broken("the member has stalled during the stream") }

// Fail is that of Stream. The error of a member that was left is one after which another
// one is tried.
func (s *Leaving) Fail(err error) *Error {
	if s.left.Load() && s.ctx.Err() == nil {
		return s.wasLeft()
	}
	return s.Stream.Fail(s.ctx, err)
}

// Close ends the stream and what waits in Recv.
func (s *Leaving) Close() {
	s.Stream.Close()
	s.leave()
}
