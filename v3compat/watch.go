package v3compat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"silly.store/etcd"
)

// watcher makes each Watch a watch of the etcd.Client, with one goroutine that
// fills its channel. What the reader of a channel does not take stays where the
// etcd.Client keeps it: in a buffer of a few MiB, and beyond that on the server.
type watcher struct {
	c        *etcd.Client
	routines sync.WaitGroup // calls of Watch, and what fills their channels

	mu sync.Mutex // guards the fields below

	closed  bool
	watches map[*watch]struct{} // those that are begun included
}

func newWatcher(c *etcd.Client) clientv3.Watcher {
	return &watcher{c: c, watches: make(map[*watch]struct{})}
}

// Watch returns when the watch is confirmed, or cannot be made, or ctx has ended.
// As in client/v3 it waits for a server as long as ctx allows.
func (w *watcher) Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan {
	op := clientv3.OpWatch(key, opts...) // panics on an option that no watch has
	h := &watch{w: w, out: make(chan clientv3.WatchResponse, 1)}
	if ctx == nil {
		h.out <- canceled(errNilContext)
		close(h.out)
		return h.out
	}
	if !w.enter(ctx, h) {
		close(h.out)
		return h.out
	}
	from, err := beginWatch(h.ctx, w.c, watchRequest(op), requiresLeader(ctx))
	if err != nil {
		h.finish(err)
		w.leave(h)
		return h.out
	}
	w.begun(h, from)
	if op.IsCreatedNotify() {
		h.out <- created(from, op.Rev())
	}
	go h.fill()
	return h.out
}

var errNilContext = errors.New("the context is nil; use context.Background() if there is none")

// enter makes h a watch of w; false after Close.
func (w *watcher) enter(ctx context.Context, h *watch) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	h.group = group(ctx)
	h.ctx, h.cancel = context.WithCancel(ctx)
	w.watches[h] = struct{}{}
	w.routines.Add(1)
	return true
}

// begun notes what h reads from.
func (w *watcher) begun(h *watch, from *etcd.Watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h.from = from
}

// leave forgets h, whose channel is closed.
func (w *watcher) leave(h *watch) {
	w.mu.Lock()
	delete(w.watches, h)
	w.mu.Unlock()
	h.cancel()
	w.routines.Done()
}

// RequestProgress asks for a progress response on each channel whose context had
// the same outgoing metadata: those that share a stream in client/v3.
func (w *watcher) RequestProgress(ctx context.Context) error {
	if ctx == nil {
		return errNilContext
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return status.Error(codes.Canceled, "the watcher is closed")
	}
	of := group(ctx)
	for h := range w.watches {
		if h.from != nil && h.group == of {
			h.from.RequestProgress()
		}
	}
	return nil
}

// Close ends all watches, whose channels are closed when it returns.
func (w *watcher) Close() error {
	w.mu.Lock()
	w.closed = true
	for h := range w.watches {
		h.cancel()
	}
	w.mu.Unlock()
	w.routines.Wait()
	return nil
}

// group names the watches that share a stream in client/v3.
func group(ctx context.Context) string {
	md, ok := metadata.FromOutgoingContext(ctx)
	if !ok {
		return ""
	}
	return fmt.Sprint(md)
}

// requiresLeader: ctx is one of clientv3.WithRequireLeader.
func requiresLeader(ctx context.Context) bool {
	md, _ := metadata.FromOutgoingContext(ctx)
	return slices.Contains(md.Get(rpctypes.MetadataRequireLeaderKey), rpctypes.MetadataHasLeader)
}

// watch is one channel of Watch.
type watch struct {
	w      *watcher
	ctx    context.Context // the caller's, which Close ends too
	cancel context.CancelFunc
	group  string
	out    chan clientv3.WatchResponse
	from   *etcd.Watcher // guarded by w.mu until Watch has returned; nil until then
}

// beginWatch makes a watch, however long that takes. leader: it ends when there is none.
func beginWatch(ctx context.Context, c *etcd.Client, req etcd.WatchRequest, leader bool) (*etcd.Watcher, error) {
	if req.Revision < 0 {
		return nil, errBeforeAll
	}
	req.EndWithoutLeader = leader
	for {
		from, err := c.Watch(ctx, req)
		leaderless := leader && errors.Is(err, etcd.ErrNoLeader)
		if err == nil || leaderless || !passes(err) || !pause(ctx) {
			return from, err
		}
	}
}

// fill hands out what is read, until the watch ends.
func (h *watch) fill() {
	defer h.w.leave(h)
	for {
		resp, err := h.from.Read(h.ctx)
		if err != nil {
			h.finish(err)
			_ = h.from.Close()
			return
		}
		h.send(watchResponse(resp))
	}
}

// send waits until there is room, or the watch is to end.
func (h *watch) send(resp clientv3.WatchResponse) {
	if h.ctx.Err() != nil {
		return
	}
	select {
	case h.out <- resp:
	case <-h.ctx.Done():
	}
}

// finish closes the channel, after a last response that says why, unless the
// caller has ended the watch, or somebody has closed the watcher or the client.
func (h *watch) finish(err error) {
	if !errors.Is(err, etcd.ErrClosed) {
		h.send(h.last(err))
	}
	close(h.out)
}

// last is the response that ends a watch.
func (h *watch) last(err error) clientv3.WatchResponse {
	var compacted *etcd.CompactedError
	if errors.As(err, &compacted) {
		return compactedAt(h.from, compacted.Revision)
	}
	return canceled(err)
}

// passes reports whether client/v3 would try again after an error until the
// context ends: there is no server, or none with a leader.
func passes(err error) bool {
	if errors.Is(err, etcd.ErrBadEndpoint) {
		return false
	}
	code := status.Code(asStatus(err))
	return code == codes.Unavailable || code == codes.Internal
}

// pauseTime is between two tries, each of which has had the retries of every call.
const pauseTime = 100 * time.Millisecond

// pause reports false when the context has ended.
func pause(ctx context.Context) bool {
	timer := time.NewTimer(pauseTime)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
