package etcdprom

import (
	"github.com/prometheus/client_golang/prometheus"

	"silly.store/etcd"
)

// New returns a collector of the client's [etcd.Stats]. It has no labels for the client:
// where a program has several, wrap the registerer with prometheus.WrapRegistererWith. The
// views of a client share its statistics. It may be used concurrently.
func New(c *etcd.Client) prometheus.Collector { return &collector{c} }

type collector struct{ c *etcd.Client }

// value is a metric that is one field of the statistics.
type value struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*etcd.Stats) float64
}

func counter(name, help string, of func(*etcd.Stats) int64) value {
	return value{prometheus.NewDesc("etcd_client_"+name+"_total", help, nil, nil), prometheus.CounterValue, func(s *etcd.Stats) float64 { return float64(of(s)) }}
}

func gauge(name, help string, of func(*etcd.Stats) int) value {
	return value{prometheus.NewDesc("etcd_client_"+name, help, nil, nil), prometheus.GaugeValue, func(s *etcd.Stats) float64 { return float64(of(s)) }}
}

var values = []value{
	counter("attempts", "Requests with a single answer that a connection has taken.", func(s *etcd.Stats) int64 { return s.Attempts }),
	counter("attempt_failures", "Attempts that ended with an error.", func(s *etcd.Stats) int64 { return s.Failures }),
	counter("hedges", "Reads that went to a second member because the first one was late.", func(s *etcd.Stats) int64 { return s.Hedges }),
	counter("batches", "Requests that several calls have shared.", func(s *etcd.Stats) int64 { return s.Batches }),
	counter("batched_calls", "Calls that have shared a request.", func(s *etcd.Stats) int64 { return s.BatchedCalls }),
	counter("connects", "Connections that came up.", func(s *etcd.Stats) int64 { return s.Connects }),
	counter("connect_failures", "Failed attempts to connect.", func(s *etcd.Stats) int64 { return s.ConnectFailures }),
	counter("disconnects", "Connections that have ended.", func(s *etcd.Stats) int64 { return s.Disconnects }),
	counter("watch_resumes", "Watches that a member serves again.", func(s *etcd.Stats) int64 { return s.WatchResumes }),
	counter("lease_renewals", "Answers to renewals of leases.", func(s *etcd.Stats) int64 { return s.Renewals }),
	counter("leases_lost", "Leases that ended otherwise than by this client's Revoke or Close.", func(s *etcd.Stats) int64 { return s.LeasesLost }),
	counter("hook_panics", "Panics of hooks and of other functions that the client was given.", func(s *etcd.Stats) int64 { return s.HookPanics }),
	gauge("calls_waiting", "Calls that wait to share a request.", func(s *etcd.Stats) int { return s.CallsWaiting }),
	gauge("watches", "Watches that live.", func(s *etcd.Stats) int { return s.Watches }),
	gauge("watches_waiting", "Watches that no member serves.", func(s *etcd.Stats) int { return s.WatchesWaiting }),
	gauge("watch_streams", "Streams that carry watches.", func(s *etcd.Stats) int { return s.WatchStreams }),
	gauge("leases", "Leases that live.", func(s *etcd.Stats) int { return s.Leases }),
}

var (
	endpointUp          = prometheus.NewDesc("etcd_client_endpoint_up", "1: the endpoint's connection for calls is up and answers, or none was needed yet; 0: it is not.", []string{"endpoint"}, nil)
	endpointConnections = prometheus.NewDesc("etcd_client_endpoint_connections", "Connections to the endpoint.", []string{"endpoint"}, nil)
)

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, v := range values {
		out <- v.desc
	}
	out <- endpointUp
	out <- endpointConnections
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	stats := c.c.Stats()
	for _, v := range values {
		out <- prometheus.MustNewConstMetric(v.desc, v.kind, v.of(&stats))
	}
	for _, e := range stats.Endpoints {
		up := 0.0
		if e.State == etcd.EndpointReady || e.State == etcd.EndpointIdle {
			up = 1
		}
		out <- prometheus.MustNewConstMetric(endpointUp, prometheus.GaugeValue, up, e.Endpoint)
		out <- prometheus.MustNewConstMetric(endpointConnections, prometheus.GaugeValue, float64(e.Connections), e.Endpoint)
	}
}
