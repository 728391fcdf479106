package etcdotel

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	nometric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	notrace "go.opentelemetry.io/otel/trace/noop"

	"silly.store/etcd"
)

// Config says where spans and metrics go. The zero value uses OpenTelemetry's global
// providers and propagator.
type Config struct {
	// Traces provides the tracer; nil means the global provider. Use the noop package's for
	// metrics alone: then spans cost nothing.
	Traces trace.TracerProvider
	// Metrics provides the meter; nil means the global provider. Use the noop package's for
	// traces alone: then metrics cost nothing.
	Metrics metric.MeterProvider
	// Propagator writes the context of a span into requests; nil means the global one.
	Propagator propagation.TextMapPropagator
	// Key turns a key into the attribute etcd.key of its span; nil means no attribute.
	// Keys may be secret.
	Key func(key string) string
}

const scope = "silly.store/etcd/otel"

// Hooks returns hooks for [etcd.Config.Hooks]. Join them with others by [etcd.JoinHooks].
// Several clients may share the same hooks. The error is that of a meter that cannot make
// an instrument.
func Hooks(config Config) (etcd.Hooks, error) {
	if config.Traces == nil {
		config.Traces = otel.GetTracerProvider()
	}
	if config.Metrics == nil {
		config.Metrics = otel.GetMeterProvider()
	}
	if config.Propagator == nil {
		config.Propagator = otel.GetTextMapPropagator()
	}
	var spans, measurements etcd.Hooks
	if _, off := config.Traces.(notrace.TracerProvider); !off {
		spans = newTracer(&config).hooks()
	}
	if _, off := config.Metrics.(nometric.MeterProvider); !off {
		m, err := newMeter(config.Metrics.Meter(scope))
		if err != nil {
			return etcd.Hooks{}, err
		}
		measurements = m.hooks()
	}
	return etcd.JoinHooks(spans, measurements), nil
}

// background is the context of measurements that belong to no call.
var background = context.Background()
