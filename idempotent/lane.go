package idempotent

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/internal/call"
)

// lane makes one write after the other. The goroutine that has taken it from the Writer
// owns it.
type lane struct {
	key     string
	session *concurrency.Session
	at      int64 // the key's mod revision
	writes  int64
}

// begin is the lane's next write.
func (l *lane) begin(c *etcd.Client, req *etcd.TxnRequest) *write {
	l.writes++
	n := strconv.FormatInt(l.writes, 36)
	return &write{
		client: c, req: req, key: l.key, at: l.at, lease: l.session.Lease().ID,
		then: n + "+", orElse: n + "-", void: n + "!",
	}
}

// take returns a lane, and waits for one when all are in use.
func (w *Writer) take(ctx context.Context) (*lane, error) {
	select {
	case w.seats <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("idempotent: waiting for a lane: %w", context.Cause(ctx))
	case <-w.life.Done():
		return nil, fmt.Errorf("idempotent: %w", ErrClosed)
	}
	l, closed := w.idle()
	switch {
	case closed:
		<-w.seats
		return nil, fmt.Errorf("idempotent: %w", ErrClosed)
	case l != nil:
		return l, nil
	}
	l, err := w.open(ctx)
	if err != nil {
		<-w.seats
		return nil, err
	}
	return l, nil
}

// idle takes a lane that nobody uses, of a session that lives.
func (w *Writer) idle() (l *lane, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.free) > 0 {
		last := len(w.free) - 1
		l, w.free = w.free[last], w.free[:last]
		if l.session.Err() == nil {
			return l, w.closed
		}
	}
	return nil, w.closed
}

// give returns a lane, nil if it is of no more use.
func (w *Writer) give(l *lane) {
	if l != nil {
		w.mu.Lock()
		if !w.closed {
			w.free = append(w.free, l)
		}
		w.mu.Unlock()
	}
	<-w.seats
}

// open makes a lane. When that fails, the key may be there: it is that of the next lane.
func (w *Writer) open(ctx context.Context) (*lane, error) {
	key := w.unusedKey()
	l, err := w.openAt(ctx, key)
	if err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.unused = append(w.unused, key)
	}
	return l, err
}

// unusedKey is a key for a lane.
func (w *Writer) unusedKey() (key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if last := len(w.unused) - 1; last >= 0 {
		key, w.unused = w.unused[last], w.unused[:last]
		return key
	}
	w.opened++
	return w.name + strconv.Itoa(w.opened)
}

// openAt makes a lane with a key. That is nobody else's, so the request may be repeated, and so
// may the Grant of the session, which costs a lease at worst.
func (w *Writer) openAt(ctx context.Context, key string) (*lane, error) {
	for failures := 0; ; failures++ {
		l, err := w.tryOpen(ctx, key, failures)
		switch {
		case err == nil:
			return l, nil
		case errors.Is(err, etcd.ErrPermissionDenied):
			return nil, fmt.Errorf("idempotent: %w (the user needs read and write permission below Config.Name, %q)", err, w.config.Name+"/")
		case !etcd.MaybeApplied(err) && !errors.Is(err, etcd.ErrLeaseNotFound):
			return nil, fmt.Errorf("idempotent: making a lane: %w", err)
		}
		if !call.Sleep(ctx, pauses.Jittered(failures)) {
			// What is unknown is the lane, and not the caller's write.
			return nil, fmt.Errorf("idempotent: making a lane: %w", context.Cause(ctx))
		}
	}
}

// tryOpen makes a lane on a session that lives now. copies are the attempts before.
func (w *Writer) tryOpen(ctx context.Context, key string, copies int) (*lane, error) {
	session, err := w.co.Session(ctx)
	if err != nil {
		return nil, err
	}
	at, err := w.create(call.WithSafeCopies(ctx, copies), key, session.Lease().ID)
	if errors.Is(err, etcd.ErrLeaseNotFound) {
		// The session learns that its lease is gone, and the coordinator grants another.
		_, _ = w.client.KeepAliveOnce(ctx, etcd.KeepAliveRequest{ID: session.Lease().ID})
	}
	if err != nil {
		return nil, err
	}
	return &lane{key: key, session: session, at: at}, nil
}

// create puts the key of a lane unless an earlier copy has done so.
func (w *Writer) create(ctx context.Context, key string, lease etcd.LeaseID) (at int64, err error) {
	resp, err := w.client.Txn(ctx, etcd.TxnRequest{
		If:   []etcd.Compare{etcd.Missing(key)},
		Then: []etcd.Op{etcd.PutRequest{Key: key, Lease: lease}},
		Else: []etcd.Op{etcd.GetRequest{Key: key}},
	})
	switch {
	case err != nil:
		return 0, err
	case resp.Succeeded:
		return resp.Header.Revision, nil
	}
	kv, _ := resp.Responses[0].Get.First()
	return kv.ModRevision, nil
}
