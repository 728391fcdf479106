package etcd

import (
	"errors"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
	"silly.store/etcd/internal/wire"
)

// intake is how a watch takes responses that are large, as those that replay
// history are. Fragments keep them small; but etcd measures the whole piece again
// for each event that it adds to it, so with many small events in a piece it takes
// seconds for what would take it milliseconds. So fragments are asked for only
// when a response has proved too large, and then only if its events are large.
type intake uint8

const (
	// intakeWhole takes responses of up to wholeResponse bytes in one message.
	intakeWhole intake = iota
	// intakeLarge takes them up to maxRevisionBytes.
	intakeLarge
	// intakeFragments has the server cut them.
	intakeFragments
)

const (
	wholeResponse = 16 << 20
	// leastWhole is the limit of a slow reader's stream whose buffer is smaller.
	leastWhole = 2 << 20
	// cheapFragments is the size of events from which cutting costs the server
	// little: a piece of 2 MiB has no more than a thousand of them.
	cheapFragments = 2 << 10
)

// streamKind is what the watchers of one stream have in common.
type streamKind struct {
	intake     intake
	alone      bool // it has one watcher
	maxMessage int  // 0: that of the connection
}

// kind is the kind of stream that w needs.
func (w *Watcher) kind() streamKind {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.kindLocked()
}

func (w *Watcher) kindLocked() streamKind {
	k := streamKind{intake: w.intake, alone: w.isAloneLocked()}
	switch {
	case w.intake == intakeLarge:
		k.maxMessage = maxRevisionBytes
	case w.intake == intakeWhole && w.life.isolated:
		k.maxMessage = max(w.maxBuffer, leastWhole)
	case w.intake == intakeWhole:
		k.maxMessage = wholeResponse
	}
	return k
}

// isAloneLocked reports whether w has a stream to itself: for its user, or because its
// reader is slow.
func (w *Watcher) isAloneLocked() bool { return w.own || w.life.isolated }

// widen prepares the watcher whose response was too large for the stream to take
// it on the next one, and reports whether that was why the stream ended.
func (s *watchStream) widen(err error) bool {
	var te *transport.Error
	if s.kind.maxMessage == 0 || !errors.Is(err, transport.ErrTooLarge) || !errors.As(err, &te) {
		return false
	}
	id, eventBytes := peekWatchResponse(te.Head)
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.confirmed[id]; w != nil {
		w.widen(eventBytes)
		return true
	}
	if id == 0 { // the head does not say: it may be for any of them
		for _, w := range s.confirmed {
			w.widen(0)
		}
	}
	return true
}

// widen makes w take larger responses, whose events have about so many bytes; 0:
// nothing is known of them.
func (w *Watcher) widen(eventBytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.intake == intakeWhole && eventBytes > 0 && eventBytes < cheapFragments {
		w.intake = intakeLarge
		return
	}
	w.intake = intakeFragments
}

// tooLarge is why a stream has ended that widen has dealt with.
func tooLarge(endpoint string) *call.Error {
	return &call.Error{
		Op: rpc.Watch.Op, Endpoint: endpoint, Code: transport.ResourceExhausted,
		Message: "a response was too large for its stream", Transient: true,
	}
}

// peekWatchResponse reads the watch's id and the average size of the events off
// the beginning of a response; 0 for what is not in it.
func peekWatchResponse(head []byte) (id int64, eventBytes int) {
	sum, count := 0, 0
	for i := 0; i < len(head); {
		var tag, v uint64
		if tag, i = wire.Varint(head, i); i < 0 {
			break
		}
		if v, i = wire.Varint(head, i); i < 0 {
			break
		}
		switch tag {
		case 2<<3 | wire.TypeVarint:
			id = int64(v)
			continue
		case 11<<3 | wire.TypeBytes:
			sum += int(min(v, maxRevisionBytes))
			count++
		}
		if tag&7 == wire.TypeBytes {
			if v > uint64(len(head)-i) {
				break
			}
			i += int(v)
		} else if tag&7 != wire.TypeVarint {
			break
		}
	}
	if count == 0 {
		return id, 0
	}
	return id, sum / count
}
