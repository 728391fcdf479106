package transport

import (
	"context"
	"crypto/tls"
	"time"

	"silly.store/etcd/internal/callback"
)

// Conn is the seam below which the wire lives: one connection to one member.
// This package's [Dial] makes the ordinary kind. All methods may be called
// concurrently.
type Conn interface {
	// Call sends one message and waits for the one that answers it. The result
	// belongs to the caller; req.Message is not used after Call returns. Every
	// error is an [*Error], but for the [Pending] that a request with NotifyLate
	// may become.
	Call(ctx context.Context, req Request) ([]byte, error)
	// Open starts a stream. It does not wait for the server; ctx is only
	// checked on entry. req.Message, when not nil, is sent as the first message.
	Open(ctx context.Context, req Request) (Stream, error)
	// State says whether new calls should go here.
	State() State
	// Quiet reports whether calls with NotifyLate wait and no byte has arrived for about
	// an eighth of a second, or longer where answers have taken longer lately. Another
	// connection is better for a call that begins. It is false again with the next byte.
	Quiet() bool
	// Answered reports whether the server has ever answered a request on it, be it
	// with an error.
	Answered() bool
	// Done is closed when the connection has ended; Err then says why.
	Done() <-chan struct{}
	Err() error
	// AfterEnd has f called in its own goroutine when the connection has ended, at once
	// if it has. The connection does not wait for f: the caller does.
	AfterEnd(f func())
	// Drain stops new streams, as a GOAWAY does: those that are open go on, and
	// the connection ends with the last of them.
	Drain()
	// Close ends every stream and waits for the connection's goroutines.
	Close() error
}

// Limited is a Conn on which the server allows only so many streams at a time, or
// requests in all. This package's connections are.
type Limited interface {
	Conn
	// Served is how many requests the server has answered in gRPC, or will answer as its
	// GOAWAY said. orderly: it has then said, or this side has, that it takes no more,
	// and that nothing is wrong.
	Served() (requests int, orderly bool)
	// Streams are those that are open or wait for their turn, and how many may be
	// open at a time.
	Streams() (now, allowed int)
	// Shed ends those that wait for their turn, as not sent (ErrStreamsTaken), so
	// that they may go to another connection.
	Shed()
}

// Stream is one streaming call. Send and Recv may be called from one goroutine
// each; Close from any.
type Stream interface {
	// Send copies the messages and queues them, to go out together. It waits only
	// when a lot is queued already.
	Send(ctx context.Context, msgs ...[]byte) error
	// CloseSend says that no further Send will come.
	CloseSend()
	// Recv waits for the next message, which belongs to the caller. It returns
	// io.EOF when the server ended the stream with status OK, else an [*Error];
	// either stays. An error of ctx leaves the stream usable.
	Recv(ctx context.Context) ([]byte, error)
	// RecvAll is Recv for all messages that have come, one at least. It appends
	// them to msgs.
	RecvAll(ctx context.Context, msgs [][]byte) ([][]byte, error)
	// Close ends the stream on both sides and what waits in Send and Recv. It
	// does not block and may be called again.
	Close()
}

// Request is what a call or stream starts with.
type Request struct {
	// Path is "/package.Service/Method".
	Path string
	// Message is the encoded message, without gRPC's prefix.
	Message []byte
	// Tail follows Message as part of the same message of a Call: a large value that need
	// not be copied for it. It is used as long as Message.
	Tail []byte
	// Buffer is memory for the answer to a Call; nil: the answer gets its own.
	Buffer *Buffer
	// Token is sent as etcd's auth token when not empty.
	Token string
	// Headers are sent besides those that each request has. They differ from request to
	// request and never enter HPACK's table.
	Headers []Header
	// Timeout bounds a Call beside its context; zero or less means no bound.
	// The server learns only the context's deadline.
	Timeout time.Duration
	// MaxMessage, when positive, bounds the messages of a stream more tightly than
	// Options.MaxMessage. The error of a larger one has its Head.
	MaxMessage int
	// RequireLeader asks the member to refuse when it knows no leader.
	RequireLeader bool
	// Patient: the messages of a stream may come some milliseconds late, so that
	// several are read at once. Small ones share memory and are not to be kept.
	Patient bool
	// CloseSend half-closes a stream behind Message (server streaming).
	CloseSend bool
	// NotifyLate lets a Call return a [Pending] while its answer is still due:
	// when the connection turns Suspect, or after about one and a half seconds. It is
	// Early before, when the connection is Quiet.
	NotifyLate bool
	// LateAfter, when positive, is when a Call with NotifyLate is late at the
	// latest. It costs each call a timer; zero costs nothing.
	LateAfter time.Duration
	// OnSuspect, when not nil, is called each time the connection turns Suspect
	// while a stream with it is open. It runs in the connection's goroutine and
	// must not block; calls into the connection are allowed.
	OnSuspect func()
}

// State is a connection's fitness for new calls.
type State uint8

const (
	// Ready: use it.
	Ready State = iota
	// Suspect: streams wait and the peer has answered neither them nor a PING
	// for about a second and a half. It may recover.
	Suspect
	// Draining: it takes no new streams; those it has go on.
	Draining
	// Closed: it is over.
	Closed
)

func (s State) String() string {
	return [...]string{"ready", "suspect", "draining", "closed"}[s]
}

// Target is where a connection goes.
type Target struct {
	// Network and Address are net.Dial's: "tcp" and host:port, or "unix" and a path.
	Network, Address string
	// Authority is the :authority of requests.
	Authority string
	// TLS is nil for a plain connection. Its ServerName must be set unless
	// verification is off.
	TLS *tls.Config
	// Resolved: Address is one of those that a name stands for, so that errors are to
	// tell which one it was: Error.Address.
	Resolved bool
	// OnFull, when not nil, is called a few times per second while requests wait for
	// a stream because all that the server allows are taken, and none becomes free. It
	// runs in the connection's goroutine and must not block; calls into the connection
	// are allowed.
	OnFull func(Limited)
	// PingSpacing replaces Options.PingSpacing for this target when not 0: the server
	// has complained of PINGs. A silent peer is then asked no more often in other ways
	// either.
	PingSpacing time.Duration
}

// Options tune a connection. The zero value is usable.
type Options struct {
	// DialContext replaces net.Dialer's when not nil. One of the user is [Checked].
	DialContext DialFunc
	// Panicked hears of panics of functions in Target.TLS.
	Panicked callback.Report
	// MaxMessage is the largest message that is accepted, in bytes; 0 means 2 GiB - 1.
	MaxMessage int
	// StreamWindow is how many bytes of unread messages a stream takes before
	// the server has to wait; 0 means 1 MiB.
	StreamWindow int
	// PingSpacing is the least time between two pings without traffic; 0 means 6 s.
	PingSpacing time.Duration
	// UserAgent is sent with every request.
	UserAgent string
}

const (
	defaultStreamWindow = 1 << 20
	defaultPingSpacing  = 6 * time.Second
	defaultMaxMessage   = 1<<31 - 1
	// connWindow is the connection's receive window. It is given back on
	// receipt, so that one slow stream never holds up the others; only stream
	// windows push back.
	connWindow = 16 << 20
)

func (o Options) withDefaults() Options {
	if o.MaxMessage <= 0 || o.MaxMessage > defaultMaxMessage {
		o.MaxMessage = defaultMaxMessage
	}
	if o.StreamWindow <= 0 {
		o.StreamWindow = defaultStreamWindow
	}
	if o.PingSpacing <= 0 {
		o.PingSpacing = defaultPingSpacing
	}
	if o.UserAgent == "" {
		o.UserAgent = "silly-etcd"
	}
	return o
}
