package etcdotel

import (
	"cmp"
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"silly.store/etcd"
)

// meter has the instruments.
type meter struct {
	call, attempt, lag, margin                             metric.Float64Histogram
	retries, hedges, unknown, events, resumes, lost, joint metric.Int64Counter
	connections                                            metric.Int64UpDownCounter

	// What is measured of successes, by method and by attempt.
	succeeded *known[string, []metric.RecordOption]
	answered  *known[attemptOf, []metric.RecordOption]
}

// seconds are the buckets of the database convention.
var seconds = metric.WithExplicitBucketBoundaries(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)

func newMeter(in metric.Meter) (*meter, error) {
	var first error
	histogram := func(name, description string, buckets metric.HistogramOption) metric.Float64Histogram {
		h, err := in.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description), buckets)
		first = cmp.Or(first, err)
		return h
	}
	counter := func(name, unit, description string) metric.Int64Counter {
		c, err := in.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		first = cmp.Or(first, err)
		return c
	}
	m := &meter{
		call:    histogram("db.client.operation.duration", "How long calls take, with all their attempts.", seconds),
		attempt: histogram("etcd.client.attempt.duration", "How long attempts take.", seconds),
		lag:     histogram("etcd.client.watch.lag", "How long events wait in the client for their reader.", seconds),
		margin:  histogram("etcd.client.lease.margin", "How long before a lease's deadline the answer to a renewal comes.", metric.WithExplicitBucketBoundaries(0.5, 1, 2, 5, 10, 20, 30, 60)),
		retries: counter("etcd.client.retries", "{retry}", "Pauses before another attempt."),
		hedges:  counter("etcd.client.hedges", "{attempt}", "Reads that went to a second member."),
		unknown: counter("etcd.client.maybe_applied", "{call}", "Failed writes that may have been applied."),
		events:  counter("etcd.client.watch.events", "{event}", "Events that readers of watches have received."),
		resumes: counter("etcd.client.watch.resumes", "{watch}", "Watches that a member serves again."),
		lost:    counter("etcd.client.leases.lost", "{lease}", "Leases that ended otherwise than by this client."),
		joint:   counter("etcd.client.batched_calls", "{call}", "Calls that have shared a request."),

		succeeded: newKnown(func(op string) []metric.RecordOption {
			return []metric.RecordOption{named(ofCall(op, nil)...)}
		}),
		answered: newKnown(func(a attemptOf) []metric.RecordOption {
			return []metric.RecordOption{named(ofAttempt(a, nil)...)}
		}),
	}
	var err error
	m.connections, err = in.Int64UpDownCounter("db.client.connection.count", metric.WithUnit("{connection}"), metric.WithDescription("Connections that are up."))
	return m, cmp.Or(first, err)
}

func (m *meter) hooks() etcd.Hooks {
	return etcd.Hooks{
		Call: m.calls, Attempt: m.attempts,
		Retry: func(r etcd.RetryInfo) { m.retries.Add(background, 1, named(operationName.String(r.Op))) },
		Connected: func(c etcd.ConnectInfo) {
			if c.Err == nil {
				m.connections.Add(background, 1, inUse(c.Purpose))
			}
		},
		Disconnected: func(d etcd.DisconnectInfo) { m.connections.Add(background, -1, inUse(d.Purpose)) },
		WatchDelivered: func(d etcd.WatchDeliverInfo) {
			m.events.Add(background, int64(d.Events))
			m.lag.Record(background, d.Lag.Seconds())
		},
		WatchResumed: func(etcd.WatchResumeInfo) { m.resumes.Add(background, 1) },
		LeaseLost:    func(etcd.LeaseLossInfo) { m.lost.Add(background, 1) },
		LeaseRenewed: func(r etcd.LeaseRenewInfo) { m.margin.Record(background, r.Margin.Seconds()) },
	}
}

func (m *meter) calls(ctx context.Context, info etcd.CallInfo) (context.Context, func(etcd.CallResult)) {
	ok := m.succeeded.of(info.Op)
	return ctx, func(r etcd.CallResult) {
		if r.Err == nil {
			m.call.Record(ctx, r.Duration.Seconds(), ok...)
			return
		}
		m.call.Record(ctx, r.Duration.Seconds(), named(append(ofCall(info.Op, r.Err), errorType.String(typeOf(r.Err)))...))
		if etcd.MaybeApplied(r.Err) {
			m.unknown.Add(ctx, 1, named(operationName.String(info.Op)))
		}
	}
}

// ofCall are the attributes of a call.
func ofCall(op string, err *etcd.Error) []attribute.KeyValue {
	return []attribute.KeyValue{system.String("etcd"), operationName.String(operation(op)), statusCode.String(code(err).String())}
}

func (m *meter) attempts(ctx context.Context, a etcd.AttemptInfo) func(etcd.AttemptResult) {
	if a.Hedge {
		m.hedges.Add(ctx, 1, named(operationName.String(a.Op)))
	}
	if a.Calls > 1 {
		m.joint.Add(ctx, int64(a.Calls), named(operationName.String(a.Op)))
	}
	return func(r etcd.AttemptResult) {
		of := attemptOf{method: a.Method, endpoint: a.Endpoint}
		if r.Err == nil {
			m.attempt.Record(ctx, r.Duration.Seconds(), m.answered.of(of)...)
			return
		}
		m.attempt.Record(ctx, r.Duration.Seconds(), named(ofAttempt(of, r.Err)...))
	}
}

// ofAttempt are the attributes of an attempt.
func ofAttempt(a attemptOf, err *etcd.Error) []attribute.KeyValue {
	return append(serverAttributes(a.endpoint), rpcMethod.String(a.method), rpcStatus.String(code(err).String()))
}

func named(attrs ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributes(attrs...)
}

// inUse are the attributes of a connection. The client keeps none that is idle.
func inUse(purpose etcd.Purpose) metric.MeasurementOption {
	return named(attribute.String("db.client.connection.state", "used"), attribute.String("etcd.purpose", string(purpose)))
}
