package scenario

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"silly.store/etcd/robustness/internal/check"
	"silly.store/etcd/robustness/internal/history"
	"silly.store/etcd/robustness/internal/store"
)

// keptWatch is a watch that spans windows of a soak.
type keptWatch struct {
	watchSlot
	watch store.Watch
	log   *history.Watch // of this window, nil between two
	// early holds deliveries that already belong to the next window.
	early []history.Response
	// ending: close the watch at the end of the window.
	ending bool
}

// window reads the watch until the window is over, and opens another one if it ends
// earlier.
func (k *keptWatch) window() {
	if k.watch != nil {
		k.log = k.w.rec.NewWatch(k.kind.filters[0], k.w.floor+1, k.w.floor)
		k.log.Confirmed, k.log.Start = k.log.Began, k.w.floor+1
		k.log.Known = k.at.Load() + 1
		k.log.Responses, k.early = k.early, nil
		k.follow()
	}
	for !k.w.stopped() {
		if k.log, k.watch = k.open(k.kind.filters[0], 0); k.watch != nil {
			k.follow()
		} else {
			k.w.sleep(50 * time.Millisecond)
		}
	}
	if k.ending {
		k.close()
	}
}

// follow reads the watch until it or the window is over.
func (k *keptWatch) follow() {
	if k.read(k.log, k.watch, 0) {
		k.close()
	}
}

func (k *keptWatch) close() {
	if k.watch != nil {
		k.watch.Close()
		k.watch = nil
	}
}

// heldLease is a lease with a key that spans windows of a soak.
type heldLease struct {
	lease store.Lease
	log   history.Lease
	until int64        // when to revoke it
	lost  atomic.Int64 // when its loss was reported
	over  chan struct{}
}

// follow records when the loss is reported. It runs on its own goroutine, so that
// the time is exact to the millisecond.
func (l *heldLease) follow(now func() int64) {
	<-l.lease.Lost()
	l.lost.Store(now())
	close(l.over)
}

// keptLease holds one lease after another, each for some time.
type keptLease struct {
	caller
	held *heldLease
	// followers are the goroutines of its leases; they end with the client.
	followers *sync.WaitGroup
	// ending: revoke leases at the end of the window.
	ending bool
}

// window holds leases until the window is over.
func (k *keptLease) window() {
	for !k.w.stopped() {
		if k.held == nil && !k.grant() {
			k.w.sleep(100 * time.Millisecond)
			continue
		}
		if k.hold() {
			k.record()
			k.release()
		} else {
			k.w.sleep(100 * time.Millisecond)
		}
	}
	if k.held == nil {
		return
	}
	if k.ending {
		if err := k.w.persist(k.revoke); err != nil {
			k.w.failed("revoking a lease: %v", err)
		}
	}
	if over := k.record(); over || k.ending {
		k.release()
	}
}

// grant obtains a lease and puts a key on it.
func (k *keptLease) grant() bool {
	ctx, cancel := context.WithTimeout(k.w.ctx, patience)
	defer cancel()
	const low, high, life = 5, 12, 40 * time.Second
	lease, err := k.s.Grant(ctx, time.Duration(low+k.random.IntN(high-low+1))*time.Second)
	if err != nil {
		return false
	}
	now := k.w.rec.Now()
	l := &heldLease{lease: lease, over: make(chan struct{}), until: now + int64(life/2+rand.N(life))}
	l.log = history.Lease{ID: lease.ID(), TTL: lease.TTL(), Granted: now}
	k.followers.Go(func() { l.follow(k.w.rec.Now) })
	key := fmt.Sprintf("lease/%x", l.log.ID)
	x := history.Call{Process: k.process, Kind: history.Put, Key: key, Value: k.w.value(), Began: now}
	a, err := k.s.Put(ctx, key, x.Value, l.log.ID)
	k.end(&x, a, err)
	if x.Fate != history.NotApplied {
		l.log.Key = key
	}
	k.held = l
	k.w.meter.hold(l, true)
	return true
}

// hold waits until the lease is lost, or revokes it when its time is over. It
// returns false if neither happened.
func (k *keptLease) hold() bool {
	l := k.held
	wait := time.NewTimer(time.Duration(l.until - k.w.rec.Now()))
	defer wait.Stop()
	select {
	case <-l.over:
		return true
	case <-wait.C:
		return k.revoke() == nil
	case <-k.w.stop:
	case <-k.w.ctx.Done():
	}
	return false
}

// revoke ends the lease.
func (k *keptLease) revoke() error {
	if k.held.log.Revoked == 0 {
		k.held.log.Revoked = k.w.rec.Now()
	}
	ctx, cancel := context.WithTimeout(k.w.ctx, patience)
	defer cancel()
	return k.held.lease.Revoke(ctx)
}

// record adds the lease to the history of this window. It returns whether the lease
// was lost.
func (k *keptLease) record() bool {
	log := k.held.log
	if log.Revoked == 0 {
		log.Lost = k.held.lost.Load()
	}
	if log.Lost != 0 {
		if err := k.held.lease.Err(); err != nil {
			log.Error = err.Error()
		}
		k.w.meter.lost()
	}
	log.Ended = k.w.rec.Now()
	k.w.rec.Change(func(r *history.Run) { r.Leases = append(r.Leases, log) })
	return log.Lost != 0
}

func (k *keptLease) release() {
	k.w.meter.hold(k.held, false)
	k.held = nil
}

// cut ends the window at a revision and returns its history. Watches that continue
// keep their later deliveries.
func (w *world) cut(revision int64, watches []*keptWatch) *history.Run {
	run := w.rec.Cut()
	early := make(map[*history.Watch][]history.Response)
	for _, log := range run.Watches {
		log.Responses, early[log] = check.Split(log.Responses, revision)
	}
	for _, k := range watches {
		if k.watch != nil {
			k.early = early[k.log]
		}
		k.log = nil
	}
	return run
}
