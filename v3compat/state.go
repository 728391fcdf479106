package v3compat

import (
	"context"
	"sync"

	"google.golang.org/grpc/connectivity"

	"silly.store/etcd"
	"silly.store/etcd/internal/compat"
)

// reporter gives the connection of a clientv3.Client the state of the etcd.Client's own:
//
//	Idle              nothing has needed a connection yet
//	Connecting        Connect was called
//	Ready             a connection is up, whatever it is for
//	TransientFailure  none is up, and one has ended or could not be made
//
// client/v3 keeps its connections up once it has any. So does the reporter, from the first
// Connect or the first connection on: without that a program that waits for Ready after
// an outage, and makes no call meanwhile, would wait forever.
type reporter struct {
	c         *etcd.Client
	forget    func()        // ends the notifications of connections
	look      chan struct{} // capacity 1: a connection has come or gone, or one is wanted
	ctx       context.Context
	end       context.CancelFunc
	routines  sync.WaitGroup // run and one that connects
	connected chan struct{}  // capacity 1: what connects has ended

	mu     sync.Mutex // guards the fields below
	show   func(connectivity.State)
	wanted bool
}

func newReporter(c *etcd.Client) *reporter {
	r := &reporter{c: c, look: make(chan struct{}, 1), connected: make(chan struct{}, 1)}
	r.ctx, r.end = context.WithCancel(context.Background())
	r.forget = compat.Of(c).OnConnection(r.wake)
	return r
}

// begin reports to show from now on.
func (r *reporter) begin(show func(connectivity.State)) {
	show(connectivity.Idle)
	r.mu.Lock()
	r.show = show
	r.mu.Unlock()
	r.routines.Go(r.run)
	r.wake() // a client that was wrapped may have connections
}

// connect makes a connection if there is none.
func (r *reporter) connect() {
	r.mu.Lock()
	r.wanted = true
	r.mu.Unlock()
	r.wake()
}

func (r *reporter) wake() {
	select {
	case r.look <- struct{}{}:
	default:
	}
}

func (r *reporter) close() {
	r.forget()
	r.end()
	r.routines.Wait()
}

// run reports and reconnects until close.
func (r *reporter) run() {
	stop := context.CancelFunc(func() {})
	defer func() { stop() }()
	connecting := false
	for {
		select {
		case <-r.look:
		case <-r.connected:
			stop()
			connecting = false
		case <-r.ctx.Done():
			return
		}
		state, wanted := r.report()
		switch {
		case state == connectivity.Ready:
			stop()
		case wanted && !connecting:
			connecting, stop = true, r.reach()
		}
	}
}

// reach connects until a member answers or stop is called, and then tells run.
func (r *reporter) reach() (stop context.CancelFunc) {
	ctx, stop := context.WithCancel(r.ctx)
	r.routines.Go(func() {
		if r.c.Ready(ctx) != nil {
			pause(ctx) // a fault that no waiting mends ends Ready at once
		}
		r.connected <- struct{}{}
	})
	return stop
}

// report shows the state and returns it, and whether there should be a connection.
func (r *reporter) report() (state connectivity.State, wanted bool) {
	state = stateOf(r.c.Stats().Endpoints)
	r.mu.Lock()
	r.wanted = r.wanted || state == connectivity.Ready
	if wanted = r.wanted; wanted && state == connectivity.Idle {
		state = connectivity.Connecting
	}
	show := r.show
	r.mu.Unlock()
	show(state)
	return state, wanted
}

// stateOf is the state of all endpoints together.
func stateOf(endpoints []etcd.EndpointStats) connectivity.State {
	state := connectivity.Idle
	for _, e := range endpoints {
		switch {
		case e.Connections > 0:
			return connectivity.Ready
		case e.LastError != "" || e.State == etcd.EndpointDown:
			state = connectivity.TransientFailure
		case e.State == etcd.EndpointConnecting && state == connectivity.Idle:
			state = connectivity.Connecting
		}
	}
	return state
}
