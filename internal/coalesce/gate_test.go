package coalesce

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/transport"
	"silly.store/etcd/internal/wire"
)

// gate holds the requests of a coalescer until the test answers them.
type gate struct{ peertest.Gate }

// gated is a waiting request.
type gated struct{ *peertest.Held }

// came waits until everything is idle, and returns the requests that have arrived.
func (g *gate) came() (requests []gated) {
	for _, h := range g.Came() {
		requests = append(requests, gated{h})
	}
	return requests
}

// gatedCoalescer makes a coalescer that sends through an engine to one member. A
// gate holds the member's calls.
func gatedCoalescer(t *testing.T) (*Coalescer, *gate) {
	g := new(gate)
	cluster := peertest.NewCluster("a:1")
	cluster.Member("a:1").Handle(g.Handle)
	engine := call.New(call.Config{
		Endpoints: []balance.Endpoint{{Name: "a:1", Target: transport.Target{Network: "tcp", Address: "a:1"}}},
		Dial:      cluster.Dial,
		Retries:   5, RetrySleep: time.Second, Timeout: 10 * time.Second,
		Observer: silent{},
	})
	c := New(Config{Send: engine.Do, Reads: true, Writes: true})
	t.Cleanup(func() {
		engine.Stop()
		c.Close()
		engine.Close()
		c.Wait()
	})
	return c, g
}

// silent is an observer that does nothing.
type silent struct{}

func (silent) Connected(balance.Connected)       {}
func (silent) Disconnected(balance.Disconnected) {}
func (silent) AttemptBegins(context.Context, call.Attempt) call.Observation {
	return call.Observation{}
}
func (silent) AttemptEnds(call.Observation, *call.Error)                         {}
func (silent) Retrying(context.Context, string, int, time.Duration, *call.Error) {}
func (silent) Authenticated()                                                    {}

// single answers a read that was sent alone.
func (g gated) single(value string) {
	g.Answer(peertest.Reply{Body: getReply(testHeader, value)})
}

// put answers a put that was sent alone.
func (g gated) put() { g.Answer(peertest.Reply{Body: putReply(testHeader)}) }

// shared answers the operations of a batch.
func (g gated) shared(field int, answers ...[]byte) {
	g.Answer(peertest.Reply{Body: txnReply(field, answers...)})
}

func (g gated) path() string { return g.Request.Path[len("/etcdserverpb.KV/"):] }

// testHeader has cluster 1, member 2, revision 7, term 3; inHeader is the header of
// a transaction's operations.
var (
	testHeader = []byte{0x08, 1, 0x10, 2, 0x18, 7, 0x20, 3}
	inHeader   = []byte{0x18, 7}
)

// getReply is a RangeResponse with one pair.
func getReply(header []byte, value string) []byte {
	b := wire.AppendBytes([]byte{0x0a}, header)
	kv := wire.AppendString([]byte{0x2a}, value)
	return append(wire.AppendBytes(append(b, 0x12), kv), 0x20, 1)
}

// putReply is a PutResponse, or a DeleteRangeResponse of nothing.
func putReply(header []byte) []byte { return wire.AppendBytes([]byte{0x0a}, header) }

// txnReply is the answer to a transaction with these answers of its operations.
func txnReply(field int, answers ...[]byte) []byte {
	b := append(wire.AppendBytes([]byte{0x0a}, testHeader), 0x10, 1)
	for _, a := range answers {
		op := wire.AppendBytes(wire.AppendTag(nil, field, wire.TypeBytes), a)
		b = wire.AppendBytes(append(b, 0x1a), op)
	}
	return b
}

// ended is the result of a call in its own goroutine.
type ended struct {
	Answer
	err error // a *call.Error, or nil
}

// start makes a call in its own goroutine.
func (c *Coalescer) start(ctx context.Context, op *Operation, key string, msg []byte) <-chan ended {
	done := make(chan ended, 1)
	go func() {
		w := c.Begin(ctx, "", key)
		w.Message = append(w.Message, msg...)
		answer, err := c.Do(ctx, op, w)
		if err != nil {
			done <- ended{err: err}
			return
		}
		done <- ended{Answer: answer}
	}()
	return done
}

func (c *Coalescer) startGet(ctx context.Context, key string) <-chan ended {
	return c.start(ctx, Get, key, rangeMessage(key))
}

func (c *Coalescer) startPut(ctx context.Context, key, value string) <-chan ended {
	return c.start(ctx, Put, key, putMessage(key, value))
}

// rangeMessage is a RangeRequest, or a DeleteRangeRequest.
func rangeMessage(key string) []byte { return wire.AppendString([]byte{0x0a}, key) }

func putMessage(key, value string) []byte {
	return wire.AppendString(append(rangeMessage(key), 0x12), value)
}

// maybeApplied reports whether the call was a write that may have been applied.
func maybeApplied(err error) bool {
	var e *call.Error
	return errors.As(err, &e) && e.MaybeApplied()
}

// fillWindow makes as many calls as may be in flight, and returns them. They have
// already taken so long that their end does not change the window.
func fillWindow(c *Coalescer, g *gate) []gated {
	return fill(g, func(key string) { c.startGet(context.Background(), key) }, func(held gated) { held.single("x") })
}

// fillPuts is fillWindow for the queue of puts.
func fillPuts(c *Coalescer, g *gate) []gated {
	return fill(g, func(key string) { c.startPut(context.Background(), key, "") }, gated.put)
}

func fill(g *gate, start func(key string), answer func(gated)) []gated {
	start("idle")
	idle := g.came()[0]
	time.Sleep(10 * time.Millisecond)
	answer(idle)
	synctest.Wait()
	for i := range firstWindow {
		start(fmt.Sprint("filler", i))
	}
	calls := g.came()
	time.Sleep(18 * time.Millisecond)
	return calls
}
