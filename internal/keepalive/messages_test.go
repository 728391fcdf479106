package keepalive

import (
	"bytes"
	"testing"
	"time"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/wire"
)

// appendAnswer appends an answer as etcd encodes it.
func appendAnswer(b []byte, a Answer) []byte {
	var header []byte
	for i, v := range []uint64{a.Header.ClusterID, a.Header.MemberID, uint64(a.Header.Revision), a.Header.RaftTerm} {
		header = appendNumber(header, i+1, v)
	}
	b = wire.AppendBytes(wire.AppendTag(b, 1, wire.TypeBytes), header)
	return appendNumber(appendNumber(b, 2, uint64(a.ID)), 3, uint64(a.TTL))
}

// appendNumber leaves 0 out, as protobuf does.
func appendNumber(b []byte, field int, v uint64) []byte {
	if v == 0 {
		return b
	}
	return wire.AppendVarint(wire.AppendTag(b, field, wire.TypeVarint), v)
}

// plainAnswer decodes an answer field by field, except its header.
func plainAnswer(b []byte) (id, ttl int64, err error) {
	numbers := make(map[uint64]uint64)
	for i := 0; i < len(b); {
		tag, value := wire.Varint(b, i)
		if value < 0 {
			return 0, 0, wire.Error(value)
		}
		if i = wire.Skip(tag, b, value); i < 0 {
			return 0, 0, wire.Error(i)
		}
		if tag&7 == wire.TypeVarint {
			numbers[tag>>3], _ = wire.Varint(b, value)
		}
	}
	return int64(numbers[2]), int64(numbers[3]), nil
}

// FuzzAnswer compares Answer.Decode with a plain decoder, and checks that every
// answer that etcd may send survives encoding and decoding.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(nil), int64(0), int64(0), uint64(0), int64(0))
	f.Add([]byte("\x10\x05\x18\x07"), int64(5), int64(7), uint64(9), int64(11))
	f.Add([]byte("\x0a\x02\x18\x01\x10\x05\x18\x07\x22\x01x"), int64(-1), int64(-1), uint64(1<<64-1), int64(-1))
	f.Add([]byte("\x15\x01\x02\x03\x04\x19\x01\x02\x03\x04\x05\x06\x07\x08"), int64(1), int64(0), uint64(0), int64(1))
	f.Add([]byte("\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), int64(0), int64(1), uint64(1), int64(0))
	f.Add([]byte("\x0b\x10\x01\x0c\x10"), int64(0), int64(0), uint64(0), int64(0))
	f.Fuzz(func(t *testing.T, b []byte, id, ttl int64, member uint64, revision int64) {
		input := bytes.Clone(b)
		var got Answer
		err := got.Decode(b)
		wantID, wantTTL, wantErr := plainAnswer(b)
		if err != wantErr || err == nil && (got.ID != wantID || got.TTL != wantTTL || got.Header != call.PeekHeader(b)) {
			t.Errorf("%x: %+v, %v; want ID %d, TTL %d, %v", b, got, err, wantID, wantTTL, wantErr)
		}
		if !bytes.Equal(b, input) {
			t.Errorf("%x was changed to %x", input, b)
		}

		want := Answer{Header: call.Header{ClusterID: ^member, MemberID: member, Revision: revision, RaftTerm: member / 2}, ID: id, TTL: ttl}
		var back Answer
		if err := back.Decode(appendAnswer(nil, want)); err != nil || back != want {
			t.Errorf("%+v comes back as %+v, %v", want, back, err)
		}
	})
}

func TestSeconds(t *testing.T) {
	for n, want := range map[int64]time.Duration{
		-1 << 63: 0, -1: 0, 0: 0, 1: time.Second, 9_000_000_000: 9_000_000_000 * time.Second,
		9_223_372_036: 9_223_372_036 * time.Second, 9_223_372_037: 9_223_372_036 * time.Second, 1<<63 - 1: 9_223_372_036 * time.Second,
	} {
		if got := Seconds(n); got != want {
			t.Errorf("%d s: %v, want %v", n, got, want)
		}
	}
}
