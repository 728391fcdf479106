package main

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"silly.store/etcd"
)

// round is one measured round of one client, the argument of row.run.
type round struct {
	load      load
	client    string        // for further loads
	coalesce  etcd.Coalesce // likewise
	target    target
	callers   int
	length    time.Duration
	scale     scale
	serverPID []int
	victim    string    // see order
	began     time.Time // see order
	fault     time.Time // see order

	hists []*histogram // kept from round to round; callers share them (see maxHistograms)
	state any          // the row's own, kept from round to round
}

// operation is what one caller repeats.
type operation struct {
	do    func(ctx context.Context, seq int) error
	after func() error // runs after each, outside its latency; may be nil
	least int          // a caller's minimum however short the round; 0 means 1
}

// maxHistograms is how many histograms a round has at most. One for each of 256 callers are
// more than a CPU's cache: to count an operation then costs a tenth of a coalesced Get.
const maxHistograms = 16

// timed runs one goroutine per caller until the round's time is over and measures
// them. It calls newOp once per caller, before the clock starts; seq counts the
// caller's operations from 0. Operations that have begun are finished.
func (r *round) timed(ctx context.Context, newOp func(caller int) operation) (figures, error) {
	for len(r.hists) < min(r.callers, maxHistograms) {
		r.hists = append(r.hists, new(histogram))
	}
	for _, h := range r.hists {
		h.reset()
	}
	var (
		start  = make(chan struct{})
		done   sync.WaitGroup
		ends   time.Time // written before start is closed
		rates  = make([]float64, r.callers)
		opErrs = make([]error, r.callers)
	)
	for caller := range r.callers {
		op, h := newOp(caller), r.hists[caller%maxHistograms]
		// Each caller has its own context, as a request would: a shared one
		// would add a lock that all callers contend for.
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		done.Go(func() {
			defer cancel()
			<-start
			rates[caller], opErrs[caller] = repeat(ctx, op, h, ends)
		})
	}
	out, err := r.measure(func() (int64, error) {
		ends = time.Now().Add(r.length)
		close(start)
		done.Wait()
		var ops int64
		for _, h := range r.hists {
			ops += h.total()
		}
		return ops, cmp.Or(opErrs...)
	})
	if err != nil {
		return nil, err
	}
	// The sum of the callers' own rates: ops over the whole time would include the
	// end of the round, when some have stopped and others wait for their last answer.
	out[figOps] = 0
	for _, rate := range rates {
		out[figOps] += rate
	}
	r.latencies(out)
	return out, nil
}

// latencies adds the figures of all histograms.
func (r *round) latencies(out figures) {
	all := new(histogram)
	for _, h := range r.hists {
		all.add(h)
	}
	out[figP50] = all.quantile(0.50) / 1e3
	out[figP99] = all.quantile(0.99) / 1e3
}

// repeat is the measured loop: one reading of the clock per operation, no lock
// and no allocation. It returns the caller's operations per second.
func repeat(ctx context.Context, op operation, h *histogram, ends time.Time) (float64, error) {
	start := time.Now()
	began := start
	for seq := 0; ; seq++ {
		if err := op.do(ctx, seq); err != nil {
			return 0, err
		}
		now := time.Now()
		h.record(now.Sub(began))
		if op.after != nil {
			if err := op.after(); err != nil {
				return 0, err
			}
			now = time.Now()
		}
		if seq+1 >= op.least && !now.Before(ends) {
			return float64(seq+1) / now.Sub(start).Seconds(), nil
		}
		began = now
	}
}

// measure takes the figures of f, which returns its number of operations. It
// collects the heap first, so that no round pays for the previous one.
func (r *round) measure(f func() (int64, error)) (figures, error) {
	runtime.GC()
	before, err := r.readUsage()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	ops, err := f()
	took := time.Since(began)
	if err != nil {
		return nil, err
	}
	after, err := r.readUsage()
	if err != nil {
		return nil, err
	}
	if ops == 0 {
		return nil, errors.New("the round did no operation")
	}
	out := figures{figOps: float64(ops) / took.Seconds()}
	for name, end := range after {
		if begin, ok := before[name]; ok {
			out[name] = (end - begin) / float64(ops)
		}
	}
	return out, nil
}

// readUsage reads the running totals of both sides, in the units of the figures
// that they become.
func (r *round) readUsage() (figures, error) {
	out := make(figures, 4)
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	out[figAllocs] = float64(mem.Mallocs)
	out[figBytes] = float64(mem.TotalAlloc)
	if len(r.serverPID) > 0 {
		var sum time.Duration
		var err error
		for _, pid := range r.serverPID {
			var d time.Duration
			if d, err = processCPU(pid); err != nil {
				break
			}
			sum += d
		}
		switch {
		case err == nil:
			out[figServerCPU] = float64(sum) / 1e3
		case !errors.Is(err, errors.ErrUnsupported):
			return nil, err
		}
	}
	if d, ok := clientCPU(); ok {
		out[figClientCPU] = float64(d) / 1e3
	}
	return out, nil
}
