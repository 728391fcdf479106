package etcd

import (
	"cmp"
	"context"
	"sync"
	"testing"
	"time"

	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
	"silly.store/etcd/internal/wire"
)

// watchMember is a member whose watch streams are played by the test.
type watchMember struct {
	*peertest.Member

	mu        sync.Mutex // guards the fields below
	version   string
	statusErr error // instead of the version
	revision  int64
	confirms  int64         // the revision at which it confirms watches; 0: revision
	reads     int           // linearizable reads so far
	hold      chan struct{} // reads wait until it is closed; nil: they do not
	readErr   error
}

func newWatchMember(address string) *watchMember {
	m := &watchMember{Member: peertest.NewMember(address), version: "3.7.3", revision: 100}
	m.Handle(m.status, rpc.Status.Path)
	m.Handle(m.read, rpc.Ready.Path)
	return m
}

// watched makes a client of such members.
func watched(t testing.TB, config Config, members ...*watchMember) *Client {
	t.Helper()
	cluster := peertest.NewCluster()
	for _, m := range members {
		cluster.Join(m.Member)
	}
	return scripted(t, cluster, config)
}

// set changes the member under its lock.
func (m *watchMember) set(f func(m *watchMember)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(m)
}

func (m *watchMember) readCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reads
}

// next is the next stream that the client opens.
func (m *watchMember) next(t testing.TB) *watchMemberStream {
	t.Helper()
	return &watchMemberStream{m.NextStream(t), m}
}

func (m *watchMember) status(context.Context, transport.Request) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.statusErr != nil {
		return nil, m.statusErr
	}
	return wire.AppendString(wire.AppendTag(nil, 2, wire.TypeBytes), m.version), nil
}

func (m *watchMember) read(ctx context.Context, _ transport.Request) ([]byte, error) {
	m.mu.Lock()
	m.reads++
	hold, revision, err := m.hold, m.revision, m.readErr
	m.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err != nil {
		return nil, err
	}
	return peertest.AppendHeader(nil, revision), nil
}

// watchMemberStream is a watch stream, seen from the member.
type watchMemberStream struct {
	*peertest.Stream
	member *watchMember
}

// send sends responses of the member.
func (s *watchMemberStream) send(responses ...watchResponse) {
	for _, r := range responses {
		s.Send(appendWatchResponse(r))
	}
}

// request is the next request of the client.
func (s *watchMemberStream) request(t testing.TB) watchRequest {
	t.Helper()
	return readWatchRequest(s.Next(t))
}

// created takes a creation and confirms it at the member's revision.
func (s *watchMemberStream) created(t testing.TB) watchCreateRequest {
	t.Helper()
	r := s.request(t)
	if r.Create == nil {
		t.Fatalf("the client sends %+v, want a creation", r)
	}
	s.member.mu.Lock()
	revision := cmp.Or(s.member.confirms, s.member.revision)
	s.member.mu.Unlock()
	s.send(watchResponse{Header: ResponseHeader{Revision: revision}, WatchID: r.Create.WatchID, Created: true})
	return *r.Create
}

// puts is events of a key, one of each revision.
func puts(key string, revisions ...int64) []Event {
	var out []Event
	for _, rev := range revisions {
		out = append(out, Event{KV: KeyValue{Key: key, ModRevision: rev, Version: 1}})
	}
	return out
}

// eventsOf is a response that carries events.
func eventsOf(id int64, events ...Event) watchResponse {
	return watchResponse{Header: ResponseHeader{Revision: events[len(events)-1].KV.ModRevision}, WatchID: id, Events: events}
}

func appendWatchResponse(r watchResponse) []byte {
	b := peertest.AppendHeader(nil, r.Header.Revision)
	b = peertest.AppendInt(b, 2, r.WatchID)
	b = peertest.AppendBool(b, 3, r.Created)
	b = peertest.AppendBool(b, 4, r.Canceled)
	b = peertest.AppendInt(b, 5, r.CompactRevision)
	if r.CancelReason != "" {
		b = peertest.AppendBytes(b, 6, []byte(r.CancelReason))
	}
	b = peertest.AppendBool(b, 7, r.Fragment)
	for _, ev := range r.Events {
		e := peertest.AppendInt(nil, 1, int64(ev.Type))
		e = peertest.AppendBytes(e, 2, appendKeyValue(ev.KV))
		if ev.PrevKV != nil {
			e = peertest.AppendBytes(e, 3, appendKeyValue(*ev.PrevKV))
		}
		b = peertest.AppendBytes(b, 11, e)
	}
	return b
}

func appendKeyValue(kv KeyValue) []byte {
	b := peertest.AppendBytes(nil, 1, []byte(kv.Key))
	b = peertest.AppendInt(b, 3, kv.ModRevision)
	b = peertest.AppendInt(b, 4, kv.Version)
	if len(kv.Value) > 0 {
		b = peertest.AppendBytes(b, 5, kv.Value)
	}
	return b
}

// readWatchRequest decodes what a member needs to know of a request.
func readWatchRequest(b []byte) watchRequest {
	var r watchRequest
	peertest.Fields(b, func(field int, v uint64, block []byte) {
		switch field {
		case 1:
			r.Create = &watchCreateRequest{}
			peertest.Fields(block, func(field int, v uint64, block []byte) {
				switch field {
				case 1:
					r.Create.Key = string(block)
				case 3:
					r.Create.StartRevision = int64(v)
				case 7:
					r.Create.WatchID = int64(v)
				case 8:
					r.Create.Fragment = v != 0
				}
			})
		case 2:
			r.Cancel = &watchCancelRequest{}
			peertest.Fields(block, func(_ int, v uint64, _ []byte) { r.Cancel.WatchID = int64(v) })
		case 3:
			r.Progress = &watchProgressRequest{}
		}
	})
	return r
}

// soon is a context that ends what would wait for good: a bubble's time never
// stands still while a watch is there to be probed.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	t.Cleanup(cancel)
	return ctx
}
