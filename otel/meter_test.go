package etcdotel_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	notrace "go.opentelemetry.io/otel/trace/noop"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
	etcdotel "silly.store/etcd/otel"
)

// measured are the metrics of a reader: what was counted, by name and attributes.
func measured(t *testing.T, reader sdkmetric.Reader) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]int64)
	add := func(name string, attrs attribute.Set, n int64) {
		var values []string
		for _, kv := range attrs.ToSlice() {
			if kv.Key != "server.port" {
				values = append(values, kv.Value.String())
			}
		}
		slices.Sort(values)
		counts[strings.Join(append([]string{name}, values...), " ")] += n
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Histogram[float64]:
				if m.Unit != "s" {
					t.Errorf("%s is in %q", m.Name, m.Unit)
				}
				for _, p := range data.DataPoints {
					add(m.Name, p.Attributes, int64(p.Count))
				}
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					add(m.Name, p.Attributes, p.Value)
				}
			default:
				t.Errorf("%s is a %T", m.Name, data)
			}
		}
	}
	return counts
}

// What happens is counted once, under the names and attributes of the conventions, and none
// of them has a key.
func TestMeasurements(t *testing.T) {
	t.Parallel()
	p := etcdtest.StartProxy(t, etcdtest.Start(t).Endpoints()[0])
	reader := sdkmetric.NewManualReader()
	hooks, err := etcdotel.Hooks(etcdotel.Config{Metrics: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), Traces: notrace.NewTracerProvider()})
	if err != nil {
		t.Fatal(err)
	}
	c, err := etcd.New(etcd.Config{Endpoints: []string{p.Endpoint()}, Hooks: hooks, Retry: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	w, err := c.Watch(ctx, etcd.WatchRequest{Key: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	lease, err := c.Grant(ctx, etcd.GrantRequest{TTL: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.KeepAliveOnce(ctx, etcd.KeepAliveRequest{ID: lease.ID}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := c.Put(ctx, etcd.PutRequest{Key: "secret", Lease: lease.ID}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Read(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Put(ctx, etcd.PutRequest{Key: "secret", Lease: 12345}); !errors.Is(err, etcd.ErrLeaseNotFound) {
		t.Fatal(err)
	}
	p.Set(etcdtest.ToClient, etcdtest.Fault{Discard: true})
	short, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	if _, err := c.Delete(short, etcd.DeleteRequest{Key: "secret"}); !etcd.MaybeApplied(err) {
		t.Fatal(err)
	}
	counts := measured(t, reader)
	for name, want := range map[string]int64{
		"db.client.operation.duration OK Put etcd":                                            3,
		"db.client.operation.duration ErrLeaseNotFound NotFound Put etcd":                     1,
		"db.client.operation.duration DeadlineExceeded Delete context.DeadlineExceeded etcd":  1,
		"etcd.client.attempt.duration 127.0.0.1 OK etcdserverpb.KV/Put":                       3,
		"etcd.client.attempt.duration 127.0.0.1 NotFound etcdserverpb.KV/Put":                 1,
		"etcd.client.attempt.duration 127.0.0.1 DeadlineExceeded etcdserverpb.KV/DeleteRange": 1,
		"etcd.client.maybe_applied Delete":                                                    1,
		"etcd.client.watch.events":                                                            3,
		"etcd.client.watch.lag":                                                               3,
		"db.client.connection.count calls used":                                               1,
		"db.client.connection.count used watches":                                             1,
	} {
		if counts[name] != want {
			t.Errorf("%s: %d, want %d", name, counts[name], want)
		}
	}
	if counts["etcd.client.lease.margin"] < 1 {
		t.Error("no renewal was measured")
	}
	if text := fmt.Sprint(counts); strings.Contains(text, "secret") {
		t.Errorf("a key is in %s", text)
	} else if t.Failed() {
		t.Log(text)
	}
}
