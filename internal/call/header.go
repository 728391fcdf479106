package call

import "silly.store/etcd/internal/wire"

// Header is the header at the start of each of etcd's responses.
type Header struct {
	ClusterID uint64
	MemberID  uint64
	Revision  int64
	RaftTerm  uint64
}

// PeekHeader reads the header of a response and ignores the rest. The result is
// zero if there is no header.
func PeekHeader(reply []byte) (h Header) {
	if len(reply) == 0 || reply[0] != 1<<3|wire.TypeBytes {
		return h
	}
	body, end := wire.Bytes(reply, 1)
	if end < 0 {
		return h
	}
	for i := 0; i < len(body); {
		tag := body[i]
		v, next := wire.Varint(body, i+1)
		if tag&0x87 != 0 || next < 0 {
			return h // a field of a later etcd that the client does not need: not a number, or above 15
		}
		switch tag >> 3 {
		case 1:
			h.ClusterID = v
		case 2:
			h.MemberID = v
		case 3:
			h.Revision = int64(v)
		case 4:
			h.RaftTerm = v
		}
		i = next
	}
	return h
}

// Status holds the fields of a member's status that the engine needs.
type Status struct {
	Header   Header
	Version  string
	Leader   uint64 // 0: the member knows none
	RaftTerm uint64
	Learner  bool
}

// decodeStatus reads a StatusResponse.
func decodeStatus(reply []byte) (Status, error) {
	s := Status{Header: PeekHeader(reply)}
	err := fields(reply, func(tag uint64, number uint64, text []byte) {
		switch tag {
		case 2<<3 | wire.TypeBytes:
			s.Version = string(text)
		case 4<<3 | wire.TypeVarint:
			s.Leader = number
		case 6<<3 | wire.TypeVarint:
			s.RaftTerm = number
		case 10<<3 | wire.TypeVarint:
			s.Learner = number != 0
		}
	})
	return s, err
}

// decodeToken reads the token of an AuthenticateResponse.
func decodeToken(reply []byte) (token string, err error) {
	err = fields(reply, func(tag uint64, _ uint64, text []byte) {
		if tag == 2<<3|wire.TypeBytes {
			token = string(text)
		}
	})
	return token, err
}

// authenticateMessage is an AuthenticateRequest.
func authenticateMessage(c Credentials) []byte {
	msg := wire.AppendString(wire.AppendTag(nil, 1, wire.TypeBytes), c.Username)
	return wire.AppendString(wire.AppendTag(msg, 2, wire.TypeBytes), c.Password)
}

// countMessage is a RangeRequest that counts the values of one key.
func countMessage(key string) []byte {
	msg := wire.AppendString(wire.AppendTag(nil, 1, wire.TypeBytes), key)
	return append(wire.AppendTag(msg, 9, wire.TypeVarint), 1)
}

// fields calls f for each field of a message that holds a number or bytes.
func fields(msg []byte, f func(tag, number uint64, text []byte)) error {
	for i := 0; i < len(msg); {
		tag, next := wire.Varint(msg, i)
		if next < 0 {
			return wire.Error(next)
		}
		var number uint64
		var text []byte
		switch tag & 7 {
		case wire.TypeVarint:
			number, i = wire.Varint(msg, next)
		case wire.TypeBytes:
			text, i = wire.Bytes(msg, next)
		default:
			if i = wire.Skip(tag, msg, next); i < 0 {
				return wire.Error(i)
			}
			continue
		}
		if i < 0 {
			return wire.Error(i)
		}
		f(tag, number, text)
	}
	return nil
}
