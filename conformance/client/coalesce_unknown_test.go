package client

import (
	"fmt"
	"strings"
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
				puts := cutPuts(t, w, stalled)
				for i := range puts {
					err := await(t, puts[i].done)
					e := wants(t, err, etcd.ErrUnavailable, etcd.OutcomeUnknown)
					if e != nil && (!etcd.MaybeApplied(err) || e.Op != "Put" || e.Attempts != 1 || e.Endpoint != w.proxy.Endpoint()) {
						t.Errorf("error %+v", e)
					}
				}
				checkVersions(t, w, puts, applied, applied)
			}
		})
		t.Run("Put at least once "+name, func(t *testing.T) {
			t.Parallel()
			for w := range crowds(t, testbed.Shared, etcd.Config{Coalesce: etcd.CoalesceAll, RetrySleep: time.Millisecond, RetryWrites: etcd.AtLeastOnce}) {
				puts := cutPuts(t, w, stalled)
				succeed(t, w.fillers...)
				for i := range puts {
					succeed(t, puts[i].done)
				}
				checkVersions(t, w, puts, 1, 1+applied)
			}
		})
		t.Run("Delete "+name, func(t *testing.T) {
			t.Parallel()
			for w := range crowds(t, testbed.Shared, etcd.Config{Coalesce: etcd.CoalesceAll, RetrySleep: time.Millisecond}) {
				p := ownKeys(t)
				w.hold(stalled, deleting(t.Context(), w.Client, p))
				deletes := make([]deleter, queuedCalls)
				for i, key := range longKeys(p) {
					deletes[i].req.Key = key
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
				for _, key := range longKeys(p) {
					gets = append(gets, w.queue(reading(t, w.Client, key)))
				}
				if !w.cut(nil) {
					continue
				}
				succeed(t, append(w.fillers, gets...)...)
			}
		})
	}
}

const (
	queuedCalls = 8
	// longKey is the least length of a queued call's key. The proxy has carried their shared
	// request when it has carried so much of each; what else the client sends, an earlier call or a
	// PING, is far shorter.
	longKey = 1 << 10
)

// longKeys are the keys of the queued calls.
func longKeys(prefix string) (keys []string) {
	for i := range queuedCalls {
		keys = append(keys, fmt.Sprint(prefix, strings.Repeat("k", longKey), i))
	}
	return keys
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
	w.until("the request to leave", func() bool { return w.proxy.Carried(etcdtest.ToServer) >= before+queuedCalls*longKey })
	if reached != nil {
		eventually(w.t, "the request to be applied", reached)
	}
	w.proxy.Reset()
	w.release()
	return true
}

// cutPuts makes puts that share a request, and cuts their connection.
func cutPuts(t *testing.T, w *crowd, stalled etcdtest.Way) []putter {
	t.Helper()
	p, direct := ownKeys(t), connect(t, etcd.Config{})
	w.hold(stalled, putting(t.Context(), w.Client, p))
	puts := make([]putter, queuedCalls)
	for i, key := range longKeys(p) {
		puts[i].req.Key = key
		puts[i].done = w.queue(puts[i].call(t.Context(), w.Client))
	}
	reached := func() bool { return stored(t, direct, puts[0].req.Key).Version == 1 }
	if stalled == etcdtest.ToServer {
		reached = nil
	}
	if !w.cut(reached) {
		return nil
	}
	return puts
}

// checkVersions checks how often the keys of puts were put.
func checkVersions(t *testing.T, w *crowd, puts []putter, low, high int64) {
	t.Helper()
	for i := range puts {
		if v := stored(t, w.Client, puts[i].req.Key).Version; v < low || v > high {
			t.Errorf("key %d was put %d times, want %d to %d", i, v, low, high)
		}
	}
}
