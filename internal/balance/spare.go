package balance

import (
	"silly.store/etcd/internal/transport"
)

// A link gets a further connection beside one that is up in three cases. When it is
// mute: see doubt.go. When it is suspect and no other member is fit: behind the same address there may be another
// member. The suspect one then ends with its last stream. And when it is full, as the
// transport finds (transport.Target.OnFull): the requests that wait there for a stream
// go to the new one. The full one stays as it is, since watches and renewals are on it,
// and is used again when it has room.

// maxFull is how many full connections a link may have beside the one in use.
const maxFull = 8

// purpose is what a connection is dialed for.
type purpose uint8

const (
	forFirst   purpose = iota // there is none, or it is full
	forSuspect                // to replace one that is suspect
	forMute                   // to replace one that is mute, if its own probe is answered
)

func purposeOf(b *connBox) purpose {
	switch {
	case b == nil:
		return forFirst
	case isSuspect(b):
		return forSuspect
	case b.mute:
		return forMute
	}
	return forFirst
}

func isSuspect(b *connBox) bool { return b.State() == transport.Suspect }

// isFull: the server allows no further stream now.
func isFull(b *connBox) bool {
	if l, ok := b.Conn.(transport.Limited); ok {
		now, allowed := l.Streams()
		return now >= allowed
	}
	return false
}

// wanted reports whether a new connection is to replace the one that there is, which
// may be nil: whatever was wrong with that may be over, or be wrong with the new one.
func (b *connBox) wanted(c transport.Conn) bool {
	return b == nil || b.State() != transport.Ready || b.mute || isFull(b) && !isFull(&connBox{Conn: c})
}

// makeRoom sees to requests that wait on c, of m, for a stream: they go to another
// connection if there is one with room, and else one is dialed.
func (s *Set) makeRoom(m *member, lane Lane, c transport.Limited) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &m.links[lane]
	switch {
	case s.closed || m.removed.Load():
	case l.roomLocked():
		c.Shed()
	case len(l.full) < maxFull:
		_, _ = s.connectLocked(m, lane, isFull)
	}
}

// roomLocked makes a connection the one in use that has room. It reports false when
// there is none.
func (l *link) roomLocked() bool {
	b := l.conn.Load()
	if b == nil || b.State() != transport.Ready {
		return false // it is being seen to
	}
	if !isFull(b) {
		return true
	}
	for i, other := range l.full {
		if other.State() == transport.Ready && !isFull(other) {
			l.full[i] = b
			l.conn.Store(other)
			return true
		}
	}
	return false
}

// shedLocked has the requests that wait on full connections go to the one in use.
func (l *link) shedLocked() {
	for _, b := range l.full {
		if limited, ok := b.Conn.(transport.Limited); ok {
			limited.Shed()
		}
	}
}
