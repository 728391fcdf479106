package transport

import (
	"encoding/binary"
	"fmt"
)

// Frame types, RFC 9113 section 6.
type frameType uint8

const (
	frameData         frameType = 0x0
	frameHeaders      frameType = 0x1
	framePriority     frameType = 0x2
	frameRSTStream    frameType = 0x3
	frameSettings     frameType = 0x4
	framePushPromise  frameType = 0x5
	framePing         frameType = 0x6
	frameGoAway       frameType = 0x7
	frameWindowUpdate frameType = 0x8
	frameContinuation frameType = 0x9
)

// Frame flags, RFC 9113 section 6.
const (
	flagEndStream  = 0x1 // DATA, HEADERS
	flagAck        = 0x1 // SETTINGS, PING
	flagEndHeaders = 0x4 // HEADERS, CONTINUATION
	flagPadded     = 0x8 // DATA, HEADERS
	flagPriority   = 0x20
)

const (
	frameHeaderLen = 9
	// defaultMaxFrameSize is the value of SETTINGS_MAX_FRAME_SIZE until the peer
	// changes it; we never change ours.
	defaultMaxFrameSize = 16 << 10
	maxMaxFrameSize     = 1<<24 - 1
	defaultWindow       = 1<<16 - 1
	maxWindow           = 1<<31 - 1
	maxStreamID         = 1<<31 - 1
)

const clientPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// errCode is an HTTP/2 error code, RFC 9113 section 7.
type errCode uint32

const (
	codeNoError            errCode = 0x0
	codeProtocolError      errCode = 0x1
	codeInternalError      errCode = 0x2
	codeFlowControlError   errCode = 0x3
	codeSettingsTimeout    errCode = 0x4
	codeStreamClosed       errCode = 0x5
	codeFrameSizeError     errCode = 0x6
	codeRefusedStream      errCode = 0x7
	codeCancel             errCode = 0x8
	codeCompressionError   errCode = 0x9
	codeConnectError       errCode = 0xa
	codeEnhanceYourCalm    errCode = 0xb
	codeInadequateSecurity errCode = 0xc
	codeHTTP11Required     errCode = 0xd
)

var errCodeNames = [...]string{
	"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
	"STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR",
	"CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

func (c errCode) String() string {
	if int(c) < len(errCodeNames) {
		return errCodeNames[c]
	}
	return fmt.Sprintf("error code 0x%x", uint32(c))
}

// frameHeader is the nine-byte header of every frame.
type frameHeader struct {
	length   int
	kind     frameType
	flags    uint8
	streamID uint32
}

// parseFrameHeader reads the first nine bytes of b.
func parseFrameHeader(b []byte) frameHeader {
	_ = b[frameHeaderLen-1]
	return frameHeader{
		length:   int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		kind:     frameType(b[3]),
		flags:    b[4],
		streamID: binary.BigEndian.Uint32(b[5:]) & maxStreamID,
	}
}

func appendFrameHeader(b []byte, length int, kind frameType, flags uint8, streamID uint32) []byte {
	return append(b, byte(length>>16), byte(length>>8), byte(length), byte(kind), flags,
		byte(streamID>>24), byte(streamID>>16), byte(streamID>>8), byte(streamID))
}

func appendRSTStream(b []byte, streamID uint32, code errCode) []byte {
	b = appendFrameHeader(b, 4, frameRSTStream, 0, streamID)
	return binary.BigEndian.AppendUint32(b, uint32(code))
}

func appendWindowUpdate(b []byte, streamID uint32, increment int) []byte {
	b = appendFrameHeader(b, 4, frameWindowUpdate, 0, streamID)
	return binary.BigEndian.AppendUint32(b, uint32(increment))
}

func appendPing(b []byte, ack bool, data [8]byte) []byte {
	var flags uint8
	if ack {
		flags = flagAck
	}
	b = appendFrameHeader(b, 8, framePing, flags, 0)
	return append(b, data[:]...)
}

func appendGoAway(b []byte, lastID uint32, code errCode) []byte {
	b = appendFrameHeader(b, 8, frameGoAway, 0, 0)
	b = binary.BigEndian.AppendUint32(b, lastID)
	return binary.BigEndian.AppendUint32(b, uint32(code))
}

// unpad returns the payload of a DATA or HEADERS frame without its padding.
func unpad(h frameHeader, payload []byte) ([]byte, error) {
	if h.flags&flagPadded == 0 {
		return payload, nil
	}
	if len(payload) == 0 {
		return nil, protocolError(codeFrameSizeError, "padded frame without its pad length")
	}
	pad := int(payload[0])
	payload = payload[1:]
	if pad > len(payload) {
		return nil, protocolError(codeProtocolError, "padding of %d bytes in a frame of %d", pad, h.length)
	}
	return payload[:len(payload)-pad], nil
}

// connError is a violation of HTTP/2 (or of our limits) by the peer that ends the
// connection; code is the error code of our GOAWAY.
type connError struct {
	code errCode
	text string
}

func (e *connError) Error() string { return "HTTP/2 " + e.code.String() + ": " + e.text }

func protocolError(code errCode, format string, args ...any) error {
	return &connError{code: code, text: fmt.Sprintf(format, args...)}
}
