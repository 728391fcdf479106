package scenario

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"silly.store/etcd/etcdtest"
	"silly.store/etcd/robustness/internal/history"
	"silly.store/etcd/robustness/internal/store"
)

const (
	// crowd is enough callers for calls to queue up.
	crowd = 120
	// crowdKeys is enough keys to keep the search over each key's calls short.
	crowdKeys = 60
	// requestLimit is the request limit of the crowd's servers; a value of overLimit
	// exceeds it, but is small enough to share a request.
	requestLimit = 12 << 10
	overLimit    = 20 << 10
	// denied is the prefix of keys without permission for the tested clients.
	denied = "denied/"
	// noLease is the ID of a lease that does not exist.
	noLease = 0xbad
)

// coalescedScenarios are the scenarios of calls that share requests.
var coalescedScenarios = []Scenario{
	{
		Number: 34, Name: "coalesced", Quick: true,
		About:  fmt.Sprintf("%d callers of single keys, some making calls that must be refused (no such lease, no permission, too large); all kinds of faults in turn", crowd),
		Judged: []string{"I1", "I2", "I7", "I8", "I12"}, Time: 45 * time.Second,
		Least:    history.Amount{Faults: 6, Calls: 20_000, Batches: 500},
		Cluster:  etcdtest.ClusterConfig{Config: etcdtest.Config{MaxRequestBytes: requestLimit}},
		TokenTTL: time.Hour,
		run:      coalesced,
	},
}

func coalesced(w *world) error {
	if err := w.deny(denied); err != nil {
		return err
	}
	for i := range crowd {
		c := &crowdCaller{caller{w: w, s: w.stores[i%len(w.stores)], random: w.random(), process: int(w.process.Add(1))}}
		w.loads.Go(func() {
			for w.sleep(rand.N(2 * pace)) {
				c.call()
			}
		})
	}
	faults := []func(*world, int) (func() error, error){
		link(etcdtest.ToClient, etcdtest.Fault{Discard: true}),
		kill(leads),
		link(etcdtest.BothWays, etcdtest.Fault{Stall: true}),
		hang(follows),
		cutWithin(etcdtest.ToServer, 4096),
		terminate(leads),
	}
	return w.cycles(cycle{name: "fault of another kind", gap: 2 * time.Second, hold: 2 * time.Second, inject: func(w *world, n int) (func() error, error) {
		return faults[n%len(faults)](w, n)
	}})
}

// deny removes the tested clients' permission for keys with a prefix.
func (w *world) deny(prefix string) error {
	ctx, cancel := context.WithTimeout(w.ctx, settle)
	defer cancel()
	const role, all = "all", "\x00"
	allow := func(from, to string) error {
		_, err := w.admin.RoleGrantPermission(ctx, role, from, to, clientv3.PermissionType(clientv3.PermReadWrite))
		return err
	}
	if err := allow(all, prefix); err != nil {
		return err
	}
	if err := allow(clientv3.GetPrefixRangeEnd(prefix), all); err != nil {
		return err
	}
	_, err := w.admin.RoleRevokePermission(ctx, role, all, all)
	return err
}

// crowdCaller makes calls on single keys, which may share requests.
type crowdCaller struct{ caller }

// call makes a random call; one in twelve must be refused.
func (c *crowdCaller) call() {
	key := fmt.Sprintf("k/%d/%d", c.w.epoch(), c.random.IntN(crowdKeys))
	x := history.Call{Key: key, Patient: true}
	switch n := c.random.IntN(24); {
	case n < 10:
		x.Kind = history.Get
	case n < 11:
		x.Kind, x.Stale = history.Get, true
	case n < 18:
		x.Kind = history.Put
	case n < 22:
		x.Kind = history.Delete
	default:
		c.refused(x)
		return
	}
	c.make(&x, patience)
}

// refused makes a call that must be refused for one of four reasons.
func (c *crowdCaller) refused(x history.Call) {
	x.Patient = false // its answer is an error
	value, lease := c.w.value(), int64(0)
	switch c.random.IntN(4) {
	case 0:
		x.Kind, lease, x.Refusal = history.Put, noLease, "requested lease not found"
	case 1:
		x.Kind, value, x.Refusal = history.Put, store.Pad(value, overLimit), "request is too large"
	case 2:
		x.Kind, x.Key, x.Refusal = history.Put, denied+x.Key, "permission denied"
	default:
		x.Kind, x.Key, x.Refusal = history.Get, denied+x.Key, "permission denied"
	}
	if x.Kind == history.Put {
		x.Value = store.Text(value)
	}
	ctx, cancel := context.WithTimeout(c.w.ctx, patience)
	defer cancel()
	deadline, _ := ctx.Deadline()
	x.Process, x.Began, x.Deadline = c.process, c.w.rec.Now(), c.w.rec.At(deadline)
	var a store.Answer
	var err error
	if x.Kind == history.Put {
		a, err = c.s.Put(ctx, x.Key, value, lease)
	} else {
		a, err = c.s.Get(ctx, x.Key, false)
	}
	c.end(&x, a, err)
}
