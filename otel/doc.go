// Package etcdotel gives OpenTelemetry the spans and metrics of an etcd client.
//
//	hooks, err := etcdotel.Hooks(etcdotel.Config{})
//	c, err := etcd.New(etcd.Config{Endpoints: endpoints, Hooks: hooks})
//
// A call is a span of kind client below that of its context, named like the method and with
// the attributes of the database conventions; each attempt is a span below it, with those of
// the RPC conventions. An attempt carries its identity to etcd, whose own spans (with
// --enable-distributed-tracing) are then below it. A request that several calls share is a
// trace of its own, with a link to each of the calls (the SDK keeps 128 unless configured). Spans and metrics never hold keys,
// unless Config.Key says so, nor IDs of leases.
package etcdotel
