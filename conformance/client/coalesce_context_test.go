package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// promptly is how soon a call must return after its context has ended. One that waits for its
// request returns much later or, while the traffic is held up, never.
const promptly = 2 * time.Second

// patience makes contexts for the callers of a shared request.
type patience struct {
	name string
	// make returns a context with or without a deadline, the same for all callers,
	// because the two kinds never share. Contexts that should end do so when end is
	// called.
	make func(t *testing.T, ends bool) (_ context.Context, end func())
	err  error
}

var patiences = []patience{
	{"cancelled", func(t *testing.T, ends bool) (context.Context, func()) {
		ctx, cancel := context.WithCancel(t.Context())
		return ctx, cancel
	}, context.Canceled},
	{"at its deadline", func(t *testing.T, ends bool) (context.Context, func()) {
		if !ends {
			return within(t, time.Minute), nil
		}
		ctx := within(t, 5*time.Second) // longer than sending takes on a busy machine
		return ctx, func() { <-ctx.Done() }
	}, context.DeadlineExceeded},
}

// One caller of a shared request gives up: it returns at once, the outcome of its
// put is unknown, and the others do not notice.
func TestCoalescedGivingUp(t *testing.T) {
	t.Parallel()
	for _, p := range patiences {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			for w := range crowds(t, testbed.Shared, etcd.Config{Coalesce: etcd.CoalesceAll}) {
				lasting, _ := p.make(t, false)
				ending, end := p.make(t, true)
				prefix := ownKeys(t)
				w.hold(etcdtest.ToServer, putting(lasting, w.Client, prefix))
				puts := make([]putter, 8)
				for i := range puts {
					puts[i].req.Key = fmt.Sprint(prefix, i)
					ctx := lasting
					if i == 4 {
						ctx = ending
					}
					puts[i].done = w.queue(puts[i].call(ctx, w.Client))
				}
				if !w.together() {
					continue
				}
				w.sent()
				end()
				ended := time.Now()
				err := await(t, puts[4].done)
				if took := time.Since(ended); took > promptly {
					t.Errorf("it returned %v after its context", took)
				}
				e := wants(t, err, p.err, etcd.OutcomeUnknown)
				if e != nil && (!etcd.MaybeApplied(err) || e.Op != "Put" || e.Endpoint != w.proxy.Endpoint()) {
					t.Errorf("error %+v", e)
				}
				w.release()
				succeed(t, w.fillers...)
				for i := range puts {
					if i != 4 {
						succeed(t, puts[i].done)
					}
					if v := stored(t, w.Client, puts[i].req.Key).Version; v != 1 {
						t.Errorf("key %d was put %d times", i, v)
					}
				}
			}
		})
	}
}

// A read that is given up never counts as applied.
func TestCoalescedReadGivenUp(t *testing.T) {
	t.Parallel()
	for w := range crowds(t, testbed.Shared, etcd.Config{}) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		p := ownKeys(t)
		w.hold(etcdtest.ToServer, reading(t, w.Client, p))
		given := w.queue(func() error {
			_, err := w.Get(ctx, etcd.GetRequest{Key: p})
			return err
		})
		other := w.queue(reading(t, w.Client, p))
		if !w.together() {
			continue
		}
		w.sent()
		cancel()
		err := await(t, given)
		wants(t, err, context.Canceled, etcd.OutcomeUnknown)
		if etcd.MaybeApplied(err) {
			t.Error(err)
		}
		w.release()
		succeed(t, append(w.fillers, other)...)
	}
}

// When all callers of a request have given up, the request is cancelled. One
// patient caller keeps it.
func TestCoalescedGivenUpByAll(t *testing.T) {
	t.Parallel()
	for w := range crowds(t, testbed.Shared, etcd.Config{Coalesce: etcd.CoalesceAll}) {
		first, cancelFirst := context.WithCancel(t.Context())
		last, cancelLast := context.WithCancel(t.Context())
		defer cancelFirst()
		defer cancelLast()
		p := ownKeys(t)
		w.hold(etcdtest.ToServer, putting(first, w.Client, p))
		puts := make([]putter, queuedCalls)
		carried := w.proxy.Carried(etcdtest.ToServer)
		for i, key := range longKeys(p) {
			puts[i].req.Key = key
			ctx := first
			if i == 0 {
				ctx = last
			}
			puts[i].done = w.queue(puts[i].call(ctx, w.Client))
		}
		if !w.together() {
			continue
		}
		w.sent()
		w.until("the request to leave", func() bool { return w.proxy.Carried(etcdtest.ToServer) >= carried+queuedCalls*longKey })
		cancelFirst()
		for i := range puts[1:] {
			wants(t, await(t, puts[1+i].done), context.Canceled, etcd.OutcomeUnknown)
		}
		for _, done := range w.fillers {
			wants(t, await(t, done), context.Canceled, etcd.OutcomeUnknown)
		}
		if a := w.sent(); a.ended {
			t.Errorf("a request of which one caller waits has ended with %v", a.Err)
		}
		before := w.proxy.Carried(etcdtest.ToServer)
		cancelLast()
		ended := time.Now()
		wants(t, await(t, puts[0].done), context.Canceled, etcd.OutcomeUnknown)
		w.until("the end of the request", func() bool { return w.sent().ended })
		if took := time.Since(ended); took > promptly {
			t.Errorf("the request ended %v after its last context", took)
		}
		const reset = 13 // bytes: RST_STREAM
		w.until("word of it to the server", func() bool { return w.proxy.Carried(etcdtest.ToServer) >= before+reset })
	}
}

// A call that gives up while it is queued was not sent and never is.
func TestCoalescedGivenUpWaiting(t *testing.T) {
	t.Parallel()
	for w := range crowds(t, testbed.Shared, etcd.Config{Coalesce: etcd.CoalesceAll}) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		p := ownKeys(t)
		w.hold(etcdtest.ToServer, putting(t.Context(), w.Client, p))
		puts := make([]putter, 8)
		for i := range puts {
			puts[i].req.Key = fmt.Sprint(p, i)
			c := t.Context()
			if i%2 == 0 {
				c = ctx
			}
			puts[i].done = w.queue(puts[i].call(c, w.Client))
		}
		if !w.together() {
			continue
		}
		cancel()
		ended := time.Now()
		for i := range puts {
			if i%2 > 0 {
				continue
			}
			err := await(t, puts[i].done)
			e := wants(t, err, context.Canceled, etcd.OutcomeNotSent)
			if e != nil && (etcd.MaybeApplied(err) || e.Op != "Put") {
				t.Errorf("error %+v", e)
			}
		}
		if took := time.Since(ended); took > promptly {
			t.Errorf("they returned %v after their context", took)
		}
		w.release()
		succeed(t, w.fillers...)
		for i := range puts {
			if i%2 > 0 {
				succeed(t, puts[i].done)
			}
			if v := stored(t, w.Client, puts[i].req.Key).Version; v != int64(i%2) {
				t.Errorf("key %d was put %d times", i, v)
			}
		}
	}
}

// During an outage the error of a queued call says that it was queued, that it was
// not sent, and why.
func TestCoalescedOutage(t *testing.T) {
	t.Parallel()
	proxy := etcdtest.StartProxy(t, testbed.Shared.Endpoints()[0])
	told := new(attempts)
	c := connect(t, etcd.Config{
		Endpoints: []string{proxy.Endpoint()}, Coalesce: etcd.CoalesceAll, RetrySleep: time.Minute,
		Hooks: etcd.Hooks{Attempt: told.attempt},
	})
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := proxy.Close(); err != nil {
		t.Fatal(err)
	}
	p := ownKeys(t)
	ctx, patient := within(t, 2*time.Second), within(t, time.Minute)
	var calls []<-chan error
	for i := range 300 {
		async(putting(patient, c, p)) // another caller of its request does not end it
		calls = append(calls, async(func() error {
			_, err := c.Put(ctx, etcd.PutRequest{Key: fmt.Sprint(p, i)})
			return err
		}))
	}
	<-ctx.Done()
	ended := time.Now()
	for i, done := range calls {
		err := await(t, done)
		wants(t, err, context.DeadlineExceeded, etcd.OutcomeNotSent)
		if !errors.Is(err, etcd.ErrUnavailable) || !strings.Contains(err.Error(), "connection refused") || etcd.MaybeApplied(err) {
			t.Fatalf("put %d: %v", i, err)
		}
	}
	if took := time.Since(ended); took > promptly {
		t.Errorf("they returned %v after their context", took)
	}
}
