// Telemetry shows how a web service reports its use of etcd: the trace of a request, from
// the handler through the calls of the client to their attempts, and metrics for Prometheus.
// The spans are printed, where a real program sends them to a collector.
//
//	go run ./examples/telemetry
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"silly.store/etcd"
	"silly.store/etcd/examples/internal/example"
	etcdotel "silly.store/etcd/otel"
	etcdprom "silly.store/etcd/prom"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once

	e, err := example.Start(ctx, os.Stdout, os.Getenv("ETCD_ENDPOINTS"))
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(run(ctx, os.Stdout, e), e.Close()); err != nil {
		log.Fatal(err)
	}
}

// observed makes a client with traces and metrics. A real program gives the batching
// processor and the exporter of its collector to the provider, and may register with
// prometheus.DefaultRegisterer.
func observed(endpoints []string, traces trace.TracerProvider, registry *prometheus.Registry) (*etcd.Client, error) {
	spans, err := etcdotel.Hooks(etcdotel.Config{
		Traces: traces, Metrics: noop.NewMeterProvider(), Propagator: propagation.TraceContext{},
	})
	if err != nil {
		return nil, err
	}
	metrics, err := etcdprom.Hooks(registry)
	if err != nil {
		return nil, err
	}
	c, err := etcd.New(etcd.Config{Endpoints: endpoints, Hooks: etcd.JoinHooks(spans, metrics)})
	if err != nil {
		return nil, err
	}
	if err := registry.Register(etcdprom.New(c)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// run serves a page that reads and counts in etcd, requests it once, and shows the
// resulting trace and metrics.
func run(ctx context.Context, out io.Writer, e *example.Etcd) (err error) {
	traces := sdktrace.NewTracerProvider(sdktrace.WithSyncer(&printer{out}))
	registry := prometheus.NewRegistry()
	c, err := observed(e.Endpoints, traces, registry) //nolint:contextcheck // measurements of connections belong to no call
	if err != nil {
		return err
	}
	defer c.Close()

	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/color", func(w http.ResponseWriter, r *http.Request) {
		ctx, span := traces.Tracer("example").Start(r.Context(), "GET /color", trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		if err := page(ctx, w, c.Namespace(e.Prefix)); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		err = errors.Join(err, server.Close(), traces.Shutdown(ctx))
		<-served
	}()

	url := "http://" + listener.Addr().String()
	fmt.Fprintln(out, "the spans of one request, each after those below it:")
	if _, err := get(ctx, url+"/color"); err != nil {
		return err
	}
	metrics, err := get(ctx, url+"/metrics")
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "\nsome of what Prometheus reads at /metrics:")
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "etcd_client_operation_duration_seconds_count") || strings.HasPrefix(line, "etcd_client_endpoint_up") {
			fmt.Fprint(out, "  ", line)
		}
	}
	return nil
}

// page answers with a color, and counts its requests.
func page(ctx context.Context, w io.Writer, c *etcd.Client) error {
	color, err := c.Get(ctx, etcd.GetRequest{Key: "color"})
	if err != nil {
		return err
	}
	if _, err := c.Put(ctx, etcd.PutRequest{Key: "asked", Value: fmt.Append(nil, time.Now().Unix())}); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%d colors\n", len(color.KVs))
	return err
}

// get requests a page.
func get(ctx context.Context, url string) (body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, resp.Status, text)
	}
	return string(text), err
}

// printer is an exporter that prints spans.
type printer struct{ out io.Writer }

// ExportSpans implements sdktrace.SpanExporter.
func (p *printer) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	for _, s := range spans {
		fmt.Fprintf(p.out, "  %-24s %-8s trace %.8s, below %.8s\n", s.Name(), s.SpanKind(), s.SpanContext().TraceID(), s.Parent().SpanID())
	}
	return nil
}

// Shutdown implements sdktrace.SpanExporter.
func (p *printer) Shutdown(context.Context) error { return nil }
