package etcd

import (
	"bytes"
	"testing"
)

// A large value is not copied into the message of its Put, which is as long as if it
// were. TestLargeValues of the conformance tests has etcd read it.
func TestLargeValueIsNotCopied(t *testing.T) {
	for _, size := range []int{0, 1, tailValue - 1, tailValue, 3*tailValue + 1} {
		put := putRequest{Key: "k", Value: bytes.Repeat([]byte{7}, size), Lease: 5, PrevKV: true, IgnoreLease: true}
		head, tail := put.appendHead(nil)
		if large := size >= tailValue; large != (len(tail) == size && size > 0) || large && &tail[0] != &put.Value[0] {
			t.Errorf("a value of %d bytes: tail of %d", size, len(tail))
		}
		if n := len(head) + len(tail); n != put.sizeWire() {
			t.Errorf("a value of %d bytes: %d bytes on the wire, want %d", size, n, put.sizeWire())
		}
	}
}

// The member gets the whole value.
func TestLargePut(t *testing.T) {
	c, m := scriptedBy(t, Config{}, ok)
	v := bytes.Repeat([]byte("large"), tailValue)
	if _, err := c.Put(t.Context(), PutRequest{Key: "k", Value: v}); err != nil {
		t.Fatal(err)
	}
	calls := m.Calls()
	if n := len(calls); n == 0 || !bytes.HasSuffix(calls[n-1].Message, v) {
		t.Errorf("the member got %d calls, the last one without the value", n)
	}
}
