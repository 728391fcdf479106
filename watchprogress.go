package etcd

import (
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

// progressTrusted reports whether a progress response moves the point from
// which a watch resumes. It asks the member for its version when the first one
// comes; they are minutes apart. While the version cannot be learned the answer
// is no, which loses nothing.
func (s *watchStream) progressTrusted() bool {
	if s.progress == progressUnknown {
		version, err := s.version()
		switch {
		case err != nil:
		case progressReliable(version):
			s.progress = progressKnownGood
		default:
			s.progress = progressKnownBad
		}
	}
	return s.progress == progressKnownGood
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
