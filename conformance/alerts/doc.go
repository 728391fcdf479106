// Package alerts shows that each rule that package etcdprom ships fires by the fault that it
// is for: a real client's metrics, scraped while that fault lasts, and Prometheus' own engine.
package alerts
