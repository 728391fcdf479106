package etcd

import "context"

// outgoing is what the owner sends once it has let go of the keeper's lock. Its
// memory is used again and again.
type outgoing struct {
	bytes   []byte   // the messages, one behind the other
	msgs    [][]byte // each of them
	streams []*renewStream
	ends    []int // in msgs, of what streams[i] is to send
	close   []*renewStream
}

// begin says that what is added goes to s.
func (b *outgoing) begin(s *renewStream) {
	b.streams = append(b.streams, s)
	b.ends = append(b.ends, len(b.msgs))
}

// add adds a renewal for the stream of the last begin.
func (b *outgoing) add(id LeaseID) {
	at := len(b.bytes)
	b.bytes = (&leaseKeepAliveRequest{ID: id}).appendWire(b.bytes)
	b.msgs = append(b.msgs, b.bytes[at:])
	b.ends[len(b.ends)-1] = len(b.msgs)
}

// run sends and closes. What a stream cannot send its receiver finds unanswered.
func (b *outgoing) run(ctx context.Context) {
	at := 0
	for i, s := range b.streams {
		if b.ends[i] > at {
			_ = s.stream.Send(ctx, b.msgs[at:b.ends[i]]...)
		}
		at = b.ends[i]
	}
	for _, s := range b.close {
		s.stream.Close()
	}
	clear(b.streams)
	clear(b.close)
	b.bytes, b.msgs, b.streams, b.ends, b.close = b.bytes[:0], b.msgs[:0], b.streams[:0], b.ends[:0], b.close[:0]
}
