package etcd

import (
	"errors"
	"strconv"
	"strings"

	"silly.store/etcd/internal/transport"
)

// progressTrust is what is known of a member's progress responses. Those of
// servers before 3.5.13 may come before events that they claim to follow; a
// watch that resumed behind them would lose these events.
type progressTrust uint8

const (
	progressUnknown progressTrust = iota
	progressKnownGood
	progressKnownBad
)

// answerAhead answers those who have asked for progress and are ahead of the store,
// as a watch from now is until the next change: the server says nothing of progress
// on a stream with such a watch. A read that finds nothing for them to deliver says
// the same.
func (s *watchStream) answerAhead() {
	ahead := s.askingAhead(s.hub.c.cluster.now().seen)
	if len(ahead) == 0 {
		return
	}
	token, err := s.hub.c.tokens.get(s.ctx, &rpcWatchNow)
	if err != nil {
		return // asked again soon
	}
	now, readErr := s.now(ahead[0].create.Key, token)
	if readErr != nil {
		return // likewise
	}
	for _, w := range ahead {
		w.nothingUpTo(now)
	}
}

// askingAhead returns the watchers that have asked for progress and wait for
// revisions above the given one.
func (s *watchStream) askingAhead(seen int64) (ahead []*Watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.asking {
		return nil
	}
	for _, w := range s.watchers {
		w.mu.Lock()
		if w.asked && w.next > seen {
			ahead = append(ahead, w)
		}
		w.mu.Unlock()
	}
	return ahead
}

// nothingUpTo takes the revision of the store; below next there is nothing left to
// be delivered.
func (w *Watcher) nothingUpTo(h ResponseHeader) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil || !w.asked || h.Revision >= w.next {
		return
	}
	w.seen = max(w.seen, h.Revision)
	w.asked = false
	w.pushLocked(&WatchResponse{Header: h}, 64)
}

// progressTrust tells whether a progress response moves the point from which a
// watch resumes. It asks the member for its version when the first one comes;
// they are minutes apart. While the version cannot be learned, as from a member
// that is shutting down, progress is unknown and not told to anybody: a reader who
// was told of it could be told afterwards that a revision before it is compacted.
func (s *watchStream) progressTrust() progressTrust {
	if s.progress == progressUnknown {
		version, err := s.version()
		var e *Error
		switch {
		case err == nil && progressReliable(version):
			s.progress = progressKnownGood
		case err == nil, errors.As(err, &e) && e.answered && !e.transient:
			s.progress = progressKnownBad
		}
	}
	return s.progress
}

// version asks the stream's member for its version.
func (s *watchStream) version() (string, error) {
	reply, err := s.conn.Call(s.ctx, transport.Request{Path: rpcStatus.path, Token: s.hub.c.tokens.peek().value(), Timeout: watchProbe})
	if err != nil {
		return "", callError(&rpcStatus, s.conn.Endpoint, err)
	}
	var resp StatusResponse
	if err := resp.decodeWire(reply); err != nil {
		return "", undecodable(&rpcStatus, err)
	}
	return resp.Version, nil
}

// progressReliable: 3.5.13 and newer, and all of 3.6.
func progressReliable(version string) bool {
	version, _, _ = strings.Cut(version, "-")
	parts := strings.Split(version, ".")
	if len(parts) != 3 {
		return false
	}
	var n [3]int
	for i, part := range parts {
		var err error
		if n[i], err = strconv.Atoi(part); err != nil {
			return false
		}
	}
	switch {
	case n[0] != 3:
		return n[0] > 3
	case n[1] != 5:
		return n[1] > 5
	}
	return n[2] >= 13
}
