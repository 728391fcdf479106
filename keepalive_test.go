package etcd

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/peertest/leasetest"
	"silly.store/etcd/internal/wire"
)

// kept grants a lease.
func kept(t testing.TB, c *Client, ttl time.Duration) *Lease {
	t.Helper()
	l, err := c.Grant(t.Context(), GrantRequest{TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// isLost waits until a lease is lost and returns when that was.
func isLost(t testing.TB, l *Lease, within time.Duration, reason error) time.Time {
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

func isAlive(t testing.TB, leases ...*Lease) {
	t.Helper()
	for _, l := range leases {
		if err := l.Err(); err != nil {
			t.Fatalf("lease %x is lost: %v", uint64(l.ID), err)
		}
	}
}

func TestCloseEndsLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		c := leaseClient(t, p, 1)
		l := kept(t, c, 10*time.Second)
		time.Sleep(time.Minute)
		_ = c.Close()
		isLost(t, l, time.Second, ErrClosed)
		if p.Expires(int64(l.ID)).IsZero() {
			t.Error("Close has revoked the lease")
		}
		if _, err := c.KeepAliveOnce(t.Context(), KeepAliveRequest{ID: l.ID}); !errors.Is(err, ErrClosed) {
			t.Errorf("KeepAliveOnce after Close: %v", err)
		}
		if _, err := c.Adopt(t.Context(), l.ID); !errors.Is(err, ErrClosed) {
			t.Errorf("Adopt after Close: %v", err)
		}
	})
}

// What happens when listeners come and go is tested with the keeper.
func TestOnRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		c := leaseClient(t, p, 1)
		l, other := kept(t, c, 30*time.Second), kept(t, c, 30*time.Second)

		var mu sync.Mutex
		var heard [2][]KeepAliveResponse
		listen := func(i int) (stop func()) {
			return l.OnRenewal(func(r KeepAliveResponse) {
				mu.Lock()
				defer mu.Unlock()
				heard[i] = append(heard[i], r)
				_ = l.Deadline() // takes the keeper's lock, which must not be held here
			})
		}
		count := func() (int, int) {
			mu.Lock()
			defer mu.Unlock()
			return len(heard[0]), len(heard[1])
		}
		stop := listen(0)
		listen(1)
		time.Sleep(time.Minute)
		renewed := len(p.Renewals(int64(l.ID)))
		if a, b := count(); a != renewed || b != renewed || renewed == 0 {
			t.Errorf("%d and %d of %d renewals were reported", a, b, renewed)
		}
		for _, r := range heard[0] {
			if r.ID != l.ID || r.TTL != 30*time.Second || r.Header.Revision != 1 {
				t.Errorf("reported: %+v", r)
			}
		}

		stop()
		stop()
		if _, err := c.KeepAliveOnce(t.Context(), KeepAliveRequest{ID: l.ID}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the stream's receiver calls listeners, maybe after the caller has its answer
		if a, b := count(); a != renewed || b != renewed+1 {
			t.Errorf("%d and %d renewals were reported, want %d and %d", a, b, renewed, renewed+1)
		}

		p.Delete(int64(l.ID))
		isLost(t, l, time.Minute, ErrLeaseExpired)
		_, b := count()
		time.Sleep(time.Minute)
		if _, after := count(); after != b {
			t.Error("renewals of a lease that was over were reported")
		}
		l.OnRenewal(func(KeepAliveResponse) { t.Error("a renewal of a lease that was over was reported") })()
		l.OnRenewal(nil)()
		isAlive(t, other)
	})
}

func TestStopKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		c := leaseClient(t, p, 1)
		l := kept(t, c, 10*time.Second)
		time.Sleep(time.Minute)
		l.StopKeepAlive()
		renewed := len(p.Renewals(int64(l.ID)))
		start, left := time.Now(), time.Until(p.Expires(int64(l.ID)))
		if d := isLost(t, l, time.Minute, ErrLeaseExpired).Sub(start); d > left || d < left-20*time.Millisecond {
			t.Errorf("lost after %v with %v left", d, left)
		}
		if n := len(p.Renewals(int64(l.ID))); n != renewed {
			t.Errorf("renewed %d times after that", n-renewed)
		}
		l.StopKeepAlive() // does nothing

		// What a Grant and two Adopts want is kept until all three want it no more.
		l = kept(t, c, 10*time.Second)
		for range 2 {
			if a, err := c.Adopt(t.Context(), l.ID); err != nil || a != l {
				t.Fatalf("%p, %v; want %p", a, err, l)
			}
		}
		l.StopKeepAlive()
		l.StopKeepAlive()
		time.Sleep(time.Minute)
		isAlive(t, l)
		l.StopKeepAlive()
		l.StopKeepAlive()
		time.Sleep(5 * time.Second)
		isAlive(t, l)
		if a, err := c.Adopt(t.Context(), l.ID); err != nil || a != l {
			t.Fatalf("taken up again: %p, %v; want %p", a, err, l)
		}
		time.Sleep(time.Minute)
		isAlive(t, l)
		if s := c.Stats(); s.LeasesLost != 0 {
			t.Errorf("%d leases count as lost", s.LeasesLost)
		}
	})
}

// A renewal by hand reached neither OnRenewal nor Hooks.LeaseRenewed nor
// Stats.Renewals, and a lease that was found lost by hand was counted and logged only
// when the keeper woke for something else.
func TestManualRenewalIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		var log bytes.Buffer
		var infos []LeaseRenewInfo
		c := scripted(t, p.Cluster, Config{
			Endpoints: p.Addresses(1),
			Logger:    slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})),
			Hooks:     Hooks{LeaseRenewed: func(i LeaseRenewInfo) { infos = append(infos, i) }},
		})
		l := kept(t, c, time.Minute)
		var heard []KeepAliveResponse
		l.OnRenewal(func(r KeepAliveResponse) { heard = append(heard, r) })
		s := keepAliveStream(t, c, l.ID)
		time.Sleep(3 * time.Second) // its own first renewal is due after 10 s
		renew(t, s, l.ID)
		if len(heard) != 1 || heard[0].ID != l.ID || heard[0].TTL != time.Minute || heard[0].Header.Revision != 1 {
			t.Errorf("OnRenewal has heard %+v", heard)
		}
		want := LeaseRenewInfo{ID: l.ID, Endpoint: "a:1", TTL: time.Minute, Margin: 57*time.Second - time.Minute/1000}
		if len(infos) != 1 || infos[0] != want {
			t.Errorf("Hooks.LeaseRenewed has heard %+v, want %+v", infos, want)
		}
		if stats := c.Stats(); stats.Renewals != 1 || stats.LeasesLost != 0 {
			t.Errorf("%d renewals and %d lost leases are counted", stats.Renewals, stats.LeasesLost)
		}
		if left := time.Until(l.Deadline()); left < 59*time.Second {
			t.Errorf("the renewal has left %v", left)
		}

		p.Delete(int64(l.ID))
		found := time.Now()
		if err := s.Write(t.Context(), KeepAliveRequest{ID: l.ID}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Read(t.Context()); !errors.Is(err, ErrLeaseNotFound) || MaybeApplied(err) {
			t.Errorf("Read of a lost lease: %v", err)
		}
		isLost(t, l, time.Millisecond, ErrLeaseExpired)
		if n := c.Stats().LeasesLost; n != 1 || time.Since(found) != 0 {
			t.Errorf("%d lost leases are counted %v later", n, time.Since(found))
		}
		if text := log.String(); !strings.Contains(text, "lease lost") || !strings.Contains(text, l.ID.String()) {
			t.Errorf("the log says %q", text)
		}
		if len(heard) != 1 || len(infos) != 1 {
			t.Errorf("the loss was reported as a renewal: %+v, %+v", heard, infos)
		}
	})
}

// Regression: the answer that a lease does not exist ended one that was granted under the same
// ID after the renewal had been asked for, and before its answer was read.
func TestAnswerAboutAnEarlierLease(t *testing.T) {
	const id = 7
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		c := leaseClient(t, p, 1)
		s := keepAliveStream(t, c, id)
		if err := s.Write(t.Context(), KeepAliveRequest{ID: id}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the server has answered
		l, err := c.Grant(t.Context(), GrantRequest{ID: id, TTL: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Read(t.Context()); !errors.Is(err, ErrLeaseNotFound) {
			t.Errorf("Read: %v", err)
		}
		isAlive(t, l)
		time.Sleep(time.Minute)
		isAlive(t, l)
		if p.Expires(id).IsZero() {
			t.Error("the lease is not renewed")
		}
		p.Delete(id)
		if err := s.Write(t.Context(), KeepAliveRequest{ID: id}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Read(t.Context()); !errors.Is(err, ErrLeaseNotFound) {
			t.Errorf("Read: %v", err)
		}
		isLost(t, l, time.Millisecond, ErrLeaseExpired)
	})
}

// Write without an ID renewed lease 0.
func TestWriteRenewsTheStreamsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		c := leaseClient(t, p, 1)
		p.Put(1, time.Minute)
		p.Put(2, time.Hour)
		s := keepAliveStream(t, c, 1)
		for _, id := range []LeaseID{0, 2, 0} {
			if err := s.Write(t.Context(), KeepAliveRequest{ID: id}); err != nil {
				t.Fatal(err)
			}
		}
		for _, want := range []KeepAliveResponse{{ID: 1, TTL: time.Minute}, {ID: 2, TTL: time.Hour}, {ID: 1, TTL: time.Minute}} {
			if r, err := s.Read(t.Context()); err != nil || r.ID != want.ID || r.TTL != want.TTL {
				t.Errorf("%+v, %v; want %+v", r, err, want)
			}
		}
		if a, b := len(p.Renewals(1)), len(p.Renewals(2)); a != 2 || b != 1 {
			t.Errorf("%d and %d renewals, want 2 and 1", a, b)
		}
	})
}

// Regression: while a Write waited for room, another one waited for it beyond its own context.
// This is not in a bubble, whose time would stand still.
func TestWriteBehindAnother(t *testing.T) {
	cluster := peertest.NewCluster("a:1")
	m := cluster.Member("a:1")
	c := scripted(t, cluster, Config{})
	s := keepAliveStream(t, c, 1)
	m.NextStream(t).Fill()
	var first sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	first.Go(func() { _ = s.Write(ctx, KeepAliveRequest{}) })
	for m.Counts().Messages == 0 { // until it waits
		runtime.Gosched()
	}
	second := make(chan error, 1)
	go func() {
		short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		second <- s.Write(short, KeepAliveRequest{})
	}()
	select {
	case err := <-second:
		if !errors.Is(err, context.DeadlineExceeded) || MaybeApplied(err) {
			t.Errorf("the second Write: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the second Write waits beyond its context")
	}
	cancel()
	first.Wait()
}

// A Write after the client's Close, and a Read where nothing was asked, said "may have
// been applied". Only a Read of an answer that is due may say so.
func TestKeepAliveStreamEnds(t *testing.T) {
	ctx := func(t *testing.T) context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		t.Cleanup(cancel)
		return ctx
	}
	for name, end := range map[string]struct {
		do   func(c *Client, s *KeepAliveStream, member *peertest.Stream)
		want error
		// stays: the stream goes on.
		stays bool
		// rejected: the server says that it has not renewed the lease.
		rejected bool
	}{
		"closed":        {do: func(_ *Client, s *KeepAliveStream, _ *peertest.Stream) { _ = s.Close() }, want: ErrStreamClosed},
		"client closed": {do: func(c *Client, _ *KeepAliveStream, _ *peertest.Stream) { _ = c.Close() }, want: ErrClosed},
		"cut":           {do: func(_ *Client, _ *KeepAliveStream, m *peertest.Stream) { m.Conn().End(nil) }, want: ErrUnavailable},
		"ended":         {do: func(_ *Client, _ *KeepAliveStream, m *peertest.Stream) { m.End(nil) }, want: ErrUnavailable},
		"no leader":     {do: func(_ *Client, _ *KeepAliveStream, m *peertest.Stream) { m.End(noLeader.Err) }, want: ErrNoLeader, rejected: true},
		"not decodable": {do: func(_ *Client, _ *KeepAliveStream, m *peertest.Stream) { m.Send([]byte{0xff}) }, want: wire.ErrTruncated},
		"out of time":   {do: func(*Client, *KeepAliveStream, *peertest.Stream) {}, want: context.DeadlineExceeded, stays: true},
	} {
		for _, due := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cluster := peertest.NewCluster("a:1")
					c := scripted(t, cluster, Config{})
					s := keepAliveStream(t, c, 1)
					member := cluster.Member("a:1").NextStream(t)
					answered := leasetest.Answer(1, time.Minute)
					member.Send(answered)
					renew(t, s, 1) // what was answered is not due any more
					if due {
						if err := s.Write(t.Context(), KeepAliveRequest{}); err != nil {
							t.Fatal(err)
						}
					}
					end.do(c, s, member)
					for range 2 { // the end stays
						_, err := s.Read(ctx(t))
						if want := due && !end.rejected; !errors.Is(err, end.want) || MaybeApplied(err) != want {
							t.Errorf("Read with an answer due %v: %v; want %v, MaybeApplied %v", due, err, end.want, want)
						}
					}
					err := s.Write(ctx(t), KeepAliveRequest{})
					if end.stays {
						if err != nil {
							t.Errorf("Write on a stream that goes on: %v", err)
						}
						return
					}
					var e *Error
					if !errors.Is(err, end.want) || !errors.As(err, &e) || e.Outcome != OutcomeNotSent {
						t.Errorf("Write: %v; want %v, not sent", err, end.want)
					}
					if strings.Contains(err.Error(), "may have been applied") {
						t.Errorf("Write: %q", err)
					}
					if _, err := s.Read(ctx(t)); MaybeApplied(err) != (due && !end.rejected) {
						t.Errorf("Read after a Write that failed: %v", err)
					}
				})
			})
		}
	}
	t.Run("context ended", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := leaseClient(t, leasetest.NewCluster(), 1)
			s := keepAliveStream(t, c, 1)
			over, cancel := context.WithCancel(t.Context())
			cancel()
			for what, do := range map[string]func() error{
				"Read":                           func() error { _, err := s.Read(over); return err },
				"Write":                          func() error { return s.Write(over, KeepAliveRequest{}) },
				"Read after a Write that failed": func() error { _, err := s.Read(over); return err },
			} {
				if err := do(); !errors.Is(err, context.Canceled) || MaybeApplied(err) {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	})
	t.Run("not opened", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := leasetest.NewCluster()
			c := leaseClient(t, p, 1)
			p.Member("a:1").RefuseStreams(lost.Err) // the connection ends while the stream is opened
			if _, err := c.KeepAlive(t.Context(), KeepAliveRequest{ID: 1}); !errors.Is(err, ErrUnavailable) || MaybeApplied(err) {
				t.Errorf("%v", err)
			}
			_ = c.Close()
			if _, err := c.KeepAlive(t.Context(), KeepAliveRequest{ID: 1}); !errors.Is(err, ErrClosed) || MaybeApplied(err) {
				t.Errorf("after Close: %v", err)
			}
		})
	})
}

// keepAliveStream opens a stream for a lease.
func keepAliveStream(t testing.TB, c *Client, id LeaseID) *KeepAliveStream {
	t.Helper()
	s, err := c.KeepAlive(t.Context(), KeepAliveRequest{ID: id})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// renew renews a lease on a stream.
func renew(t testing.TB, s *KeepAliveStream, id LeaseID) {
	t.Helper()
	if err := s.Write(t.Context(), KeepAliveRequest{ID: id}); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Read(t.Context()); err != nil || r.ID != id {
		t.Fatalf("%+v, %v", r, err)
	}
}
