// Package grpcresolver lets grpc-go find the instances of a service that package discovery or
// client/v3's naming package has registered in etcd.
//
//	etcdResolver, err := grpcresolver.NewBuilder(client, discovery.WatchConfig{})
//	if err != nil {
//		return err
//	}
//	conn, err := grpc.NewClient("etcd:///search",
//		grpc.WithResolvers(etcdResolver),
//		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`),
//		grpc.WithTransportCredentials(creds))
//
// The target is etcd:///<service>, with the service escaped as in a URL. One with a host, a
// query or a fragment is refused. Without a load balancing policy in the service config, gRPC
// uses the first instance only.
//
// Calls to a service without instances fail. The error names the service if the policy shows
// what a resolver reports, as pick_first does. That of round_robin, weighted_round_robin and
// least_request is always "no children to pick from".
//
// # While etcd is away
//
// A connection keeps the instances that it has. A connection that never had any reports the
// reason: calls fail, calls that wait for ready wait, and both work as soon as etcd
// answers. Dialling never waits for etcd.
//
// # For load balancing policies
//
// Each instance is one endpoint with one address, ordered by ID. [FromEndpoint]
// returns the instance with its metadata. A weight in the metadata is set on the endpoint as
// grpc-go's package experimental/balancer/weight defines it. A change of the metadata alone keeps
// connections.
package grpcresolver
