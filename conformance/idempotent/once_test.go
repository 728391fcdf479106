package idempotent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/onefault"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/idempotent"
)

// Of all writes with one ID, by many writers at once and by later ones, one is applied, and
// all callers learn which.
func TestOnce(t *testing.T) {
	t.Parallel()
	c := testbed.Connect(t, etcd.Config{})
	name := testbed.OwnName(t)
	config := idempotent.Config{Name: name + "/w", Lanes: 1}
	var (
		mu      sync.Mutex
		results []*idempotent.Result
		calls   sync.WaitGroup
	)
	once := func() {
		w, _ := open(t, c, config)
		for range 4 {
			calls.Go(func() {
				result, err := w.Once(testbed.Within(t, testbed.Patience), "id", putOf(name))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				results = append(results, result)
			})
		}
	}
	for range 4 {
		once()
	}
	calls.Wait()
	once() // later
	calls.Wait()
	kv := testbed.Get(t, c, name)
	fresh := 0
	for _, r := range results {
		if !r.Recovered {
			fresh++
		}
		if !r.Succeeded || r.Revision != kv.ModRevision || r.Recovered != (r.Response == nil) {
			t.Errorf("%+v, stored %+v", r, kv)
		}
	}
	if kv.Version != 1 || fresh != 1 || len(results) != 20 {
		t.Errorf("%d results, %d of them not recovered; stored %+v", len(results), fresh, kv)
	}
}

// Else counts as well: it is final for the ID.
func TestOnceElse(t *testing.T) {
	t.Parallel()
	c := testbed.Connect(t, etcd.Config{})
	name := testbed.OwnName(t)
	w, _ := open(t, c, idempotent.Config{Name: name + "/w", Lanes: 1})
	put := []etcd.Op{etcd.PutRequest{Key: name}}
	for i, ifs := range [][]etcd.Compare{{etcd.Exists(name)}, {etcd.Missing(name)}} {
		result, err := w.Once(testbed.Within(t, testbed.Patience), "id", etcd.TxnRequest{If: ifs, Then: put})
		if err != nil || result.Succeeded || result.Recovered != (i == 1) {
			t.Errorf("%+v, %v", result, err)
		}
	}
	if kv := testbed.Get(t, c, name); kv.Version != 0 {
		t.Errorf("stored %+v", kv)
	}
}

// Whatever becomes of a request, its write is applied once, also when a second call is
// answered before the first copy arrives.
func TestOnceFaults(t *testing.T) {
	t.Parallel()
	for fault, kind := range onefault.Kinds {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			c, f := testbed.Faulty(t, etcd.Config{})
			name := testbed.OwnName(t)
			w, _ := open(t, c, idempotent.Config{Name: name + "/w", Lanes: 1})
			hit := f.Arm(kind, name+"/key")
			result, err := w.Once(testbed.Within(t, testbed.Patience), "id", putOf(name+"/key"))
			if err != nil {
				t.Fatal(err)
			}
			<-hit
			if kind == onefault.Late {
				f.Deliver(t)
			}
			again, err := w.Once(testbed.Within(t, testbed.Patience), "id", putOf(name+"/key"))
			if err != nil || again.Revision != result.Revision || !again.Recovered {
				t.Errorf("%+v, then %+v, %v", result, again, err)
			}
			if kv := testbed.Get(t, c, name+"/key"); kv.Version != 1 || kv.ModRevision != result.Revision {
				t.Errorf("%+v, stored %+v", result, kv)
			}
		})
	}
}

// An attempt that is given up can be resolved, and made again; its late copy has no effect.
func TestOnceGivenUp(t *testing.T) {
	t.Parallel()
	for _, resolve := range []bool{false, true} {
		t.Run(fmt.Sprint("resolve ", resolve), func(t *testing.T) {
			t.Parallel()
			c, f := testbed.Faulty(t, etcd.Config{})
			plain := testbed.Connect(t, etcd.Config{})
			name := testbed.OwnName(t)
			w, _ := open(t, c, idempotent.Config{Name: name + "/w", Lanes: 1})
			hit := f.Arm(onefault.Stall, name+"/key")
			ctx, cancel := context.WithCancel(testbed.Within(t, testbed.Patience))
			writing := testbed.Async(func() (*idempotent.Result, error) { return w.Once(ctx, "id", putOf(name+"/key")) })
			<-hit
			cancel()
			o := <-writing
			if !etcd.MaybeApplied(o.Err) || !errors.Is(o.Err, context.Canceled) {
				t.Fatal(o.Err)
			}
			f.Sever()
			if resolve {
				if result, err := w.Resolve(testbed.Within(t, testbed.Patience), o.Err); !errors.Is(err, idempotent.ErrNotApplied) {
					t.Errorf("%+v, %v", result, err)
				}
				f.Deliver(t)
				if kv := testbed.Get(t, plain, name+"/key"); kv.Version != 0 {
					t.Errorf("a late copy was applied: %+v", kv)
				}
			}
			result, err := w.Once(testbed.Within(t, testbed.Patience), "id", putOf(name+"/key"))
			if err != nil || result.Recovered {
				t.Errorf("%+v, %v", result, err)
			}
			if !resolve {
				f.Deliver(t)
				if found, err := w.Resolve(testbed.Within(t, testbed.Patience), o.Err); err != nil || found.Revision != result.Revision {
					t.Errorf("Resolve: %+v, %v", found, err)
				}
			}
			if kv := testbed.Get(t, plain, name+"/key"); kv.Version != 1 || kv.ModRevision != result.Revision {
				t.Errorf("%+v, stored %+v", result, kv)
			}
		})
	}
}

// Markers share leases, 256 each, that outlive the writer and end by themselves.
func TestMarkers(t *testing.T) {
	t.Parallel()
	c := testbed.Connect(t, etcd.Config{})
	name := testbed.OwnName(t)
	w, co := open(t, c, idempotent.Config{Name: name, Keep: time.Minute})
	var calls sync.WaitGroup
	for i := range 600 {
		calls.Go(func() {
			if result, err := w.Once(testbed.Within(t, testbed.Patience), fmt.Sprint(i), etcd.TxnRequest{}); err != nil || result.Recovered {
				t.Errorf("%+v, %v", result, err)
			}
		})
	}
	calls.Wait()
	if err := errors.Join(w.Close(testbed.Within(t, testbed.Patience)), co.Close(testbed.Within(t, testbed.Patience))); err != nil {
		t.Error(err)
	}
	resp, err := c.Get(testbed.Within(t, testbed.Patience), etcd.GetRequest{Key: name, Prefix: true})
	if err != nil {
		t.Fatal(err)
	}
	on := make(map[etcd.LeaseID]int)
	for _, kv := range resp.KVs {
		on[kv.Lease]++
	}
	if len(resp.KVs) != 600 || len(on) != 3 {
		t.Errorf("%d markers, leases %v", len(resp.KVs), on)
	}
	for lease, markers := range on {
		ttl, err := c.TTL(testbed.Within(t, testbed.Patience), etcd.TTLRequest{ID: lease})
		if markers > 256 || err != nil || ttl.TTL < 58*time.Second || ttl.TTL > 80*time.Second {
			t.Errorf("lease %v with %d markers: %+v, %v", lease, markers, ttl, err)
		}
	}
}

// A lease of markers that somebody has revoked is replaced; a lease of the caller's that does
// not exist is the caller's error.
func TestMarkerLeaseLost(t *testing.T) {
	t.Parallel()
	c := testbed.Connect(t, etcd.Config{})
	name := testbed.OwnName(t)
	w, _ := open(t, c, idempotent.Config{Name: name + "/w"})
	if _, err := w.Once(testbed.Within(t, testbed.Patience), "a", putOf(name)); err != nil {
		t.Fatal(err)
	}
	marker := testbed.Get(t, c, name+"/w/ids/a")
	if _, err := c.Revoke(testbed.Within(t, testbed.Patience), etcd.RevokeRequest{ID: marker.Lease}); err != nil {
		t.Fatal(err)
	}
	if result, err := w.Once(testbed.Within(t, testbed.Patience), "b", putOf(name)); err != nil || result.Recovered {
		t.Errorf("%+v, %v", result, err)
	}
	_, err := w.Once(testbed.Within(t, testbed.Patience), "c", etcd.TxnRequest{Then: []etcd.Op{etcd.PutRequest{Key: name, Lease: 12345}}})
	if !errors.Is(err, etcd.ErrLeaseNotFound) || etcd.MaybeApplied(err) {
		t.Error(err)
	}
}

// A ticket's attempts all put with its lease: once that has ended, none is applied.
func TestTicket(t *testing.T) {
	t.Parallel()
	c, f := testbed.Faulty(t, etcd.Config{})
	plain := testbed.Connect(t, etcd.Config{})
	name := testbed.OwnName(t)
	config := idempotent.Config{Name: name + "/w", Lanes: 1}
	w, _ := open(t, c, config)
	ticket, err := w.Ticket(testbed.Within(t, testbed.Patience), "id")
	if err != nil {
		t.Fatal(err)
	}
	hit := f.Arm(onefault.Stall, name+"/key")
	ctx, cancel := context.WithCancel(testbed.Within(t, testbed.Patience))
	writing := testbed.Async(func() (*idempotent.Result, error) { return w.OnceWith(ctx, ticket, putOf(name+"/key")) })
	<-hit
	cancel()
	if o := <-writing; !etcd.MaybeApplied(o.Err) {
		t.Fatal(o.Err)
	}
	f.Sever()
	restarted, _ := open(t, plain, config)
	for i := range 2 {
		result, err := restarted.OnceWith(testbed.Within(t, testbed.Patience), ticket, putOf(name+"/key"))
		if err != nil || result.Recovered != (i == 1) {
			t.Errorf("%+v, %v", result, err)
		}
	}
	if _, err := plain.Revoke(testbed.Within(t, testbed.Patience), etcd.RevokeRequest{ID: ticket.Lease}); err != nil {
		t.Fatal(err)
	}
	f.Deliver(t) // the marker is gone, but so is the lease
	if kv := testbed.Get(t, plain, name+"/key"); kv.Version != 1 {
		t.Errorf("stored %+v", kv)
	}
	if _, err := restarted.OnceWith(testbed.Within(t, testbed.Patience), ticket, putOf(name+"/key")); !errors.Is(err, idempotent.ErrTicketExpired) || etcd.MaybeApplied(err) {
		t.Error(err)
	}
}
