// Package alerts tests that each alert rule of package etcdprom fires for its fault: Prometheus'
// own engine evaluates the metrics of a real client, scraped while the fault lasts.
package alerts
