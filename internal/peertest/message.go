package peertest

import "silly.store/etcd/internal/wire"

// AppendInt appends a varint field; 0 is left out, as protobuf does.
func AppendInt(b []byte, field int, v int64) []byte {
	if v == 0 {
		return b
	}
	return wire.AppendVarint(wire.AppendTag(b, field, wire.TypeVarint), uint64(v))
}

// AppendBool appends a field that is true.
func AppendBool(b []byte, field int, v bool) []byte {
	if !v {
		return b
	}
	return AppendInt(b, field, 1)
}

// AppendBytes appends a field of bytes: a string or a message.
func AppendBytes(b []byte, field int, v []byte) []byte {
	return wire.AppendBytes(wire.AppendTag(b, field, wire.TypeBytes), v)
}

// clusterID is the ID in the headers of all responses. A header without one is not
// etcd's.
const clusterID = 0xc1

// AppendHeader appends the header of a response, its field 1.
func AppendHeader(b []byte, revision int64) []byte {
	return AppendBytes(b, 1, AppendInt(AppendInt(nil, 1, clusterID), 3, revision))
}

// Fields calls each for every field of a message that the client encoded. Either v or
// block is set.
func Fields(b []byte, each func(field int, v uint64, block []byte)) {
	for i := 0; i < len(b); {
		var tag, v uint64
		var block []byte
		tag, i = wire.Varint(b, i)
		if tag&7 == wire.TypeBytes {
			block, i = wire.Bytes(b, i)
		} else {
			v, i = wire.Varint(b, i)
		}
		each(int(tag>>3), v, block)
	}
}
