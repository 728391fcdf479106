package scenario

import (
	"context"
	"fmt"
	"time"

	"silly.store/etcd/robustness/internal/history"
)

// leases keeps n leases, each with a key, and replaces lost ones.
func (w *world) leases(n int, ttl func() time.Duration) {
	for i := range n {
		slot := &leaseSlot{caller{w: w, s: w.stores[i%len(w.stores)], process: int(w.process.Add(1))}}
		w.loads.Go(func() {
			for !w.stopped() {
				if !slot.keep(ttl()) {
					w.sleep(100 * time.Millisecond)
				}
			}
		})
	}
}

// leaseSlot keeps one lease after another.
type leaseSlot struct{ caller }

// keep holds one lease until it is lost or the run is over. It returns false if it
// could not get one.
func (s *leaseSlot) keep(ttl time.Duration) bool {
	ctx, cancel := context.WithTimeout(s.w.ctx, patience)
	defer cancel()
	l, err := s.s.Grant(ctx, ttl)
	if err != nil {
		return false
	}
	log := history.Lease{ID: l.ID(), TTL: l.TTL(), Granted: s.w.rec.Now()}
	key := fmt.Sprintf("lease/%x", log.ID)
	x := history.Call{Process: s.process, Kind: history.Put, Key: key, Value: s.w.value(), Began: s.w.rec.Now()}
	a, err := s.s.Put(ctx, key, x.Value, log.ID)
	s.end(&x, a, err)
	if err == nil {
		log.Key = key
	}
	select {
	case <-l.Lost():
		log.Lost = s.w.rec.Now()
		if err := l.Err(); err != nil {
			log.Error = err.Error()
		}
	case <-s.w.stop:
	case <-s.w.ctx.Done():
	}
	log.Ended = s.w.rec.Now()
	s.w.rec.Change(func(r *history.Run) { r.Leases = append(r.Leases, log) })
	return true
}
