package etcd

import (
	"context"
	"errors"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/transport"
)

// rpcIdentify is an empty transaction. A member answers it from what it has, with
// a header and to anybody: it touches no key that a permission could be missing
// for. Status would want a user where authentication is on. A learner refuses it.
var rpcIdentify = rpc{op: "Connect", path: rpcTxn.path, class: read, local: true}

// identify finds out which member is at the end of a new connection, before it
// takes calls. Its error is why it must not. A member that answers with an error
// of its own is taken for good: each of its answers is looked at anyway.
func (c *Client) identify(ctx context.Context, conn transport.Conn) (balance.Identity, error) {
	reply, err := conn.Call(ctx, transport.Request{Path: rpcIdentify.path, Message: []byte{}})
	if err == nil {
		return c.recognize(reply)
	}
	e := callError(&rpcIdentify, "", err)
	if e.sentinel == ErrNotSupportedForLearner {
		return c.identifyLearner(ctx, conn)
	}
	if !e.answered {
		return balance.Identity{}, err
	}
	return balance.Identity{}, nil
}

// identifyLearner asks for the status, which is all that a learner tells.
func (c *Client) identifyLearner(ctx context.Context, conn transport.Conn) (balance.Identity, error) {
	id := balance.Identity{Learner: true}
	reply, err := conn.Call(ctx, transport.Request{Path: rpcStatus.path, Message: []byte{}})
	if err == nil {
		known, err := c.recognize(reply)
		id.Member = known.Member
		return id, err
	}
	var te *transport.Error
	if errors.As(err, &te) && te.Outcome == transport.Answered {
		return id, nil
	}
	return id, err
}

// recognize reads the member out of an answer, if it is of our cluster.
func (c *Client) recognize(reply []byte) (balance.Identity, error) {
	h := peekHeader(reply)
	if h.ClusterID != 0 && !c.cluster.belongs(h.ClusterID) {
		cause := &foreignError{c.cluster.id.Load(), h.ClusterID}
		return balance.Identity{}, &transport.Error{Code: transport.FailedPrecondition, Outcome: transport.NotSent, Cause: cause}
	}
	return balance.Identity{Member: h.MemberID}, nil
}
