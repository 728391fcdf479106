package etcdprom_test

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/internal/leaktest"
	etcdprom "silly.store/etcd/prom"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// measured is a client of the endpoints with all metrics in a registry.
func measured(t *testing.T, endpoints ...string) (*etcd.Client, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	hooks, err := etcdprom.Hooks(reg)
	if err != nil {
		t.Fatal(err)
	}
	c, err := etcd.New(etcd.Config{Endpoints: endpoints, Hooks: hooks, Retry: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	reg.MustRegister(etcdprom.New(c))
	return c, reg
}

// metric is the sum of a metric over the labels that contain all of the words, by its
// sample's value or, of a histogram, its count.
func metric(t *testing.T, reg *prometheus.Registry, name string, words ...string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
	next:
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			for _, word := range words {
				if !strings.Contains(strings.Join(labels, " "), word) {
					continue next
				}
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// becomes waits until the metric fits: the client calls some hooks after what they tell of.
func becomes(t *testing.T, reg *prometheus.Registry, fits func(float64) bool, name string, words ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for got := metric(t, reg, name, words...); !fits(got); got = metric(t, reg, name, words...) {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			t.Errorf("%s stays %v", name, got)
			return
		}
	}
}

// Hooks that are registered twice say which metric is there, and of which package.
func TestHooksTwice(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	if _, err := etcdprom.Hooks(reg); err != nil {
		t.Fatal(err)
	}
	_, err := etcdprom.Hooks(reg)
	var already prometheus.AlreadyRegisteredError
	if !errors.As(err, &already) || !strings.HasPrefix(err.Error(), "etcdprom: Hooks: ") || !strings.Contains(err.Error(), `"etcd_client_operation_duration_seconds"`) {
		t.Errorf("error %v", err)
	}
}

// Each fault shows in the metric that an alert looks at.
func TestMetrics(t *testing.T) {
	t.Parallel()
	p := etcdtest.StartProxy(t, etcdtest.Start(t).Endpoints()[0])
	c, reg := measured(t, p.Endpoint())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	w, err := c.Watch(ctx, etcd.WatchRequest{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := c.Put(ctx, etcd.PutRequest{Key: "k"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Read(ctx); err != nil {
		t.Fatal(err)
	}
	lease, err := c.Grant(ctx, etcd.GrantRequest{TTL: 4 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.KeepAliveOnce(ctx, etcd.KeepAliveRequest{ID: lease.ID}); err != nil {
		t.Fatal(err)
	}
	for name, least := range map[string]float64{
		"etcd_client_watch_events_total": 1, "etcd_client_watch_lag_seconds": 1, "etcd_client_lease_margin_seconds": 1,
		"etcd_client_watches": 1, "etcd_client_leases": 1, "etcd_client_endpoint_up": 1,
	} {
		becomes(t, reg, func(got float64) bool { return got >= least }, name)
	}
	if got := metric(t, reg, "etcd_client_operation_duration_seconds", "Put", "OK"); got != 1 {
		t.Errorf("%v puts were measured", got)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}

	p.Set(etcdtest.ToClient, etcdtest.Fault{Discard: true})
	short, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	if _, err := c.Put(short, etcd.PutRequest{Key: "k"}); !etcd.MaybeApplied(err) {
		t.Fatal(err)
	}
	_ = p.Close()
	<-lease.Done()
	for name, words := range map[string][]string{
		"etcd_client_maybe_applied_total":        {"Put"},
		"etcd_client_operation_duration_seconds": {"Put", "DeadlineExceeded"},
		"etcd_client_leases_lost_total":          nil,
		"etcd_client_watches_waiting":            nil,
	} {
		becomes(t, reg, func(got float64) bool { return got == 1 }, name, words...)
	}
	becomes(t, reg, func(got float64) bool { return got == 0 }, "etcd_client_endpoint_up")
}

// The rules and the dashboard name existing metrics.
func TestRulesNameMetrics(t *testing.T) {
	t.Parallel()
	c, reg := measured(t, etcdtest.Start(t).Endpoints()...)
	_ = c
	names := make(map[string]bool)
	for _, text := range []string{"op", "code"} {
		names[text] = true
	}
	descs := make(chan *prometheus.Desc, 100)
	reg.Describe(descs)
	close(descs)
	quoted := regexp.MustCompile(`fqName: "([^"]+)"`)
	for desc := range descs {
		names[quoted.FindStringSubmatch(desc.String())[1]] = true
	}
	for _, file := range []string{"alerts.yaml", "dashboard.json"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`etcd_client_[a-z_]+`).FindAllString(string(text), -1)
		if len(found) < 6 {
			t.Errorf("%s names %d metrics", file, len(found))
		}
		for _, name := range found {
			name = strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count")
			if !names[name] {
				t.Errorf("%s names %s, which there is not", file, name)
			}
		}
	}
}

// BenchmarkCall is what measuring adds to a call.
func BenchmarkCall(b *testing.B) {
	hooks, err := etcdprom.Hooks(prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_, ended := hooks.Call(b.Context(), etcd.CallInfo{Op: "Get"})
		ended(etcd.CallResult{Duration: time.Millisecond})
	}
}
