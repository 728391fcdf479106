package keepalive

import (
	"time"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/wire"
)

// appendRequest appends a LeaseKeepAliveRequest.
func appendRequest(msg []byte, id int64) []byte {
	return wire.AppendVarint(wire.AppendTag(msg, 1, wire.TypeVarint), uint64(id))
}

// Answer is a LeaseKeepAliveResponse.
type Answer struct {
	Header call.Header
	ID     int64
	TTL    int64 // seconds; 0 or less if the lease does not exist
}

// Decode reads a LeaseKeepAliveResponse.
func (a *Answer) Decode(reply []byte) error {
	a.Header = call.PeekHeader(reply)
	for i := 0; i < len(reply); {
		tag, next := wire.Varint(reply, i)
		if next < 0 {
			return wire.Error(next)
		}
		switch tag {
		case 2<<3 | wire.TypeVarint:
			var v uint64
			if v, i = wire.Varint(reply, next); i >= 0 {
				a.ID = int64(v)
			}
		case 3<<3 | wire.TypeVarint:
			var v uint64
			if v, i = wire.Varint(reply, next); i >= 0 {
				a.TTL = int64(v)
			}
		default:
			i = wire.Skip(tag, reply, next)
		}
		if i < 0 {
			return wire.Error(i)
		}
	}
	return nil
}

// Seconds returns n seconds, limited to what a Duration can hold.
func Seconds(n int64) time.Duration {
	const most = int64(1<<63-1) / int64(time.Second)
	return time.Duration(min(max(n, 0), most)) * time.Second
}
