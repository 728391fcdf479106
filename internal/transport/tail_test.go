package transport

import (
	"bytes"
	"testing"
)

// A message's tail follows it, wherever the windows cut: in the prefix, in the message or in
// the tail.
func TestTail(t *testing.T) {
	tail := bytes.Repeat([]byte("tail"), 1000)
	for _, window := range []int{0, 3, messagePrefixLen, 8, messagePrefixLen + 5, 100, defaultWindow} {
		overLinks(t, func(t *testing.T, l link) {
			conn, p := connect(t, l, Options{}, setting{settingInitialWindowSize, uint32(window)})
			p.quiet() // the settings have been read
			pending := start(conn, Request{Path: "/test.S/M", Message: []byte("hello"), Tail: tail})
			whole := message("hello" + string(tail))
			id := p.until(frameHeaders).streamID
			if window == 0 {
				p.quiet()
			}
			p.window(id, len(whole))
			var got []byte
			for len(got) < len(whole) {
				got = append(got, p.until(frameData).payload...)
			}
			if !bytes.Equal(got, whole) {
				t.Errorf("a window of %d: the message of %d bytes came as %d others", window, len(whole), len(got))
			}
			p.reply(id, "x")
			if got := pending.wait(t); got.err != nil {
				t.Fatal(got.err)
			}
		})
	}
}
