// Package etcdotel gives OpenTelemetry the spans and metrics of an etcd client.
//
//	hooks, err := etcdotel.Hooks(etcdotel.Config{})
//	c, err := etcd.New(etcd.Config{Endpoints: endpoints, Hooks: hooks})
//
// A call is a span of kind client below that of its context. It is named after the method and has
// the attributes of the database conventions; each attempt is a span below it, with those of
// the RPC conventions. An attempt carries its trace context to etcd, whose own spans (with
// --enable-distributed-tracing) are then below it. A request that several calls share is a
// separate trace, with a link to each of the calls (the SDK keeps 128 unless configured). Spans
// hold keys only with Config.Key; neither spans nor metrics hold IDs of leases.
package etcdotel
