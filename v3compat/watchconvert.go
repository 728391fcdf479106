package v3compat

// A WatchResponse can be given an error only by its text, CancelReason: Err finds the
// variable of rpctypes in it. A watch option can be read except WithWatchBufLog.

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/status"

	"silly.store/etcd"
)

// fromKey is the end of a range that has none.
const fromKey = "\x00"

// watchRequest is what a watch operation asks for. Of its options only WithWatchBufLog
// cannot be read; it is about a buffer that does not exist here.
func watchRequest(op clientv3.Op) etcd.WatchRequest {
	req := watchOf(op.KeyBytes(), op.RangeBytes())
	req.Revision, req.PrevKV = op.Rev(), op.IsPrevKV()
	req.NoPut, req.NoDelete = op.IsFilterPut(), op.IsFilterDelete()
	req.ProgressNotify, req.Fragment = op.IsProgressNotify(), op.IsFragment()
	return req
}

// errBeforeAll is how etcd refuses a watch from a negative revision.
var errBeforeAll = rpctypes.ErrGRPCCompacted

// watchOf is a watch of a key or of a range of keys.
func watchOf(key, end []byte) etcd.WatchRequest {
	req := etcd.WatchRequest{Key: string(key)}
	if req.Key == "" {
		req.Key = fromKey // as the server does: the smallest key there is
	}
	if string(end) == fromKey {
		req.FromKey = true
	} else {
		req.RangeEnd = string(end)
	}
	return req
}

// created is the response that WithCreatedNotify asks for. When the watch starts
// from now its revision is the one behind which it starts.
func created(w *etcd.Watcher, asked int64) clientv3.WatchResponse {
	return clientv3.WatchResponse{Header: confirmed(w, asked), Created: true}
}

func confirmed(w *etcd.Watcher, asked int64) *pb.ResponseHeader {
	h := w.Header()
	if asked == 0 {
		h.Revision = w.Revision() - 1
	}
	return header(h)
}

// compactedAt ends a watch, maybe one that never began.
func compactedAt(w *etcd.Watcher, oldest int64) clientv3.WatchResponse {
	h := new(pb.ResponseHeader)
	if w != nil {
		h = header(w.Header())
		h.Revision = 0 // as from the server
	}
	return clientv3.WatchResponse{Header: h, Canceled: true, CompactRevision: oldest}
}

// canceled ends a watch. Err finds the error of rpctypes by its text, and makes
// others an error with a gRPC status that says the same.
func canceled(err error) clientv3.WatchResponse {
	return clientv3.WatchResponse{Header: new(pb.ResponseHeader), Canceled: true, CancelReason: reason(err)}
}

func reason(err error) string { return status.Convert(asStatus(err)).Message() }

func watchResponse(r *etcd.WatchResponse) clientv3.WatchResponse {
	return clientv3.WatchResponse{Header: header(r.Header), Events: watchEvents(r.Events)}
}

// watchEvents allocates all events, and all keys, at once.
func watchEvents(events []etcd.Event) []*clientv3.Event {
	if len(events) == 0 {
		return nil
	}
	out := make([]*clientv3.Event, len(events))
	blocks := make([]struct {
		event mvccpb.Event
		kv    mvccpb.KeyValue
	}, len(events))
	keys := make([]byte, 0, keyBytes(events))
	for i := range events {
		from, b := &events[i], &blocks[i]
		b.event.Type = mvccpb.Event_EventType(from.Type)
		b.event.Kv = &b.kv
		keys = fillKeyValue(&b.kv, &from.KV, keys)
		if from.PrevKV != nil {
			b.event.PrevKv = new(mvccpb.KeyValue)
			keys = fillKeyValue(b.event.PrevKv, from.PrevKV, keys)
		}
		out[i] = &b.event
	}
	return out
}

func keyBytes(events []etcd.Event) (n int) {
	for i := range events {
		n += len(events[i].KV.Key)
		if prev := events[i].PrevKV; prev != nil {
			n += len(prev.Key)
		}
	}
	return n
}

// fillKeyValue puts the key behind keys, which has room for it.
func fillKeyValue(to *mvccpb.KeyValue, from *etcd.KeyValue, keys []byte) []byte {
	at := len(keys)
	keys = append(keys, from.Key...)
	to.Key, to.Value, to.Lease = keys[at:len(keys):len(keys)], from.Value, int64(from.Lease)
	to.CreateRevision, to.ModRevision, to.Version = from.CreateRevision, from.ModRevision, from.Version
	return keys
}
