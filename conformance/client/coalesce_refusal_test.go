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

// badWrite is an operation that the server refuses.
type badWrite struct {
	name     string
	req      etcd.PutRequest
	sentinel error
}

const badLimit = 16 << 10 // bytes of a request

var badWrites = []badWrite{
	{"missing lease", etcd.PutRequest{Lease: 0x7eadbeef}, etcd.ErrLeaseNotFound},
	{"permission denied", etcd.PutRequest{Key: "theirs"}, etcd.ErrPermissionDenied},
	{"value of a missing key", etcd.PutRequest{IgnoreValue: true}, etcd.ErrKeyNotFound},
	{"lease of a missing key", etcd.PutRequest{IgnoreLease: true}, etcd.ErrKeyNotFound},
	{"too large", etcd.PutRequest{Value: make([]byte, badLimit)}, etcd.ErrRequestTooLarge},
}

// alices returns a client's configuration for a user that may only use keys that
// begin with alice/.
func alices(t *testing.T, s *etcdtest.Server, config etcd.Config) etcd.Config {
	t.Helper()
	addUser(t, authOn(t, s), "alice", "pass", "alice/")
	config.Username, config.Password = "alice", "pass"
	return config
}

// The server refuses one put among many: it gets its own error, and all others are
// applied once. After that its key shares no request, and the others do.
func TestCoalescedBadPut(t *testing.T) {
	t.Parallel()
	s := etcdtest.StartProcess(t, etcdtest.Config{MaxRequestBytes: badLimit, Heartbeat: 10 * time.Millisecond})
	config := alices(t, s, etcd.Config{Coalesce: etcd.CoalesceAll})
	for _, bad := range badWrites {
		t.Run(bad.name, func(t *testing.T) {
			t.Parallel()
			for w := range crowds(t, s, config) {
				checkBadPut(t, w, bad)
			}
		})
	}
}

func checkBadPut(t *testing.T, w *crowd, bad badWrite) {
	const rounds, others = 2, 12
	p := "alice/" + ownKeys(t)
	if bad.req.Key == "" {
		bad.req.Key = p + "bad"
	}
	for round := range rounds {
		before := w.told.count()
		w.hold(etcdtest.ToServer, putting(t.Context(), w.Client, p))
		puts := make([]putter, others)
		for i := range puts {
			puts[i].req.Key = fmt.Sprint(p, i)
			if i == others/2 {
				puts[i].req = bad.req
			}
			puts[i].done = w.queue(puts[i].call(t.Context(), w.Client))
		}
		if !w.together() {
			return
		}
		w.release()
		for i := range puts {
			if i != others/2 {
				succeed(t, puts[i].done)
				continue
			}
			err := await(t, puts[i].done)
			e := wants(t, err, bad.sentinel, etcd.OutcomeRejected)
			if e != nil && (e.Op != "Put" || etcd.MaybeApplied(err) || e.Attempts != 1 || e.Endpoint != w.proxy.Endpoint()) {
				t.Errorf("error %+v", e)
			}
		}
		succeed(t, w.fillers...)
		for i := range puts {
			if v := stored(t, w.Client, fmt.Sprint(p, i)).Version; i != others/2 && v != int64(round+1) {
				t.Errorf("%s is at version %d after %d rounds", puts[i].req.Key, v, round+1)
			}
		}
		refused, shared := 0, 0
		for _, a := range w.told.since(before) {
			refused += int(count(a.Err != nil && a.Calls > 1))
			shared += int(count(a.Err == nil && a.Calls > 1))
		}
		if first := count(round == 0); int64(refused) != first || int64(shared) < 1-first {
			t.Errorf("round %d: %d requests that were shared were refused, %d were not", round, refused, shared)
		}
	}
}

// The same for reads and deletes, which the server refuses only for lack of
// permission.
func TestCoalescedPermissionDenied(t *testing.T) {
	t.Parallel()
	s := etcdtest.StartProcess(t, etcdtest.Config{Heartbeat: 10 * time.Millisecond})
	config := alices(t, s, etcd.Config{Coalesce: etcd.CoalesceAll})
	calls := map[string]func(c *etcd.Client, key string) error{
		"Get": func(c *etcd.Client, key string) error {
			_, err := c.Get(t.Context(), etcd.GetRequest{Key: key})
			return err
		},
		"Delete": func(c *etcd.Client, key string) error {
			_, err := c.Delete(t.Context(), etcd.DeleteRequest{Key: key})
			return err
		},
	}
	for op, call := range calls {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			for w := range crowds(t, s, config) {
				p := "alice/" + ownKeys(t)
				w.hold(etcdtest.ToServer, func() error { return call(w.Client, fmt.Sprint(p, runs.Add(1))) })
				bad := w.queue(func() error { return call(w.Client, "theirs") })
				var good []<-chan error
				for i := range 10 {
					good = append(good, w.queue(func() error { return call(w.Client, fmt.Sprint(p, i)) }))
				}
				if !w.together() {
					continue
				}
				w.release()
				e := wants(t, await(t, bad), etcd.ErrPermissionDenied, etcd.OutcomeRejected)
				if e != nil && e.Op != op {
					t.Errorf("error %+v", e)
				}
				succeed(t, append(w.fillers, good...)...)
			}
		})
	}
}

// Clients whose operations keep being refused still share requests again, and
// clients without mistakes notice nothing.
func TestCoalescingComesBack(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{Coalesce: etcd.CoalesceAll})
	p := ownKeys(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var callers sync.WaitGroup
	for caller := range 64 {
		callers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				req := etcd.PutRequest{Key: fmt.Sprint(p, caller, "/", n)}
				if caller == 0 && n < 20 {
					req.Lease = 0x7eadbeef
				}
				_, err := c.Put(t.Context(), req)
				if req.Lease != 0 && !errors.Is(err, etcd.ErrLeaseNotFound) || req.Lease == 0 && err != nil {
					t.Errorf("put of %s: %v", req.Key, err)
				}
				if n == 20 && caller == 0 { // no longer
					before := c.Stats().Batches
					eventually(t, "requests to be shared again", func() bool { return c.Stats().Batches > before+10 })
					stop()
				}
			}
		})
	}
	callers.Wait()
}
