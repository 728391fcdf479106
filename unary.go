package etcd

import (
	"context"
	"errors"
	"sync"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/coalesce"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/wire"
)

// wireRequest is a request as the wire knows it.
type wireRequest interface {
	appendWire(b []byte) []byte
	sizeWire() int
}

// wireResponse is what a reply is decoded into; it keeps and aliases the bytes.
type wireResponse interface{ decodeWire(b []byte) error }

// do makes a unary call: req, unless reqErr says that it is invalid, and the
// answer decoded into resp.
func (c *Client) do(ctx context.Context, m *rpc.Method, req wireRequest, reqErr error, resp wireResponse) error {
	return c.doAt(ctx, m, nil, req, reqErr, resp)
}

// doAt is do for a call that is meant for one member; nil means any.
func (c *Client) doAt(ctx context.Context, m *rpc.Method, member *balance.Endpoint, req wireRequest, reqErr error, resp wireResponse) error {
	if ctx == nil || c.observer.hooks.Call == nil {
		return c.request(ctx, m, member, req, reqErr, resp)
	}
	ctx, begun := c.observer.begin(ctx, infoOf(m.Op, req))
	err := c.request(ctx, m, member, req, reqErr, resp)
	begun.end(err, resp)
	return err
}

// request is doAt for a part of a call.
func (c *Client) request(ctx context.Context, m *rpc.Method, member *balance.Endpoint, req wireRequest, reqErr error, resp wireResponse) error {
	if ctx == nil {
		return invalid(m.Op, errNilContext)
	}
	if reqErr != nil {
		return invalid(m.Op, within(m.Op+"Request", reqErr))
	}
	msg := newMessage()
	tail := msg.encode(req)
	reply, err := c.engine.Do(ctx, call.Request{Method: m, Message: msg.bytes, Tail: tail, Member: member})
	msg.release()
	if err != nil {
		return public(err)
	}
	return decode(m, reply, resp)
}

func decode(m *rpc.Method, reply []byte, resp wireResponse) error {
	if r, ok := resp.(*GetResponse); ok {
		r.reserve(reply)
	}
	if err := resp.decodeWire(reply); err != nil {
		return public(call.Undecodable(m, err))
	}
	return nil
}

// sharedResponse is an answer that may come as part of a larger one. Its header is
// that of the whole then.
type sharedResponse interface {
	wireResponse
	setHeader(ResponseHeader)
	leave(*space)
}

func (r *GetResponse) setHeader(h ResponseHeader)    { r.Header = h }
func (r *PutResponse) setHeader(h ResponseHeader)    { r.Header = h }
func (r *DeleteResponse) setHeader(h ResponseHeader) { r.Header = h }
func (r *TxnResponse) setHeader(h ResponseHeader)    { r.Header = h }

// doShared is do for a call that may share a request with others of op; nil: it is
// sent as it is.
func (c *Client) doShared(ctx context.Context, op *coalesce.Operation, m *rpc.Method, key string, req wireRequest, reqErr error, resp sharedResponse) error {
	if ctx == nil || c.observer.hooks.Call == nil {
		return c.share(ctx, op, m, key, req, reqErr, resp)
	}
	ctx, begun := c.observer.begin(ctx, infoOf(m.Op, req))
	err := c.share(ctx, op, m, key, req, reqErr, resp)
	begun.end(err, resp)
	return err
}

func (c *Client) share(ctx context.Context, op *coalesce.Operation, m *rpc.Method, key string, req wireRequest, reqErr error, resp sharedResponse) error {
	if ctx == nil || reqErr != nil || op == nil || !c.coalescer.Shares(op) || !c.engine.SharesRetries(ctx, m) {
		return c.request(ctx, m, nil, req, reqErr, resp)
	}
	w := c.coalescer.Begin(ctx, c.space.prefix, key)
	w.Message = req.appendWire(w.Message)
	answer, err := c.coalescer.Do(ctx, op, w)
	if err != nil {
		return public(err)
	}
	return decodeShared(m, answer, resp)
}

// shareTxn is request for a Txn, which shares a request where its context says that it may.
func (c *Client) shareTxn(ctx context.Context, m *rpc.Method, req *txnRequest, reqErr error, resp *TxnResponse) error {
	if ctx == nil || reqErr != nil || m != rpc.Txn || !c.coalescer.Shares(coalesce.Txn) {
		return c.request(ctx, m, nil, req, reqErr, resp)
	}
	footprint := coalesce.FootprintOf(ctx)
	if footprint == nil || c.coalescer.MayOverflow(true) || !c.engine.SharesRetries(ctx, m) {
		return c.request(ctx, m, nil, req, reqErr, resp)
	}
	w := c.coalescer.BeginTxn(ctx, c.space.prefix, footprint, req.ops())
	w.Message = req.appendWire(w.Message)
	answer, err := c.coalescer.Do(ctx, coalesce.Txn, w)
	if err != nil {
		return public(err)
	}
	return decodeShared(m, answer, resp)
}

func decodeShared(m *rpc.Method, answer coalesce.Answer, resp sharedResponse) error {
	if err := decode(m, answer.Reply, resp); err != nil {
		return err
	}
	if answer.Header.ClusterID != 0 {
		resp.setHeader(ResponseHeader(answer.Header))
	}
	return nil
}

// message is the buffer that a request is encoded into. The transport has
// copied it by the time a call returns.
type message struct {
	bytes []byte
}

var messages = sync.Pool{New: func() any { return new(message) }}

// maxPooledMessage keeps a few large values from making every buffer large.
const maxPooledMessage = 64 << 10

func newMessage() *message { return messages.Get().(*message) }

// encode encodes req, except for a large value at its end, which it returns.
func (m *message) encode(req wireRequest) (tail []byte) {
	if put, ok := req.(*putRequest); ok {
		m.bytes, tail = put.appendHead(m.bytes)
		return tail
	}
	m.bytes = req.appendWire(m.bytes)
	return nil
}

func (m *message) release() {
	if cap(m.bytes) > maxPooledMessage {
		return
	}
	m.bytes = m.bytes[:0]
	messages.Put(m)
}

// within names the struct around the field that err begins with:
// "Key is empty" within "PutRequest" is "PutRequest.Key is empty".
func within(name string, err error) error {
	return errors.New(name + "." + err.Error())
}

// tailValue is the size from which a value is not copied into the message of its Put: the
// transport copies it into what it writes.
const tailValue = 8 << 10

// appendHead is appendWire, but leaves out a large value, which is to follow as tail. The
// fields of a message may come in any order.
func (w *putRequest) appendHead(b []byte) (head, tail []byte) {
	if len(w.Value) < tailValue {
		return w.appendWire(b), nil
	}
	rest := *w
	rest.Value = nil
	return wire.AppendVarint(append(rest.appendWire(b), 0x12), uint64(len(w.Value))), w.Value
}
