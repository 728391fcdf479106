package transport

import (
	"bytes"
	"testing"
)

// chunks is a socket each of whose reads returns the next chunk, or what fits of it.
type chunks [][]byte

func (c *chunks) Read(b []byte) (int, error) {
	n := copy(b, (*c)[0])
	if (*c)[0] = (*c)[0][n:]; len((*c)[0]) == 0 {
		*c = (*c)[1:]
	}
	return n, nil
}

// A connection with small answers has a small buffer; the first read that fills it brings
// the one that holds a frame of the maximum size, wherever in a frame that is.
func TestReadBufferGrows(t *testing.T) {
	small := rawFrame(frameData, 0, 1, make([]byte, 91)...)
	large := rawFrame(frameData, 0, 1, bytes.Repeat([]byte("x"), defaultMaxFrameSize)...)
	for before := range 2*firstBufferSize/len(small) + 1 {
		var socket chunks
		for range before {
			socket = append(socket, small)
		}
		burst := bytes.Repeat(small, before)
		socket = append(socket, append(burst, large...))
		f := newFrameReader(&socket)
		frames := 0
		for len(socket) > 0 {
			if err := f.fill(); err != nil {
				t.Fatal(err)
			}
			for {
				h, payload, ok, err := f.next()
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					break
				}
				if frames++; frames <= 2*before && h.length != 91 || frames > 2*before && !bytes.Equal(payload, large[frameHeaderLen:]) {
					t.Errorf("frame %d has %d bytes", frames, h.length)
				}
			}
			if frames < before && len(f.buf) != firstBufferSize {
				t.Fatalf("the buffer has %d bytes after %d small frames", len(f.buf), frames)
			}
		}
		if frames != 2*before+1 || len(f.buf) != readBufferSize {
			t.Errorf("%d frames of %d, buffer of %d bytes", frames, 2*before+1, len(f.buf))
		}
	}
}
