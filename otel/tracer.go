package etcdotel

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"silly.store/etcd"
)

// The attributes, by the conventions for databases and RPC where these have a name.
const (
	system        = attribute.Key("db.system.name")
	operationName = attribute.Key("db.operation.name")
	batchSize     = attribute.Key("db.operation.batch.size")
	returnedRows  = attribute.Key("db.response.returned_rows")
	statusCode    = attribute.Key("db.response.status_code")
	errorType     = attribute.Key("error.type")
	serverAddress = attribute.Key("server.address")
	serverPort    = attribute.Key("server.port")
	rpcSystem     = attribute.Key("rpc.system.name")
	rpcMethod     = attribute.Key("rpc.method")
	rpcStatus     = attribute.Key("rpc.response.status_code")
	outcome       = attribute.Key("etcd.outcome")
	attemptCount  = attribute.Key("etcd.attempts")
	revision      = attribute.Key("etcd.revision")
	hedge         = attribute.Key("etcd.hedge")
	shared        = attribute.Key("etcd.shared")
	keyOf         = attribute.Key("etcd.key")
)

// tracer makes spans.
type tracer struct {
	trace.Tracer
	propagator propagation.TextMapPropagator
	key        func(string) string
}

func newTracer(config *Config) *tracer {
	return &tracer{config.Traces.Tracer(scope), config.Propagator, config.Key}
}

func (t *tracer) hooks() etcd.Hooks { return etcd.Hooks{Call: t.call, Attempt: t.attempt} }

func (t *tracer) call(ctx context.Context, info etcd.CallInfo) (context.Context, func(etcd.CallResult)) {
	ctx, span := t.Start(ctx, operation(info.Op), trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(system.String("etcd"), operationName.String(operation(info.Op))))
	if !span.IsRecording() {
		return ctx, func(etcd.CallResult) { span.End() }
	}
	if info.Op == "Batch" && info.Operations > 1 {
		span.SetAttributes(batchSize.Int(info.Operations))
	}
	if t.key != nil && info.Key != "" {
		span.SetAttributes(keyOf.String(t.key(info.Key)))
	}
	return ctx, func(r etcd.CallResult) { endCall(span, r) }
}

// operation is what the conventions call a method.
func operation(op string) string {
	if op == "Batch" {
		return "BATCH"
	}
	return op
}

func endCall(span trace.Span, r etcd.CallResult) {
	span.SetAttributes(attemptCount.Int(r.Attempts), statusCode.String(code(r.Err).String()))
	span.SetAttributes(server(r.Endpoint)...)
	if r.Err == nil {
		span.SetAttributes(revision.Int64(r.Revision), returnedRows.Int(r.Pairs))
	} else {
		span.SetAttributes(outcome.String(r.Err.Outcome.String()))
	}
	fail(span, r.Err)
	span.End()
}

// attempt makes a span below that of the call. Attempts that nobody has a span for, as those
// in the background, have none.
func (t *tracer) attempt(ctx context.Context, a etcd.AttemptInfo) func(etcd.AttemptResult) {
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		rpcSystem.String("grpc"), rpcMethod.String(a.Method), hedge.Bool(a.Hedge))}
	if len(a.Shared) > 0 {
		links := linksTo(a.Shared) //nolint:contextcheck // those of the calls, not the request's
		if links == nil {
			return nil
		}
		options = append(options, trace.WithNewRoot(), trace.WithLinks(links...), trace.WithAttributes(shared.Int(a.Calls)))
	} else if !trace.SpanContextFromContext(ctx).IsValid() {
		return nil
	}
	ctx, span := t.Start(ctx, a.Method, options...)
	t.propagator.Inject(ctx, carrier{a})
	span.SetAttributes(server(a.Endpoint)...)
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

func code(err *etcd.Error) etcd.Code {
	if err == nil {
		return etcd.CodeOK
	}
	return err.Code
}

// sentinels have names that say more than their code.
var sentinels = []struct {
	err  error
	name string
}{
	{context.Canceled, "context.Canceled"}, {context.DeadlineExceeded, "context.DeadlineExceeded"},
	{etcd.ErrInvalidRequest, "ErrInvalidRequest"}, {etcd.ErrClosed, "ErrClosed"}, {etcd.ErrUnavailable, "ErrUnavailable"},
	{etcd.ErrTimeout, "ErrTimeout"}, {etcd.ErrNoLeader, "ErrNoLeader"}, {etcd.ErrLeaderChanged, "ErrLeaderChanged"},
	{etcd.ErrNoSpace, "ErrNoSpace"}, {etcd.ErrCompacted, "ErrCompacted"}, {etcd.ErrFutureRevision, "ErrFutureRevision"},
	{etcd.ErrLeaseNotFound, "ErrLeaseNotFound"}, {etcd.ErrKeyNotFound, "ErrKeyNotFound"}, {etcd.ErrRequestTooLarge, "ErrRequestTooLarge"},
	{etcd.ErrResponseTooLarge, "ErrResponseTooLarge"}, {etcd.ErrTooManyRequests, "ErrTooManyRequests"},
	{etcd.ErrPermissionDenied, "ErrPermissionDenied"}, {etcd.ErrUnauthenticated, "ErrUnauthenticated"}, {etcd.ErrAuthFailed, "ErrAuthFailed"},
	{etcd.ErrForeignCluster, "ErrForeignCluster"}, {etcd.ErrCorrupt, "ErrCorrupt"},
}

// typeOf is error.type: a sentinel's name, or the code's.
func typeOf(err *etcd.Error) string {
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			return s.name
		}
	}
	return err.Code.String()
}

// server is the address of an endpoint, in attributes.
func server(endpoint string) []attribute.KeyValue {
	if endpoint == "" {
		return nil
	}
	if u, err := url.Parse(endpoint); err == nil && u.Host != "" {
		endpoint = u.Host
	}
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		return []attribute.KeyValue{serverAddress.String(endpoint)}
	}
	n, _ := strconv.Atoi(port)
	return []attribute.KeyValue{serverAddress.String(host), serverPort.Int(n)}
}
