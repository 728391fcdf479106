package v3compat

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"silly.store/etcd"
)

// kvServer answers the requests of etcd's KV service.
type kvServer struct {
	pb.UnimplementedKVServer
	c *etcd.Client
}

func (s *kvServer) Range(ctx context.Context, req *pb.RangeRequest) (*pb.RangeResponse, error) {
	get, err := getRequest(req)
	if err != nil {
		return nil, err
	}
	resp, err := call(ctx, s.c.Get, get)
	if err != nil {
		return nil, err
	}
	return rangeResponse(resp), nil
}

func (s *kvServer) Put(ctx context.Context, req *pb.PutRequest) (*pb.PutResponse, error) {
	put, err := putRequest(req)
	if err != nil {
		return nil, err
	}
	resp, err := call(ctx, s.c.Put, put)
	if err != nil {
		return nil, err
	}
	return putResponse(resp), nil
}

func (s *kvServer) DeleteRange(ctx context.Context, req *pb.DeleteRangeRequest) (*pb.DeleteRangeResponse, error) {
	del, err := deleteRequest(req)
	if err != nil {
		return nil, err
	}
	resp, err := call(ctx, s.c.Delete, del)
	if err != nil {
		return nil, err
	}
	return deleteResponse(resp), nil
}

func (s *kvServer) Txn(ctx context.Context, req *pb.TxnRequest) (*pb.TxnResponse, error) {
	txn, err := txnRequest(req)
	if err != nil {
		return nil, err
	}
	resp, err := call(ctx, s.c.Txn, txn)
	if err != nil {
		return nil, err
	}
	return txnResponse(resp), nil
}

func (s *kvServer) Compact(ctx context.Context, req *pb.CompactionRequest) (*pb.CompactionResponse, error) {
	resp, err := call(ctx, s.c.Compact, etcd.CompactRequest{Revision: req.Revision, Physical: req.Physical})
	if err != nil {
		return nil, err
	}
	return &pb.CompactionResponse{Header: header(resp.Header)}, nil
}

// pieceOfRange is about how many bytes of pairs RangeStream sends at a time.
const pieceOfRange = 1 << 20

// RangeStream sends the pairs in pieces, and the header and the count with the
// last one, as etcd does. It works with servers that have no such method too.
func (s *kvServer) RangeStream(req *pb.RangeRequest, stream grpc.ServerStreamingServer[pb.RangeStreamResponse]) error {
	get, err := getRequest(req)
	switch {
	case err != nil:
		return err
	case req.CountOnly:
		resp, err := s.Range(stream.Context(), req)
		if err != nil {
			return err
		}
		return stream.Send(&pb.RangeStreamResponse{RangeResponse: resp})
	}
	r, err := call(stream.Context(), s.c.Range, get)
	if err != nil {
		return err
	}
	piece, bytes, sent := new(pb.RangeResponse), 0, int64(0)
	for kv, err := range r.All() {
		if err != nil {
			return asStatus(err)
		}
		if bytes >= pieceOfRange {
			if err := stream.Send(&pb.RangeStreamResponse{RangeResponse: piece}); err != nil {
				return err
			}
			piece, bytes = new(pb.RangeResponse), 0
		}
		piece.Kvs = append(piece.Kvs, keyValue(&kv))
		bytes += len(kv.Key) + len(kv.Value)
		sent++
	}
	piece.Header = header(r.Header())
	piece.Count = r.Count()
	piece.More = get.Limit > 0 && sent == get.Limit && sent < r.Count()
	return stream.Send(&pb.RangeStreamResponse{RangeResponse: piece})
}

// kvClient is kvServer for callers in the same process: client/v3 makes a KV of
// it.
type kvClient struct {
	server *kvServer
	local  *local
}

func (k kvClient) Range(ctx context.Context, in *pb.RangeRequest, _ ...grpc.CallOption) (*pb.RangeResponse, error) {
	return k.server.Range(ctx, in)
}

func (k kvClient) Put(ctx context.Context, in *pb.PutRequest, _ ...grpc.CallOption) (*pb.PutResponse, error) {
	return k.server.Put(ctx, in)
}

func (k kvClient) DeleteRange(ctx context.Context, in *pb.DeleteRangeRequest, _ ...grpc.CallOption) (*pb.DeleteRangeResponse, error) {
	return k.server.DeleteRange(ctx, in)
}

func (k kvClient) Txn(ctx context.Context, in *pb.TxnRequest, _ ...grpc.CallOption) (*pb.TxnResponse, error) {
	return k.server.Txn(ctx, in)
}

func (k kvClient) Compact(ctx context.Context, in *pb.CompactionRequest, _ ...grpc.CallOption) (*pb.CompactionResponse, error) {
	return k.server.Compact(ctx, in)
}

func (k kvClient) RangeStream(ctx context.Context, in *pb.RangeRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[pb.RangeStreamResponse], error) {
	return pb.NewKVClient(k.local).RangeStream(ctx, in, opts...)
}
