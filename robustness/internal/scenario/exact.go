package scenario

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"silly.store/etcd/etcdtest"
	"silly.store/etcd/robustness/internal/history"
	"silly.store/etcd/robustness/internal/store"
)

// exactJudged are the invariants of every scenario with exact writes.
var exactJudged = []string{"X1", "S1", "S2"}

const (
	exactCallers = 6 // for each client
	exactTTL     = 8 * time.Second
	exactLists   = 4
	// listTime is how long a list grows before another one takes its place.
	listTime = 400 * time.Millisecond
)

// exactScenarios are the scenarios of faults under exact writes.
var exactScenarios = []Scenario{
	{
		Number: 60, Name: "exact-cuts", About: "connections are reset at a random byte of requests and answers; exact writes, transactions by function, numbers", Quick: true,
		Judged: exactJudged, Time: 25 * time.Second, Least: history.Amount{Faults: 100}, LeasesMayEnd: true,
		run: underExact(cycle{name: "cut", harmless: true, gap: 80 * time.Millisecond, inject: eachWay(2048)}),
	},
	{
		Number: 61, Name: "exact-lost-answers", About: "requests arrive, answers are lost; exact writes, transactions, numbers",
		Judged: exactJudged, Time: 30 * time.Second, Least: history.Amount{Faults: 5}, LeasesMayEnd: true,
		run: underExact(cycle{name: "answers lost", gap: 700 * time.Millisecond, hold: time.Second, inject: link(etcdtest.ToClient, etcdtest.Fault{Discard: true})}),
	},
	{
		Number: 62, Name: "exact-late-copies", About: "members are suspended with requests in their hands, and go on with them when these were answered elsewhere; exact writes, transactions, numbers",
		Judged: exactJudged, Time: 40 * time.Second, Least: history.Amount{Faults: 5}, LeasesMayEnd: true,
		run: underExact(cycle{name: "member suspended", oneMember: true, gap: 2500 * time.Millisecond, hold: 4 * time.Second, inject: hang(inTurn)}),
	},
	{
		Number: 63, Name: "exact-revoked", About: "answers are lost and the leases of lanes are revoked by hand meanwhile; exact writes, transactions, numbers",
		Judged: exactJudged, Time: 30 * time.Second, Least: history.Amount{Faults: 5}, LeasesMayEnd: true,
		run: underExact(cycle{name: "answers lost, leases revoked", gap: 700 * time.Millisecond, hold: 800 * time.Millisecond, inject: loseAndRevoke}),
	},
}

// underExact is a load of exact writes with a recurring fault.
func underExact(c cycle) func(*world) error {
	return func(w *world) error {
		for _, s := range w.stores {
			x, err := store.OpenExact(w.ctx, s, exactTTL)
			if err != nil {
				return err
			}
			for range exactCallers {
				caller := &exactCaller{w: w, s: s, x: x, random: w.random(), process: int(w.process.Add(1))}
				w.loads.Go(caller.run)
			}
		}
		return w.cycles(c)
	}
}

// loseAndRevoke loses answers, and ends the leases of all lanes.
func loseAndRevoke(w *world, n int) (func() error, error) {
	heal, err := link(etcdtest.ToClient, etcdtest.Fault{Discard: true})(w, n)
	if err != nil {
		return heal, err
	}
	resp, err := w.admin.Get(w.ctx, history.Writers, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return heal, err
	}
	var leases []int64
	for _, kv := range resp.Kvs {
		if !slices.Contains(leases, kv.Lease) {
			leases = append(leases, kv.Lease)
			_, _ = w.admin.Revoke(w.ctx, clientv3.LeaseID(kv.Lease)) // it may have ended
		}
	}
	return heal, nil
}

// exactCaller makes one exact write after another.
type exactCaller struct {
	w       *world
	s       store.Store
	x       store.Exact
	random  *rand.Rand
	process int
}

func (c *exactCaller) run() {
	for c.w.sleep(time.Duration(c.random.Int64N(int64(8 * time.Millisecond)))) {
		e := history.Effect{Client: c.w.client, Process: c.process}
		d := patience
		if c.random.IntN(5) == 0 {
			d = time.Duration(c.random.Int64N(int64(300 * time.Millisecond)))
		}
		ctx, cancel := context.WithTimeout(c.w.ctx, d)
		e.Began = c.w.rec.Now()
		err := c.do(ctx, &e)
		cancel()
		e.Ended, e.Fate = c.w.rec.Now(), c.s.Fate(err)
		if err != nil {
			e.Error = err.Error()
		}
		if e.Fate == history.Unknown {
			c.resolve(&e, err)
		}
		c.w.rec.Change(func(r *history.Run) { r.Effects = append(r.Effects, e) })
	}
}

func (c *exactCaller) do(ctx context.Context, e *history.Effect) (err error) {
	switch n := c.random.IntN(6); n {
	case 0, 1:
		e.ID, e.Key = c.w.value(), fmt.Sprintf("%sk%d", history.Exact, c.random.IntN(5))
		e.Revision, err = c.x.Write(ctx, e.Key, e.ID)
	case 2:
		e.Sequence = history.Exact + "numbers"
		e.Number, err = c.x.Next(ctx, e.Sequence)
	default:
		e.ID = c.w.value()
		e.Revision, err = c.x.Transact(ctx, n == 3, func(tx store.Tx) error { return c.transact(tx, e) })
	}
	return err
}

// transact reads two lists, or all of them as a range, and appends to one or both.
func (c *exactCaller) transact(tx store.Tx, e *history.Effect) error {
	e.Reads, e.Appended = nil, nil
	folder := fmt.Sprintf("%slist/%d/", history.Exact, e.Began/int64(listTime))
	first, second := c.random.IntN(exactLists), c.random.IntN(exactLists-1)
	if second >= first {
		second++
	}
	keys := []string{fmt.Sprint(folder, first), fmt.Sprint(folder, second)}
	lists := make(map[string]string)
	if c.random.IntN(4) == 0 {
		for i := range exactLists {
			lists[fmt.Sprint(folder, i)] = ""
		}
		err := tx.Range(folder, func(key, value string) { lists[key] = value })
		if err != nil && !errors.Is(err, store.ErrUnsupported) {
			return err
		}
		if err != nil {
			clear(lists)
		}
	}
	for _, key := range keys {
		if _, known := lists[key]; known {
			continue
		}
		value, err := tx.Get(key)
		if err != nil {
			return err
		}
		lists[key] = value
	}
	for key, value := range lists {
		e.Reads = append(e.Reads, history.List{Key: key, IDs: strings.Fields(value)})
	}
	e.Appended = keys[:1+c.random.IntN(2)]
	for _, key := range e.Appended {
		if err := tx.Put(key, lists[key]+e.ID+" "); err != nil {
			return err
		}
	}
	return nil
}

// resolve asks what became of a write of unknown outcome.
func (c *exactCaller) resolve(e *history.Effect, err error) {
	ctx, cancel := context.WithTimeout(c.w.ctx, patience)
	defer cancel()
	revision, applied, failed := c.x.Resolve(ctx, err)
	if failed != nil {
		return
	}
	e.Resolved, e.Revision, e.Fate, e.Ended = true, revision, history.NotApplied, c.w.rec.Now()
	if applied {
		e.Fate = history.Done
	}
}
