package idempotent

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/idempotent"
)

// crowded is a Writer whose requests are held back while two of its writes are under way, so
// that further ones share one.
func crowded(t *testing.T, config idempotent.Config) (w *idempotent.Writer, plain *etcd.Client, heal func()) {
	t.Helper()
	proxy, err := etcdtest.NewProxy(testbed.Shared.Endpoints()[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	c := testbed.Connect(t, etcd.Config{Endpoints: []string{proxy.Endpoint()}, RetrySleep: time.Millisecond})
	w, _ = open(t, c, config)
	proxy.Set(etcdtest.BothWays, etcdtest.Fault{Stall: true})
	key := testbed.OwnName(t)
	var fillers []<-chan testbed.Result[*idempotent.Result]
	for i := range 2 {
		fillers = append(fillers, testbed.Async(func() (*idempotent.Result, error) {
			return w.Txn(testbed.Within(t, testbed.Patience), putOf(fmt.Sprint(key, ".filler", i)))
		}))
	}
	return w, testbed.Connect(t, etcd.Config{}), func() {
		proxy.Heal()
		for _, f := range fillers {
			if o := <-f; o.Err != nil {
				t.Error(o.Err)
			}
		}
	}
}

// Concurrent writes share Txns, unless Config.Alone is set. Each caller has the answers to
// its own operations, and one that is refused does not harm the others.
func TestShared(t *testing.T) {
	t.Parallel()
	for _, alone := range []bool{false, true} {
		t.Run(fmt.Sprint("alone=", alone), func(t *testing.T) {
			t.Parallel()
			const callers = 64
			w, c, heal := crowded(t, idempotent.Config{Lanes: 80, Alone: alone})
			key := testbed.OwnName(t)
			name := func(i int) string { return fmt.Sprintf("%s/%02d", key, i) }
			var writing []<-chan testbed.Result[*idempotent.Result]
			for i := range callers {
				put := etcd.PutRequest{Key: name(i), Value: []byte(name(i))}
				if i == callers-1 {
					put.Lease = 1 // which nobody has
				}
				writing = append(writing, testbed.Async(func() (*idempotent.Result, error) {
					return w.Txn(testbed.Within(t, testbed.Patience), etcd.TxnRequest{Then: []etcd.Op{put, etcd.DeleteRequest{Key: name(i) + ".gone"}}})
				}))
			}
			heal()
			revisions := make(map[int64]bool)
			for i, o := range writing {
				o := <-o
				if i == callers-1 {
					if !errors.Is(o.Err, etcd.ErrLeaseNotFound) || etcd.MaybeApplied(o.Err) {
						t.Errorf("without a lease: %v", o.Err)
					}
					continue
				}
				if o.Err != nil {
					t.Fatal(o.Err)
				}
				kv := testbed.Get(t, c, name(i))
				if kv.Version != 1 || kv.ModRevision != o.Value.Revision || string(kv.Value) != name(i) || !o.Value.Succeeded {
					t.Errorf("%+v, stored %+v", o.Value, kv)
				}
				if r := o.Value.Response; !o.Value.Recovered && (len(r.Responses) != 2 || r.Responses[0].Put == nil || r.Responses[1].Delete == nil) {
					t.Errorf("the response is %+v", r)
				}
				revisions[o.Value.Revision] = true
			}
			if n := len(revisions); alone != (n == callers-1) {
				t.Errorf("they were applied at %d revisions", n)
			}
		})
	}
}

// A caller who leaves a shared write has either not sent it, or finds out later what became of
// it. The others do not notice.
func TestSharedLeft(t *testing.T) {
	t.Parallel()
	for name, staying := range map[string]int{"some": 4, "all": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const callers = 12
			w, c, heal := crowded(t, idempotent.Config{})
			key := testbed.OwnName(t)
			left := errors.New("the caller has left")
			ctx, leave := context.WithCancelCause(testbed.Within(t, testbed.Patience))
			var writing []<-chan testbed.Result[*idempotent.Result]
			for i := range callers {
				of := ctx
				if i < staying {
					of = testbed.Within(t, testbed.Patience)
				}
				value := []byte("v")
				writing = append(writing, testbed.Async(func() (*idempotent.Result, error) {
					result, err := w.Txn(of, etcd.TxnRequest{Then: []etcd.Op{etcd.PutRequest{Key: fmt.Sprint(key, i), Value: value}}})
					value[0] = 'x' // it is the caller's again
					return result, err
				}))
			}
			time.AfterFunc(30*time.Millisecond, func() { leave(left) }) // before and after they are sent
			outcomes := make([]testbed.Result[*idempotent.Result], callers)
			for i := staying; i < callers; i++ {
				outcomes[i] = <-writing[i]
			}
			heal()
			for i := range staying {
				outcomes[i] = <-writing[i]
			}
			for i, o := range outcomes {
				if i >= staying && (!errors.Is(o.Err, left) || o.Value != nil) {
					t.Errorf("%+v, %v", o.Value, o.Err)
				}
				result, err := o.Value, o.Err
				if etcd.MaybeApplied(err) {
					result, err = w.Resolve(testbed.Within(t, testbed.Patience), err)
				}
				kv := testbed.Get(t, c, fmt.Sprint(key, i))
				switch {
				case err == nil && (kv.Version != 1 || kv.ModRevision != result.Revision || string(kv.Value) != "v"):
					t.Errorf("%+v, stored %+v", result, kv)
				case err != nil && (kv.Version != 0 || i < staying):
					t.Errorf("%v, stored %+v", err, kv)
				}
			}
		})
	}
}
