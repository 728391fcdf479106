package cache

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/internal/follow"
	"silly.store/etcd/internal/yield"
)

// A flight that left before a reset proves nothing of the history after it: its revision may
// be one of the old history, which the new one has passed.
func TestSettledFlights(t *testing.T) {
	ca := new(Cache)
	now := &published{epoch: 2, revision: 9}
	ca.current.Store(now)
	old := &flight{before: &published{epoch: 1, revision: 5}, revision: 8}
	if !ca.settle(old) || old.now != nil || old.err != nil || ca.proof.Load() != nil {
		t.Errorf("%+v, proof %+v", old, ca.proof.Load())
	}
	f := &flight{before: &published{epoch: 2, revision: 9}, revision: 9, term: 3, left: time.Now()}
	if !ca.settle(f) || f.now != now || f.err != nil || ca.proof.Load() == nil {
		t.Errorf("%+v, proof %+v", f, ca.proof.Load())
	}
	for want, f := range map[bool]*flight{
		false: {before: now, revision: 9, term: 3},
		true:  {before: now, revision: 9, term: 2},
	} {
		if ca.fellBack(f) != want {
			t.Errorf("term %d after 3: fell back %v", f.term, !want)
		}
	}
	if !ca.fellBack(&flight{before: now, revision: 8, term: 3}) {
		t.Error("a lower revision than what was published is no other history")
	}
}

// What proves the cache fresh counts from when the request left, and the latest counts.
func TestProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := new(Cache)
		p := &published{epoch: 1, revision: 9}
		if ca.proved(p, time.Hour) {
			t.Error("proved by nothing")
		}
		early := time.Now()
		time.Sleep(time.Second)
		ca.prove(proof{left: time.Now(), epoch: 1})
		ca.prove(proof{left: early, epoch: 1})
		time.Sleep(time.Second)
		if !ca.proved(p, time.Second) || ca.proved(p, time.Second-1) {
			t.Error("not proved for a second")
		}
		if ca.proved(&published{epoch: 2}, time.Hour) {
			t.Error("proved for another history")
		}
		ca.prove(proof{left: time.Now(), epoch: 1, revision: 10})
		if ca.suffices(p, Within(time.Hour)) {
			t.Error("the state at 9 is proved by a flight that has found 10")
		}
	})
}

// A reader of a revision that is about to come waits for it, without a request. If it does
// not come, a flight finds out why.
func TestSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWritten(Config{})
		ca := w.ca
		ca.ctx, ca.follower = t.Context(), new(follow.Follower)
		asked, flown := 0, 0
		ca.asker.ask = func() { asked++ }
		ca.flights.launch = ca.launch
		ca.flights.read = func(f *flight) {
			flown++
			f.before, f.revision = ca.current.Load(), w.revision
		}
		ca.flights.settle, ca.flights.turn = ca.settle, yield.New()
		w.commit(t, w.put("a", "1"))
		var got *published
		var err error
		var reading sync.WaitGroup
		reading.Go(func() { got, err = ca.at(t.Context(), AtLeast(2)) })
		synctest.Wait()
		time.Sleep(leastHeadway / 2)
		want := w.commit(t, w.put("a", "2"))
		reading.Wait()
		if got != want || err != nil || flown != 0 || asked != 1 {
			t.Errorf("%+v, %v; %d flights, %d questions", got, err, flown, asked)
		}
		began := time.Now()
		if _, err := ca.at(t.Context(), AtLeast(3)); !errors.Is(err, etcd.ErrFutureRevision) || flown != 1 || time.Since(began) != leastHeadway {
			t.Errorf("after %v: %v; %d flights", time.Since(began), err, flown)
		}
		ca.routines.Wait()
	})
}
