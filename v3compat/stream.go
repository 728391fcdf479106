package v3compat

import (
	"context"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// NewStream answers a streaming call. What serves it runs in a goroutine of its
// own, which ends when ctx does, when the method returns, and with close.
func (l *local) NewStream(ctx context.Context, _ *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	m, ok := l.streams[method]
	if !ok {
		return nil, unknownMethod(method)
	}
	s := &pipe{
		requests:  make(chan proto.Message, pipeRoom),
		responses: make(chan any),
		done:      make(chan struct{}),
		sent:      make(chan struct{}),
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, status.FromContextError(context.Canceled).Err()
	}
	var cancel context.CancelFunc
	s.ctx, cancel = context.WithCancel(ctx)
	stop := context.AfterFunc(l.ctx, cancel)
	l.handlers.Go(func() {
		defer cancel()
		defer stop()
		s.err = m.desc.Handler(m.service, &serverStream{s})
		close(s.done)
	})
	return &clientStream{pipe: s}, nil
}

// pipeRoom is how many requests a stream takes before any is served. On a connection it
// would be about as many as fill the flow-control window of 64 KiB.
const pipeRoom = 256

// pipe is a stream inside this process.
type pipe struct {
	ctx       context.Context
	requests  chan proto.Message
	sent      chan struct{} // closed when there are no more requests
	responses chan any
	done      chan struct{} // closed when the method has returned
	err       error         // what it returned; valid once done is closed
}

// clientStream is the caller's end. As with gRPC, one goroutine at a time may
// send, and one may receive.
type clientStream struct {
	*pipe
	closeSend sync.Once
}

func (s *clientStream) Context() context.Context     { return s.ctx }
func (s *clientStream) Header() (metadata.MD, error) { return nil, nil }
func (s *clientStream) Trailer() metadata.MD         { return nil }

func (s *clientStream) CloseSend() error {
	s.closeSend.Do(func() { close(s.sent) })
	return nil
}

// SendMsg returns io.EOF when the stream is over; RecvMsg tells why.
func (s *clientStream) SendMsg(m any) error {
	request, ok := m.(proto.Message)
	if !ok {
		return statusErrorf("%T is not a message", m)
	}
	select {
	case <-s.done:
		return io.EOF
	default: // there may be room although nothing is served any longer
	}
	select {
	case s.requests <- proto.Clone(request):
		return nil
	case <-s.done:
		return io.EOF
	case <-s.ctx.Done():
		return io.EOF
	}
}

func (s *clientStream) RecvMsg(m any) error {
	select {
	case response := <-s.responses:
		return move(m, response)
	case <-s.done:
		return s.end()
	case <-s.ctx.Done():
		return s.end()
	}
}

// end is why nothing is received any longer. The context ends with the method,
// too, and then what that has returned counts.
func (s *clientStream) end() error {
	select {
	case <-s.done:
	default:
		return status.FromContextError(s.ctx.Err()).Err()
	}
	if s.err == nil {
		return io.EOF
	}
	if _, ok := status.FromError(s.err); !ok {
		return status.FromContextError(s.err).Err()
	}
	return s.err
}

// serverStream is the end of the method that serves the stream.
type serverStream struct{ *pipe }

func (s *serverStream) Context() context.Context     { return s.ctx }
func (s *serverStream) SetHeader(metadata.MD) error  { return nil }
func (s *serverStream) SendHeader(metadata.MD) error { return nil }
func (s *serverStream) SetTrailer(metadata.MD)       {}

func (s *serverStream) SendMsg(m any) error {
	select {
	case s.responses <- m:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

func (s *serverStream) RecvMsg(m any) error {
	select {
	case request := <-s.requests:
		return move(m, request)
	case <-s.sent:
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
	select { // sent after the last request
	case request := <-s.requests:
		return move(m, request)
	default:
		return io.EOF
	}
}
