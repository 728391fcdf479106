package main

import (
	"context"
	"errors"
	"sync"
	"time"
)

// The figures of failover rows. A wait is the longest time that one of the callers
// went without success after the fault, failed calls included.
const (
	figWait   = "wait_ms"    // of one try; reported as the two below
	figWaitP  = "p50_ms"     // the median wait of all tries
	figWaitW  = "worst_ms"   // the longest
	figCalls  = "calls"      // ended after the fault in the long try
	figFailed = "failed"     // how many of these failed
	figSlow   = "slowest_ms" // slowest successful call
	// Of failover-leader: from the fault to the new leader's log line, and the
	// rest of the wait.
	figElection = "election_ms"
	figBeyondP  = "beyond_p50_ms"
	figBeyondW  = "beyond_worst_ms"
)

const (
	failoverKeys    = 100
	failoverCallers = 8
	// callPace is the pause between two calls of a caller: the rows measure
	// waiting, not throughput, and leave the CPU to the cluster.
	callPace = 5 * time.Millisecond
	// callLimit is the deadline of a call's context.
	callLimit = 5 * time.Second
	// settleLimit is how long a client may take to connect to the victim.
	settleLimit = 12 * time.Second
)

// failoverRows measure what callers notice when a member fails.
func failoverRows() []row {
	about := func(what string) string { return what + "; 8 callers that read from 3 members, 5 ms between calls" }
	return []row{
		{
			name: "failover-kill", about: about("a follower is killed"), callers: []int{failoverCallers},
			failover: &failover{fault: killMember, window: 500 * time.Millisecond},
			prepare:  fillFailover, run: runTry,
		},
		{
			name: "failover-leader", about: about("the leader is killed"), callers: []int{failoverCallers},
			failover: &failover{fault: killMember, leader: true, window: time.Second},
			prepare:  fillFailover, run: runTry,
		},
		{
			name: "failover-stop", about: about("a follower is stopped by SIGSTOP"), callers: []int{failoverCallers},
			failover: &failover{fault: stopMember, window: 3 * time.Second},
			prepare:  fillFailover, run: runTry,
		},
	}
}

func fillFailover(ctx context.Context, l load, _ scale) error {
	return l.txnPut(ctx, newKeys("failover/", failoverKeys), newValue(valueSize))
}

// runTry is a client's part of a try: its callers call before, during and after
// the fault that the order announces.
func runTry(ctx context.Context, r *round) (figures, error) {
	if r.fault.IsZero() {
		return nil, settle(ctx, r)
	}
	callers := make([]tryCaller, r.callers)
	var calling sync.WaitGroup
	var errs = make([]error, r.callers)
	keys := newKeys("failover/", failoverKeys)
	for i := range callers {
		callers[i] = tryCaller{
			load: r.load, keys: keys[i:],
			fault: r.fault, ends: r.fault.Add(r.length), givesUp: r.fault.Add(max(r.length, r.scale.Patience)),
		}
		calling.Go(func() { errs[i] = callers[i].run(ctx) })
	}
	calling.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	out := figures{figWait: 0, figCalls: 0, figFailed: 0, figSlow: 0}
	for i := range callers {
		c := &callers[i]
		out[figWait] = max(out[figWait], milliseconds(c.wait))
		out[figSlow] = max(out[figSlow], milliseconds(c.slowest))
		out[figCalls] += float64(c.calls)
		out[figFailed] += float64(c.failed)
	}
	return out, nil
}

// settle calls until the client has a connection to the victim, so that the fault
// hits a connection in use.
func settle(ctx context.Context, r *round) error {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	key := newKeys("failover/", 1)[0]
	for began := time.Now(); ; {
		if err := r.load.get(ctx, key); err != nil {
			return err
		}
		connections, known := connectionsTo(r.victim)
		if connections > 0 || !known && time.Since(began) > time.Second {
			return nil
		}
		time.Sleep(callPace)
	}
}

// tryCaller is one caller in one try.
type tryCaller struct {
	load                 load
	keys                 []string
	fault, ends, givesUp time.Time

	last          time.Time // last success after the fault; zero without one
	wait, slowest time.Duration
	calls, failed int
}

// run calls until the try ends, or longer without a success by then. It returns an
// error only if a call failed before the fault.
func (c *tryCaller) run(ctx context.Context) error {
	for i := 0; ; i++ {
		end := c.ends
		if c.last.IsZero() {
			end = c.givesUp
		}
		began := time.Now()
		if !began.Before(end) {
			return nil
		}
		deadline := began.Add(callLimit)
		if end.Before(deadline) {
			deadline = end
		}
		callCtx, cancel := context.WithDeadline(ctx, deadline)
		err := c.load.get(callCtx, c.keys[i%len(c.keys)])
		cancel()
		ended := time.Now()
		switch {
		case ended.After(c.fault):
			c.count(began, ended, err, err != nil && !ended.Before(end))
		case err != nil:
			return err
		}
		time.Sleep(callPace)
	}
}

// count counts a call that ended after the fault. A call cut short by the end of
// the try counts only towards the wait.
func (c *tryCaller) count(began, ended time.Time, err error, cut bool) {
	c.wait = max(c.wait, ended.Sub(later(c.fault, c.last)))
	switch {
	case cut:
	case err != nil:
		c.calls++
		c.failed++
	default:
		c.calls++
		c.slowest = max(c.slowest, ended.Sub(later(c.fault, began)))
		c.last = ended
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func milliseconds(d time.Duration) float64 { return float64(d) / 1e6 }
