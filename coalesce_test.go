package etcd

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/coalesce"
	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/transport"
	"silly.store/etcd/internal/wire"
)

// How calls come to share requests is tested in internal/coalesce. Here is what a
// Client makes of it.

func TestWhichCallsShare(t *testing.T) {
	for _, test := range []struct {
		req  rangeRequest
		want *coalesce.Operation
	}{
		{rangeRequest{Key: "k"}, coalesce.Get},
		{rangeRequest{Key: "k", Serializable: true}, coalesce.GetLocal},
		{rangeRequest{Key: "k", RangeEnd: "l"}, nil},
		{rangeRequest{Key: "k", Revision: 7}, coalesce.GetAt},
		{rangeRequest{Key: "k", Revision: 7, Serializable: true}, nil},
	} {
		if op := getOperation(&test.req); op != test.want {
			t.Errorf("%+v: %v", test.req, op)
		}
	}
	c := &Client{core: new(core)}
	c.coalescer = coalesce.New(coalesce.Config{MaxAnswer: 1 << 20})
	if c.putOperation(&putRequest{PrevKV: true}) != nil || c.deleteOperation(&deleteRangeRequest{PrevKV: true}) != nil {
		t.Error("writes with previous values share")
	}
	if c.putOperation(&putRequest{}) != coalesce.Put || c.deleteOperation(&deleteRangeRequest{}) != coalesce.Delete {
		t.Error("writes without do not share")
	}
	if c.deleteOperation(&deleteRangeRequest{RangeEnd: "l"}) != nil {
		t.Error("deletions of ranges share")
	}
}

// TestCoalesceKinds: Config.Coalesce says which calls share, which a call shows that is
// kept back while others of its kind are under way.
func TestCoalesceKinds(t *testing.T) {
	for _, test := range []struct {
		config       Coalesce
		reads, write bool
	}{{CoalesceReads, true, false}, {CoalesceAll, true, true}, {CoalesceOff, false, false}} {
		synctest.Test(t, func(t *testing.T) {
			c, g := gatedClient(t, test.config)
			for i := range crowd {
				c.startGet(context.Background(), fmt.Sprint(i))
			}
			if sent := len(g.Came()); (sent < crowd) != test.reads {
				t.Errorf("%v: %d of %d gets were sent", test.config, sent, crowd)
			}
			for i := range crowd {
				c.startPut(context.Background(), fmt.Sprint(i))
			}
			if sent := len(g.Came()); (sent < crowd) != test.write {
				t.Errorf("%v: %d of %d puts were sent", test.config, sent, crowd)
			}
		})
	}
}

// TestSharedAnswers: each call that shares a request has its own pairs, and the header
// of the whole answer.
func TestSharedAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedClient(t, CoalesceReads)
		var done []<-chan ended[*GetResponse]
		for range crowd {
			done = append(done, c.startGet(context.Background(), fmt.Sprint(len(done))))
		}
		for held := g.Came(); len(held) > 0; held = g.Came() {
			for _, h := range held {
				h.Answer(reply{Body: echo(h.Request)})
			}
		}
		for key, ch := range done {
			r := <-ch
			if r.err != nil || r.resp.Count != 1 || string(r.resp.KVs[0].Value) != fmt.Sprint(key) {
				t.Fatalf("get %d: %+v", key, r)
			}
			if r.resp.Header != (ResponseHeader{1, 2, 7, 3}) {
				t.Errorf("get %d: header %+v", key, r.resp.Header)
			}
		}
		if s := c.Stats(); s.Batches == 0 || s.BatchedCalls < 2 || s.BatchedCalls > crowd {
			t.Errorf("%d batches of %d calls", s.Batches, s.BatchedCalls)
		}
	})
}

// TestSharedOutcome: puts that share a request of unknown outcome are each an Error of one Put
// that may have been applied, and none of them is sent again.
func TestSharedOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedClient(t, CoalesceAll)
		var done []<-chan ended[*PutResponse]
		for range crowd {
			done = append(done, c.startPut(context.Background(), fmt.Sprint(len(done))))
		}
		first := g.Came()
		first[0].Answer(stopped)
		batch := g.Came()
		if len(batch) != 1 || batch[0].Request.Path != "/etcdserverpb.KV/Txn" {
			t.Fatalf("%d requests follow", len(batch))
		}
		batch[0].Answer(stopped)
		failed := 0
		synctest.Wait()
		for _, ch := range done {
			select {
			case r := <-ch:
				failed++
				var e *Error
				if !MaybeApplied(r.err) || !errors.Is(r.err, ErrServerStopped) || !errors.As(r.err, &e) || e.Op != "Put" || e.Attempts != 1 {
					t.Error(r.err)
				}
			default:
			}
		}
		if want := crowd - len(first) + 1; failed != want {
			t.Errorf("%d puts failed, want %d", failed, want)
		}
		if more := g.Came(); len(more) != 0 {
			t.Error("a write of unknown outcome was sent again")
		}
	})
}

// TestGivingUpInTheQueue: a put that was never sent says so.
func TestGivingUpInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedClient(t, CoalesceAll)
		c.startPut(context.Background(), "k")
		g.Came()
		ctx, cancel := context.WithCancel(context.Background())
		queued := c.startPut(ctx, "k")
		synctest.Wait()
		cancel()
		if r := <-queued; !errors.Is(r.err, context.Canceled) || MaybeApplied(r.err) {
			t.Error(r.err)
		}
	})
}

// TestCloseFailsQueuedCalls: Close ends the calls that wait for others.
func TestCloseFailsQueuedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedClient(t, CoalesceAll)
		c.startPut(context.Background(), "k")
		g.Came()
		queued := c.startPut(context.Background(), "k")
		synctest.Wait()
		_ = c.Close()
		if r := <-queued; !errors.Is(r.err, ErrClosed) || MaybeApplied(r.err) {
			t.Error(r.err)
		}
	})
}

// TestBatchOperations: the operations of a Batch share by kind, and each has its result.
func TestBatchOperations(t *testing.T) {
	cluster := peertest.NewCluster("a:1")
	m := cluster.Member("a:1")
	m.Handle(func(_ context.Context, req transport.Request) ([]byte, error) { return echo(req), nil })
	c := scripted(t, cluster, Config{Coalesce: CoalesceOff})
	results := c.Batch(context.Background(), GetRequest{Key: "0"}, &GetRequest{Key: "1"}, GetRequest{}, nil, GetRequest{Key: "2"})
	for i, want := range []string{"0", "1", "", "", "2"} {
		r := results[i]
		switch {
		case want == "":
			if !errors.Is(r.Err, ErrInvalidRequest) {
				t.Errorf("operation %d: %v", i, r.Err)
			}
		case r.Err != nil || string(r.Get.KVs[0].Value) != want || r.Get.Header != (ResponseHeader{1, 2, 7, 3}):
			t.Errorf("operation %d: %+v", i, r)
		}
	}
	if n := m.Counts().Calls; n != 1 {
		t.Errorf("%d requests", n)
	}
}

// crowd is more calls than a client has requests under way at first.
const crowd = 20

// gatedClient makes a client of one member, whose calls a gate holds.
func gatedClient(t *testing.T, kinds Coalesce) (*Client, *peertest.Gate) {
	return gatedClientWith(t, Config{Coalesce: kinds})
}

func gatedClientWith(t *testing.T, config Config) (*Client, *peertest.Gate) {
	g := new(peertest.Gate)
	cluster := peertest.NewCluster("a:1")
	cluster.Member("a:1").Handle(g.Handle)
	config.Timeout = time.Hour
	return scripted(t, cluster, config), g
}

// ended is what a call in its own goroutine has come to.
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

func (c *Client) startPut(ctx context.Context, key string) <-chan ended[*PutResponse] {
	return start(func() (*PutResponse, error) { return c.Put(ctx, PutRequest{Key: key}) })
}

// echo answers a Get, or a transaction of Gets, with each key as its value.
func echo(req transport.Request) []byte {
	header := []byte{0x0a, 8, 0x08, 1, 0x10, 2, 0x18, 7, 0x20, 3} // cluster 1, member 2, revision 7, term 3
	pair := func(header, get []byte) []byte {
		key, _ := wire.Bytes(get, 1)
		kv := wire.AppendBytes([]byte{0x2a}, key)
		return append(wire.AppendBytes(append(header, 0x12), kv), 0x20, 1)
	}
	if req.Path == "/etcdserverpb.KV/Range" {
		return pair(header, req.Message)
	}
	txn := append(header, 0x10, 1)
	for i := 0; i < len(req.Message); {
		op, end := wire.Bytes(req.Message, i+1)
		get, _ := wire.Bytes(op, 1)
		inHeader := []byte{0x0a, 2, 0x18, 7} // a transaction's operations have the revision only
		txn = wire.AppendBytes(append(txn, 0x1a), wire.AppendBytes([]byte{0x0a}, pair(inHeader, get)))
		i = end
	}
	return txn
}
