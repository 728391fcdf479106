// Package grpcresolver has grpc-go find the instances of a service through etcd, as package
// discovery and client/v3's naming package register them.
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
// # While etcd is away
//
// A connection keeps the instances that it has. One that has never had any reports why, so
// that calls fail and those that wait for ready wait, and goes on as soon as etcd answers.
// Dialling never waits for etcd.
//
// # For load balancing policies
//
// Each instance is one endpoint, in the order of the IDs, with one address. [FromEndpoint]
// returns the instance with its metadata. An instance whose metadata has a
// weight has it in its endpoint as grpc-go's package experimental/balancer/weight says. A
// change of the metadata alone keeps connections.
package grpcresolver
