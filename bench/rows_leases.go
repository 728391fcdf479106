package main

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// The figures of leases, besides the client's CPU per lease and second.
const (
	figCPUShare        = "client_cpu_ms" // ms of client CPU per second, for all leases
	figLeaseBytes      = "lease_bytes"   // live heap per lease, without stacks
	figLeaseGoroutines = "lease_goroutines"
)

const (
	leaseTTL = 6 * time.Second
	// leasePace is the time over which leases are granted: the renewal interval of
	// both clients, so that renewals are evenly spread from the start.
	leasePace = leaseTTL / 3
	// leaseRound is the shortest round: client/v3 checks every half second which
	// renewals are due.
	leaseRound = 500 * time.Millisecond
)

// leaseRows measure leases that are kept alive.
func leaseRows() []row {
	return []row{{
		name: "leases", about: "5,000 leases of 6 s kept alive; an operation is a lease kept for a second",
		callers: []int{1},
		run:     runLeases,
	}}
}

// leaseSet is the set of leases that a client keeps from the first round on.
type leaseSet struct {
	alive             []func() error
	bytes, goroutines float64 // per lease
}

func runLeases(ctx context.Context, r *round) (figures, error) {
	set, ok := r.state.(*leaseSet)
	if !ok {
		var err error
		if set, err = grantAll(ctx, r); err != nil {
			return nil, err
		}
		r.state = set
	}
	length := max(r.length, leaseRound)
	out, err := r.measure(func() (int64, error) {
		select {
		case <-time.After(length):
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
		return int64(float64(len(set.alive)) * length.Seconds()), nil
	})
	if err != nil {
		return nil, err
	}
	for _, alive := range set.alive {
		if err := alive(); err != nil {
			return nil, err
		}
	}
	// The other client's leases are renewed at the same time.
	delete(out, figServerCPU)
	if cpu, ok := out[figClientCPU]; ok {
		out[figCPUShare] = cpu * float64(len(set.alive)) / 1e3
	}
	out[figLeaseBytes], out[figLeaseGoroutines] = set.bytes, set.goroutines
	return out, nil
}

func grantAll(ctx context.Context, r *round) (*leaseSet, error) {
	n := r.scale.Leases
	set := &leaseSet{alive: make([]func() error, n)}
	// Connect before the leases exist.
	if err := r.load.put(ctx, "lease", newValue(1)); err != nil {
		return nil, err
	}
	heap, goroutines := liveHeap(), runtime.NumGoroutine()
	began := time.Now()
	var (
		next    atomic.Int64
		callers sync.WaitGroup
		errs    [16]error
	)
	for caller := range errs {
		callers.Go(func() {
			for errs[caller] == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				time.Sleep(time.Until(began.Add(leasePace * time.Duration(i) / time.Duration(n))))
				set.alive[i], errs[caller] = r.load.keepLease(ctx, leaseTTL)
			}
		})
	}
	callers.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	set.bytes = (liveHeap() - heap) / float64(n)
	set.goroutines = float64(runtime.NumGoroutine()-goroutines) / float64(n)
	return set, nil
}

// liveHeap returns the bytes that survive a collection.
func liveHeap() float64 {
	runtime.GC()
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return float64(mem.HeapAlloc)
}
