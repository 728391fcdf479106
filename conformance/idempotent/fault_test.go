package idempotent

import (
	"context"
	"errors"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/onefault"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/idempotent"
)

// Whatever becomes of the request, the write is applied once, the result says which branch,
// and a copy that arrives after the next write has no effect.
func TestFaults(t *testing.T) {
	t.Parallel()
	for fault, kind := range onefault.Kinds {
		for branch, ifs := range map[string]func(key string) []etcd.Compare{
			"plain": func(string) []etcd.Compare { return nil },
			"then":  func(key string) []etcd.Compare { return []etcd.Compare{etcd.Missing(key)} },
			"else":  func(key string) []etcd.Compare { return []etcd.Compare{etcd.Exists(key)} },
		} {
			t.Run(fault+" "+branch, func(t *testing.T) {
				t.Parallel()
				c, f := testbed.Faulty(t, etcd.Config{})
				w, _ := open(t, c, idempotent.Config{Lanes: 1})
				key := testbed.OwnName(t)
				put := etcd.Op(etcd.PutRequest{Key: key, Value: []byte(branch)})
				req := etcd.TxnRequest{If: ifs(key), Then: []etcd.Op{put}}
				if branch == "else" {
					req.Then, req.Else = nil, []etcd.Op{put}
				}
				hit := f.Arm(kind, key)
				result, err := w.Txn(testbed.Within(t, testbed.Patience), req)
				if err != nil {
					t.Fatal(err)
				}
				<-hit
				if result.Succeeded != (branch != "else") || result.Recovered != (kind == onefault.LoseAnswer) {
					t.Errorf("%+v", result)
				}
				if result.Recovered != (result.Response == nil) || !result.Recovered && len(result.Response.Responses) != 1 {
					t.Errorf("the response is %+v", result.Response)
				}
				if _, err := w.Txn(testbed.Within(t, testbed.Patience), putOf(key+".next")); err != nil {
					t.Error(err)
				}
				if kind == onefault.Late {
					f.Deliver(t)
				}
				if kv := testbed.Get(t, c, key); kv.Version != 1 || kv.ModRevision != result.Revision {
					t.Errorf("%+v, applied at %d", kv, result.Revision)
				}
			})
		}
	}
}

// A write that is given up in time is settled afterwards: Resolve says whether it was
// applied, and if not, no copy ever is. The lane serves again.
func TestResolve(t *testing.T) {
	t.Parallel()
	for name, applied := range map[string]bool{"applied": true, "not applied": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, f := testbed.Faulty(t, etcd.Config{})
			w, _ := open(t, c, idempotent.Config{Lanes: 1})
			key := testbed.OwnName(t)
			hit := f.Arm(onefault.Stall, key)
			ctx, cancel := context.WithCancel(testbed.Within(t, testbed.Patience))
			writing := testbed.Async(func() (*idempotent.Result, error) { return w.Txn(ctx, putOf(key)) })
			<-hit
			cancel()
			o := <-writing
			if !errors.Is(o.Err, context.Canceled) || !etcd.MaybeApplied(o.Err) {
				t.Fatalf("%+v, %v", o.Value, o.Err)
			}
			if applied {
				f.Deliver(t)
			} else {
				f.Sever()
			}
			result, err := w.Resolve(testbed.Within(t, testbed.Patience), o.Err)
			again, errAgain := w.Resolve(testbed.Within(t, testbed.Patience), o.Err)
			if result != again || !errors.Is(errAgain, err) {
				t.Errorf("first %+v, %v; then %+v, %v", result, err, again, errAgain)
			}
			if _, err := w.Txn(testbed.Within(t, testbed.Patience), putOf(key+".next")); err != nil {
				t.Error(err)
			}
			kv := testbed.Get(t, c, key)
			switch {
			case err == nil: // the copy may have come before the void, or after it
				if kv.Version != 1 || kv.ModRevision != result.Revision || !result.Succeeded || !result.Recovered {
					t.Errorf("%+v, stored %+v", result, kv)
				}
			case !errors.Is(err, idempotent.ErrNotApplied) || etcd.MaybeApplied(err):
				t.Error(err)
			case kv.Version != 0:
				t.Errorf("stored %+v", kv)
			}
			if applied {
				return
			}
			f.Deliver(t)
			if kv := testbed.Get(t, c, key); kv.Version != 0 || err == nil {
				t.Errorf("a late copy was applied: %+v", kv)
			}
		})
	}
}

// A refusal of a later copy says nothing about an earlier one, which is made ineffective
// first.
func TestRefusedLater(t *testing.T) {
	t.Parallel()
	for name, once := range map[string]bool{"Txn": false, "Once": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, f := testbed.Faulty(t, etcd.Config{})
			plain := testbed.Connect(t, etcd.Config{})
			key := testbed.OwnName(t)
			w, _ := open(t, c, idempotent.Config{Lanes: 1, Name: key + "/w"})
			lease, err := plain.Grant(testbed.Within(t, testbed.Patience), etcd.GrantRequest{TTL: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			put := func(id etcd.LeaseID) etcd.TxnRequest {
				return etcd.TxnRequest{Then: []etcd.Op{etcd.PutRequest{Key: key, Lease: id}, etcd.PutRequest{Key: key + ".other"}}}
			}
			do := func(req etcd.TxnRequest) (*idempotent.Result, error) {
				if once {
					return w.Once(testbed.Within(t, testbed.Patience), "id", req)
				}
				return w.Txn(testbed.Within(t, testbed.Patience), req)
			}
			hit := f.Arm(onefault.Stall, key+".other")
			writing := testbed.Async(func() (*idempotent.Result, error) { return do(put(lease.ID)) })
			<-hit
			if err := lease.Revoke(testbed.Within(t, testbed.Patience)); err != nil {
				t.Fatal(err)
			}
			f.Sever()
			if o := <-writing; !errors.Is(o.Err, etcd.ErrLeaseNotFound) || etcd.MaybeApplied(o.Err) {
				t.Fatalf("%+v, %v", o.Value, o.Err)
			}
			// With the lease back, the first copy could be applied, were it not for the void.
			if _, err := plain.Grant(testbed.Within(t, testbed.Patience), etcd.GrantRequest{TTL: time.Minute, ID: lease.ID}); err != nil {
				t.Fatal(err)
			}
			f.Deliver(t)
			if kv := testbed.Get(t, plain, key); kv.Version != 0 {
				t.Errorf("a late copy was applied: %+v", kv)
			}
			if result, err := do(put(lease.ID)); err != nil || result.Recovered {
				t.Errorf("the next: %+v, %v", result, err)
			}
			if kv := testbed.Get(t, plain, key); kv.Version != 1 {
				t.Errorf("stored %+v", kv)
			}
		})
	}
}

// lossy is a Writer behind a proxy, on its own server.
func lossy(t *testing.T) (w *idempotent.Writer, co *concurrency.Coordinator, p *etcdtest.Proxy, direct *etcd.Client) {
	t.Helper()
	s := etcdtest.StartProcess(t, etcdtest.Config{Heartbeat: 10 * time.Millisecond})
	p = etcdtest.StartProxy(t, s.Endpoints()[0])
	c := testbed.Connect(t, etcd.Config{Endpoints: []string{p.Endpoint()}, RetrySleep: time.Millisecond, Timeout: 500 * time.Millisecond})
	w, co = open(t, c, idempotent.Config{Lanes: 1})
	return w, co, p, testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
}

// When the lane is gone with its lease, "no key" does not mean that the write was not
// applied: the history of the key tells.
func TestLaneGoneApplied(t *testing.T) {
	t.Parallel()
	for name, compact := range map[string]bool{"history": false, "compacted": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, co, p, direct := lossy(t)
			p.Set(etcdtest.ToClient, etcdtest.Fault{Discard: true})
			writing := testbed.Async(func() (*idempotent.Result, error) { return w.Txn(testbed.Within(t, testbed.Patience), putOf("k")) })
			testbed.Eventually(t, "the write", func() bool { return testbed.Get(t, direct, "k").Version > 0 })
			revoke(t, direct, co)
			if compact {
				resp, err := direct.Put(testbed.Within(t, testbed.Patience), etcd.PutRequest{Key: "other"})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := direct.Compact(testbed.Within(t, testbed.Patience), etcd.CompactRequest{Revision: resp.Header.Revision}); err != nil {
					t.Fatal(err)
				}
			}
			p.Heal()
			p.Reset()
			o := <-writing
			kv := testbed.Get(t, direct, "k")
			switch {
			case kv.Version != 1:
				t.Errorf("stored %+v; %+v, %v", kv, o.Value, o.Err)
			case compact:
				if !errors.Is(o.Err, etcd.ErrCompacted) || !etcd.MaybeApplied(o.Err) {
					t.Error(o.Err)
				}
				if result, err := w.Resolve(testbed.Within(t, testbed.Patience), o.Err); !errors.Is(err, etcd.ErrCompacted) || !etcd.MaybeApplied(err) {
					t.Errorf("Resolve: %+v, %v", result, err)
				}
			case o.Err != nil || o.Value.Revision != kv.ModRevision || !o.Value.Recovered:
				t.Errorf("%+v, %v; stored %+v", o.Value, o.Err, kv)
			}
			if _, err := w.Txn(testbed.Within(t, testbed.Patience), putOf("next")); err != nil {
				t.Errorf("on the next lane: %v", err)
			}
		})
	}
}

// revoke ends the coordinator's lease by hand.
func revoke(t *testing.T, by *etcd.Client, co *concurrency.Coordinator) {
	t.Helper()
	session, err := co.Session(testbed.Within(t, testbed.Patience))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := by.Revoke(testbed.Within(t, testbed.Patience), etcd.RevokeRequest{ID: session.Lease().ID}); err != nil {
		t.Fatal(err)
	}
}

// When the lane is gone and the write was not applied before, the write is made on a new
// lane, and the copy of the old one has no effect.
func TestLaneGoneNotApplied(t *testing.T) {
	t.Parallel()
	c, f := testbed.Faulty(t, etcd.Config{})
	plain := testbed.Connect(t, etcd.Config{})
	w, co := open(t, c, idempotent.Config{Lanes: 1})
	key := testbed.OwnName(t)
	hit := f.Arm(onefault.Stall, key)
	writing := testbed.Async(func() (*idempotent.Result, error) { return w.Txn(testbed.Within(t, testbed.Patience), putOf(key)) })
	<-hit
	revoke(t, plain, co)
	f.Sever()
	o := <-writing
	if o.Err != nil || o.Value.Recovered {
		t.Errorf("%+v, %v", o.Value, o.Err)
	}
	f.Deliver(t)
	if kv := testbed.Get(t, plain, key); kv.Version != 1 || kv.ModRevision != o.Value.Revision {
		t.Errorf("%+v; stored %+v", o.Value, kv)
	}
}
