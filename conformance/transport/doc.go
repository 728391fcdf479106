// Package transport holds internal/transport against servers that are not ours:
// grpc-go's own HTTP/2 server, which is what etcd uses on plain listeners, and
// grpc-go behind net/http's, which is what etcd uses on TLS ones.
package transport
