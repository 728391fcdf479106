package client

import (
	"fmt"
	"sync"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// Close ends queued calls, which were not sent, and calls that share a request in
// flight, whose outcome is unknown.
func TestCoalescedClose(t *testing.T) {
	t.Parallel()
	direct := connect(t, etcd.Config{})
	for w := range crowds(t, testbed.Shared, etcd.Config{Coalesce: etcd.CoalesceAll}) {
		p := ownKeys(t)
		w.hold(etcdtest.ToClient, putting(t.Context(), w.Client, p))
		var sent, waiting []<-chan error
		for i := range 8 {
			sent = append(sent, w.queue((&putter{req: etcd.PutRequest{Key: fmt.Sprint(p, i)}}).call(t.Context(), w.Client)))
		}
		if !w.together() {
			continue
		}
		w.sent()
		// The hook of an attempt runs before its bytes leave.
		eventually(t, "the puts to be applied", func() bool { return stored(t, direct, p+"0").Version == 1 })
		w.hold(etcdtest.ToClient, deleting(t.Context(), w.Client, p))
		for i := range 8 {
			waiting = append(waiting, w.queue((&deleter{req: etcd.DeleteRequest{Key: fmt.Sprint(p, i)}}).call(t.Context(), w.Client)))
		}
		if !w.together() {
			continue
		}
		closed := async(w.Close)
		for _, done := range sent {
			if e := wants(t, await(t, done), etcd.ErrClosed, etcd.OutcomeUnknown); e != nil && (e.Op != "Put" || !etcd.MaybeApplied(e)) {
				t.Errorf("error %+v", e)
			}
		}
		for _, done := range waiting {
			if e := wants(t, await(t, done), etcd.ErrClosed, etcd.OutcomeNotSent); e != nil && (e.Op != "Delete" || etcd.MaybeApplied(e)) {
				t.Errorf("error %+v", e)
			}
		}
		succeed(t, closed)
		if n := w.Stats().CallsWaiting; n != 0 {
			t.Errorf("%d calls wait for a client that is closed", n)
		}
	}
}

// Close under full load: each call ends, and the client leaves nothing behind,
// which TestMain checks.
func TestCoalescedCloseUnderLoad(t *testing.T) {
	t.Parallel()
	for range 10 {
		c := connect(t, etcd.Config{Coalesce: etcd.CoalesceAll})
		p := ownKeys(t)
		var callers sync.WaitGroup
		for caller := range 100 {
			callers.Go(func() {
				for err := error(nil); err == nil; {
					switch caller % 3 {
					case 0:
						_, err = c.Get(t.Context(), etcd.GetRequest{Key: p})
					case 1:
						_, err = c.Put(t.Context(), etcd.PutRequest{Key: fmt.Sprint(p, caller%10)})
					case 2:
						_, err = c.Delete(t.Context(), etcd.DeleteRequest{Key: fmt.Sprint(p, caller%10)})
					}
					if err != nil {
						wants(t, err, etcd.ErrClosed, outcomeOf(err))
					}
				}
			})
		}
		eventually(t, "requests to be shared", func() bool { return c.Stats().Batches > 20 })
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		callers.Wait()
		if n := c.Stats().CallsWaiting; n != 0 {
			t.Errorf("%d calls wait for a client that is closed", n)
		}
	}
}
