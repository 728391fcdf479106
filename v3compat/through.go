package v3compat

import (
	"context"
	"path"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"silly.store/etcd"
	"silly.store/etcd/internal/compat"
)

// Requests that an etcd.Client does not offer, or refuses because they are most likely a
// mistake, go through it as they are.

// request says how such a request is made.
type request struct {
	path string // "/package.Service/Method"
	traits
}

// traits are those of compat.Request.
type traits uint8

const (
	reads traits = 1 << iota
	byAnyMember
	anonymous
)

func (t traits) has(one traits) bool { return t&one != 0 }

// through sends a request as it is and decodes the answer into out, which it returns.
func through[Response proto.Message](ctx context.Context, c *etcd.Client, r request, in proto.Message, out Response) (Response, error) {
	message, err := proto.Marshal(in)
	if err != nil {
		return out, status.Error(codes.Internal, err.Error())
	}
	send := func(ctx context.Context, r compat.Request) ([]byte, error) { return compat.Of(c).Call(ctx, r) }
	reply, err := call(ctx, send, compat.Request{
		Op: path.Base(r.path), Path: r.path, Message: message,
		Reads: r.has(reads), Local: r.has(byAnyMember), Anonymous: r.has(anonymous),
	})
	if err != nil {
		return out, err
	}
	if err := proto.Unmarshal(reply, out); err != nil {
		return out, status.Error(codes.Internal, err.Error())
	}
	return out, nil
}
