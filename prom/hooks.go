package etcdprom

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"silly.store/etcd"
)

// durations are the buckets of calls, in seconds.
var durations = []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// margins are the buckets of what was left of a lease, in seconds.
var margins = []float64{0.5, 1, 2, 5, 10, 20, 30, 60}

// writes are the calls whose unknown outcomes are counted from zero on. Prometheus sees no
// increase in a counter that appears as one, so that an alert would miss the first.
var writes = []string{"Put", "Delete", "Txn", "Batch", "Grant", "Revoke"}

// Hooks registers metrics with reg and returns the hooks that feed them, for
// [etcd.Config.Hooks]. Join them with others by [etcd.JoinHooks]. Several clients may
// share the same hooks: the metrics are then those of all of them.
//
// If a metric is registered already, the error names it and wraps reg's: call Hooks once for
// each reg.
func Hooks(reg prometheus.Registerer) (etcd.Hooks, error) {
	m := newMeter()
	for _, c := range []prometheus.Collector{m.calls, m.unknown, m.retries, m.delivered, m.lag, m.stale, m.margin} {
		if err := reg.Register(c); err != nil {
			return etcd.Hooks{}, fmt.Errorf("etcdprom: Hooks: %s: %w", described(c), err)
		}
	}
	for _, op := range writes {
		m.unknown.WithLabelValues(op)
	}
	return etcd.Hooks{
		Call: func(ctx context.Context, info etcd.CallInfo) (context.Context, func(etcd.CallResult)) {
			return ctx, m.of(info.Op).ended
		},
		Retry: func(r etcd.RetryInfo) { m.retries.WithLabelValues(r.Op).Inc() },
		WatchDelivered: func(d etcd.WatchDeliverInfo) {
			m.delivered.Add(float64(d.Events))
			m.lag.Observe(d.Lag.Seconds())
		},
		WatchStale:   func(etcd.WatchStaleInfo) { m.stale.Inc() },
		LeaseRenewed: func(r etcd.LeaseRenewInfo) { m.margin.Observe(r.Margin.Seconds()) },
	}, nil
}

// described is how a metric describes itself, with its name.
func described(c prometheus.Collector) string {
	descs := make(chan *prometheus.Desc, 1) // each of the meter's has one
	c.Describe(descs)
	return (<-descs).String()
}

// meter has the metrics.
type meter struct {
	calls            *prometheus.HistogramVec
	unknown, retries *prometheus.CounterVec
	delivered, stale prometheus.Counter
	lag, margin      prometheus.Histogram
	ops              sync.Map // of *operation, by its name
}

func newMeter() *meter {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "etcd_client_" + name, Help: help})
	}
	byOp := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "etcd_client_" + name, Help: help}, []string{"op"})
	}
	return &meter{
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "etcd_client_operation_duration_seconds", Help: "How long calls take, with all their attempts.", Buckets: durations,
		}, []string{"op", "code"}),
		unknown:   byOp("maybe_applied_total", "Failed writes that may have been applied."),
		retries:   byOp("retries_total", "Pauses before another attempt."),
		delivered: counter("watch_events_total", "Events that readers of watches have received."),
		stale:     counter("watches_stale_total", "Watches that no member has served for 10 seconds."),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "etcd_client_watch_lag_seconds", Help: "How long events wait in the client for their reader.", Buckets: durations,
		}),
		margin: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "etcd_client_lease_margin_seconds", Help: "How long before the lease's deadline the answer to a renewal comes.", Buckets: margins,
		}),
	}
}

// operation is what is known of one kind of call. Its function for the end is made once, so
// that a call allocates nothing.
type operation struct {
	ended func(etcd.CallResult)
	codes [codes]atomic.Pointer[prometheus.Observer]
}

// codes is how many status codes gRPC has.
const codes = 17

func (m *meter) of(op string) *operation {
	if known, ok := m.ops.Load(op); ok {
		return known.(*operation)
	}
	o := new(operation)
	o.ended = func(r etcd.CallResult) {
		var code etcd.Code
		if r.Err != nil {
			code = r.Err.Code
			if etcd.MaybeApplied(r.Err) {
				m.unknown.WithLabelValues(op).Inc()
			}
		}
		o.observer(m, op, code).Observe(r.Duration.Seconds())
	}
	known, _ := m.ops.LoadOrStore(op, o)
	return known.(*operation)
}

func (o *operation) observer(m *meter, op string, code etcd.Code) prometheus.Observer {
	if int(code) >= codes {
		return m.calls.WithLabelValues(op, "Unknown")
	}
	if known := o.codes[code].Load(); known != nil {
		return *known
	}
	observer := m.calls.WithLabelValues(op, code.String())
	o.codes[code].Store(&observer)
	return observer
}
