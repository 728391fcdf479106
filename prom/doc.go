// Package etcdprom gives Prometheus the metrics of an etcd client.
//
//	hooks, err := etcdprom.Hooks(prometheus.DefaultRegisterer)
//	c, err := etcd.New(etcd.Config{Endpoints: endpoints, Hooks: hooks})
//	prometheus.MustRegister(etcdprom.New(c))
//
// [Hooks] measures calls, retries, deliveries of watches and renewals of leases as they
// happen. [New] reads [etcd.Client.Stats] at each scrape. Labels are operations, codes and
// endpoints, never keys or IDs of leases. dashboard.json shows them in Grafana, and
// alerts.yaml has rules for Prometheus.
package etcdprom
