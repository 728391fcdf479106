package call

import (
	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// Request is one request: a method, which is constant, and the fields that differ
// between requests. It is passed by value to avoid an allocation.
type Request struct {
	Method  *rpc.Method
	Message []byte
	// Tail is that of transport.Request.
	Tail []byte
	// Member is the only member that may get the request; nil means any.
	Member *balance.Endpoint
	// Buffer is that of transport.Request.
	Buffer *transport.Buffer
	// Progress tracks a request that several calls share; nil means that the
	// request belongs to one caller.
	Progress *Progress
	// AlreadyDone, when not nil, is the error that etcd gives if an earlier attempt
	// of the same request has succeeded.
	AlreadyDone error
}

// pinned reports whether the request may go to only one member.
func (r *Request) pinned() bool { return r.Member != nil }
