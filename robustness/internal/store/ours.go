package store

import (
	"context"
	"errors"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/robustness/internal/history"
)

// ours is silly.store/etcd at its defaults, except for coalescing writes.
type ours struct {
	c     *etcd.Client
	names *history.Interner
}

func openOurs(config Config) (Store, error) {
	coalesce := etcd.CoalesceReads
	if config.CoalesceWrites {
		coalesce = etcd.CoalesceAll
	}
	c, err := etcd.New(etcd.Config{
		Coalesce:  coalesce,
		Endpoints: config.Endpoints, TLS: config.TLS, Username: config.Username, Password: config.Password,
	})
	if err != nil {
		return nil, err
	}
	return &ours{c, config.Names}, nil
}

func (s *ours) Close() error { return s.c.Close() }

func (s *ours) SetEndpoints(endpoints []string) error { return s.c.SetEndpoints(endpoints) }

func (s *ours) Sync(ctx context.Context) error {
	_, err := s.c.Sync(ctx)
	return err
}

func (s *ours) Counts() map[string]int64 {
	stats := s.c.Stats()
	return map[string]int64{
		history.Authentications: stats.Authentications, history.Batches: stats.Batches, history.BatchedCalls: stats.BatchedCalls,
	}
}

func (s *ours) Fate(err error) history.Fate {
	switch {
	case err == nil:
		return history.Done
	case etcd.MaybeApplied(err):
		return history.Unknown
	}
	return history.NotApplied
}

func (s *ours) Outcome(err error) etcd.Outcome {
	var e *etcd.Error
	if errors.As(err, &e) {
		return e.Outcome
	}
	return etcd.OutcomeUnknown
}

func (s *ours) Get(ctx context.Context, key string, stale bool) (Answer, error) {
	r, err := s.c.Get(ctx, etcd.GetRequest{Key: key, Serializable: stale})
	if err != nil {
		return Answer{}, err
	}
	return s.read(r, Answer{Revision: r.Header.Revision}), nil
}

// read adds the pair of a point read to an answer.
func (s *ours) read(r *etcd.GetResponse, a Answer) Answer {
	if len(r.KVs) > 0 {
		a.Found, a.Modified = text(s.names, r.KVs[0].Value), r.KVs[0].ModRevision
	}
	return a
}

func (s *ours) Put(ctx context.Context, key, value string, lease int64) (Answer, error) {
	r, err := s.c.Put(ctx, etcd.PutRequest{Key: key, Value: []byte(value), Lease: etcd.LeaseID(lease)})
	if err != nil {
		return Answer{}, err
	}
	return Answer{Revision: r.Header.Revision}, nil
}

func (s *ours) Delete(ctx context.Context, key string) (Answer, error) {
	r, err := s.c.Delete(ctx, etcd.DeleteRequest{Key: key})
	if err != nil {
		return Answer{}, err
	}
	return Answer{Revision: r.Header.Revision, Matched: r.Deleted > 0}, nil
}

func (s *ours) Swap(ctx context.Context, key, expected, value string) (Answer, error) {
	cond := etcd.CompareVersion(key, etcd.Equal, 0)
	if expected != "" {
		cond = etcd.CompareValue(key, etcd.Equal, []byte(expected))
	}
	r, err := s.c.Txn(ctx, etcd.TxnRequest{
		If:   []etcd.Compare{cond},
		Then: []etcd.Op{etcd.PutRequest{Key: key, Value: []byte(value)}},
		Else: []etcd.Op{etcd.GetRequest{Key: key}},
	})
	if err != nil {
		return Answer{}, err
	}
	a := Answer{Revision: r.Header.Revision, Matched: r.Succeeded}
	if !r.Succeeded {
		a = s.read(r.Responses[0].Get, a)
	}
	return a, nil
}

func (s *ours) PutMany(ctx context.Context, keys []string, value string) (Answer, error) {
	var then []etcd.Op
	for _, key := range keys {
		then = append(then, etcd.PutRequest{Key: key, Value: []byte(value)})
	}
	r, err := s.c.Txn(ctx, etcd.TxnRequest{Then: then})
	if err != nil {
		return Answer{}, err
	}
	return Answer{Revision: r.Header.Revision, Matched: true}, nil
}

func (s *ours) DeleteMany(ctx context.Context, prefix string) (Answer, error) {
	r, err := s.c.Delete(ctx, etcd.DeleteRequest{Key: prefix, Prefix: true})
	if err != nil {
		return Answer{}, err
	}
	return Answer{Revision: r.Header.Revision, Matched: r.Deleted > 0}, nil
}

func (s *ours) Scan(ctx context.Context, prefix string, each func(history.Event)) (int64, error) {
	r, err := s.c.Range(ctx, etcd.GetRequest{Key: prefix, Prefix: true})
	if err != nil {
		return 0, err
	}
	for kv, err := range r.All() {
		if err != nil {
			return 0, err
		}
		each(s.event(kv))
	}
	return r.Revision(), nil
}

func (s *ours) ReadAll(ctx context.Context, prefix string) (int, error) {
	r, err := s.c.Get(ctx, etcd.GetRequest{Key: prefix, Prefix: true})
	if err != nil {
		return 0, err
	}
	n := 0
	for _, kv := range r.KVs {
		n += len(kv.Value)
	}
	return n, nil
}

func (s *ours) event(kv etcd.KeyValue) history.Event {
	return history.Event{
		Revision: kv.ModRevision, Key: s.names.String(kv.Key), Value: text(s.names, kv.Value),
		Created: kv.CreateRevision, Version: kv.Version, Lease: int64(kv.Lease),
	}
}

func (s *ours) Watch(ctx context.Context, f history.Filter, revision int64) (Watch, error) {
	w, err := s.c.Watch(ctx, etcd.WatchRequest{
		Key: f.Key, Prefix: f.Prefix, FromKey: f.FromKey, Revision: revision,
		PrevKV: f.PrevKV, NoPut: f.NoPut, NoDelete: f.NoDelete, ProgressNotify: f.Progress, Fragment: f.Fragment,
	})
	if err != nil {
		return nil, err
	}
	return &oursWatch{s, w}, nil
}

type oursWatch struct {
	s *ours
	w *etcd.Watcher
}

func (w *oursWatch) Start() int64 { return w.w.Revision() }
func (w *oursWatch) Close()       { _ = w.w.Close() }

func (w *oursWatch) Next(ctx context.Context) (history.Response, error) {
	r, err := w.w.Read(ctx)
	if err != nil {
		var compacted *etcd.CompactedError
		if errors.As(err, &compacted) {
			err = &CompactedError{compacted.Revision}
		}
		return history.Response{}, err
	}
	resp := history.Response{Revision: r.Header.Revision, Progress: r.IsProgress()}
	for i := range r.Events {
		e := &r.Events[i]
		x := w.s.event(e.KV)
		x.Delete = e.Type == etcd.EventDelete
		if e.PrevKV != nil {
			x.Prev, x.HasPrev = text(w.s.names, e.PrevKV.Value), true
		}
		resp.Events = append(resp.Events, x)
	}
	return resp, nil
}

func (s *ours) Grant(ctx context.Context, ttl time.Duration) (Lease, error) {
	l, err := s.c.Grant(ctx, etcd.GrantRequest{TTL: ttl})
	if err != nil {
		return nil, err
	}
	return &oursLease{s.c, l}, nil
}

type oursLease struct {
	c *etcd.Client
	l *etcd.Lease
}

func (l *oursLease) ID() int64             { return int64(l.l.ID) }
func (l *oursLease) TTL() time.Duration    { return l.l.TTL }
func (l *oursLease) Lost() <-chan struct{} { return l.l.Done() }
func (l *oursLease) Deadline() time.Time   { return l.l.Deadline() }
func (l *oursLease) Err() error            { return l.l.Err() }

func (l *oursLease) Revoke(ctx context.Context) error {
	_, err := l.c.Revoke(ctx, etcd.RevokeRequest{ID: l.l.ID})
	return err
}
