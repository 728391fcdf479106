package scenario

import (
	"runtime"
	"runtime/metrics"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/robustness/internal/history"
	"silly.store/etcd/robustness/internal/live"
	"silly.store/etcd/robustness/internal/store"
)

// lately is how many seconds the recent figures cover.
const lately = 5

// meter counts what a soak does, for the live view. A nil meter counts nothing.
type meter struct {
	delivered atomic.Int64 // events

	mu      sync.Mutex // guards the fields below
	figures live.Figures
	seconds [lately + 1]second
	began   time.Time // when the time under faults began; zero before
	fault   time.Time // when the current one began
	leases  map[*heldLease]bool
	broad   []*keptWatch // watches of every key that are being read
	oracle  *oracle
	now     func() int64
}

// second is one second of calls.
type second struct {
	at     int64 // which one, as Unix time
	took   []time.Duration
	failed int
}

// call counts a call that has ended.
func (m *meter) call(c *history.Call, s store.Store, err error) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	sec := m.secondLocked(time.Now())
	m.figures.Calls++
	if err == nil {
		sec.took = append(sec.took, time.Duration(c.Ended-c.Began))
		return
	}
	sec.failed++
	switch s.Outcome(err) {
	case etcd.OutcomeNotSent:
		m.figures.NotSent++
	case etcd.OutcomeRejected:
		m.figures.Rejected++
	default:
		m.figures.Unknown++
	}
}

// events counts what a watch has delivered.
func (m *meter) events(n int) {
	if m != nil {
		m.delivered.Add(int64(n))
	}
}

// secondLocked returns the current second, emptied when it begins.
func (m *meter) secondLocked(now time.Time) *second {
	at := now.Unix()
	s := &m.seconds[at%int64(len(m.seconds))]
	if s.at != at {
		*s = second{at: at, took: s.took[:0]}
	}
	return s
}

// change lets f change the figures.
func (m *meter) change(f func(*live.Figures)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(&m.figures)
}

// start records the begin of the time under faults.
func (m *meter) start() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.began = time.Now()
}

// reads records which watches of every key are read from now on.
func (m *meter) reads(watches []*keptWatch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broad = watches
}

// faulty records the current fault, "" for none.
func (m *meter) faulty(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.figures.Fault, m.fault = name, time.Now()
	if name != "" {
		m.figures.Faults++
	}
}

// lost counts a lease whose loss was reported.
func (m *meter) lost() { m.change(func(f *live.Figures) { f.Lost++ }) }

// hold records that a lease is held, or that it is over.
func (m *meter) hold(l *heldLease, held bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if held {
		m.leases[l] = true
	} else {
		delete(m.leases, l)
	}
}

// look returns the current figures.
func (m *meter) look() live.Figures {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.figures
	f.Events = int(m.delivered.Load())
	if !m.began.IsZero() {
		f.Elapsed = min(now.Sub(m.began), f.Total)
	}
	if f.Fault != "" {
		f.FaultFor = now.Sub(m.fault)
	}
	m.latelyLocked(&f, now)
	f.Leases, f.Margin, f.Margins = m.marginLocked(now)
	f.Behind, f.Lag = m.lagLocked()
	f.Heap, f.Goroutines = heapInUse(), runtime.NumGoroutine()
	return f
}

// latelyLocked sums up the recent whole seconds.
func (m *meter) latelyLocked(f *live.Figures, now time.Time) {
	var took []time.Duration
	for i := range m.seconds {
		if s := &m.seconds[i]; s.at < now.Unix() && s.at >= now.Unix()-lately {
			took = append(took, s.took...)
			f.Failing += s.failed
		}
	}
	f.Rate = float64(len(took)) / lately
	if len(took) > 0 {
		slices.Sort(took)
		f.P50, f.P99 = took[len(took)/2], took[len(took)*99/100]
	}
}

// marginLocked returns the number of leases and the least time left of any.
func (m *meter) marginLocked(now time.Time) (n int, least time.Duration, ok bool) {
	for l := range m.leases {
		if deadline := l.lease.Deadline(); !deadline.IsZero() {
			if left := max(deadline.Sub(now), 0); !ok || left < least {
				least, ok = left, true
			}
		}
	}
	return len(m.leases), least, ok
}

// lagLocked returns by how many revisions and how much time the slowest watch of
// every key lags behind the oracles.
func (m *meter) lagLocked() (behind int64, lag time.Duration) {
	for _, k := range m.broad {
		at := k.at.Load()
		if at == 0 {
			continue // not confirmed yet
		}
		n, since := m.oracle.behind(at)
		behind = max(behind, n)
		if since > 0 {
			lag = max(lag, time.Duration(m.now()-since))
		}
	}
	return behind, lag
}

// heapInUse returns the bytes of the objects on the heap, including dead ones until
// they are collected.
func heapInUse() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
