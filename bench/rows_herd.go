package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// The figures of the herd row. Each is there twice, one_NAME for the restart of one member
// and all_NAME for that of all.
const (
	figHerdPeak   = "peak_connects"   // new connections in the worst second; of one member's restart, at the survivors
	figHerdAll    = "connects"        // new connections in all
	figHerdServed = "served_s"        // from when the members are back until every client has read and every watch delivered
	figHerdLost   = "leases_lost"     // of them all
	figHerdCPU    = "survivor_cpu_ms" // CPU of the members that stayed, all the while
)

// herdTTL is what the leases of the herd live for.
const herdTTL = 10 * time.Second

func herdRows() []row {
	return []row{{
		name: "herd", about: "500 clients with a watch and a lease each on three members; one member restarts, then all three",
		callers: []int{1}, quick: []int{}, herd: true,
		run: runHerd,
	}}
}

// herdClient is one of the herd.
type herdClient struct {
	load      load
	watch     watching
	alive     func() error
	delivered atomic.Int64
}

// runHerd opens the clients at the first order, and judges a restart at each further one.
func runHerd(ctx context.Context, r *round) (figures, error) {
	if r.state == nil {
		clients, err := openHerd(ctx, r)
		r.state = clients // until the process ends
		return nil, err
	}
	clients := r.state.([]*herdClient)
	before := make([]int64, len(clients))
	for i, c := range clients {
		before[i] = c.delivered.Load()
	}
	// The first client writes; the others have to be served for themselves.
	if err := untilServed(ctx, func() error { return clients[0].load.put(ctx, herdKey, newValue(8)) }); err != nil {
		return nil, err
	}
	err := share(len(clients), herdCallers, func(i int) error {
		c := clients[i]
		err := untilServed(ctx, func() error { return c.load.get(ctx, herdKey) })
		for err == nil && c.delivered.Load() == before[i] {
			time.Sleep(time.Millisecond)
			if time.Since(r.fault) > herdPatience {
				err = errors.New("a watch delivers nothing")
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	served := time.Since(r.fault)
	lost := 0
	for _, c := range clients {
		if c.alive() != nil {
			lost++
		}
	}
	all, peak := dials.since(r.began, r.victim)
	return figures{
		figHerdPeak: float64(peak), figHerdAll: float64(all),
		figHerdServed: served.Seconds(), figHerdLost: float64(lost),
	}, nil
}

const (
	herdKey      = "herd"
	herdCallers  = 32
	herdPatience = 40 * time.Second
)

// untilServed repeats f until it succeeds: calls fail while members are away.
func untilServed(ctx context.Context, f func() error) error {
	for began := time.Now(); ; {
		err := f()
		if err == nil || ctx.Err() != nil || time.Since(began) > herdPatience {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// openHerd opens the clients, each with a watch whose events are counted.
func openHerd(ctx context.Context, r *round) ([]*herdClient, error) {
	clients := make([]*herdClient, r.scale.Herd)
	for i := range clients {
		clients[i] = new(herdClient)
	}
	err := share(len(clients), herdCallers, func(i int) (err error) {
		c := clients[i]
		if c.load, err = newLoad(r.client, r.coalesce); err != nil {
			return err
		}
		if err := c.load.open(r.target); err != nil {
			return err
		}
		if c.watch, err = c.load.watch(ctx, herdKey, false, 0); err != nil {
			return err
		}
		go func() { // until the process ends
			for {
				n, err := c.watch.next(ctx)
				if err != nil {
					return
				}
				c.delivered.Add(int64(n))
			}
		}()
		if c.alive, err = c.load.keepLease(ctx, herdTTL); err != nil {
			return err
		}
		return c.load.put(ctx, herdKey, newValue(8))
	})
	return clients, err
}
