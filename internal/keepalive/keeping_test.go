package keepalive

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/peertest/leasetest"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/wire"
)

// keeping is a keeper with its own engine, and the losses that it reported.
type keeping struct {
	*Keeper
	engine *call.Engine

	mutex sync.Mutex // guards the field below
	lost  []int64    // in the order in which they were reported
}

// newKeeping makes a keeper that uses the first n members of a cluster.
func newKeeping(t testing.TB, p *leasetest.Cluster, n int) *keeping {
	t.Helper()
	var endpoints []balance.Endpoint
	for _, address := range p.Addresses(n) {
		e, err := balance.ParseEndpoint(address, nil)
		if err != nil {
			t.Fatal(err)
		}
		endpoints = append(endpoints, e)
	}
	k := &keeping{engine: call.New(call.Config{
		Endpoints: endpoints, Dial: p.Dial,
		Retries: 5, RetrySleep: 10 * time.Millisecond, Timeout: 10 * time.Second,
		Observer: ignore{},
	})}
	k.Keeper = New(k.engine, Config{
		Reason: func(reason *call.Error) error { return reason },
		Lost: func(id int64, _ error) {
			k.mutex.Lock()
			defer k.mutex.Unlock()
			k.lost = append(k.lost, id)
		},
	})
	t.Cleanup(k.close)
	return k
}

// close ends keeper and engine, as the client does. It may be called more than
// once.
func (k *keeping) close() {
	k.engine.Stop()
	k.Close()
	k.engine.Close()
}

// reported returns the leases whose loss was reported.
func (k *keeping) reported() []int64 {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	return append([]int64(nil), k.lost...)
}

// lease is a lease that a test has granted.
type lease struct {
	Entry
	k *keeping
}

func (l *lease) Deadline() time.Time { return l.k.Deadline(&l.Entry) }

func (l *lease) Done() <-chan struct{} { return l.k.Lifetime(&l.Entry).Done() }

// kept grants a lease and has it renewed.
func kept(t testing.TB, k *keeping, ttl time.Duration) *lease {
	t.Helper()
	return keptAs(t, k, rand.Int64(), ttl)
}

// keptAs is kept with a given ID.
func keptAs(t testing.TB, k *keeping, id int64, ttl time.Duration) *lease {
	t.Helper()
	l := &lease{k: k}
	l.ID, l.Owner = id, l
	l.Hold()
	sent := k.Now()
	msg := wire.AppendVarint(wire.AppendTag(nil, 1, wire.TypeVarint), uint64(ttl/time.Second))
	msg = wire.AppendVarint(wire.AppendTag(msg, 2, wire.TypeVarint), uint64(id))
	if _, err := k.engine.Do(t.Context(), call.Request{Method: rpc.Grant, Message: msg}); err != nil {
		t.Fatal(err)
	}
	l.Term(sent, ttl)
	k.Add(&l.Entry)
	return l
}

// revoke revokes a lease as the client does.
func revoke(t testing.TB, k *keeping, id int64) *call.Error {
	t.Helper()
	msg := wire.AppendVarint(wire.AppendTag(nil, 1, wire.TypeVarint), uint64(id))
	entry := k.BeginRevoke(id)
	_, err := k.engine.Do(t.Context(), call.Request{Method: rpc.Revoke, Message: msg})
	k.EndRevoke(entry, err)
	return err
}

// isLost waits until a lease is lost and returns the time.
func isLost(t testing.TB, l *lease, within time.Duration, reason error) time.Time {
	t.Helper()
	select {
	case <-l.Done():
	case <-time.After(within):
		t.Fatalf("not lost after %v", within)
	}
	if !errors.Is(l.Err(), reason) {
		t.Errorf("lost because %v, want %v", l.Err(), reason)
	}
	return time.Now()
}

func isAlive(t testing.TB, leases ...*lease) {
	t.Helper()
	for _, l := range leases {
		if err := l.Err(); err != nil {
			t.Fatalf("lease %x is lost: %v", uint64(l.ID), err)
		}
	}
}

// ignore is an observer that does nothing.
type ignore struct{}

func (ignore) Connected(balance.Connected)       {}
func (ignore) Disconnected(balance.Disconnected) {}
func (ignore) AttemptBegins(context.Context, call.Attempt) call.Observation {
	return call.Observation{}
}
func (ignore) AttemptEnds(call.Observation, *call.Error)                         {}
func (ignore) Retrying(context.Context, string, int, time.Duration, *call.Error) {}
func (ignore) Authenticated()                                                    {}
