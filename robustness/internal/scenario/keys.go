package scenario

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"silly.store/etcd/robustness/internal/history"
	"silly.store/etcd/robustness/internal/store"
)

const (
	// epoch is how long the same keys are used: the search for an order of a key's
	// calls grows with their number.
	epoch     = time.Second
	epochKeys = 12
)

// keys reads and writes random keys with a number of callers. Each pauses for pace
// on average between two calls.
func (w *world) keys(callers int, pace time.Duration) {
	for i := range callers {
		random, s := w.random(), w.stores[i%len(w.stores)]
		c := &caller{w: w, s: s, random: random, process: int(w.process.Add(1)), known: make(map[string]string)}
		w.loads.Go(func() {
			for w.sleep(rand.N(2*pace + 1)) {
				c.call()
			}
		})
	}
}

const (
	// burst is how many callers call at once, enough for some to queue up and
	// share requests.
	burst      = 80
	burstKeys  = 40
	burstEvery = 150 * time.Millisecond
)

// bursts makes many callers issue the same kind of call on single keys at the same
// moments: twice reads, then writes.
func (w *world) bursts() {
	for i := range burst {
		c := &caller{w: w, s: w.stores[i%len(w.stores)], random: w.random(), process: int(w.process.Add(1))}
		w.loads.Go(func() {
			for w.sleep(burstEvery - time.Duration(w.rec.Now())%burstEvery) {
				c.inBurst(time.Duration(w.rec.Now()) / burstEvery)
			}
		})
	}
}

// inBurst makes the call of the n-th burst.
func (c *caller) inBurst(n time.Duration) {
	x := history.Call{Key: fmt.Sprintf("k/%d/b%d", c.w.epoch(), c.random.IntN(burstKeys)), Patient: true}
	switch {
	case n%3 < 2:
		x.Kind = history.Get
	case c.random.IntN(4) == 0:
		x.Kind = history.Delete
	default:
		x.Kind = history.Put
	}
	c.make(&x, patience)
}

// epoch returns the number of the current set of keys.
func (w *world) epoch() int64 {
	n := w.rec.Now() / int64(epoch)
	if w.epochs > 0 {
		n %= w.epochs
	}
	return n
}

// caller makes one call after another.
type caller struct {
	w       *world
	s       store.Store
	random  *rand.Rand
	process int
	known   map[string]string // last seen values of this epoch's keys
	epoch   int64
}

// call makes a random call.
func (c *caller) call() {
	if now := c.w.epoch(); now != c.epoch {
		c.epoch = now
		clear(c.known)
	}
	key := fmt.Sprintf("k/%d/%d", c.epoch, c.random.IntN(epochKeys))
	x := history.Call{Key: key, Patient: true}
	bound := patience
	if c.random.IntN(10) == 0 {
		x.Patient, bound = false, time.Duration(1+c.random.IntN(200))*time.Millisecond
	}
	switch n := c.random.IntN(20); {
	case n < 8:
		x.Kind = history.Get
	case n < 9:
		x.Kind, x.Stale = history.Get, true
	case n < 14:
		x.Kind = history.Put
	case n < 18:
		x.Kind, x.Expected = history.Swap, c.known[key]
	default:
		x.Kind = history.Delete
	}
	c.make(&x, bound)
	switch {
	case x.Fate != history.Done:
		delete(c.known, key)
	case x.Kind == history.Get, x.Kind == history.Swap && !x.Matched:
		c.known[key] = x.Found
	case x.Kind == history.Delete:
		c.known[key] = ""
	default:
		c.known[key] = x.Value
	}
}

// make makes a call with a deadline and records it.
func (c *caller) make(x *history.Call, bound time.Duration) {
	ctx, cancel := context.WithTimeout(c.w.ctx, bound)
	defer cancel()
	x.Process = c.process
	if x.Kind == history.Put || x.Kind == history.Swap {
		x.Value = c.w.value()
	}
	deadline, _ := ctx.Deadline()
	x.Began, x.Deadline = c.w.rec.Now(), c.w.rec.At(deadline)
	var a store.Answer
	var err error
	switch x.Kind {
	case history.Get:
		a, err = c.s.Get(ctx, x.Key, x.Stale)
	case history.Put:
		a, err = c.s.Put(ctx, x.Key, x.Value, 0)
	case history.Delete:
		a, err = c.s.Delete(ctx, x.Key)
	case history.Swap:
		a, err = c.s.Swap(ctx, x.Key, x.Expected, x.Value)
	case history.Many:
		err = errors.New("many writes several keys, and this is a call of one")
	}
	c.end(x, a, err)
}

func (c *caller) end(x *history.Call, a store.Answer, err error) {
	x.Ended = c.w.rec.Now()
	x.Revision, x.Found, x.Modified, x.Matched = a.Revision, a.Found, a.Modified, a.Matched
	if err != nil {
		x.Fate, x.Error = c.s.Fate(err), err.Error()
	}
	c.w.meter.call(x, c.s, err)
	c.w.rec.Call(*x)
}

// many writes one value to n keys, or deletes them, in one Txn.
func (c *caller) many(keys []string, prefix string, size int) {
	ctx, cancel := context.WithTimeout(c.w.ctx, patience)
	defer cancel()
	x := history.Call{Process: c.process, Kind: history.Many, Key: prefix, Patient: true, Began: c.w.rec.Now()}
	deadline, _ := ctx.Deadline()
	x.Deadline = c.w.rec.At(deadline)
	var a store.Answer
	var err error
	if keys == nil {
		a, err = c.s.DeleteMany(ctx, prefix)
	} else {
		value := store.Pad(c.w.value(), size)
		x.Value = store.Text(value)
		a, err = c.s.PutMany(ctx, keys, value)
	}
	c.end(&x, a, err)
}
