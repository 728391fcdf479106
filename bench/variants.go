package main

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"
	notrace "go.opentelemetry.io/otel/trace/noop"

	"silly.store/etcd"
	etcdotel "silly.store/etcd/otel"
	etcdprom "silly.store/etcd/prom"
)

// variant is what a row measures the cost of: something of our client that is off by
// default. The zero value is the client as it is.
type variant struct {
	namespace string
	hooks     func() (etcd.Hooks, error)
}

// The variants, as a job names them.
const (
	insideName  = "ours, in a namespace"
	hookedName  = "ours, with an empty hook"
	metricsName = "ours, with metrics"
	metersName  = "ours, with OpenTelemetry's metrics"
	sampledName = "ours, with one trace in a hundred"
	tracedName  = "ours, with traces"
)

var variants = map[string]variant{
	insideName:  {namespace: "key/"},
	hookedName:  {hooks: emptyHook},
	metricsName: {hooks: func() (etcd.Hooks, error) { return etcdprom.Hooks(prometheus.NewRegistry()) }},
	metersName:  {hooks: meters},
	sampledName: {hooks: func() (etcd.Hooks, error) { return traces(trace.TraceIDRatioBased(0.01)) }},
	tracedName:  {hooks: func() (etcd.Hooks, error) { return traces(trace.AlwaysSample()) }},
}

func emptyHook() (etcd.Hooks, error) {
	return etcd.Hooks{
		Call: func(ctx context.Context, _ etcd.CallInfo) (context.Context, func(etcd.CallResult)) { return ctx, nil },
	}, nil
}

// meters measures as OpenTelemetry's SDK does. Nobody reads it.
func meters() (etcd.Hooks, error) {
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	return etcdotel.Hooks(etcdotel.Config{Metrics: provider, Traces: notrace.NewTracerProvider()})
}

// traces makes spans as a program in production does, in batches, and throws them away
// where that would send them: the exporter's cost is not this client's.
func traces(sampler trace.Sampler) (etcd.Hooks, error) {
	provider := trace.NewTracerProvider(trace.WithSampler(sampler), trace.WithBatcher(discard{}))
	return etcdotel.Hooks(etcdotel.Config{Traces: provider, Metrics: noop.NewMeterProvider(), Propagator: propagation.TraceContext{}})
}

// discard is an exporter to nowhere.
type discard struct{}

func (discard) ExportSpans(context.Context, []trace.ReadOnlySpan) error { return nil }
func (discard) Shutdown(context.Context) error                          { return nil }
