package transport

import (
	"testing"
	"unsafe"
)

// TestBuffer: one answer at most is in the memory of a Buffer, if it is large enough.
func TestBuffer(t *testing.T) {
	conn, p := connect(t, pipeLink, Options{})
	memory := make([]byte, 0, 10)
	call := func(b *Buffer, answer string) []byte {
		t.Helper()
		pending := start(conn, Request{Path: "/test.S/Echo", Message: []byte("x"), Buffer: b})
		id := p.request().id
		p.responseHeaders(id)
		for _, part := range message(answer) {
			p.send(frameData, 0, id, part)
		}
		p.trailers(id, "0")
		got := pending.wait(t)
		if got.err != nil || string(got.reply) != answer {
			t.Fatalf("%q, %v, want %q", got.reply, got.err, answer)
		}
		return got.reply
	}
	inMemory := func(reply []byte) bool { return unsafe.SliceData(reply) == unsafe.SliceData(memory) }

	b := NewBuffer(memory)
	if inMemory(call(b, "more than ten")) {
		t.Error("an answer is in memory that is too small for it")
	}
	first := call(b, "0123456789")
	if !inMemory(first) {
		t.Error("the answer has other memory")
	}
	if inMemory(call(b, "another")) || string(first) != "0123456789" {
		t.Errorf("a second answer is in the same memory; the first is %q", first)
	}
	call(NewBuffer(nil), "no memory")
}
