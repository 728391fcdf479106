package peertest

import (
	"context"
	"sync"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/transport"
)

// Gate holds calls until the test answers them; its Handle is a [Handler].
type Gate struct {
	mu   sync.Mutex // guards the fields below
	held []*Held
}

// Held is a call that waits at a gate.
type Held struct {
	Request  transport.Request
	Deadline time.Time // zero: none

	answer chan Reply    // capacity 1
	over   chan struct{} // closed when the caller no longer waits
}

// Handle holds a call.
func (g *Gate) Handle(ctx context.Context, req transport.Request) ([]byte, error) {
	h := &Held{Request: req, answer: make(chan Reply, 1), over: make(chan struct{})}
	h.Deadline, _ = ctx.Deadline()
	g.mu.Lock()
	g.held = append(g.held, h)
	g.mu.Unlock()
	select {
	case r := <-h.answer:
		return r.handle(ctx, req)
	case <-ctx.Done():
		close(h.over)
		return nil, ctx.Err()
	}
}

// Came waits until everything in the bubble is idle, and returns the calls that have
// arrived since.
func (g *Gate) Came() []*Held {
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	held := g.held
	g.held = nil
	return held
}

// Answer ends the call with r.
func (h *Held) Answer(r Reply) { h.answer <- r }

// Cancelled reports whether its caller gave up.
func (h *Held) Cancelled() bool {
	select {
	case <-h.over:
		return true
	default:
		return false
	}
}
