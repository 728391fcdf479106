package etcdotel_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	nometric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	notrace "go.opentelemetry.io/otel/trace/noop"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/internal/leaktest"
	etcdotel "silly.store/etcd/otel"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// traced is a client of the endpoints whose spans are recorded.
func traced(t *testing.T, config etcd.Config) (*etcd.Client, *tracetest.SpanRecorder, trace.Tracer) {
	t.Helper()
	spans := tracetest.NewSpanRecorder()
	limits := sdktrace.NewSpanLimits()
	limits.LinkCountLimit = 1000 // as many as may share a request, and more
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans), sdktrace.WithRawSpanLimits(limits))
	hooks, err := etcdotel.Hooks(etcdotel.Config{Traces: provider, Propagator: propagation.TraceContext{}})
	if err != nil {
		t.Fatal(err)
	}
	config.Hooks, config.Logger = hooks, slog.New(slog.NewTextHandler(t.Output(), nil))
	c, err := etcd.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, spans, provider.Tracer("test")
}

// attr is the value of a span's attribute.
func attr(s sdktrace.ReadOnlySpan, key string) string {
	for _, kv := range s.Attributes() {
		if string(kv.Key) == key {
			return kv.Value.String()
		}
	}
	return ""
}

// otlp is a receiver of spans.
type otlp struct {
	collector.UnimplementedTraceServiceServer
	mu     sync.Mutex                              // guards the field below
	traces map[trace.TraceID]map[trace.SpanID]bool // the parents of a trace's spans
}

func (o *otlp) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, resource := range req.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				id := trace.TraceID(s.GetTraceId())
				if o.traces[id] == nil {
					o.traces[id] = make(map[trace.SpanID]bool)
				}
				if len(s.GetParentSpanId()) == 8 {
					o.traces[id][trace.SpanID(s.GetParentSpanId())] = true
				}
			}
		}
	}
	return new(collector.ExportTraceServiceResponse), nil
}

// has reports whether a span of etcd's has that parent.
func (o *otlp) has(parent trace.SpanContext) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.traces[parent.TraceID()][parent.SpanID()]
}

// tracingEtcd is an etcd that traces every request, and what receives its spans.
func tracingEtcd(t *testing.T) (*etcdtest.Server, *otlp) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o, s := &otlp{traces: make(map[trace.TraceID]map[trace.SpanID]bool)}, grpc.NewServer()
	collector.RegisterTraceServiceServer(s, o)
	served := make(chan struct{})
	go func() { defer close(served); _ = s.Serve(listener) }()
	t.Cleanup(func() { s.Stop(); <-served })
	return etcdtest.StartProcess(t, etcdtest.Config{Args: []string{
		"--enable-distributed-tracing", "--distributed-tracing-address=" + listener.Addr().String(), "--distributed-tracing-sampling-rate=1000000",
	}}), o
}

// A trace goes from a web handler through a retry into etcd's own span.
func TestTraceReachesEtcd(t *testing.T) {
	t.Parallel()
	server, received := tracingEtcd(t)
	p := etcdtest.StartProxy(t, server.Endpoints()[0])
	c, spans, tracer := traced(t, etcd.Config{Endpoints: []string{p.Endpoint()}, Retry: 20, RetrySleep: 20 * time.Millisecond})
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	var root trace.SpanContext
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, span := tracer.Start(r.Context(), "GET /")
		defer span.End()
		root = span.SpanContext()
		p.CutAfter(etcdtest.ToClient, 1) // the answer is cut: the read is sent again
		if _, err := c.Get(ctx, etcd.GetRequest{Key: "k"}); err != nil {
			t.Error(err)
		}
	}))
	defer web.Close()
	resp, err := web.Client().Get(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()

	var call sdktrace.ReadOnlySpan
	var attempts []sdktrace.ReadOnlySpan
	for _, s := range spans.Ended() {
		switch {
		case s.SpanContext().TraceID() != root.TraceID():
		case s.Name() == "Get":
			call = s
		case s.Name() == "etcdserverpb.KV/Range":
			attempts = append(attempts, s)
		}
	}
	if call == nil || call.Parent().SpanID() != root.SpanID() || call.Status().Code == otelcodes.Error {
		for _, s := range spans.Ended() {
			t.Log(s.Name(), s.SpanContext().TraceID(), s.Parent().SpanID(), s.Status())
		}
		t.Fatalf("the call is %+v, root %v", call, root.TraceID())
	}
	for key, want := range map[string]string{
		"db.system.name": "etcd", "db.operation.name": "Get", "db.response.status_code": "OK", "etcd.attempts": "2", "server.address": "127.0.0.1",
	} {
		if got := attr(call, key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if len(attempts) != 2 || attempts[0].Status().Code != otelcodes.Error || attr(attempts[0], "error.type") == "" || attempts[1].Status().Code == otelcodes.Error {
		t.Fatalf("%d attempts: %+v", len(attempts), attempts)
	}
	for _, a := range attempts {
		if a.Parent().SpanID() != call.SpanContext().SpanID() {
			t.Error("an attempt is not below its call")
		}
	}
	for end := time.Now().Add(20 * time.Second); !received.has(attempts[1].SpanContext()); <-time.After(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("etcd has no span below the attempt's")
		}
	}
}

// The end of a context is no error, an unknown outcome is said, and nothing names a key.
func TestSpansOfFailures(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	p := etcdtest.StartProxy(t, s.Endpoints()[0])
	c, spans, _ := traced(t, etcd.Config{Endpoints: []string{p.Endpoint()}, Retry: -1})
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	direct, err := etcd.New(etcd.Config{Endpoints: s.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = direct.Close() }()
	p.Set(etcdtest.ToClient, etcdtest.Fault{Discard: true})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := c.Put(ctx, etcd.PutRequest{Key: "secret"}); done <- err }()
	// The span of an attempt begins before its bytes leave, so the server tells that they have.
	for applied := false; !applied; <-time.After(time.Millisecond) {
		resp, err := direct.Get(t.Context(), etcd.GetRequest{Key: "secret", CountOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		applied = resp.Count > 0
	}
	cancel()
	if err := <-done; err == nil {
		t.Fatal("the put has succeeded")
	}
	for _, s := range spans.Ended() {
		if s.Name() != "Put" {
			continue
		}
		if s.Status().Code == otelcodes.Error || attr(s, "error.type") != "context.Canceled" || attr(s, "etcd.outcome") != "unknown" {
			t.Errorf("status %v, %v", s.Status(), s.Attributes())
		}
		for _, kv := range s.Attributes() {
			if kv.Value.Type() == attribute.STRING && kv.Value.AsString() == "secret" {
				t.Errorf("%s names the key", kv.Key)
			}
		}
	}
}

// A request that calls share is a separate trace, with links to theirs.
func TestSharedRequestsLink(t *testing.T) {
	t.Parallel()
	c, spans, _ := traced(t, etcd.Config{Endpoints: etcdtest.Start(t).Endpoints()})
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			if _, err := c.Get(t.Context(), etcd.GetRequest{Key: "k"}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	linked := 0
	for _, s := range spans.Ended() {
		if len(s.Links()) > 1 {
			linked += len(s.Links())
			if s.Parent().IsValid() || s.SpanContext().TraceID() == s.Links()[0].SpanContext.TraceID() {
				t.Error("a shared attempt is below one of its calls")
			}
		}
	}
	if shared := c.Stats().BatchedCalls; int64(linked) != shared || shared == 0 {
		t.Errorf("%d links of %d calls that have shared", linked, shared)
	}
}

// A provider of the noop packages switches its half off.
func TestHalves(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config            etcdotel.Config
		attempts, retries bool
	}{
		"both":    {etcdotel.Config{}, true, true},
		"traces":  {etcdotel.Config{Metrics: nometric.NewMeterProvider()}, true, false},
		"metrics": {etcdotel.Config{Traces: notrace.NewTracerProvider()}, true, true},
		"nothing": {etcdotel.Config{Traces: notrace.NewTracerProvider(), Metrics: nometric.NewMeterProvider()}, false, false},
	} {
		hooks, err := etcdotel.Hooks(test.config)
		if err != nil {
			t.Fatal(err)
		}
		if (hooks.Attempt != nil) != test.attempts || (hooks.Call != nil) != test.attempts || (hooks.Retry != nil) != test.retries {
			t.Errorf("%s: %+v", name, hooks)
		}
	}
}
