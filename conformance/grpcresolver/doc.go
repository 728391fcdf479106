// Package grpcresolver tests the module discovery/grpcresolver with grpc-go's client, its
// servers and real etcd servers.
package grpcresolver
