//go:build codectest

package etcd

// The differential tests of the codec live in another module, because they
// need etcd's own messages. This file, which is in no normal build, lets them
// at the unexported types.

// codec is what wiregen emits for each message, in both directions.
type codec interface {
	sizeWire() int
	appendWire(b []byte) []byte
	decodeWire(b []byte) error
}

type codecMessage struct {
	proto string
	new   func() codec
}

// CodecMessage is a message type of the codec.
type CodecMessage struct {
	// Proto is the full name of the protobuf message.
	Proto string
	// New returns a new zero message.
	New func() CodecValue
}

// CodecMessages returns all message types.
func CodecMessages() []CodecMessage {
	var list []CodecMessage
	for _, m := range codecMessages {
		list = append(list, CodecMessage{m.proto, func() CodecValue { return CodecValue{m.new()} }})
	}
	return list
}

// CodecOf returns the codec of a message that is exported. It panics if m is
// something else than a pointer to a message.
func CodecOf(m any) CodecValue {
	return CodecValue{m.(codec)}
}

// CodecValue is a message with its codec.
type CodecValue struct{ m codec }

// Value returns the pointer to the message.
func (v CodecValue) Value() any { return v.m }

// Size returns the encoded size.
func (v CodecValue) Size() int { return v.m.sizeWire() }

// Append appends the encoded message to b.
func (v CodecValue) Append(b []byte) []byte { return v.m.appendWire(b) }

// Decode decodes b into the message, which then points into b.
func (v CodecValue) Decode(b []byte) error { return v.m.decodeWire(b) }
