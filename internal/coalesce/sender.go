package coalesce

import (
	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/wire"
)

// sender sends batches one after another and reuses the memory of their messages.
type sender struct {
	msg []byte
}

// maxKeptMessage is the most memory that a sender keeps for its next message, so
// that small batches do not hold on to the memory of a large one.
const maxKeptMessage = 64 << 10

// send sends the batch's request and finds the answers in the reply.
func (s *sender) send(c *Coalescer, b *batch) *call.Error {
	method := b.method()
	b.progress.Calls = len(b.waiters)
	if c.config.Contexts {
		b.progress.Contexts = b.contexts()
	}
	s.encode(b)
	b.memory = c.memory()
	r := call.Request{Method: method, Message: s.msg, Progress: &b.progress, Buffer: b.memory.lend()}
	reply, err := c.config.Send(b.ctx, r)
	if err != nil {
		return err
	}
	return b.split(method, reply)
}

func (s *sender) encode(b *batch) {
	if cap(s.msg) > maxKeptMessage {
		s.msg = nil
	}
	s.msg = s.msg[:0]
	if len(b.parts) == 1 {
		s.msg = append(s.msg, b.waiters[0].Message...)
		return
	}
	for _, p := range b.parts {
		s.msg = appendOperation(s.msg, b.op.field, b.waiters[p.first].Message)
	}
}

// appendOperation appends an operation of a TxnRequest's success branch: a
// RequestOp whose given field is the request msg.
func appendOperation(to []byte, field int, msg []byte) []byte {
	to = wire.AppendTag(to, 2, wire.TypeBytes)
	to = wire.AppendVarint(to, uint64(1+wire.SizeBytes(len(msg))))
	return wire.AppendBytes(wire.AppendTag(to, field, wire.TypeBytes), msg)
}
