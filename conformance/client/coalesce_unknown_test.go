package client

import (
	"fmt"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// The connection ends while calls that share a request are in flight: the outcome
// of the request is unknown, and so is that of each call. The request is sent again
// only if AtLeastOnce allows it or it does no harm.
func TestCoalescedUnknown(t *testing.T) {
	t.Parallel()
	for name, stalled := range map[string]etcdtest.Way{"before the server": etcdtest.ToServer, "behind the server": etcdtest.ToClient} {
		applied := count(stalled == etcdtest.ToClient)
		t.Run("Put "+name, func(t *testing.T) {
			t.Parallel()
			for w := range crowds(t, testbed.Shared, etcd.Config{Coalesce: etcd.CoalesceAll, RetrySleep: time.Millisecond}) {
				p, puts := cutPuts(t, w, stalled)
				for i := range puts {
					err := await(t, puts[i].done)
					e := wants(t, err, etcd.ErrUnavailable, etcd.OutcomeUnknown)
					if e != nil && (!etcd.MaybeApplied(err) || e.Op != "Put" || e.Attempts != 1 || e.Endpoint != w.proxy.Endpoint()) {
						t.Errorf("error %+v", e)
					}
				}
				checkVersions(t, w, p, len(puts), applied, applied)
			}
		})
		t.Run("Put at least once "+name, func(t *testing.T) {
			t.Parallel()
			for w := range crowds(t, testbed.Shared, etcd.Config{Coalesce: etcd.CoalesceAll, RetrySleep: time.Millisecond, RetryWrites: etcd.AtLeastOnce}) {
				p, puts := cutPuts(t, w, stalled)
				succeed(t, w.fillers...)
				for i := range puts {
					succeed(t, puts[i].done)
				}
				checkVersions(t, w, p, len(puts), 1, 1+applied)
			}
		})
		t.Run("Delete "+name, func(t *testing.T) {
			t.Parallel()
			for w := range crowds(t, testbed.Shared, etcd.Config{Coalesce: etcd.CoalesceAll, RetrySleep: time.Millisecond}) {
				p := ownKeys(t)
				w.hold(stalled, deleting(t.Context(), w.Client, p))
				deletes := make([]deleter, 8)
				for i := range deletes {
					deletes[i].req.Key = fmt.Sprint(p, i)
					deletes[i].done = w.queue(deletes[i].call(t.Context(), w.Client))
				}
				if !w.cut(nil) {
					continue
				}
				for i := range deletes {
					if err := await(t, deletes[i].done); !etcd.MaybeApplied(err) {
						t.Errorf("error %v", err)
					}
				}
			}
		})
		t.Run("Get "+name, func(t *testing.T) {
			t.Parallel()
			for w := range crowds(t, testbed.Shared, etcd.Config{RetrySleep: time.Millisecond}) {
				p := ownKeys(t)
				w.hold(stalled, reading(t, w.Client, p))
				var gets []<-chan error
				for i := range 8 {
					gets = append(gets, w.queue(reading(t, w.Client, fmt.Sprint(p, i))))
				}
				if !w.cut(nil) {
					continue
				}
				succeed(t, append(w.fillers, gets...)...)
			}
		})
	}
}

// cut ends the connection when the calls that share are in flight and, if given,
// reached holds. It reports whether the calls shared a request.
func (w *crowd) cut(reached func() bool) bool {
	w.t.Helper()
	before := w.proxy.Carried(etcdtest.ToServer)
	if !w.together() {
		return false
	}
	w.sent()
	w.until("the request to leave", func() bool { return w.proxy.Carried(etcdtest.ToServer) > before })
	if reached != nil {
		eventually(w.t, "the request to be applied", reached)
	}
	w.proxy.Reset()
	w.release()
	return true
}

// cutPuts makes puts that share a request, and cuts their connection.
func cutPuts(t *testing.T, w *crowd, stalled etcdtest.Way) (prefix string, puts []putter) {
	t.Helper()
	p, direct := ownKeys(t), connect(t, etcd.Config{})
	w.hold(stalled, putting(t.Context(), w.Client, p))
	puts = make([]putter, 8)
	for i := range puts {
		puts[i].req.Key = fmt.Sprint(p, i)
		puts[i].done = w.queue(puts[i].call(t.Context(), w.Client))
	}
	reached := func() bool { return stored(t, direct, p+"0").Version == 1 }
	if stalled == etcdtest.ToServer {
		reached = nil
	}
	if !w.cut(reached) {
		return p, nil
	}
	return p, puts
}

// checkVersions checks how often the keys of prefix were put.
func checkVersions(t *testing.T, w *crowd, prefix string, n int, low, high int64) {
	t.Helper()
	for i := range n {
		if v := stored(t, w.Client, fmt.Sprint(prefix, i)).Version; v < low || v > high {
			t.Errorf("key %d was put %d times, want %d to %d", i, v, low, high)
		}
	}
}
