package scenario

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"silly.store/etcd/etcdtest"
	"silly.store/etcd/robustness/internal/history"
)

// lockJudged are the invariants of every scenario with locks.
var lockJudged = []string{"L1", "L2", "L3", "L4", "L5", "L6", "L7", "L8"}

// underLocks is a load of locks with a recurring fault.
func underLocks(l locking, c cycle) func(*world) error {
	return func(w *world) error {
		if err := w.locks(l); err != nil {
			return err
		}
		return w.cycles(c)
	}
}

// every are all recipes.
var every = slices.Concat(mutexes, mutexes, shared, elections, terms, barriers)

// lockScenarios are the scenarios of faults under locks and elections.
var lockScenarios = []Scenario{
	{
		Number: 40, Name: "lock-cuts", About: "connections are reset at a random byte of requests and answers; locks and elections", Quick: true,
		Judged: lockJudged, Time: 30 * time.Second, Least: history.Amount{Faults: 100, Grants: 500}, LeasesMayEnd: true,
		run: underLocks(locking{linger: true, wants: every, alone: true, long: 150 * time.Millisecond}, cycle{name: "cut", harmless: true, gap: 80 * time.Millisecond, inject: eachWay(2048)}),
	},
	{
		Number: 41, Name: "lock-lost-answers", About: "requests arrive, answers are lost; locks and elections",
		Judged: lockJudged, Time: 40 * time.Second, Least: history.Amount{Faults: 5, Grants: 500}, LeasesMayEnd: true,
		run: underLocks(locking{linger: true, wants: every, alone: true, long: 150 * time.Millisecond}, cycle{name: "answers lost", gap: 2 * time.Second, hold: 1500 * time.Millisecond, inject: link(etcdtest.ToClient, etcdtest.Fault{Discard: true})}),
	},
	{
		Number: 42, Name: "lock-kills", About: "members are killed in turn and started again; locks and elections",
		Judged: lockJudged, Time: 40 * time.Second, Least: history.Amount{Faults: 5, Grants: 500}, LeasesMayEnd: true,
		run: underLocks(locking{linger: true, wants: every, alone: true, long: 150 * time.Millisecond}, cycle{name: "member killed", oneMember: true, gap: 3 * time.Second, hold: 2 * time.Second, inject: kill(inTurn)}),
	},
	{
		Number: 43, Name: "lock-late-copies", About: "members are suspended with requests in their hands, and go on with them when these were answered elsewhere; locks that are soon unlocked",
		Judged: lockJudged, Time: 40 * time.Second, Least: history.Amount{Faults: 5, Grants: 300}, LeasesMayEnd: true,
		run: underLocks(locking{ttl: 8 * time.Second, linger: true, wants: every, alone: true, contenders: 12}, cycle{name: "member suspended", oneMember: true, gap: 2500 * time.Millisecond, hold: 4 * time.Second, inject: hang(inTurn)}),
	},
	{
		Number: 44, Name: "lock-revoked", About: "leases of holders and waiters are revoked by hand; locks and elections",
		Judged: lockJudged, Time: 30 * time.Second, Least: history.Amount{Faults: 20, Grants: 300}, LeasesMayEnd: true,
		run: underLocks(locking{wants: every, long: time.Second}, cycle{name: "lease revoked", harmless: true, gap: 500 * time.Millisecond, inject: revoke}),
	},
	{
		Number: 45, Name: "lock-deleted", About: "keys of holders and waiters are deleted by hand; locks and elections",
		Judged: lockJudged, Time: 30 * time.Second, Least: history.Amount{Faults: 20, Grants: 300},
		run: underLocks(locking{wants: every, alone: true, long: time.Second}, cycle{name: "key deleted", harmless: true, gap: 150 * time.Millisecond, inject: deleteKey}),
	},
	{
		Number: 46, Name: "lock-compaction", About: "a compaction every 100 ms, and connections are reset; locks and elections",
		Judged: lockJudged, Time: 30 * time.Second, Least: history.Amount{Faults: 50, Grants: 300},
		run: underLocks(locking{linger: true, wants: every, alone: true, long: time.Second}, cycle{name: "compacted", harmless: true, gap: 100 * time.Millisecond, inject: compactNow}),
	},
	{
		Number: 47, Name: "lock-stall", About: "two clients of three are cut off for longer than their leases live; locks and elections",
		Judged: lockJudged, Time: 40 * time.Second, Least: history.Amount{Faults: 3, Grants: 300}, LeasesMayEnd: true,
		run: underLocks(locking{linger: true, wants: every, long: 2 * time.Second}, cycle{name: "stalled", gap: 4 * time.Second, hold: 6 * time.Second, inject: link(etcdtest.BothWays, etcdtest.Fault{Stall: true})}),
	},
	{
		Number: 48, Name: "lock-paused", About: "a process with holders and waiters is suspended for longer than its leases live; locks and elections",
		Judged: lockJudged, Time: 40 * time.Second, Least: history.Amount{Faults: 3, Grants: 300}, LeasesMayEnd: true,
		run: paused,
	},
	{
		Number: 49, Name: "lock-mixed", About: "both clients contend for the same names; connections are reset, leaders move, members restart",
		Judged: lockJudged, Time: 30 * time.Second, Least: history.Amount{Faults: 5, Grants: 300},
		run: underLocks(locking{ttl: 10 * time.Second, linger: true, wants: every, mixed: true}, cycle{name: "shaken", gap: 1500 * time.Millisecond, inject: shake}),
	},
	{
		Number: 50, Name: "lock-former-leader", About: "the leader is suspended for longer than leases live, and goes on as a former leader that believes them expired; locks and elections",
		Judged: lockJudged, Time: 40 * time.Second, Least: history.Amount{Faults: 3, Grants: 300}, LeasesMayEnd: true,
		run: underLocks(locking{linger: true, wants: every, long: time.Second}, cycle{name: "leader suspended", oneMember: true, overlaps: true, gap: 3 * time.Second, hold: lockTTL + 2*time.Second, inject: hang(leads)}),
	},
}

// eachWay resets connections at a random byte of requests or answers.
func eachWay(most int) func(*world, int) (func() error, error) {
	return func(w *world, n int) (func() error, error) {
		way := etcdtest.ToServer
		if n%2 == 1 {
			way = etcdtest.ToClient
		}
		return cutWithin(way, most)(w, n)
	}
}

// contenders returns the keys of holders and waiters, in the order of their creation.
func (w *world) contenders() ([]string, error) {
	r, err := w.admin.Get(w.ctx, history.Locks, clientv3.WithPrefix(), clientv3.WithKeysOnly(),
		clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend))
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, kv := range r.Kvs {
		keys = append(keys, string(kv.Key))
	}
	return keys, nil
}

// deleteKey deletes the key of a holder or a waiter.
func deleteKey(w *world, n int) (func() error, error) {
	nothing := func() error { return nil }
	keys, err := w.contenders()
	if err != nil || len(keys) == 0 {
		return nothing, err
	}
	if n%2 == 0 {
		keys = keys[:(len(keys)+1)/2] // the older ones mostly hold
	}
	key := keys[rand.IntN(len(keys))]
	w.hand(key)
	_, err = w.admin.Delete(w.ctx, key)
	return nothing, err
}

// hand records that a key is about to be deleted.
func (w *world) hand(keys ...string) {
	now := w.rec.Now()
	w.rec.Change(func(r *history.Run) {
		for _, key := range keys {
			r.Hands = append(r.Hands, history.Hand{At: now, Key: key})
		}
	})
}

// revoke revokes the lease of a holder or a waiter.
func revoke(w *world, _ int) (func() error, error) {
	nothing := func() error { return nil }
	keys, err := w.contenders()
	if err != nil || len(keys) == 0 {
		return nothing, err
	}
	lease := leaseOf(keys[rand.IntN(len(keys))])
	var gone []string
	for _, key := range keys {
		if leaseOf(key) == lease {
			gone = append(gone, key)
		}
	}
	id, err := strconv.ParseInt(lease, 16, 64)
	if err != nil {
		return nothing, fmt.Errorf("the lease of a key: %w", err)
	}
	w.hand(gone...)
	if _, err = w.admin.Revoke(w.ctx, clientv3.LeaseID(id)); err != nil {
		w.rec.Sample("revoked in vain", time.Nanosecond) // its client was quicker
	}
	return nothing, nil
}

// leaseOf returns the lease in a contender's key, as it stands there.
func leaseOf(key string) string {
	rest := key[strings.LastIndexByte(key, '/')+1:]
	lease, _, _ := strings.Cut(rest, ".")
	return lease
}

// compactNow compacts everything but the last few revisions, and now and then resets the
// connections, so that watches must resume from there.
func compactNow(w *world, n int) (func() error, error) {
	if n%4 == 3 {
		for _, p := range w.proxies {
			p.Reset()
		}
	}
	return func() error { return nil }, w.persist(func() error {
		return compacted(w.compact(w.oracle.now() - 2))
	})
}

// shake resets connections, moves the leader and restarts members, in turn.
func shake(w *world, n int) (func() error, error) {
	switch n % 3 {
	case 0:
		return reset(w, n)
	case 1:
		return moveLeader(w, n)
	}
	return terminate(inTurn)(w, n/3)
}
