package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// The figures of locks.
const (
	figHandoff          = "handoff_us"   // µs of wall time per change of the holder
	figWaiterBytes      = "waiter_bytes" // live heap per waiter, without stacks
	figWaiterGoroutines = "waiter_goroutines"
)

// lockTTL is long enough to outlive a row.
const lockTTL = 60 * time.Second

// lockRows measure locks and elections. The peer is client/v3's package concurrency, with a
// session for each contender: a session has a lock only once.
func lockRows() []row {
	return []row{
		{
			name: "lock", about: "Lock and Unlock of a mutex that nobody else wants, one for each caller",
			callers: []int{1, 16}, quick: []int{1},
			run: runLock(false),
		},
		{
			name: "lock-linger", about: "Lock and Unlock of a mutex that nobody else wants; ours with MutexConfig.Linger",
			callers: []int{1},
			run:     runLock(true),
		},
		{
			name: "lock-handoff", about: "Lock and Unlock of a mutex that all callers want, all the time; " + figHandoff + " is the time from holder to holder",
			callers: []int{8},
			run:     runHandoff,
		},
		{
			name: "lock-handoff-64", about: "the same among 64",
			callers: []int{64}, quick: []int{},
			run: runHandoff,
		},
		{
			name: "lock-handoff-processes", about: "the same among 8 processes of one caller each",
			callers: []int{1}, quick: []int{}, processes: 8,
			run: runHandoff,
		},
		{
			name: "lock-handoff-cluster", about: "the same in one process, on three members 1 ms apart",
			callers: []int{8}, quick: []int{},
			server: serverOptions{members: 3, peerDelay: time.Millisecond},
			run:    runHandoff,
		},
		{
			name: "lock-waiters", about: "1,000 mutexes that others hold; an operation is a waiter kept for a second",
			callers: []int{1}, quick: []int{},
			run: runWaiters,
		},
		{
			name: "election-observe", about: "a leader proclaims a value and an observer receives it, in one process",
			callers: []int{1}, quick: []int{},
			run: runObserve,
		},
	}
}

// contenders returns those of the callers, which are kept from round to round.
func (r *round) contenders(ctx context.Context) ([]contender, error) {
	if kept, ok := r.state.([]contender); ok {
		return kept, nil
	}
	var all []contender
	for range r.callers {
		c, err := r.load.contender(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	r.state = all
	return all, nil
}

func runLock(linger bool) func(context.Context, *round) (figures, error) {
	return func(ctx context.Context, r *round) (figures, error) {
		all, err := r.contenders(ctx)
		if err != nil {
			return nil, err
		}
		return r.timed(ctx, func(caller int) operation {
			c, name := all[caller], fmt.Sprintf("lock/%s/%d/%d", r.client, r.callers, caller)
			if l, ok := c.(lingerer); ok && linger {
				l.linger()
			}
			return operation{do: func(ctx context.Context, _ int) error { return c.cycle(ctx, name) }}
		})
	}
}

// lingerer is a contender that can keep its key from one cycle to the next.
type lingerer interface{ linger() }

func runHandoff(ctx context.Context, r *round) (figures, error) {
	all, err := r.contenders(ctx)
	if err != nil {
		return nil, err
	}
	name := "lock/" + r.client
	var holders atomic.Int32
	out, err := r.timed(ctx, func(caller int) operation {
		c := all[caller]
		return operation{do: func(ctx context.Context, _ int) error {
			return c.hold(ctx, name, func() error {
				defer holders.Add(-1)
				if n := holders.Add(1); n != 1 {
					return fmt.Errorf("%d callers hold the mutex", n)
				}
				return nil
			})
		}}
	})
	if err == nil {
		out[figHandoff] = 1e6 / out[figOps]
	}
	return out, err
}

// waiterSet is the set of waiters that a client has from the first round on.
type waiterSet struct{ bytes, goroutines float64 }

// runWaiters measures what a waiter costs besides the goroutine that calls Lock.
func runWaiters(ctx context.Context, r *round) (figures, error) {
	set, ok := r.state.(*waiterSet)
	if !ok {
		var err error
		if set, err = waitAll(ctx, r); err != nil {
			return nil, err
		}
		r.state = set
	}
	out, err := r.measure(func() (int64, error) {
		select {
		case <-time.After(r.length):
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
		return int64(float64(r.scale.Waiters)*r.length.Seconds()) + 1, nil
	})
	if err != nil {
		return nil, err
	}
	delete(out, figServerCPU) // the other client's waiters are there too
	out[figWaiterBytes], out[figWaiterGoroutines] = set.bytes, set.goroutines
	return out, nil
}

// waitAll starts a waiter for each of the mutexes, which a key without a holder blocks.
func waitAll(ctx context.Context, r *round) (*waiterSet, error) {
	n := r.scale.Waiters
	names := newKeys("lock/"+r.client+"/", n)
	first, err := firstContender(ctx, r, names)
	if err != nil {
		return nil, err
	}
	all, begin := make([]contender, n), make(chan struct{})
	var failed sync.Once
	failure := make(chan error, 1)
	endless := context.WithoutCancel(ctx)
	for i, name := range names {
		go func() { // until the process ends
			<-begin
			err := all[i].cycle(endless, name)
			failed.Do(func() {
				failure <- fmt.Errorf("a wait has ended: %w", errors.Join(err, errors.New("nobody has released it")))
			})
		}()
	}
	heap, goroutines := liveHeap(), runtime.NumGoroutine()
	for i := range all {
		all[i] = first.another()
	}
	close(begin)
	if err := queued(ctx, r, names); err != nil {
		return nil, err
	}
	select {
	case err := <-failure:
		return nil, err
	case <-time.After(time.Second): // watches are being made
	}
	return &waiterSet{
		bytes:      (liveHeap() - heap) / float64(n),
		goroutines: float64(runtime.NumGoroutine()-goroutines) / float64(n),
	}, nil
}

// firstContender is a contender that has made all that a client makes once. It puts the first key of
// each mutex.
func firstContender(ctx context.Context, r *round, names []string) (contender, error) {
	first, err := r.load.contender(ctx)
	if err != nil {
		return nil, err
	}
	if err := first.cycle(ctx, "lock/"+r.client+"/first"); err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := r.load.put(ctx, name+"/0", newValue(1)); err != nil {
			return nil, err
		}
	}
	return first, nil
}

// queued returns when each of the mutexes has a waiter.
func queued(ctx context.Context, r *round, names []string) error {
	for _, name := range names {
		for {
			err := r.load.getAll(ctx, name+"/", 2)
			if err == nil {
				break
			}
			select {
			case <-time.After(time.Millisecond):
			case <-ctx.Done():
				return err
			}
		}
	}
	return nil
}

func runObserve(ctx context.Context, r *round) (figures, error) {
	e, ok := r.state.(election)
	if !ok {
		var err error
		if e, err = r.load.elect(context.WithoutCancel(ctx), "election/"+r.client); err != nil {
			return nil, err
		}
		r.state = e
	}
	proclaimed := time.Now().UnixNano()
	return r.timed(ctx, func(int) operation {
		return operation{do: func(ctx context.Context, seq int) error {
			value := strconv.FormatInt(proclaimed+int64(seq), 10)
			if err := e.proclaim(ctx, value); err != nil {
				return err
			}
			for {
				select {
				case told, ok := <-e.told:
					switch {
					case !ok:
						return errors.New("the observer has ended")
					case told == value:
						return nil
					}
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}}
	})
}
