package v3compat

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"silly.store/etcd"
)

func header(h etcd.ResponseHeader) *pb.ResponseHeader {
	return &pb.ResponseHeader{ClusterId: h.ClusterID, MemberId: h.MemberID, Revision: h.Revision, RaftTerm: h.RaftTerm}
}

func keyValue(kv *etcd.KeyValue) *mvccpb.KeyValue {
	return &mvccpb.KeyValue{
		Key: []byte(kv.Key), Value: kv.Value, Lease: int64(kv.Lease),
		CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision, Version: kv.Version,
	}
}

// keyValues allocates all pairs, and all keys, at once.
func keyValues(kvs []etcd.KeyValue) []*mvccpb.KeyValue {
	if len(kvs) == 0 {
		return nil
	}
	out, pairs := make([]*mvccpb.KeyValue, len(kvs)), make([]mvccpb.KeyValue, len(kvs))
	size := 0
	for i := range kvs {
		size += len(kvs[i].Key)
	}
	keys := make([]byte, 0, size)
	for i := range kvs {
		kv, from := &kvs[i], len(keys)
		keys = append(keys, kv.Key...)
		p := &pairs[i]
		p.Key, p.Value, p.Lease = keys[from:len(keys):len(keys)], kv.Value, int64(kv.Lease)
		p.CreateRevision, p.ModRevision, p.Version = kv.CreateRevision, kv.ModRevision, kv.Version
		out[i] = p
	}
	return out
}

func rangeResponse(r *etcd.GetResponse) *pb.RangeResponse {
	return &pb.RangeResponse{Header: header(r.Header), Kvs: keyValues(r.KVs), More: r.More, Count: r.Count}
}

func putResponse(r *etcd.PutResponse) *pb.PutResponse {
	out := &pb.PutResponse{Header: header(r.Header)}
	if r.PrevKV != nil {
		out.PrevKv = keyValue(r.PrevKV)
	}
	return out
}

func deleteResponse(r *etcd.DeleteResponse) *pb.DeleteRangeResponse {
	return &pb.DeleteRangeResponse{Header: header(r.Header), Deleted: r.Deleted, PrevKvs: keyValues(r.PrevKVs)}
}

func txnResponse(r *etcd.TxnResponse) *pb.TxnResponse {
	out := &pb.TxnResponse{Header: header(r.Header), Succeeded: r.Succeeded}
	for i := range r.Responses {
		out.Responses = append(out.Responses, responseOp(&r.Responses[i]))
	}
	return out
}

func responseOp(r *etcd.OpResponse) *pb.ResponseOp {
	switch {
	case r.Get != nil:
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponseRange{ResponseRange: rangeResponse(r.Get)}}
	case r.Put != nil:
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponsePut{ResponsePut: putResponse(r.Put)}}
	case r.Delete != nil:
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: deleteResponse(r.Delete)}}
	case r.Txn != nil:
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponseTxn{ResponseTxn: txnResponse(r.Txn)}}
	}
	return new(pb.ResponseOp)
}
