// Package transport speaks gRPC on one HTTP/2 connection: encoded messages go
// in, encoded messages and a status come out. It knows nothing of etcd's
// messages, of other connections or of retries.
//
// RFC 9113 (HTTP/2), RFC 7541 (HPACK, by golang.org/x/net/http2/hpack) and the
// gRPC over HTTP/2 protocol document are the specification.
//
// # Who owns what
//
// A connection has three goroutines, all started by [Dial] and waited for by
// Close:
//
//   - the reader owns the read side of the socket and parses frames. It never
//     blocks on a write.
//   - the writer owns the write side whenever it has been woken to. On a plain
//     socket a caller that finds the write side free claims it and writes in
//     place, without blocking; what the socket does not take goes to the writer.
//   - the watchdog ticks while streams are open and finds a silent peer.
//
// Everything else is guarded by conn.mu, the only lock of the package. It is
// never held across I/O or a channel operation that can block.
//
// # What an error says
//
// Each failure is an [*Error] with an [Outcome]: NotSent when the server cannot
// have seen the request, Unknown when it may have, Answered when the server
// itself sent the status.
package transport
