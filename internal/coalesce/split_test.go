package coalesce

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"silly.store/etcd/internal/wire"
)

func TestSplitTxn(t *testing.T) {
	one, two := getReply(inHeader, "1"), getReply(inHeader, "2")
	whole := txnReply(1, one, two)
	parts := make([]part, 2)
	if err := splitTxn(whole, 1, parts); err != nil || !bytes.Equal(parts[0].answer, one) || !bytes.Equal(parts[1].answer, two) {
		t.Errorf("%v, %v", err, parts)
	}
	for name, reply := range map[string][]byte{
		"a response too few":  txnReply(1, one),
		"a response too many": txnReply(1, one, two, one),
		"another kind":        txnReply(2, one, two),
		"an empty response":   append(txnReply(1, one), 0x1a, 0),
		"cut short":           whole[:len(whole)-1],
		"nothing":             nil,
	} {
		if err := splitTxn(reply, 1, make([]part, 2)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// FuzzSplit compares splitTxn with a decoder that splits one message after another
// into fields.
func FuzzSplit(f *testing.F) {
	one, two := getReply(inHeader, "1"), getReply(inHeader, "2")
	f.Add(txnReply(1, one, two), uint8(1), uint8(2))
	f.Add(txnReply(1), uint8(1), uint8(0))
	f.Add(append([]byte{0x7a, 1, 0}, txnReply(2, nil)...), uint8(2), uint8(1))        // a field of a later etcd
	f.Add([]byte{0x1a, 4, 0x0a, 0, 0x70, 1}, uint8(1), uint8(1))                      // another one in a response
	f.Add([]byte{0x1a, 5, 0x0a, 0, 0x0a, 1, 7}, uint8(1), uint8(1))                   // two answers in a response
	f.Add([]byte{0x1b, 0x23, 0x24, 0x1c, 0x1a, 2, 0x1a, 0}, uint8(3), uint8(1))       // groups
	f.Add([]byte{0x9a, 0x80, 0x00, 0x82, 0x00, 0x0a, 0}, uint8(1), uint8(1))          // long varints
	f.Add([]byte{0x1a, 3, 0x0a, 9, 1}, uint8(1), uint8(1))                            // a length too large
	f.Add(bytes.Repeat([]byte{0x2b}, wire.MaxDepth+1), uint8(1), uint8(1))            // groups too deep
	f.Add([]byte{0x1a, 3, 0x0a, 0, 0x0f}, uint8(1), uint8(1))                         // no wire type
	f.Add([]byte("\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), uint8(1), uint8(1)) // no varint
	f.Fuzz(func(t *testing.T, reply []byte, field, n uint8) {
		field = 1 + (field-1)%3
		want, wantErr := answersOf(reply, uint64(field))
		parts := make([]part, n)
		err := splitTxn(reply, int(field), parts)
		if fits := wantErr == nil && len(want) == len(parts); fits != (err == nil) {
			t.Fatalf("%v; the decoder found %d answers for %d operations and %v", err, len(want), len(parts), wantErr)
		}
		if err != nil {
			return
		}
		for i, p := range parts {
			if !bytes.Equal(p.answer, want[i]) || cap(p.answer) != len(p.answer) {
				t.Errorf("answer %d is %q of %d, want %q", i, p.answer, cap(p.answer), want[i])
			}
		}
	})
}

// answersOf decodes a TxnResponse whose operations are all of one kind.
func answersOf(txn []byte, kind uint64) (answers [][]byte, err error) {
	fields, _, err := decodeFields(txn, 0, 0)
	if err != nil {
		return nil, err
	}
	for _, op := range fields.all(3) {
		fields, _, err := decodeFields(op, 0, 0)
		if err != nil {
			return nil, err
		}
		found := fields.all(kind)
		if len(found) == 0 {
			return nil, errNotAnswers
		}
		answers = append(answers, found[len(found)-1])
	}
	return answers, nil
}

// protoField is one field of a message that is bytes; others have no value.
type protoField struct {
	number uint64
	bytes  bool
	value  []byte
}

type protoFields []protoField

func (fs protoFields) all(number uint64) (values [][]byte) {
	for _, f := range fs {
		if f.bytes && f.number == number {
			values = append(values, f.value)
		}
	}
	return values
}

var errMalformed = errors.New("malformed")

// decodeFields decodes a message, or a group up to its end; group is 0 for a message.
// rest is the data after a group.
func decodeFields(msg []byte, group uint64, depth int) (fs protoFields, rest []byte, err error) {
	if depth > wire.MaxDepth {
		return nil, nil, errMalformed
	}
	for len(msg) > 0 {
		tag, n := binary.Uvarint(msg)
		f := protoField{number: tag >> 3, bytes: tag&7 == 2}
		if n <= 0 || f.number < 1 || f.number > wire.MaxFieldNumber {
			return nil, nil, errMalformed
		}
		msg = msg[n:]
		switch tag & 7 {
		case 3:
			_, msg, err = decodeFields(msg, f.number, depth+1)
		case 4:
			if f.number != group {
				return nil, nil, errMalformed
			}
			return fs, msg, nil
		default:
			f.value, msg, err = decodeValue(tag&7, msg)
		}
		if err != nil {
			return nil, nil, err
		}
		fs = append(fs, f)
	}
	if group != 0 {
		return nil, nil, errMalformed
	}
	return fs, nil, nil
}

// decodeValue decodes the value of a field that is not a group; only bytes have
// one.
func decodeValue(wireType uint64, msg []byte) (value, rest []byte, err error) {
	number, n := binary.Uvarint(msg)
	size := uint64(0)
	switch wireType {
	case 0:
	case 1:
		n, size = 0, 8
	case 2:
		size = number
	case 5:
		n, size = 0, 4
	default:
		return nil, nil, errMalformed
	}
	if wireType != 1 && wireType != 5 && n <= 0 || size > uint64(len(msg)-n) {
		return nil, nil, errMalformed
	}
	return msg[n:][:size], msg[n:][size:], nil
}
