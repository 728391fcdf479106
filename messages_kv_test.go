package etcd

import (
	"bytes"
	"testing"
	"unsafe"

	"silly.store/etcd/internal/wire"
)

// appendPair appends field num, a KeyValue with a key, a value and a lease.
func appendPair(b []byte, num int, key, value string) []byte {
	kv := wire.AppendString(wire.AppendTag(nil, 1, wire.TypeBytes), key)
	kv = wire.AppendString(wire.AppendTag(kv, 5, wire.TypeBytes), value)
	kv = wire.AppendVarint(wire.AppendTag(kv, 6, wire.TypeVarint), 77)
	return wire.AppendBytes(wire.AppendTag(b, num, wire.TypeBytes), kv)
}

func TestDecodedBytesAreApart(t *testing.T) {
	b := appendPair(appendPair(nil, 2, "a", "1"), 2, "b", "2")
	var resp GetResponse
	if err := resp.decodeWire(b); err != nil {
		t.Fatal(err)
	}
	if len(resp.KVs) != 2 || resp.KVs[0].Lease != 77 {
		t.Fatalf("decoded %+v", resp)
	}
	_ = append(resp.KVs[0].Value, "overwritten"...)
	if kv := resp.KVs[1]; kv.Key != "b" || string(kv.Value) != "2" {
		t.Errorf("an append to one value changed the next pair: %q=%q", kv.Key, kv.Value)
	}
}

func TestFirst(t *testing.T) {
	for name, r := range map[string]*GetResponse{"nil": nil, "empty": {}} {
		if kv, ok := r.First(); ok || kv.Key != "" || kv.ModRevision != 0 {
			t.Errorf("%s: %+v, %v", name, kv, ok)
		}
	}
	r := &GetResponse{KVs: []KeyValue{{Key: "a"}, {Key: "b"}}}
	if kv, ok := r.First(); !ok || kv.Key != "a" {
		t.Errorf("%+v, %v", kv, ok)
	}
}

// The lists of a Txn's answers lie in one block: they must not reach into each
// other.
func TestDecodedListsAreApart(t *testing.T) {
	var b []byte
	for _, key := range []string{"a", "b"} {
		get := appendPair(nil, 2, key, "1")
		op := wire.AppendBytes(wire.AppendTag(nil, 1, wire.TypeBytes), get)
		b = wire.AppendBytes(wire.AppendTag(b, 3, wire.TypeBytes), op)
	}
	var resp TxnResponse
	if err := resp.decodeWire(b); err != nil {
		t.Fatal(err)
	}
	first, second := resp.Responses[0].Get, resp.Responses[1].Get
	_ = append(first.KVs, KeyValue{Key: "overwritten"})
	if len(second.KVs) != 1 || second.KVs[0].Key != "b" {
		t.Errorf("an append to one list changed the next: %+v", second.KVs)
	}
}

func TestKeyValueClone(t *testing.T) {
	b := appendPair(nil, 2, "key", "value")
	var resp GetResponse
	if err := resp.decodeWire(b); err != nil {
		t.Fatal(err)
	}
	kv := &resp.KVs[0]
	if p := unsafe.StringData(kv.Key); p != &b[bytes.Index(b, []byte("key"))] {
		t.Error("the key was copied when it was decoded")
	}
	c := kv.Clone()
	clear(b)
	if c.Key != "key" || string(c.Value) != "value" || c.Lease != 77 {
		t.Errorf("the clone changed with the response: %+v", c)
	}
	if c := new(KeyValue).Clone(); c.Key != "" || c.Value != nil {
		t.Errorf("clone of nothing: %+v", c)
	}
}

func TestEventTypeString(t *testing.T) {
	for typ, want := range map[EventType]string{EventPut: "PUT", EventDelete: "DELETE", 7: "EventType(7)"} {
		if got := typ.String(); got != want {
			t.Errorf("EventType %d is %q, want %q", int(typ), got, want)
		}
	}
}

// A comparison with zero is a comparison: the chosen member is written even so,
// the others never.
func TestCompareWritesItsTarget(t *testing.T) {
	all := compare{Version: 1, CreateRevision: 2, ModRevision: 3, Value: []byte("v"), Lease: 5}
	for target, want := range map[CompareTarget][2]string{
		TargetVersion:        {"\x20\x00", "\x20\x01"},
		TargetCreateRevision: {"\x10\x01\x28\x00", "\x10\x01\x28\x02"},
		TargetModRevision:    {"\x10\x02\x30\x00", "\x10\x02\x30\x03"},
		TargetValue:          {"\x10\x03\x3a\x00", "\x10\x03\x3a\x01v"},
		TargetLease:          {"\x10\x04\x40\x00", "\x10\x04\x40\x05"},
	} {
		all.Target = target
		for i, m := range []compare{{Target: target}, all} {
			if got := m.appendWire(nil); string(got) != want[i] || m.sizeWire() != len(got) {
				t.Errorf("target %d: %x, size %d, want %x", target, got, m.sizeWire(), want[i])
			}
		}
	}
}

// An operation is written even if nothing of it is set.
func TestEmptyOperationIsWritten(t *testing.T) {
	op := requestOp{Put: new(putRequest), DeleteRange: new(deleteRangeRequest)}
	if got := op.appendWire(nil); string(got) != "\x12\x00" || op.sizeWire() != 2 {
		t.Errorf("%x, size %d, want the put alone", got, op.sizeWire())
	}
}
