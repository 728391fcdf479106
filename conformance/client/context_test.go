package client

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/namespaced"
	"silly.store/etcd/etcdtest"
)

// A stopped server accepts requests and answers none. Each kind of call then ends
// on time, and its error says what is known.
func TestStoppedServer(t *testing.T) {
	t.Parallel()
	s, c := private(t, etcdtest.Config{}, etcd.Config{Retry: -1})
	bounded := connect(t, etcd.Config{Endpoints: s.Endpoints(), Retry: -1, Timeout: 150 * time.Millisecond})
	closing := connect(t, etcd.Config{Endpoints: s.Endpoints()})
	for _, c := range []*etcd.Client{c, bounded, closing} {
		if err := c.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}

	calls := map[string]struct {
		write bool
		call  func(c *etcd.Client, ctx context.Context) error
	}{
		"Get": {false, func(c *etcd.Client, ctx context.Context) error {
			_, err := c.Get(ctx, etcd.GetRequest{Key: "k"})
			return err
		}},
		"Range": {false, func(c *etcd.Client, ctx context.Context) error {
			_, err := c.Range(ctx, etcd.GetRequest{Key: "k"})
			return err
		}},
		"Put": {true, func(c *etcd.Client, ctx context.Context) error {
			_, err := c.Put(ctx, etcd.PutRequest{Key: "k"})
			return err
		}},
		"Delete": {true, func(c *etcd.Client, ctx context.Context) error {
			_, err := c.Delete(ctx, etcd.DeleteRequest{Key: "k"})
			return err
		}},
		"Compact": {true, func(c *etcd.Client, ctx context.Context) error {
			_, err := c.Compact(ctx, etcd.CompactRequest{Revision: 1})
			return err
		}},
		"Txn": {true, func(c *etcd.Client, ctx context.Context) error {
			_, err := c.Txn(ctx, etcd.TxnRequest{Then: ops(etcd.PutRequest{Key: "k"})})
			return err
		}},
	}
	readTxn := func(c *etcd.Client, ctx context.Context) error {
		_, err := c.Txn(ctx, etcd.TxnRequest{Then: ops(etcd.GetRequest{Key: "k"})})
		return err
	}

	t.Run("calls", func(t *testing.T) {
		// The first call of all, before the connection is suspect: it is sent.
		t.Run("read-only Txn", func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			err := readTxn(c, ctx)
			wants(t, err, context.DeadlineExceeded, etcd.OutcomeUnknown)
			if etcd.MaybeApplied(err) {
				t.Errorf("%v: a Txn that only reads is said to be applied", err)
			}
		})
		for name, test := range calls {
			check := func(t *testing.T, err error, ctxErr error, code etcd.Code) {
				t.Helper()
				var e *etcd.Error
				if !errors.As(err, &e) {
					t.Fatalf("error %v (%T)", err, err)
				}
				if ctxErr != nil && !errors.Is(err, ctxErr) {
					t.Errorf("%v: it is not %v", err, ctxErr)
				}
				// Once the connection is suspect, calls wait for another one first.
				waited := e.Outcome == etcd.OutcomeNotSent && strings.Contains(err.Error(), "connecting to "+s.Endpoints()[0])
				sent := e.Outcome == etcd.OutcomeUnknown && e.Endpoint == s.Endpoints()[0]
				if e.Code != code || e.Op != name || e.Attempts != 1 || !waited && !sent {
					t.Errorf("error %+v", e)
				}
				if etcd.MaybeApplied(err) != (test.write && sent) {
					t.Errorf("%v: MaybeApplied is %v", err, !test.write)
				}
			}
			t.Run(name+" deadline", func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				defer cancel()
				begin := time.Now()
				err := test.call(c, ctx)
				check(t, err, context.DeadlineExceeded, etcd.CodeDeadlineExceeded)
				if took := time.Since(begin); took < 200*time.Millisecond || took > 200*time.Millisecond+promptly {
					t.Errorf("it took %v", took)
				}
			})
			t.Run(name+" cancelled", func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(200*time.Millisecond, cancel)
				check(t, test.call(c, ctx), context.Canceled, etcd.CodeCanceled)
			})
			t.Run(name+" Timeout", func(t *testing.T) {
				t.Parallel()
				begin := time.Now()
				err := test.call(bounded, t.Context())
				check(t, err, etcd.ErrTimeout, etcd.CodeDeadlineExceeded)
				if errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v is said to be the context's", err)
				}
				if took := time.Since(begin); took < 150*time.Millisecond || took > 150*time.Millisecond+promptly {
					t.Errorf("it took %v", took)
				}
			})
			t.Run(name+" deadline in place of Timeout", func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
				defer cancel()
				begin := time.Now()
				check(t, test.call(bounded, ctx), context.DeadlineExceeded, etcd.CodeDeadlineExceeded)
				if took := time.Since(begin); took < 400*time.Millisecond {
					t.Errorf("it took %v", took)
				}
			})
			t.Run(name+" over before", func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				err := test.call(c, ctx)
				wants(t, err, context.Canceled, etcd.OutcomeNotSent)
				if etcd.MaybeApplied(err) {
					t.Errorf("%v: it was not sent", err)
				}
			})
		}
		t.Run("Close", func(t *testing.T) {
			t.Parallel()
			waiting := make(map[string]<-chan error)
			for name, test := range calls {
				waiting[name] = async(func() error { return test.call(closing, t.Context()) })
			}
			time.AfterFunc(100*time.Millisecond, func() { _ = namespaced.Whole(closing).Close() })
			for name, done := range waiting {
				err := await(t, done)
				e := wants(t, err, etcd.ErrClosed, outcomeOf(err))
				if e != nil && e.Op != name {
					t.Errorf("error %+v", e)
				}
				if etcd.MaybeApplied(err) != (calls[name].write && e != nil && e.Outcome == etcd.OutcomeUnknown) {
					t.Errorf("%v: MaybeApplied is wrong", err)
				}
			}
		})
	})

	if err := s.Continue(); err != nil {
		t.Fatal(err)
	}
	if err := c.Ready(t.Context()); err != nil {
		t.Errorf("after the stop: %v", err)
	}
}

func outcomeOf(err error) etcd.Outcome {
	var e *etcd.Error
	if errors.As(err, &e) {
		return e.Outcome
	}
	return etcd.OutcomeUnknown
}

func TestClosedClient(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	put(t, c, t.Name(), "v")
	r := rangeOf(t, c, etcd.GetRequest{Key: t.Name()})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	_, getErr := c.Get(ctx, etcd.GetRequest{Key: "k"})
	_, putErr := c.Put(ctx, etcd.PutRequest{Key: "k"})
	_, txnErr := c.Txn(ctx, etcd.TxnRequest{})
	_, rangeErr := c.Range(ctx, etcd.GetRequest{Key: "k"})
	for _, err := range []error{getErr, putErr, txnErr, rangeErr, c.Ready(ctx)} {
		wants(t, err, etcd.ErrClosed, etcd.OutcomeNotSent)
		if etcd.MaybeApplied(err) {
			t.Error(err)
		}
	}
	if kvs := collect(t, r); len(kvs) != 1 { // all of it has already arrived
		t.Errorf("pairs %+v", kvs)
	}
	if err := c.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
}

// Close ends the pause before another attempt, and an attempt to connect.
func TestCloseWhileWaiting(t *testing.T) {
	t.Parallel()
	t.Run("in the pause", func(t *testing.T) {
		t.Parallel()
		s, _ := private(t, etcdtest.Config{}, etcd.Config{})
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
		d := newDialer()
		c := connect(t, etcd.Config{Endpoints: s.Endpoints(), RetrySleep: time.Minute, DialContext: d.dial})
		done := async(func() error {
			_, err := c.Put(t.Context(), etcd.PutRequest{Key: "k"})
			return err
		})
		eventually(t, "a first attempt", func() bool { return d.dials.Load() > 0 })
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		wants(t, await(t, done), etcd.ErrClosed, etcd.OutcomeNotSent)
	})
	t.Run("in a dial", func(t *testing.T) {
		t.Parallel()
		begun := make(chan struct{}, 1)
		c := connect(t, etcd.Config{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			begun <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		done := async(func() error {
			_, err := c.Put(t.Context(), etcd.PutRequest{Key: "k"})
			return err
		})
		<-begun
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		err := await(t, done)
		wants(t, err, etcd.ErrClosed, etcd.OutcomeNotSent)
		if errors.Is(err, context.Canceled) {
			t.Errorf("%v: the caller's context was not cancelled", err)
		}
	})
}
