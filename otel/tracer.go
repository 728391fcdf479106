package etcdotel

import (
	"context"
	"errors"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"silly.store/etcd"
)

// tracer makes spans.
type tracer struct {
	trace.Tracer
	propagator propagation.TextMapPropagator
	key        func(string) string

	calls    *known[string, []trace.SpanStartOption] // by method
	attempts *known[attemptOf, []trace.SpanStartOption]
	servers  *known[string, []attribute.KeyValue] // by endpoint
}

// attemptOf is what the spans of alike attempts have in common.
type attemptOf struct {
	method, endpoint string
	hedge            bool
}

func newTracer(config *Config) *tracer {
	return &tracer{
		Tracer: config.Traces.Tracer(scope), propagator: config.Propagator, key: config.Key,
		calls: newKnown(func(op string) []trace.SpanStartOption {
			return clientSpan(system.String("etcd"), operationName.String(operation(op)))
		}),
		attempts: newKnown(func(a attemptOf) []trace.SpanStartOption {
			return clientSpan(append(serverAttributes(a.endpoint), rpcSystem.String("grpc"), rpcMethod.String(a.method), hedge.Bool(a.hedge))...)
		}),
		servers: newKnown(serverAttributes),
	}
}

// clientSpan are the options of a span. Their slice has no room, so that appending to it
// copies it.
func clientSpan(attrs ...attribute.KeyValue) []trace.SpanStartOption {
	return slices.Clip([]trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attrs...)})
}

func (t *tracer) hooks() etcd.Hooks { return etcd.Hooks{Call: t.call, Attempt: t.attempt} }

func (t *tracer) call(ctx context.Context, info etcd.CallInfo) (context.Context, func(etcd.CallResult)) {
	ctx, span := t.Start(ctx, operation(info.Op), t.calls.of(info.Op)...)
	if !span.IsRecording() { // its end is nothing either
		return ctx, nil
	}
	if info.Op == "Batch" && info.Operations > 1 {
		span.SetAttributes(batchSize.Int(info.Operations))
	}
	if t.key != nil && info.Key != "" {
		span.SetAttributes(keyOf.String(t.key(info.Key)))
	}
	return ctx, func(r etcd.CallResult) { t.endCall(span, &r) }
}

// operation is what the conventions call a method.
func operation(op string) string {
	if op == "Batch" {
		return "BATCH"
	}
	return op
}

func (t *tracer) endCall(span trace.Span, r *etcd.CallResult) {
	attrs := append(make([]attribute.KeyValue, 0, 8), attemptCount.Int(r.Attempts), statusCode.String(code(r.Err).String()))
	attrs = append(attrs, t.servers.of(r.Endpoint)...)
	if r.Err == nil {
		attrs = append(attrs, revision.Int64(r.Revision), returnedRows.Int(r.Pairs))
	} else {
		attrs = append(attrs, outcome.String(r.Err.Outcome.String()))
	}
	span.SetAttributes(attrs...)
	fail(span, r.Err)
	span.End()
}

// attempt makes a span below that of the call. Attempts that nobody has a span for, as those
// in the background, have none, and neither do those of calls that are not sampled: these
// only carry on the identity.
func (t *tracer) attempt(ctx context.Context, a etcd.AttemptInfo) func(etcd.AttemptResult) {
	options := t.attempts.of(attemptOf{a.Method, a.Endpoint, a.Hedge})
	if len(a.Shared) > 0 {
		links := linksTo(a.Shared) //nolint:contextcheck // those of the calls, not the request's
		if links == nil {
			return nil
		}
		options = append(options, trace.WithNewRoot(), trace.WithLinks(links...), trace.WithAttributes(shared.Int(a.Calls)))
	} else if parent := trace.SpanFromContext(ctx); !parent.IsRecording() && !parent.SpanContext().IsSampled() {
		if parent.SpanContext().IsValid() {
			t.propagator.Inject(ctx, carrier{a})
		}
		return nil
	}
	ctx, span := t.Start(ctx, a.Method, options...)
	t.propagator.Inject(ctx, carrier{a})
	return func(r etcd.AttemptResult) {
		span.SetAttributes(rpcStatus.String(code(r.Err).String()))
		fail(span, r.Err)
		span.End()
	}
}

// linksTo are links to the spans of calls that are recorded.
func linksTo(all []context.Context) (links []trace.Link) {
	for _, ctx := range all {
		if sc := trace.SpanContextFromContext(ctx); sc.IsSampled() {
			links = append(links, trace.Link{SpanContext: sc})
		}
	}
	return links
}

// carrier writes into the headers of a request.
type carrier struct{ a etcd.AttemptInfo }

func (c carrier) Get(string) string { return "" }
func (c carrier) Keys() []string    { return nil }

// Set leaves out what does not fit: a request without its trace is better than none.
func (c carrier) Set(name, value string) { _ = c.a.SetHeader(strings.ToLower(name), value) }

// fail says why a span has failed. A context that has ended is no fault of anything.
func fail(span trace.Span, err *etcd.Error) {
	if err == nil {
		return
	}
	span.SetAttributes(errorType.String(typeOf(err)))
	if !errors.Is(err, context.Canceled) {
		span.SetStatus(otelcodes.Error, err.Message)
	}
}
