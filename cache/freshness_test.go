package cache

import (
	"testing"
	"testing/synctest"
	"time"
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
	})
}
