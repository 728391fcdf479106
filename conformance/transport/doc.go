// Package transport tests internal/transport against other servers: grpc-go's own
// HTTP/2 server, which etcd uses on plain listeners, and grpc-go behind net/http's,
// which etcd uses on TLS listeners.
package transport
