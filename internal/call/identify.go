package call

import (
	"context"
	"errors"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// identify finds out which member a new connection leads to, before the connection
// takes calls. An error means that the connection must not be used. A member that
// answers with an error is accepted, because each of its later answers is checked
// too.
func (e *Engine) identify(ctx context.Context, conn transport.Conn) (balance.Identity, error) {
	reply, err := conn.Call(ctx, transport.Request{Path: rpc.Identify.Path, Message: []byte{}})
	if err == nil {
		return e.recognize(reply)
	}
	failed := FromTransport(rpc.Identify, "", err)
	if failed.Sentinel == ErrNotSupportedForLearner {
		return e.identifyLearner(ctx, conn)
	}
	if !failed.Answered {
		return balance.Identity{}, err
	}
	return balance.Identity{}, nil
}

// identifyLearner asks for the status, the only request that a learner answers.
func (e *Engine) identifyLearner(ctx context.Context, conn transport.Conn) (balance.Identity, error) {
	id := balance.Identity{Learner: true}
	reply, err := conn.Call(ctx, transport.Request{Path: rpc.Status.Path, Message: []byte{}})
	if err == nil {
		known, err := e.recognize(reply)
		id.Member = known.Member
		return id, err
	}
	var te *transport.Error
	if errors.As(err, &te) && te.Outcome == transport.Answered {
		return id, nil
	}
	return id, err
}

// recognize reads the member's identity from an answer, if the member is of our
// cluster.
func (e *Engine) recognize(reply []byte) (balance.Identity, error) {
	h := PeekHeader(reply)
	if h.ClusterID != 0 && !e.history.belongs(h.ClusterID) {
		cause := &foreignError{e.history.id.Load(), h.ClusterID}
		return balance.Identity{}, &transport.Error{Code: transport.FailedPrecondition, Outcome: transport.NotSent, Cause: cause}
	}
	return balance.Identity{Member: h.MemberID}, nil
}
