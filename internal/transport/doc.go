// Package transport speaks gRPC on one HTTP/2 connection: encoded messages go in,
// encoded messages and a status come out. It knows nothing about etcd's messages,
// other connections or retries.
//
// RFC 9113 (HTTP/2), RFC 7541 (HPACK, whose decoder and Huffman code are
// golang.org/x/net/http2/hpack) and the
// gRPC over HTTP/2 protocol document are the specification.
//
// # Who owns what
//
// A connection has a goroutine or two, waited for by Close: [Dial] starts the reader, and
// whoever needs a writer starts it:
//
//   - the reader owns the read side of the socket and parses frames. It never
//     blocks on a write. It lends the read side to calls that come one by one
//     (lend.go, with the states of the read side).
//   - the writer owns the write side from its start until it has sent everything,
//     and ends. On a plain socket a caller that finds the write side free claims
//     it and writes in place, without blocking; the writer sends what the socket
//     does not take. Over TLS a caller does so with little, and only if the peer has
//     received all that came before: a record must be written to its end.
//
// The watchdog finds a silent peer. It has no goroutine: its ticks, while streams are open,
// are alarms (package alarm), which conn.mu guards. Each tick runs in its own goroutine for
// a moment, and two of them may overlap. No alarm is set once conn.err is, and fail stops
// those that are set, so that Close waits for the ticks under way and for no others. A tick
// that finds conn.err set does nothing.
//
// Functions of [Conn.AfterEnd] run in goroutines that their callers wait for: they may take
// long, and the caller whose write has found the end must not.
//
// Everything else is guarded by conn.mu, the only lock of the package. It is
// never held across I/O or a channel operation that can block.
//
// # What an error says
//
// Each failure is an [*Error] with an [Outcome]: NotSent when the server cannot
// have seen the request, Unknown when it may have, Answered when the server
// itself sent the status.
//
// # Not obvious
//
//   - A request counts as "not sent" only if it provably was not sent. A stream gets
//     its id and its HPACK state when the holder of the write side assembles it into a
//     chunk. conn.handed moves past a chunk before the write starts, so a stream that
//     ends during the write of its bytes counts as maybe sent. A queued stream that is
//     cancelled never reaches a chunk.
//   - conn.writing is effectively the write side's lock: its setter owns chunk and the
//     socket's write side until it clears the flag or starts the writer, which has
//     both then. It is a flag and not a mutex because ownership passes between goroutines.
//   - HPACK state follows assembly order, so header blocks are encoded under conn.mu at
//     assembly, never by the caller beforehand. Cached header blocks hold indices into
//     the dynamic table, and an insertion moves all of them: headerEncoder.generation
//     counts insertions. The encoder never lets HPACK evict; it empties the table
//     before a block instead.
//   - A pooled stream is reused only after its caller received the reader's signal. A
//     caller that gives up drops its stream: the reader may be about to signal it,
//     and the token would wake the next user of the stream. A stream that was late
//     never returns to the pool either.
//   - The reader releases conn.mu to allocate a large message. The caller may end the
//     stream meanwhile, so dataLocked checks afterwards that the id still belongs to
//     the same stream.
//   - Data for streams that the client has ended still counts against the connection
//     window, and their header blocks still go through the HPACK decoder.
//   - When nothing is unread, the stream window is extended by the rest of the message
//     (creditStreamLocked). Otherwise a message larger than the window would never
//     complete.
//   - In-place writes are only for the concrete socket types, which [nonblocking] wraps. A
//     type that embeds *net.TCPConn also has its SyscallConn, and its Write would be
//     bypassed.
//   - On Linux, plain sockets and those below TLS make their system calls without a word to
//     the scheduler (nonblock_linux.go): with one operation at a time that was a third of
//     the client's CPU. With -race they are those of package syscall, which the race
//     detector knows; make test runs this package's tests with and without.
//   - Late is a property of a call, suspect one of a connection. A member may answer PINGs
//     and nothing else (a stuck disk, a defragmentation), so the watchdog checks how long
//     each call has waited: after seven ticks it is late, and Call returns a [Pending].
//     This costs an ordinary call one atomic load.
//   - Quiet comes before suspect, is about calls that wait, and costs nothing but a better
//     choice: see quiet.go. A call learns of it as of lateness.
//   - The watchdog counts ticks, not time, so that a pause of this process does not look
//     like the death of the peer. It declares a peer dead only after an unanswered question.
//     etcd closes a connection on the third PING that arrives within 5 s without HEADERS
//     or DATA from etcd in between; the client leaves 6 s, and asks with empty SETTINGS
//     frames meanwhile. So an idle watch too notices a silent member in less than 2 s.
//   - A PING of the server is acknowledged some 10 ms later: a gRPC server sends one per
//     acknowledgement, and at once would cost as many writes and reads as small calls do.
//     See pong.go for when the acknowledgement does not wait.
//   - The client sends the context's deadline to the server, but not Config.Timeout: a
//     timer per request costs the server, and RST_STREAM ends the request just as well.
//   - After the first answers to renewals the reader naps for 50 ms if nothing else
//     waits on the connection, and then reads the rest at once: renewals cost mostly
//     wake-ups. Those answers share memory (Request.Patient).
//   - A server that closes a new connection without a byte is asked once more (diagnose):
//     with TLS if there was none, without if there was. etcd closes like that when one side
//     expects TLS and the other does not; a proxy without a backend does too, and there
//     waiting helps. The second connection carries no request and tells them apart.
package transport
