package main

import (
	"context"
	"net"
	"sync"
	"time"
)

// dialLog is the connections that a process has made, for targets that count them.
type dialLog struct {
	mu   sync.Mutex // guards the fields below
	made []madeConn
}

type madeConn struct {
	at      time.Time
	address string
}

var dials dialLog

// dial connects, and notes it when it has.
func (d *dialLog) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		d.mu.Lock()
		d.made = append(d.made, madeConn{time.Now(), address})
		d.mu.Unlock()
	}
	return conn, err
}

// since counts the connections since began, to others than except, and those in the worst
// second.
func (d *dialLog) since(began time.Time, except string) (all, peak int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var times []time.Time
	for _, c := range d.made {
		if c.at.After(began) && c.address != except {
			times = append(times, c.at)
		}
	}
	first := 0
	for i, at := range times { // in the order in which they were made
		for at.Sub(times[first]) > time.Second {
			first++
		}
		peak = max(peak, i-first+1)
	}
	return len(times), peak
}
