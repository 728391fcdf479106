package follow

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/internal/call"
)

const (
	// resyncsAtOnce is how many followers of a client may read their ranges again at a
	// time.
	resyncsAtOnce = 2
	// crowdSpread is the time over which followers that lost history together spread
	// their reads.
	crowdSpread = time.Second
	// slotTime is how long a follower may keep others waiting. A read that takes longer
	// goes on, but no longer counts.
	slotTime = 30 * time.Second
)

// gate is the queue for the resynchronizations of one client.
type gate struct {
	client *etcd.Client
	slots  chan struct{} // has one for each that is let in

	// gates.mu guards the fields below.

	followers int // that live
	present   int // that wait or are let in
}

// gates are the gates of all clients that have followers.
var gates = struct {
	mu sync.Mutex // guards the field below and the gates' counts
	of map[*etcd.Client]*gate
}{of: make(map[*etcd.Client]*gate)}

// gateOf is the client's gate for one more follower, which gives it back by leave.
func gateOf(c *etcd.Client) *gate {
	gates.mu.Lock()
	defer gates.mu.Unlock()
	g := gates.of[c]
	if g == nil {
		g = &gate{client: c, slots: make(chan struct{}, resyncsAtOnce)}
		gates.of[c] = g
	}
	g.followers++
	return g
}

func (g *gate) leave() {
	gates.mu.Lock()
	defer gates.mu.Unlock()
	if g.followers--; g.followers == 0 {
		delete(gates.of, g.client)
	}
}

// count adds n to those present and returns how many there are.
func (g *gate) count(n int) int {
	gates.mu.Lock()
	defer gates.mu.Unlock()
	g.present += n
	return g.present
}

// pass waits until the follower may read its range again. It calls done when it has.
func (g *gate) pass(ctx context.Context) (done func(), err error) {
	crowd := g.count(1) > resyncsAtOnce
	if crowd && !call.Sleep(ctx, rand.N(crowdSpread)) {
		g.count(-1)
		return nil, ended(ctx)
	}
	select {
	case g.slots <- struct{}{}:
	case <-ctx.Done():
		g.count(-1)
		return nil, ended(ctx)
	}
	over := sync.OnceFunc(func() {
		<-g.slots
		g.count(-1)
	})
	late := time.AfterFunc(slotTime, over)
	return func() {
		late.Stop()
		over()
	}, nil
}
