package main

import (
	"context"
	"errors"
	"maps"
	"runtime"
	"strings"
	"sync"
	"time"
)

// The figures of many clients in one process, per client.
const (
	figClientBytes      = "bytes_of_client"       // live heap, without stacks
	figClientStack      = "stack_bytes_of_client" // stacks
	figClientGoroutines = "goroutines_of_client"
	figClientConns      = "connections_of_client"
)

// clientsRows returns the cost of clients that do little.
func clientsRows() []row {
	return []row{{
		name: "clients", about: "1,000 clients in one process, each with a watch and one Get per second; an operation is a Get",
		callers: []int{1}, quick: []int{},
		prepare: fillKeys,
		run:     runClients,
	}}
}

// manyClients are the clients of one process, kept from round to round.
type manyClients struct {
	loads []load
	costs figures // of one client
}

func runClients(ctx context.Context, r *round) (figures, error) {
	if r.state == nil {
		m, err := openMany(ctx, r)
		if err != nil {
			return nil, err
		}
		r.state = m // until the process ends
	}
	m := r.state.(*manyClients)
	key := newKeys("key/", 1)[0]
	out, err := r.measure(func() (int64, error) { return m.getOnceASecond(ctx, key, r.length) })
	if err != nil {
		return nil, err
	}
	maps.Copy(out, m.costs)
	return out, nil
}

// openMany opens the clients, a few at a time, and measures what they hold.
func openMany(ctx context.Context, r *round) (*manyClients, error) {
	key := newKeys("key/", 1)[0]
	m := &manyClients{loads: make([]load, r.scale.Clients)}
	heap, stack, goroutines := liveHeap(), liveStack(), runtime.NumGoroutine()
	server := strings.TrimPrefix(r.target.Endpoints[0], "http://")
	before, _ := connectionsTo(server)
	err := share(len(m.loads), 16, func(i int) (err error) {
		m.loads[i], err = openOne(ctx, r, key)
		return err
	})
	if err != nil {
		return nil, err
	}
	n := float64(len(m.loads))
	m.costs = figures{
		figClientBytes:      float64(liveHeap()-heap) / n,
		figClientStack:      float64(liveStack()-stack) / n,
		figClientGoroutines: float64(runtime.NumGoroutine()-goroutines) / n,
	}
	if after, known := connectionsTo(server); known {
		m.costs[figClientConns] = float64(after-before) / n
	}
	return m, nil
}

// openOne opens a client with a watch that nothing ends, and has it read once.
func openOne(ctx context.Context, r *round, key string) (load, error) {
	l, err := newLoad(r.client, r.coalesce)
	if err != nil {
		return nil, err
	}
	if err := l.open(r.target); err != nil {
		return nil, err
	}
	if _, err := l.watch(ctx, "quiet", false, 0); err != nil {
		return nil, err
	}
	return l, l.get(ctx, key)
}

// getOnceASecond has every client read once per second, spread over the second.
func (m *manyClients) getOnceASecond(ctx context.Context, key string, length time.Duration) (int64, error) {
	const callers = 16
	began, spacing := time.Now(), time.Second/time.Duration(len(m.loads))
	var gets [callers]int64
	var errs [callers]error
	var calling sync.WaitGroup
	for i := range callers {
		calling.Go(func() {
			for n := i; errs[i] == nil && (n == i || time.Duration(n)*spacing < length); n += callers {
				time.Sleep(time.Until(began.Add(time.Duration(n) * spacing)))
				errs[i] = m.loads[n%len(m.loads)].get(ctx, key)
				gets[i]++
			}
		})
	}
	calling.Wait()
	var all int64
	for _, n := range gets {
		all += n
	}
	return all, errors.Join(errs[:]...)
}
