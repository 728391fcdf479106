package client

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"silly.store/etcd"
	"silly.store/etcd/conformance/namespaced"
	"silly.store/etcd/etcdtest"
)

// recorded is the history of a server, read with grpc-go and etcd's own messages.
// Tests compare watches with it.
type recorded struct {
	t *testing.T

	mu     sync.Mutex // guards the fields below
	events []*mvccpb.Event
	before []*mvccpb.KeyValue // for each event, the key's pair before it
	seen   int64              // the revision of the last event
}

// record follows a server from its first revision.
func record(t *testing.T, s *etcdtest.Server) *recorded {
	t.Helper()
	stream, err := pb.NewWatchClient(official(t, s)).Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
		Key: []byte(cmp.Or(namespaced.Prefix, "\x00")), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(namespaced.Prefix)), StartRevision: 1,
	}}}); err != nil {
		t.Fatal(err)
	}
	r := &recorded{t: t}
	go func() {
		pairs := map[string]*mvccpb.KeyValue{}
		for {
			resp, err := stream.Recv()
			if err != nil {
				return // the test has ended, or its comparison waits in vain
			}
			r.mu.Lock()
			for _, ev := range resp.Events {
				ev.Kv.Key = bytes.TrimPrefix(ev.Kv.Key, []byte(namespaced.Prefix))
				key := string(ev.Kv.Key)
				r.events = append(r.events, ev)
				r.before = append(r.before, pairs[key])
				if ev.Type == mvccpb.Event_DELETE {
					delete(pairs, key)
				} else {
					pairs[key] = ev.Kv
				}
				r.seen = ev.Kv.ModRevision
			}
			r.mu.Unlock()
		}
	}()
	return r
}

// expected returns the events that a watch must deliver between two revisions,
// inclusive. It waits until the history has reached the last one.
func (r *recorded) expected(req etcd.WatchRequest, from, to int64) []string {
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		r.mu.Lock()
		events, before, seen := r.events, r.before, r.seen
		r.mu.Unlock()
		if seen >= to {
			return r.filter(events, before, req, from, to)
		}
		if time.Now().After(end) {
			r.t.Errorf("the history has come to revision %d and not to %d", seen, to)
			return nil
		}
	}
}

func (r *recorded) filter(events []*mvccpb.Event, before []*mvccpb.KeyValue, req etcd.WatchRequest, from, to int64) []string {
	var out []string
	for i, ev := range events {
		rev, key := ev.Kv.ModRevision, string(ev.Kv.Key)
		switch {
		case rev < from || rev > to,
			ev.Type == mvccpb.Event_PUT && req.NoPut, ev.Type == mvccpb.Event_DELETE && req.NoDelete,
			req.Prefix && !strings.HasPrefix(key, req.Key),
			req.FromKey && key < req.Key,
			req.RangeEnd != "" && (key < req.Key || key >= req.RangeEnd),
			!req.Prefix && !req.FromKey && req.RangeEnd == "" && key != req.Key:
			continue
		}
		text := fmt.Sprintf("%s %s=%q %d %d %d", ev.Type, key, ev.Kv.Value, ev.Kv.CreateRevision, rev, ev.Kv.Version)
		if p := before[i]; req.PrevKV && p != nil {
			text += fmt.Sprintf(" was %q %d %d %d", p.Value, p.CreateRevision, p.ModRevision, p.Version)
		}
		out = append(out, text)
	}
	return out
}
