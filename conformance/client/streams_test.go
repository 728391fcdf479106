package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// A server that allows one stream on a connection: the renewals of a lease take it, and
// calls go on over another connection, also those that were waiting already.
func TestOneStreamPerConnection(t *testing.T) {
	t.Parallel()
	_, c := private(t, etcdtest.Config{MaxConcurrentStreams: 1}, etcd.Config{})
	lease, err := c.Grant(t.Context(), etcd.GrantRequest{TTL: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	var renewals atomic.Int64
	stop := lease.OnRenewal(func(etcd.KeepAliveResponse) { renewals.Add(1) })
	defer stop()
	end := time.Now().Add(6 * time.Second)
	var calls sync.WaitGroup
	for i := range 10 {
		calls.Go(func() {
			var slowest time.Duration
			n := 0
			for ; time.Now().Before(end); n++ {
				began := time.Now()
				if _, err := c.Put(within(t, time.Minute), etcd.PutRequest{Key: fmt.Sprint("k", i), Lease: lease.ID}); err != nil {
					t.Errorf("put %d: %v", n, err)
					return
				}
				slowest = max(slowest, time.Since(began))
			}
			if slowest > 5*time.Second { // a call that waits for the stream of the renewals waits for ever
				t.Errorf("one of %d calls took %v", n, slowest)
			}
		})
	}
	w := watch(t, c, etcd.WatchRequest{Key: "k0"})
	read(t, w)
	if _, err := c.KeepAliveOnce(within(t, 10*time.Second), etcd.KeepAliveRequest{ID: lease.ID}); err != nil {
		t.Error(err)
	}
	manual, err := c.KeepAlive(within(t, 10*time.Second), etcd.KeepAliveRequest{ID: lease.ID})
	if err != nil {
		t.Fatal(err)
	}
	defer manual.Close()
	calls.Wait()
	if err := lease.Err(); err != nil || renewals.Load() < 3 {
		t.Errorf("%d renewals; the lease: %v", renewals.Load(), err)
	}
	if n := c.Stats().Endpoints[0].Connections; n > 8 {
		t.Errorf("%d connections", n)
	}
}

// Where no further connection can be had, the error of a call says what it has waited
// for, and nothing is sent twice or lost.
func TestAllStreamsTaken(t *testing.T) {
	t.Parallel()
	s := etcdtest.StartProcess(t, etcdtest.Config{MaxConcurrentStreams: 1})
	var dials atomic.Int64
	c := connect(t, etcd.Config{
		Endpoints: s.Endpoints(), Retry: -1,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if dials.Add(1) > 1 {
				return nil, errors.New("one connection is all you get")
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	})
	lease, err := c.Grant(t.Context(), etcd.GrantRequest{TTL: time.Minute, NoKeepAlive: true})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := c.KeepAlive(t.Context(), etcd.KeepAliveRequest{ID: lease.ID})
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Write(t.Context(), etcd.KeepAliveRequest{ID: lease.ID}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Read(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err = c.Put(within(t, 2*time.Second), etcd.PutRequest{Key: "k"})
	wants(t, err, context.DeadlineExceeded, etcd.OutcomeNotSent)
	mustSay(t, err, "the server allows 1 stream on a connection (etcd's --max-concurrent-streams)", "all are taken")
	if etcd.MaybeApplied(err) {
		t.Errorf("%v: said to be applied", err)
	}
	if n := dials.Load(); n < 2 || n > 100 {
		t.Errorf("%d dials in two seconds", n)
	}
	waiting := async(func() error { _, err := c.Put(within(t, 20*time.Second), etcd.PutRequest{Key: "k"}); return err })
	if err := stream.Close(); err != nil {
		t.Fatal(err)
	}
	if err := await(t, waiting); err != nil {
		t.Errorf("a call that waited until the stream was free: %v", err)
	}
}

// Manual streams of renewals take all streams again and again.
func TestManyStreams(t *testing.T) {
	t.Parallel()
	_, c := private(t, etcdtest.Config{MaxConcurrentStreams: 2}, etcd.Config{})
	lease, err := c.Grant(t.Context(), etcd.GrantRequest{TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	var streams []*etcd.KeepAliveStream
	for range 10 {
		s, err := c.KeepAlive(within(t, 10*time.Second), etcd.KeepAliveRequest{ID: lease.ID})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		streams = append(streams, s)
	}
	// A stream that waits is one of those that went to another connection: open it again.
	for i, s := range streams {
		for try := 0; ; try++ {
			err := s.Write(within(t, 10*time.Second), etcd.KeepAliveRequest{ID: lease.ID})
			if err == nil {
				_, err = s.Read(within(t, 10*time.Second))
			}
			if err == nil {
				break
			}
			if try == 10 || etcd.MaybeApplied(err) {
				t.Fatalf("stream %d: %v", i, err)
			}
			if s, err = c.KeepAlive(within(t, 10*time.Second), etcd.KeepAliveRequest{ID: lease.ID}); err != nil {
				t.Fatal(err)
			}
			defer s.Close()
		}
	}
	put(t, c, "k", "v")
}
