package lua

import (
	"context"
	"errors"
	"sync"

	glua "github.com/yuin/gopher-lua"

	"silly.store/etcd"
)

// streams are the open streams of a script, which all end when the script is stopped.
type streams struct {
	mu      sync.Mutex // guards the fields below
	open    map[stream]struct{}
	stopped bool
}

// stream is what closes a watch or a stream of renewals. It never blocks.
type stream interface{ Close() error }

// add takes a stream in. After stop it closes it at once.
func (s *streams) add(opened stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		_ = opened.Close() // its error is always nil
		return
	}
	s.open[opened] = struct{}{}
}

// close closes one stream.
func (s *streams) close(opened stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, opened)
	_ = opened.Close() // its error is always nil
}

// stop closes all streams, those that are still to be opened too.
func (s *streams) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	for opened := range s.open {
		_ = opened.Close() // its error is always nil
	}
	clear(s.open)
}

// reader lets one task at a time read from a stream. The interpreter lock guards it.
type reader struct {
	closed  bool // by the script
	reading bool
}

var (
	errWatchClosed  = closedError("watch is closed")
	errStreamClosed = closedError("stream is closed")
	errTwoReaders   = &requestError{"read", "another task reads from this stream"}
)

// watch is a watch of the script's.
type watch struct {
	reader
	c       *client
	watcher *etcd.Watcher
	id      int
}

// keepAliveStream is a stream of renewals of the script's.
type keepAliveStream struct {
	reader
	r      *runtime
	stream *etcd.KeepAliveStream
	id     etcd.LeaseID // the lease that it was opened for
	due    int          // the answers that have not been read
}

func (r *runtime) registerStreams(L *glua.LState) {
	r.watches = newClass(L, "watch", map[string]func(*watch, *glua.LState) int{
		"read": (*watch).read, "write": (*watch).write, "close": (*watch).close, "cancel": (*watch).close,
	})
	r.keepAlives = newClass(L, "keepalive stream", map[string]func(*keepAliveStream, *glua.LState) int{
		"read": (*keepAliveStream).read, "write": (*keepAliveStream).write, "close": (*keepAliveStream).close,
	})
}

// watch returns once the server has confirmed the watch, so that no later event is missed.
func (c *client) watch(L *glua.LState) int {
	req, err := watchRequest(checkRequest(L))
	if err != nil {
		return failure(L, "watch", err)
	}
	watcher, err := call(c, L, func(ctx context.Context) (*etcd.Watcher, error) {
		w, err := c.etcd.Watch(ctx, req)
		if err == nil {
			c.r.streams.add(w)
		}
		return w, err
	})
	if err != nil {
		return failure(L, "watch", err)
	}
	c.watches++
	return give(L, c.r.watches.object(&watch{c: c, watcher: watcher, id: c.watches}))
}

// read waits for the next events. Once the watch has ended it returns nil and why.
func (w *watch) read(L *glua.LState) int {
	if w.closed {
		return failure(L, "read", errWatchClosed)
	}
	resp, err := readStream(&w.reader, w.c.r, L, taskWaiting, w.watcher.Read)
	if errors.Is(err, etcd.ErrWatchClosed) {
		err = errWatchClosed
	}
	if err != nil {
		return failure(L, "read", err)
	}
	return give(L, watchAnswer(resp, w.id))
}

// readStream reads from a stream with the interpreter lock released.
func readStream[T any](r *reader, rt *runtime, L *glua.LState, state taskState, read func(context.Context) (T, error)) (resp T, err error) {
	if r.reading {
		return resp, errTwoReaders
	}
	r.reading = true
	defer func() { r.reading = false }() // wait raises an error at the script's end
	rt.wait(L, state, func(ctx context.Context) { resp, err = read(ctx) })
	return resp, err
}

// write asks for a progress notification, the one thing that a watch can be asked for.
func (w *watch) write(L *glua.LState) int {
	f := readFields("write", checkRequest(L), writeFields)
	f.require("progress_request")
	switch {
	case f.err != nil:
		return failure(L, "write", f.err)
	case w.closed:
		return failure(L, "write", errWatchClosed)
	}
	w.watcher.RequestProgress()
	return give(L, glua.LTrue)
}

// close ends the watch, and a read that waits. It may be called again.
func (w *watch) close(L *glua.LState) int {
	w.closed = true
	w.c.r.streams.close(w.watcher)
	return give(L, glua.LTrue)
}

func (r *runtime) newKeepAliveStream(stream *etcd.KeepAliveStream, id etcd.LeaseID) *keepAliveStream {
	r.streams.add(stream)
	return &keepAliveStream{r: r, stream: stream, id: id}
}

// write asks for a renewal: of the lease in ID, or without one of that which the stream was
// opened for.
func (s *keepAliveStream) write(L *glua.LState) int {
	f := readFields("write", L.OptTable(2, newTable(0, 0)), idFields)
	req := etcd.KeepAliveRequest{ID: s.id}
	if f.has("ID") {
		req.ID = f.leaseID()
	}
	switch {
	case f.err != nil:
		return failure(L, "write", f.err)
	case s.closed:
		return failure(L, "write", errStreamClosed)
	}
	var err error
	s.r.wait(L, taskCalling, func(ctx context.Context) { err = s.stream.Write(ctx, req) })
	if err != nil {
		return failure(L, "write", err)
	}
	s.due++
	return give(L, glua.LTrue)
}

// read waits for the next answer to a write.
func (s *keepAliveStream) read(L *glua.LState) int {
	if s.closed {
		return failure(L, "read", errStreamClosed)
	}
	state := taskWaiting
	if s.due > 0 {
		state = taskCalling
	}
	resp, err := readStream(&s.reader, s.r, L, state, s.stream.Read)
	switch {
	case errors.Is(err, etcd.ErrStreamClosed):
		return failure(L, "read", errStreamClosed)
	case err != nil:
		s.due--
		return failure(L, "read", err)
	}
	s.due--
	return give(L, leaseAnswer(resp.Header, resp.ID, resp.TTL))
}

// close ends the stream, and a read that waits. It may be called again.
func (s *keepAliveStream) close(L *glua.LState) int {
	s.closed = true
	s.r.streams.close(s.stream)
	return give(L, glua.LTrue)
}
