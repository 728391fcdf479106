package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// The connection of a put breaks after the server has applied it, but before the
// answer arrives.
func TestPutConnectionCut(t *testing.T) {
	t.Parallel()
	watcher := connect(t, etcd.Config{})
	for name, writes := range map[string]etcd.RetryWrites{"safe only": etcd.SafeOnly, "at least once": etcd.AtLeastOnce} {
		for _, over := range []string{"tcp", "TLS"} {
			t.Run(name+" over "+over, func(t *testing.T) {
				t.Parallel()
				d := newDialer()
				config := etcd.Config{DialContext: d.dial, RetrySleep: 10 * time.Millisecond, RetryWrites: writes}
				watcher := watcher
				if over == "TLS" {
					var s *etcdtest.Server
					s, watcher = private(t, etcdtest.Config{TLS: etcdtest.ServerTLS}, etcd.Config{})
					config.Endpoints, config.TLS = s.Endpoints(), s.ClientTLS()
				}
				c := connect(t, config)
				if err := c.Ready(t.Context()); err != nil {
					t.Fatal(err)
				}
				key := t.Name()
				if _, err := watcher.Delete(t.Context(), etcd.DeleteRequest{Key: key}); err != nil {
					t.Fatal(err)
				}
				d.holdReads()
				done := async(func() error {
					_, err := c.Put(t.Context(), etcd.PutRequest{Key: key, Value: []byte("v")})
					return err
				})
				eventually(t, "the put", func() bool { return stored(t, watcher, key).Version > 0 })
				d.cutAll()
				err := await(t, done)
				// Anything that was sent again would precede this one.
				put(t, c, key+"/after", "")
				version := stored(t, watcher, key).Version
				if writes == etcd.AtLeastOnce {
					if err != nil || version != 2 {
						t.Errorf("the key is at version %d with %v, want it put twice and no error", version, err)
					}
					return
				}
				if e := wants(t, err, etcd.ErrUnavailable, etcd.OutcomeUnknown); e != nil && e.Attempts != 1 {
					t.Errorf("%d attempts: %v", e.Attempts, err)
				}
				if !etcd.MaybeApplied(err) || version != 1 {
					t.Errorf("the key is at version %d with %v, want it put once and the doubt said", version, err)
				}
			})
		}
	}
}

// The same for every other write; the read among them is simply sent again.
func TestOtherCallsConnectionCut(t *testing.T) {
	t.Parallel()
	p := ownKeys(t)
	for name, test := range map[string]struct {
		read bool
		call func(c *etcd.Client) error
	}{
		"Delete": {false, func(c *etcd.Client) error {
			_, err := c.Delete(context.Background(), etcd.DeleteRequest{Key: p})
			return err
		}},
		"Txn": {false, func(c *etcd.Client) error {
			_, err := c.Txn(context.Background(), etcd.TxnRequest{Then: ops(etcd.PutRequest{Key: p})})
			return err
		}},
		"Compact": {false, func(c *etcd.Client) error {
			_, err := c.Compact(context.Background(), etcd.CompactRequest{Revision: 1})
			return err
		}},
		"Get": {true, func(c *etcd.Client) error {
			_, err := c.Get(context.Background(), etcd.GetRequest{Key: p})
			return err
		}},
		"Txn that reads": {true, func(c *etcd.Client) error {
			_, err := c.Txn(context.Background(), etcd.TxnRequest{If: []etcd.Compare{etcd.CompareVersion(p, etcd.Less, 0)}})
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDialer()
			c := connect(t, etcd.Config{DialContext: d.dial, RetrySleep: 10 * time.Millisecond})
			if err := c.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			d.holdReads()
			before := d.requests.Load()
			done := async(func() error { return test.call(c) })
			eventually(t, "the request to leave", func() bool { return d.requests.Load() > before })
			d.cutAll()
			err := await(t, done)
			if test.read {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wants(t, err, etcd.ErrUnavailable, etcd.OutcomeUnknown)
			if !etcd.MaybeApplied(err) {
				t.Errorf("%v: said to be not applied", err)
			}
		})
	}
}

// A write of which no byte was sent is sent again within the same attempt.
func TestNotSentIsSentAgain(t *testing.T) {
	t.Parallel()
	d := newDialer()
	c := connect(t, etcd.Config{DialContext: d.dial, Retry: -1})
	for i := range 2 {
		if err := c.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		key := fmt.Sprint(t.Name(), i)
		old := stored(t, c, key).Version
		before := d.dials.Load()
		d.failWrites.Store(1)
		if _, err := c.Put(t.Context(), etcd.PutRequest{Key: key}); err != nil {
			t.Fatalf("put %d: %v", i, err)
		}
		if dials := d.dials.Load() - before; dials < 1 || d.failWrites.Load() >= 0 {
			t.Errorf("put %d: %d connections were made, so no write failed", i, dials)
		}
		if v := stored(t, c, key).Version; v != old+1 {
			t.Errorf("put %d: version %d after %d", i, v, old)
		}
	}
}

// Reads survive a kill and restart of the server that takes longer than one
// attempt, and so do writes that were never sent.
func TestServerKilledAndRestarted(t *testing.T) {
	t.Parallel()
	s, c := private(t, etcdtest.Config{}, etcd.Config{Retry: 200, RetrySleep: 50 * time.Millisecond})
	put(t, c, "k", "v")
	for _, end := range []func() error{s.Kill, s.Terminate} {
		stop := make(chan struct{})
		var readers sync.WaitGroup
		for range 8 {
			readers.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					if resp, err := c.Get(t.Context(), etcd.GetRequest{Key: "k"}); err != nil {
						t.Errorf("read %d: %v", n, err)
						return
					} else if len(resp.KVs) != 1 || string(resp.KVs[0].Value) != "v" {
						t.Errorf("read %d: %+v", n, resp.KVs)
					}
				}
			})
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		// The port refuses connections until the server is back, so this is not
		// sent before.
		done := async(func() error {
			_, err := c.Put(t.Context(), etcd.PutRequest{Key: "while it is down"})
			return err
		})
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
		if err := await(t, done); err != nil {
			// Unless the client had not noticed the end yet.
			if !etcd.MaybeApplied(err) {
				t.Errorf("put: %v", err)
			}
		}
		close(stop)
		readers.Wait()
	}
}

// Without a server every attempt fails at once, and the error says where and why.
func TestServerDown(t *testing.T) {
	t.Parallel()
	s, _ := private(t, etcdtest.Config{}, etcd.Config{})
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	for retry, attempts := range map[int]int{-1: 1, 2: 3} {
		d := newDialer()
		c := connect(t, etcd.Config{Endpoints: s.Endpoints(), Retry: retry, RetrySleep: 200 * time.Millisecond, DialContext: d.dial})
		_, err := c.Put(t.Context(), etcd.PutRequest{Key: "k"})
		e := wants(t, err, etcd.ErrUnavailable, etcd.OutcomeNotSent)
		if e != nil && (e.Attempts != attempts || e.Code != etcd.CodeUnavailable) {
			t.Errorf("%d attempts, want %d: %v", e.Attempts, attempts, err)
		}
		mustSay(t, err, s.Addr(), "connection refused")
		if etcd.MaybeApplied(err) {
			t.Error(err)
		}
		// A context that ends in the pause.
		c = connect(t, etcd.Config{Endpoints: s.Endpoints(), RetrySleep: time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		_, err = c.Put(ctx, etcd.PutRequest{Key: "k"})
		cancel()
		wants(t, err, context.DeadlineExceeded, etcd.OutcomeNotSent)
		mustSay(t, err, s.Addr(), "connection refused")
		if !errors.Is(err, etcd.ErrUnavailable) {
			t.Errorf("%v: it does not say why it was waiting", err)
		}
	}
}
