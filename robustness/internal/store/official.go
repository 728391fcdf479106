package store

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"silly.store/etcd"
	"silly.store/etcd/robustness/internal/history"
)

// official is go.etcd.io/etcd/client/v3 with the settings of its own command line
// program: a dial timeout and keepalive pings. At its defaults it would never
// notice a silent peer.
type official struct {
	c               *clientv3.Client
	names           *history.Interner
	authentications *atomic.Int64
}

const (
	officialDial      = 2 * time.Second
	officialKeepAlive = 10 * time.Second // the least that grpc-go allows
	officialAnswer    = 6 * time.Second
)

func openOfficial(config Config) (Store, error) {
	authentications := new(atomic.Int64)
	count := func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		err := invoke(ctx, method, req, reply, conn, options...)
		if err == nil && method == pb.Auth_Authenticate_FullMethodName {
			authentications.Add(1)
		}
		return err
	}
	c, err := clientv3.New(clientv3.Config{
		Endpoints: config.Endpoints, TLS: config.TLS, Logger: zap.NewNop(),
		Username: config.Username, Password: config.Password,
		DialTimeout: officialDial, DialKeepAliveTime: officialKeepAlive, DialKeepAliveTimeout: officialAnswer,
		DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(count)},
	})
	if err != nil {
		return nil, err
	}
	return &official{c, config.Names, authentications}, nil
}

func (s *official) Close() error { return s.c.Close() }

func (s *official) Sync(ctx context.Context) error { return s.c.Sync(ctx) }

func (s *official) SetEndpoints(endpoints []string) error {
	s.c.SetEndpoints(endpoints...)
	return nil
}

func (s *official) Counts() map[string]int64 {
	return map[string]int64{history.Authentications: s.authentications.Load()}
}

// Fate is always Unknown for a failed write: this client does not report it.
func (s *official) Fate(err error) history.Fate {
	if err == nil {
		return history.Done
	}
	return history.Unknown
}

func (s *official) Outcome(error) etcd.Outcome { return etcd.OutcomeUnknown }

func (s *official) Get(ctx context.Context, key string, stale bool) (Answer, error) {
	var options []clientv3.OpOption
	if stale {
		options = append(options, clientv3.WithSerializable())
	}
	r, err := s.c.Get(ctx, key, options...)
	if err != nil {
		return Answer{}, err
	}
	return s.read(r.Kvs, Answer{Revision: r.Header.Revision}), nil
}

func (s *official) read(kvs []*mvccpb.KeyValue, a Answer) Answer {
	if len(kvs) > 0 {
		a.Found, a.Modified = text(s.names, kvs[0].Value), kvs[0].ModRevision
	}
	return a
}

func (s *official) Put(ctx context.Context, key, value string, lease int64) (Answer, error) {
	r, err := s.c.Put(ctx, key, value, clientv3.WithLease(clientv3.LeaseID(lease)))
	if err != nil {
		return Answer{}, err
	}
	return Answer{Revision: r.Header.Revision}, nil
}

func (s *official) Delete(ctx context.Context, key string) (Answer, error) {
	return s.remove(ctx, key)
}

func (s *official) DeleteMany(ctx context.Context, prefix string) (Answer, error) {
	return s.remove(ctx, prefix, clientv3.WithPrefix())
}

func (s *official) remove(ctx context.Context, key string, options ...clientv3.OpOption) (Answer, error) {
	r, err := s.c.Delete(ctx, key, options...)
	if err != nil {
		return Answer{}, err
	}
	return Answer{Revision: r.Header.Revision, Matched: r.Deleted > 0}, nil
}

func (s *official) Swap(ctx context.Context, key, expected, value string) (Answer, error) {
	cond := clientv3.Compare(clientv3.Version(key), "=", 0)
	if expected != "" {
		cond = clientv3.Compare(clientv3.Value(key), "=", expected)
	}
	r, err := s.c.Txn(ctx).If(cond).Then(clientv3.OpPut(key, value)).Else(clientv3.OpGet(key)).Commit()
	if err != nil {
		return Answer{}, err
	}
	a := Answer{Revision: r.Header.Revision, Matched: r.Succeeded}
	if !r.Succeeded {
		a = s.read(r.Responses[0].GetResponseRange().Kvs, a)
	}
	return a, nil
}

func (s *official) PutMany(ctx context.Context, keys []string, value string) (Answer, error) {
	var then []clientv3.Op
	for _, key := range keys {
		then = append(then, clientv3.OpPut(key, value))
	}
	r, err := s.c.Txn(ctx).Then(then...).Commit()
	if err != nil {
		return Answer{}, err
	}
	return Answer{Revision: r.Header.Revision, Matched: true}, nil
}

func (s *official) Scan(ctx context.Context, prefix string, each func(history.Event)) (int64, error) {
	chunks, err := s.c.GetStream(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return 0, err
	}
	revision := int64(0)
	for chunk := range chunks {
		if err := chunk.Err(); err != nil {
			return 0, err
		}
		if chunk.RangeResponse.Header != nil {
			revision = chunk.RangeResponse.Header.Revision
		}
		for _, kv := range chunk.RangeResponse.Kvs {
			each(s.event(kv))
		}
	}
	return revision, nil
}

func (s *official) ReadAll(ctx context.Context, prefix string) (int, error) {
	r, err := s.c.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return 0, err
	}
	n := 0
	for _, kv := range r.Kvs {
		n += len(kv.Value)
	}
	return n, nil
}

func (s *official) event(kv *mvccpb.KeyValue) history.Event {
	return history.Event{
		Revision: kv.ModRevision, Key: s.names.Bytes(kv.Key), Value: text(s.names, kv.Value),
		Created: kv.CreateRevision, Version: kv.Version, Lease: kv.Lease,
	}
}

// Watch requests a creation notice. Its header is this client's only information
// about where a watch from now begins.
func (s *official) Watch(ctx context.Context, f history.Filter, revision int64) (Watch, error) {
	options := []clientv3.OpOption{clientv3.WithCreatedNotify(), clientv3.WithRev(revision)}
	for _, o := range []struct {
		on     bool
		option clientv3.OpOption
	}{
		{f.Prefix, clientv3.WithPrefix()}, {f.FromKey, clientv3.WithFromKey()}, {f.PrevKV, clientv3.WithPrevKV()},
		{f.NoPut, clientv3.WithFilterPut()}, {f.NoDelete, clientv3.WithFilterDelete()}, {f.Progress, clientv3.WithProgressNotify()},
		{f.Fragment, clientv3.WithFragment()},
	} {
		if o.on {
			options = append(options, o.option)
		}
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w := &officialWatch{s: s, cancel: cancel, start: revision}
	w.responses = s.c.Watch(own, f.Key, options...)
	select {
	case r, ok := <-w.responses:
		switch {
		case !ok:
			cancel()
			return nil, errChannelClosed
		case r.CompactRevision != 0:
			w.first = &r
		case r.Err() != nil:
			cancel()
			return nil, r.Err()
		case revision == 0:
			w.start = r.Header.Revision + 1
		}
		return w, nil
	case <-ctx.Done():
		cancel()
		return nil, ctx.Err()
	}
}

var errChannelClosed = errors.New("the watch's channel was closed without a reason")

type officialWatch struct {
	s         *official
	responses clientv3.WatchChan
	first     *clientv3.WatchResponse
	cancel    context.CancelFunc
	start     int64
}

func (w *officialWatch) Start() int64 { return w.start }
func (w *officialWatch) Close()       { w.cancel() }

func (w *officialWatch) Next(ctx context.Context) (history.Response, error) {
	if r := w.first; r != nil {
		w.first = nil
		return w.response(r)
	}
	for {
		select {
		case r, ok := <-w.responses:
			if !ok {
				return history.Response{}, errChannelClosed
			}
			if r.Created {
				continue // of the same watch on another stream
			}
			return w.response(&r)
		case <-ctx.Done():
			return history.Response{}, ctx.Err()
		}
	}
}

func (w *officialWatch) response(r *clientv3.WatchResponse) (history.Response, error) {
	switch {
	case r.CompactRevision != 0:
		return history.Response{}, &CompactedError{r.CompactRevision}
	case r.Err() != nil:
		return history.Response{}, r.Err()
	}
	resp := history.Response{Revision: r.Header.Revision, Progress: r.IsProgressNotify()}
	for _, e := range r.Events {
		x := w.s.event(e.Kv)
		x.Delete = e.Type == mvccpb.Event_DELETE
		if e.PrevKv != nil {
			x.Prev, x.HasPrev = text(w.s.names, e.PrevKv.Value), true
		}
		resp.Events = append(resp.Events, x)
	}
	return resp, nil
}

// Grant reads the responses, as this client requires; the end of their channel
// reports the loss.
func (s *official) Grant(ctx context.Context, ttl time.Duration) (Lease, error) {
	r, err := s.c.Grant(ctx, int64((ttl+time.Second-1)/time.Second))
	if err != nil {
		return nil, err
	}
	responses, err := s.c.KeepAlive(context.WithoutCancel(ctx), r.ID)
	if err != nil {
		return nil, err
	}
	l := &officialLease{c: s.c, id: r.ID, ttl: time.Duration(r.TTL) * time.Second, lost: make(chan struct{})}
	go func() { // ends with the client
		defer close(l.lost)
		for range responses {
		}
	}()
	return l, nil
}

type officialLease struct {
	c    *clientv3.Client
	id   clientv3.LeaseID
	ttl  time.Duration
	lost chan struct{}
}

func (l *officialLease) ID() int64             { return int64(l.id) }
func (l *officialLease) TTL() time.Duration    { return l.ttl }
func (l *officialLease) Lost() <-chan struct{} { return l.lost }
func (l *officialLease) Deadline() time.Time   { return time.Time{} }
func (l *officialLease) Err() error            { return errors.New("the channel of responses was closed") }

func (l *officialLease) Revoke(ctx context.Context) error {
	_, err := l.c.Revoke(ctx, l.id)
	return err
}
