package client

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// Once a value is known to be large it is read alone: no small one waits for it,
// and it waits for none.
func TestCoalescedLargeValues(t *testing.T) {
	t.Parallel()
	direct := connect(t, etcd.Config{})
	p := ownKeys(t)
	put(t, direct, p+"large", string(make([]byte, 512<<10)))
	for w := range crowds(t, testbed.Shared, etcd.Config{}) {
		for range 2 {
			get(t, w.Client, etcd.GetRequest{Key: p + "large"})
		}
		for range 32 { // small values are the usual case
			get(t, w.Client, etcd.GetRequest{Key: p})
		}
		w.told.forget()
		w.hold(etcdtest.ToServer, reading(t, w.Client, p))
		small := w.queue(reading(t, w.Client, p+"small"))
		if !w.together() {
			continue
		}
		before := w.told.count()
		large := async(reading(t, w.Client, p+"large"))
		w.until("the large value to be asked for", func() bool { return w.told.count() > before })
		if a := w.told.since(before); a[0].Calls != 1 {
			t.Errorf("it was asked for with %d others", a[0].Calls-1)
		}
		w.release()
		succeed(t, append(w.fillers, small, large)...)
	}
}

// How many calls share a request depends on the size of the answers.
func TestCoalescedSizesAdapt(t *testing.T) {
	t.Parallel()
	const keys, size = 60, 16 << 10
	direct := connect(t, etcd.Config{})
	p := ownKeys(t)
	for i := range keys {
		put(t, direct, fmt.Sprint(p, i), string(make([]byte, size)))
	}
	for w := range crowds(t, testbed.Shared, etcd.Config{}) {
		for i := range keys { // learn
			get(t, w.Client, etcd.GetRequest{Key: fmt.Sprint(p, i)})
		}
		w.told.forget()
		w.hold(etcdtest.ToServer, reading(t, w.Client, p+"0"))
		var gets []<-chan error
		for i := range keys {
			gets = append(gets, w.queue(reading(t, w.Client, fmt.Sprint(p, i))))
		}
		if !w.together() {
			continue
		}
		w.release()
		succeed(t, append(w.fillers, gets...)...)
		const most = 512 << 10 // bytes of an answer
		if a := w.told.find(func(a *attempt) bool { return a.Calls*size > most }); a != nil {
			t.Errorf("%d values of %d bytes came together", a.Calls, size)
		}
		if a := w.told.find(func(a *attempt) bool { return a.Calls > 4 }); a == nil {
			t.Error("no request was shared")
		}
	}
}

// A caller that keeps a small value does not keep the rest of the shared answer in
// memory. The largest part of the answer is not copied, and stands for all of it
// here.
func TestCoalescedValueKeepsNoOther(t *testing.T) {
	t.Parallel()
	direct := connect(t, etcd.Config{})
	p := ownKeys(t)
	put(t, direct, p+"small", "small")
	put(t, direct, p+"larger", string(bytes.Repeat([]byte("v"), 16<<10)))
	for w := range crowds(t, testbed.Shared, etcd.Config{}) {
		w.hold(etcdtest.ToServer, reading(t, w.Client, p))
		small := getter{req: etcd.GetRequest{Key: p + "small"}}
		larger := getter{req: etcd.GetRequest{Key: p + "larger"}}
		small.done = w.queue(small.call(t, w.Client))
		larger.done = w.queue(larger.call(t, w.Client))
		if !w.together() {
			continue
		}
		w.release()
		succeed(t, append(w.fillers, small.done, larger.done)...)
		var gone atomic.Bool
		runtime.AddCleanup(&larger.resp.KVs[0].Value[0], func(int) { gone.Store(true) }, 0)
		larger.resp = nil
		eventually(t, "the larger value to be gone", func() bool { runtime.GC(); return gone.Load() })
		if kv, _ := small.resp.First(); string(kv.Value) != "small" {
			t.Errorf("the small value is %q", kv.Value)
		}
	}
}

// If the server's limits are lower than usual, they cost a few refusals.
func TestCoalescedServerLimits(t *testing.T) {
	t.Parallel()
	const callers, rounds, maxOps, maxBytes = 100, 5, 16, 16 << 10
	s := etcdtest.StartProcess(t, etcdtest.Config{MaxTxnOps: maxOps, MaxRequestBytes: maxBytes, Heartbeat: 10 * time.Millisecond})
	for name, test := range map[string]struct {
		sentinel error
		call     func(c *etcd.Client, key string) error
		most     int // calls of a request
	}{
		"operations of a read": {etcd.ErrTooManyOps, func(c *etcd.Client, key string) error {
			_, err := c.Get(t.Context(), etcd.GetRequest{Key: key})
			return err
		}, maxOps},
		"operations of a write": {etcd.ErrTooManyOps, func(c *etcd.Client, key string) error {
			_, err := c.Put(t.Context(), etcd.PutRequest{Key: key})
			return err
		}, maxOps},
		"bytes": {etcd.ErrRequestTooLarge, func(c *etcd.Client, key string) error {
			_, err := c.Put(t.Context(), etcd.PutRequest{Key: key, Value: make([]byte, 2000)})
			return err
		}, maxBytes / 2000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newCrowd(t, s, etcd.Config{Coalesce: etcd.CoalesceAll})
			p := ownKeys(t)
			for round := range rounds {
				before := w.made()
				w.hold(etcdtest.ToServer, func() error { return test.call(w.Client, fmt.Sprint(p, "filler", runs.Add(1))) })
				var all sync.WaitGroup
				for i := range callers {
					all.Go(func() {
						if err := test.call(w.Client, fmt.Sprint(p, i)); err != nil {
							t.Errorf("round %d: %v", round, err)
						}
					})
				}
				w.until("all to wait, or to be sent together", func() bool { return w.made() >= before+len(w.fillers)+callers })
				w.release()
				all.Wait()
				succeed(t, w.fillers...)
			}
			refused, largest := 0, 0
			for _, a := range w.told.since(0) {
				switch {
				case a.Err == nil:
					largest = max(largest, a.Calls)
				case errors.Is(a.Err, test.sentinel):
					refused++
				case !errors.Is(a.Err, etcd.ErrTooManyOps): // which comes before "too large"
					t.Errorf("attempt of %d calls: %v", a.Calls, a.Err)
				}
			}
			if refused == 0 || refused > 8 || largest < 2 || largest > test.most {
				t.Errorf("%d requests were refused, the largest one that was not had %d calls", refused, largest)
			}
			if v := stored(t, w.Client, p+"0").Version; v != 0 && v != rounds {
				t.Errorf("%d rounds have left version %d", rounds, v)
			}
		})
	}
}
