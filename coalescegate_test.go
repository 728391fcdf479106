package etcd

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/transport"
	"silly.store/etcd/internal/wire"
)

// gate is a connection whose calls wait until the test answers them.
type gate struct {
	actorConn // for what a connection can do besides

	mu    sync.Mutex // guards the fields below
	calls []*gated
}

// gated is a call that waits.
type gated struct {
	req       transport.Request
	deadline  time.Time
	answer    chan reply
	cancelled bool
}

func (g *gate) Call(ctx context.Context, req transport.Request) ([]byte, error) {
	call := &gated{answer: make(chan reply, 1)}
	call.deadline, _ = ctx.Deadline()
	req.Message = slices.Clone(req.Message)
	call.req = req
	g.mu.Lock()
	g.calls = append(g.calls, call)
	g.mu.Unlock()
	select {
	case r := <-call.answer:
		if r.err != nil {
			return nil, r.err
		}
		return r.body, nil
	case <-ctx.Done():
		g.mu.Lock()
		defer g.mu.Unlock()
		call.cancelled = true
		return nil, &transport.Error{Code: transport.Canceled, Cause: ctx.Err()}
	case <-g.done:
		return nil, &transport.Error{Code: transport.Unavailable, Cause: transport.ErrClosed}
	}
}

// came waits until everything stands still, and takes the calls that have come.
func (g *gate) came() []*gated {
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	calls := g.calls
	g.calls = nil
	return calls
}

// gated makes a client of one connection.
func gatedClient(t *testing.T) (*Client, *gate) {
	g := &gate{actorConn: actorConn{actor: &actor{}, done: make(chan struct{}), state: transport.Ready}}
	c := &Client{
		retries: 5, retrySleep: time.Second, timeout: 10 * time.Second, done: make(chan struct{}),
		set: balance.New(balance.Config{
			Endpoints: []balance.Endpoint{{Name: "a:1", Target: transport.Target{Network: "tcp", Address: "a:1"}}},
			Dial:      func(context.Context, transport.Target) (transport.Conn, error) { return g, nil },
		}),
	}
	c.coalescer.init(c, CoalesceAll, 0)
	t.Cleanup(func() {
		c.coalescer.close()
		c.set.Close()
		c.coalescer.wait()
	})
	return c, g
}

// single answers a call that was sent as it is.
func (g *gated) single(value string) {
	g.answer <- reply{body: getReply(testHeader, value)}
}

// put answers a put that was sent as it is.
func (g *gated) put() { g.answer <- reply{body: putReply(testHeader)} }

// shared answers the operations of a batch.
func (g *gated) shared(field int, answers ...[]byte) {
	g.answer <- reply{body: txnReply(field, answers...)}
}

// testHeader is of cluster 1, member 2, revision 7, term 3; inHeader is what a
// transaction's operations have.
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

func (g *gated) path() string { return g.req.Path[len("/etcdserverpb.KV/"):] }

// done is what a call in its own goroutine has come to.
type ended[T any] struct {
	resp T
	err  error
}

func start[T any](f func() (T, error)) <-chan ended[T] {
	done := make(chan ended[T], 1)
	go func() {
		resp, err := f()
		done <- ended[T]{resp, err}
	}()
	return done
}

func (c *Client) startGet(ctx context.Context, key string) <-chan ended[*GetResponse] {
	return start(func() (*GetResponse, error) { return c.Get(ctx, GetRequest{Key: key}) })
}

func (c *Client) startPut(ctx context.Context, key, value string) <-chan ended[*PutResponse] {
	return start(func() (*PutResponse, error) { return c.Put(ctx, PutRequest{Key: key, Value: []byte(value)}) })
}

// fillWindow makes as many calls as may be under way, and returns them. They have
// taken so long already that their end leaves the window as it is.
func fillWindow(c *Client, g *gate) []*gated {
	return fill(g, func(key string) { c.startGet(context.Background(), key) }, func(call *gated) { call.single("x") })
}

// fillPuts is fillWindow for the line of puts.
func fillPuts(c *Client, g *gate) []*gated {
	return fill(g, func(key string) { c.startPut(context.Background(), key, "") }, (*gated).put)
}

func fill(g *gate, start func(key string), answer func(*gated)) []*gated {
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
