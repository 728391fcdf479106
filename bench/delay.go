package main

import (
	"net"
	"strings"
	"sync"
	"time"
)

// delayedWay is a way to a server that takes a while in both directions and can
// be cut. It lasts until the process ends.
type delayedWay struct {
	target   string
	delay    time.Duration
	listener net.Listener

	mu    sync.Mutex // guards conns
	conns []net.Conn
}

// newDelayedWay listens on loopback in front of an http endpoint.
func newDelayedWay(endpoint string, delay time.Duration) (*delayedWay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &delayedWay{target: strings.TrimPrefix(endpoint, "http://"), delay: delay, listener: l}
	go w.accept()
	return w, nil
}

func (w *delayedWay) endpoint() string { return "http://" + w.listener.Addr().String() }

func (w *delayedWay) accept() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", w.target)
		if err != nil {
			_ = near.Close()
			continue
		}
		w.mu.Lock()
		w.conns = append(w.conns, near, far)
		w.mu.Unlock()
		go w.carry(near, far)
		go w.carry(far, near)
	}
}

// cut ends the connections there are.
func (w *delayedWay) cut() {
	w.mu.Lock()
	conns := w.conns
	w.conns = nil
	w.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

// parcel is bytes with the time at which they arrive.
type parcel struct {
	bytes []byte
	due   time.Time
}

// carry moves bytes one way; any number may be under way.
func (w *delayedWay) carry(to, from net.Conn) {
	parcels := make(chan parcel, 4096)
	go func() {
		defer func() { _ = to.Close() }()
		for p := range parcels {
			time.Sleep(time.Until(p.due))
			if _, err := to.Write(p.bytes); err != nil {
				_ = from.Close() // which ends the reading
				for range parcels {
				}
				return
			}
		}
	}()
	defer close(parcels)
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			parcels <- parcel{append([]byte(nil), buf[:n]...), time.Now().Add(w.delay)}
		}
		if err != nil {
			return
		}
	}
}
