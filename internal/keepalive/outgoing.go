package keepalive

import (
	"context"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/rpc"
)

// outgoing collects the messages that the owner sends after it releases the
// Keeper's lock. Its memory is reused.
type outgoing struct {
	bytes   []byte   // the messages, one after another
	msgs    [][]byte // each of them
	streams []*renewStream
	ends    []int // ends[i] is where the messages of streams[i] end in msgs
	close   []*renewStream
	tend    bool // another connection is wanted beside a suspect one
}

// begin makes s the stream of the following renewals.
func (b *outgoing) begin(s *renewStream) {
	b.streams = append(b.streams, s)
	b.ends = append(b.ends, len(b.msgs))
}

// add adds a renewal to the stream of the last begin.
func (b *outgoing) add(id int64) {
	at := len(b.bytes)
	b.bytes = appendRequest(b.bytes, id)
	b.msgs = append(b.msgs, b.bytes[at:])
	b.ends[len(b.ends)-1] = len(b.msgs)
}

// run sends the messages and closes streams. If a stream cannot send, its receiver
// finds the renewals unanswered.
func (b *outgoing) run(ctx context.Context, set *balance.Set) {
	at := 0
	for i, s := range b.streams {
		if b.ends[i] > at {
			_ = s.Send(ctx, b.msgs[at:b.ends[i]]...)
		}
		at = b.ends[i]
	}
	for _, s := range b.close {
		s.Close()
	}
	if b.tend {
		set.Up(rpc.Renew.Lane)
	}
	b.tend = false
	clear(b.streams)
	clear(b.close)
	b.bytes, b.msgs, b.streams, b.ends, b.close = b.bytes[:0], b.msgs[:0], b.streams[:0], b.ends[:0], b.close[:0]
}
