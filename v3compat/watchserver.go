package v3compat

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"silly.store/etcd"
)

// watchServer is etcd's Watch service, answered by an etcd.Client. It serves the
// Watcher of clientv3.NewWatcher, which has its own loops and buffers, and
// generated clients; the Watcher of a Client does not come here.
type watchServer struct {
	pb.UnsafeWatchServer
	c *etcd.Client
}

// Watch serves one stream. It has a goroutine for each watch on it, and waits for
// them.
func (s *watchServer) Watch(stream pb.Watch_WatchServer) error {
	session := &watchSession{c: s.c, stream: stream, watches: make(map[int64]*servedWatch)}
	session.ctx, session.cancel = context.WithCancel(stream.Context())
	defer session.routines.Wait()
	defer session.cancel()
	for {
		in, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = session.serve(in)
		}
		if err != nil {
			return err
		}
	}
}

// watchSession is a stream of the Watch service. Responses are sent from several
// goroutines, which local's streams allow.
type watchSession struct {
	c        *etcd.Client
	stream   pb.Watch_WatchServer
	ctx      context.Context // ends with the stream
	cancel   context.CancelFunc
	routines sync.WaitGroup

	mu sync.Mutex // guards the fields below

	nextID  int64
	watches map[int64]*servedWatch
}

// servedWatch is a watch on a stream.
type servedWatch struct {
	id     int64
	from   *etcd.Watcher
	ctx    context.Context // ends when it is cancelled
	cancel context.CancelFunc
}

func (s *watchSession) serve(in *pb.WatchRequest) error {
	switch r := in.RequestUnion.(type) {
	case *pb.WatchRequest_CreateRequest:
		return s.create(r.CreateRequest)
	case *pb.WatchRequest_CancelRequest:
		s.end(r.CancelRequest.WatchId)
	case *pb.WatchRequest_ProgressRequest:
		s.requestProgress()
	}
	return nil
}

// create begins a watch. Creations are answered in order.
func (s *watchSession) create(in *pb.WatchCreateRequest) error {
	if s.taken(in.WatchId) {
		return s.refuse(duplicateID)
	}
	req := watchOf(in.Key, in.RangeEnd)
	req.Revision, req.PrevKV, req.ProgressNotify, req.Fragment = in.StartRevision, in.PrevKv, in.ProgressNotify, in.Fragment
	req.NoPut = slices.Contains(in.Filters, pb.WatchCreateRequest_NOPUT)
	req.NoDelete = slices.Contains(in.Filters, pb.WatchCreateRequest_NODELETE)
	from, err := beginWatch(s.ctx, s.c, req, requiresLeader(s.ctx))
	switch {
	case errors.Is(err, etcd.ErrClosed), err != nil && s.ctx.Err() != nil:
		return asStatus(err)
	case err != nil:
		return s.refuse(reason(err))
	}
	w := s.add(in.WatchId, from)
	if err := s.stream.Send(&pb.WatchResponse{Header: confirmed(from, in.StartRevision), WatchId: w.id, Created: true}); err != nil {
		_ = from.Close()
		return err
	}
	s.routines.Go(func() { s.hand(w) })
	return nil
}

// duplicateID is etcd's reason for not creating a watch with the ID of another one.
const duplicateID = "mvcc: duplicate watch ID provided on the WatchStream"

// refuse answers a creation that fails.
func (s *watchSession) refuse(reason string) error {
	return s.stream.Send(&pb.WatchResponse{
		Header: new(pb.ResponseHeader), WatchId: clientv3.InvalidWatchID, Created: true, Canceled: true, CancelReason: reason,
	})
}

func (s *watchSession) taken(id int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return id != clientv3.AutoWatchID && s.watches[id] != nil
}

// add gives a watch its ID: the one that was asked for, which is free, or one of ours,
// from 0 on.
func (s *watchSession) add(id int64, from *etcd.Watcher) *servedWatch {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id == clientv3.AutoWatchID {
		for s.watches[s.nextID] != nil {
			s.nextID++
		}
		id = s.nextID
		s.nextID++
	}
	w := &servedWatch{id: id, from: from}
	w.ctx, w.cancel = context.WithCancel(s.ctx)
	s.watches[id] = w
	return w
}

// end cancels a watch, which says so itself.
func (s *watchSession) end(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.watches[id]; w != nil {
		w.cancel()
	}
}

func (s *watchSession) requestProgress() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.watches {
		w.from.RequestProgress()
	}
}

// hand sends what a watch reads until it ends, and how it has ended.
func (s *watchSession) hand(w *servedWatch) {
	defer w.cancel()
	defer func() { _ = w.from.Close() }()
	for {
		resp, err := w.from.Read(w.ctx)
		if err != nil {
			s.mu.Lock()
			delete(s.watches, w.id)
			s.mu.Unlock()
			_ = s.stream.Send(s.last(w, err))
			return
		}
		out := &pb.WatchResponse{Header: header(resp.Header), WatchId: w.id, Events: watchEvents(resp.Events)}
		if s.stream.Send(out) != nil {
			return
		}
	}
}

// last is the response that ends a watch: without a reason when that was asked for.
func (s *watchSession) last(w *servedWatch, err error) *pb.WatchResponse {
	out := &pb.WatchResponse{Header: new(pb.ResponseHeader), WatchId: w.id, Canceled: true}
	var compacted *etcd.CompactedError
	switch {
	case errors.As(err, &compacted):
		out.CompactRevision = compacted.Revision
	case w.ctx.Err() == nil:
		out.CancelReason = reason(err)
	}
	return out
}
