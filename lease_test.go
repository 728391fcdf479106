package etcd

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"silly.store/etcd/internal/peertest/leasetest"
)

// leaseClient makes a client of the first n members of a cluster.
func leaseClient(t testing.TB, p *leasetest.Cluster, n int) *Client {
	t.Helper()
	return scripted(t, p.Cluster, Config{Endpoints: p.Addresses(n), RetrySleep: 10 * time.Millisecond})
}

// The answer of a Grant is lost: it is sent again with the same ID, and that the
// lease exists then is its success.
func TestGrantAnswerLost(t *testing.T) {
	for _, id := range []LeaseID{0, 4711} {
		synctest.Test(t, func(t *testing.T) {
			p := leasetest.NewCluster()
			c := leaseClient(t, p, 1)
			p.Set(func() { p.LoseAnswers = 2 })
			start := time.Now()
			l, err := c.Grant(t.Context(), GrantRequest{TTL: 10 * time.Second, ID: id})
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Leases) != 1 || l.TTL != 10*time.Second || id != 0 && l.ID != id {
				t.Errorf("%d leases after one Grant: %+v", len(p.Leases), l)
			}
			if n := len(p.Renewals(int64(l.ID))); n != 1 {
				t.Errorf("it was renewed %d times to learn its TTL", n)
			}
			if d := l.Deadline(); d.After(p.Expires(int64(l.ID))) || d.Before(start.Add(9*time.Second)) {
				t.Errorf("Deadline %v, the server's is %v", d, p.Expires(int64(l.ID)))
			}
			time.Sleep(time.Minute)
			isAlive(t, l)
		})
	}
}

// A lease with the user's ID that was there before is an error, also when the
// Grant before was rejected or not sent.
func TestGrantExists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		c := leaseClient(t, p, 1)
		p.Put(4711, time.Hour)
		p.Down(true)
		go func() {
			time.Sleep(15 * time.Millisecond)
			p.Down(false)
		}()
		_, err := c.Grant(t.Context(), GrantRequest{TTL: 10 * time.Second, ID: 4711})
		if !errors.Is(err, ErrLeaseExists) || MaybeApplied(err) {
			t.Errorf("%v, want ErrLeaseExists", err)
		}
	})
}

// Nobody knows what became of the Grant, and the error says so.
func TestGrantUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		c := leaseClient(t, p, 1)
		p.Set(func() { p.LoseAnswers = 100 })
		_, err := c.Grant(t.Context(), GrantRequest{TTL: 10 * time.Second})
		if !errors.Is(err, ErrUnavailable) || !MaybeApplied(err) {
			t.Errorf("%v; MaybeApplied %v", err, MaybeApplied(err))
		}
		if c.leases().Count() != 0 {
			t.Error("the keeper has it")
		}
	})
}

// A Grant that has taken longer than the lease lives is renewed before it is
// handed out.
func TestGrantTakesLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		c := leaseClient(t, p, 1)
		p.Set(func() { p.After = 1300 * time.Millisecond })
		go func() {
			time.Sleep(1200 * time.Millisecond)
			p.Set(func() { p.After = 0 })
		}()
		l, err := c.Grant(t.Context(), GrantRequest{TTL: 2 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if left := time.Until(l.Deadline()); left < 1900*time.Millisecond {
			t.Errorf("%v left of 2 s", left)
		}
	})
}

func TestNoKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		c := leaseClient(t, p, 1)
		l, err := c.Grant(t.Context(), GrantRequest{TTL: 10 * time.Second, NoKeepAlive: true})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(6 * time.Second)
			if _, err := c.KeepAliveOnce(t.Context(), KeepAliveRequest{ID: l.ID}); err != nil {
				t.Fatal(err)
			}
			isAlive(t, l)
		}
		if n := len(p.Renewals(int64(l.ID))); n != 3 {
			t.Errorf("%d renewals, want 3", n)
		}
		left := time.Until(p.Expires(int64(l.ID)))
		start := time.Now()
		if d := isLost(t, l, time.Minute, ErrLeaseExpired).Sub(start); d > left || d < left-20*time.Millisecond {
			t.Errorf("lost after %v with %v left", d, left)
		}
	})
}

func TestAdopt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		before, after := leaseClient(t, p, 1), leaseClient(t, p, 1)
		l := kept(t, before, 10*time.Second)
		time.Sleep(time.Minute)
		_ = before.Close()
		time.Sleep(5 * time.Second)
		a, err := after.Adopt(t.Context(), l.ID)
		if err != nil || a.TTL != 10*time.Second || a.ID != l.ID {
			t.Fatalf("%+v, %v", a, err)
		}
		time.Sleep(time.Minute)
		isAlive(t, a)
		again, err := after.Adopt(t.Context(), l.ID)
		if err != nil || again != a {
			t.Errorf("adopted again: %p, %v; want %p", again, err, a)
		}
		if _, err := after.Adopt(t.Context(), 12345); !errors.Is(err, ErrLeaseNotFound) {
			t.Errorf("adopted what does not exist: %v", err)
		}

		// One that was not to be kept alive is from then on.
		m, err := after.Grant(t.Context(), GrantRequest{TTL: 10 * time.Second, NoKeepAlive: true})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := after.Adopt(t.Context(), m.ID); err != nil || n != m {
			t.Errorf("%p, %v; want %p", n, err, m)
		}
		time.Sleep(time.Minute)
		isAlive(t, a, m)
	})
}

// A Revoke whose answer was lost meets its own success.
func TestRevokeAnswerLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		c := leaseClient(t, p, 1)
		l := kept(t, c, 10*time.Second)
		p.Set(func() { p.LoseAnswers = 1 })
		if _, err := c.Revoke(t.Context(), RevokeRequest{ID: l.ID}); err != nil {
			t.Fatal(err)
		}
		isLost(t, l, time.Second, ErrLeaseRevoked)
		if _, err := c.Revoke(t.Context(), RevokeRequest{ID: l.ID}); !errors.Is(err, ErrLeaseNotFound) {
			t.Errorf("revoked again: %v", err)
		}
	})
}

// A Revoke that fails does not stop the renewing; one that was applied though its
// answer never came does not hide the loss.
func TestRevokeFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		c := leaseClient(t, p, 1)
		l := kept(t, c, 10*time.Second)
		p.Down(true)
		p.Cut(nil)
		if _, err := c.Revoke(t.Context(), RevokeRequest{ID: l.ID}); !errors.Is(err, ErrUnavailable) || MaybeApplied(err) {
			t.Fatal(err)
		}
		p.Down(false)
		time.Sleep(time.Minute)
		isAlive(t, l)

		p.Set(func() { p.LoseAnswers = 100 })
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		if _, err := c.Revoke(ctx, RevokeRequest{ID: l.ID}); !MaybeApplied(err) {
			t.Fatalf("%v: MaybeApplied is false", err)
		}
		isLost(t, l, 4*time.Second, ErrLeaseExpired)
	})
}

// Many calls share streams; one that ends a stream fails alone.
func TestKeepAliveOnceShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		p.Set(func() { p.Before, p.Service = time.Millisecond, 20*time.Microsecond })
		c := leaseClient(t, p, 1)
		const n = 2000
		p.Set(func() {
			for id := int64(1); id <= n; id++ {
				p.Leases[id] = &leasetest.Lease{TTL: time.Minute, Expires: time.Now().Add(time.Minute)}
			}
			p.Forbidden[700] = true
			delete(p.Leases, 900)
		})
		errs := make([]error, n+1)
		done := make(chan struct{})
		for id := 1; id <= n; id++ {
			go func() {
				_, errs[id] = c.KeepAliveOnce(t.Context(), KeepAliveRequest{ID: LeaseID(id)})
				done <- struct{}{}
			}()
		}
		for range n {
			<-done
		}
		for id, err := range errs {
			want := error(nil)
			switch id {
			case 700:
				want = ErrPermissionDenied
			case 900:
				want = ErrLeaseNotFound
			}
			if !errors.Is(err, want) {
				t.Errorf("lease %d: %v, want %v", id, err, want)
			}
		}
		if _, opened, _ := p.Count(); opened > 12 {
			t.Errorf("%d streams were opened", opened)
		}
	})
}

func TestKeepAliveOnceFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		c := leaseClient(t, p, 1)
		p.Put(1, time.Hour)
		once := func(d time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			_, err := c.KeepAliveOnce(ctx, KeepAliveRequest{ID: 1})
			return err
		}
		p.Set(func() { p.Silent = true })
		start := time.Now()
		if err := once(3 * time.Second); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("a silent server: %v after %v", err, time.Since(start))
		}
		_, err := c.KeepAliveOnce(t.Context(), KeepAliveRequest{ID: 1})
		if !errors.Is(err, ErrTimeout) {
			t.Errorf("a silent server and no deadline: %v", err)
		}
		p.Set(func() { p.Silent = false })
		p.Down(true)
		p.Cut(nil)
		if err := once(time.Minute); !errors.Is(err, ErrUnavailable) || time.Since(start) > 10*time.Minute {
			t.Errorf("no server: %v", err)
		}
		p.Down(false)
		if err := once(time.Minute); err != nil {
			t.Error(err)
		}
	})
}

// A context ends with its lease, its parent or its cancel, whatever comes first.
func TestLeaseContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		c := leaseClient(t, p, 1)
		l := kept(t, c, 6*time.Second)
		type key struct{}
		parent, endParent := context.WithCancel(context.WithValue(t.Context(), key{}, "v"))
		child, cancelChild := l.Context(parent)
		defer cancelChild()
		held, cancelHeld := l.Context(t.Context())
		defer cancelHeld()
		given, cancelGiven := l.Context(t.Context())
		time.Sleep(time.Minute)
		if child.Err() != nil || held.Err() != nil || given.Err() != nil || child.Value(key{}) != "v" {
			t.Fatalf("%v, %v, %v while the lease lives", child.Err(), held.Err(), given.Err())
		}
		cancelGiven()
		if !errors.Is(context.Cause(given), context.Canceled) || held.Err() != nil {
			t.Errorf("after cancel: %v, and the other %v", context.Cause(given), held.Err())
		}
		endParent()
		if !errors.Is(context.Cause(child), context.Canceled) || held.Err() != nil || l.Err() != nil {
			t.Errorf("after the parent: %v, and the other %v", context.Cause(child), held.Err())
		}

		p.Set(func() { p.Silent = true })
		deadline := l.Deadline()
		<-held.Done()
		if !errors.Is(context.Cause(held), ErrLeaseNotRenewed) || context.Cause(held) != l.Err() {
			t.Errorf("after the loss: %v, want %v", context.Cause(held), l.Err())
		}
		if d := time.Since(deadline); d < 0 || d > 3*time.Second {
			t.Errorf("ended %v after the deadline of then", d)
		}
		late, cancelLate := l.Context(t.Context())
		defer cancelLate()
		if late.Err() == nil || context.Cause(late) != l.Err() {
			t.Errorf("of a lost lease: %v", context.Cause(late))
		}
		var none context.Context
		bad, cancelBad := l.Context(none)
		cancelBad()
		if !errors.Is(context.Cause(bad), ErrInvalidRequest) {
			t.Errorf("of no parent: %v", context.Cause(bad))
		}
	})
}

func TestLeaseRevoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		c := leaseClient(t, p, 1)
		l := kept(t, c, 6*time.Second)
		var none context.Context
		if err := l.Revoke(none); !errors.Is(err, ErrInvalidRequest) {
			t.Errorf("without a context: %v", err)
		}
		isAlive(t, l)
		if err := l.Revoke(t.Context()); err != nil {
			t.Fatal(err)
		}
		isLost(t, l, time.Second, ErrLeaseRevoked)
		if err := l.Revoke(t.Context()); !errors.Is(err, ErrLeaseNotFound) {
			t.Errorf("again: %v", err)
		}
	})
}

func TestGetResponseFirst(t *testing.T) {
	var r GetResponse
	if kv, ok := r.First(); ok || kv.ModRevision != 0 {
		t.Errorf("of nothing: %v, %v", kv, ok)
	}
	r.KVs = []KeyValue{{Key: "a"}, {Key: "b"}}
	if kv, ok := r.First(); !ok || kv.Key != "a" {
		t.Errorf("%v, %v", kv, ok)
	}
}

func TestGrantRequestWire(t *testing.T) {
	for _, test := range []struct {
		ttl     time.Duration
		seconds int64
		ok      bool
	}{
		{0, 0, false}, {-1, 0, false}, {-1 << 63, 0, false},
		{1, 0, false}, {time.Millisecond - 1, 0, false}, {time.Millisecond, 1, true}, {time.Second, 1, true}, {time.Second + 1, 2, true},
		{maxLeaseTTL * time.Second, maxLeaseTTL, true}, {maxLeaseTTL*time.Second + 1, 0, false}, {1<<63 - 1, 0, false},
	} {
		w, err := (&GrantRequest{TTL: test.ttl}).wire()
		if (err == nil) != test.ok || test.ok && w.TTL != test.seconds || w.ID < 0 {
			t.Errorf("TTL %v: %+v, %v; want %d s, ok %v", test.ttl, w, err, test.seconds, test.ok)
		}
	}
}

// What a lease costs is its handle, a slot in the heap and one in the map.
func TestLeaseSize(t *testing.T) {
	if n := unsafe.Sizeof(Lease{}); n > 192 {
		t.Errorf("a Lease is %d bytes", n)
	}
}
