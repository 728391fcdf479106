package transport

import "encoding/binary"

// Setting identifiers, RFC 9113 section 6.5.2.
const (
	settingHeaderTableSize      = 0x1
	settingEnablePush           = 0x2
	settingMaxConcurrentStreams = 0x3
	settingInitialWindowSize    = 0x4
	settingMaxFrameSize         = 0x5
	settingMaxHeaderListSize    = 0x6
)

// peerSettings holds the server's settings. The zero value is not useful; start
// from defaultPeerSettings.
type peerSettings struct {
	headerTableSize   uint32
	headerTableLeast  uint32 // the smallest size that the last SETTINGS frame named
	maxStreams        uint32
	initialWindow     int64
	maxFrameSize      int
	maxHeaderListSize uint32 // 0: no limit given
}

func defaultPeerSettings() peerSettings {
	return peerSettings{
		headerTableSize: 4096,
		maxStreams:      1<<32 - 1,
		initialWindow:   defaultWindow,
		maxFrameSize:    defaultMaxFrameSize,
	}
}

// apply updates p from the payload of a SETTINGS frame. It ignores unknown
// settings, as RFC 9113 requires.
func (p *peerSettings) apply(payload []byte) error {
	if len(payload)%6 != 0 {
		return protocolError(codeFrameSizeError, "SETTINGS of %d bytes", len(payload))
	}
	p.headerTableLeast = p.headerTableSize
	for ; len(payload) > 0; payload = payload[6:] {
		value := binary.BigEndian.Uint32(payload[2:])
		switch binary.BigEndian.Uint16(payload) {
		case settingHeaderTableSize:
			p.headerTableSize = value
			p.headerTableLeast = min(p.headerTableLeast, value)
		case settingEnablePush:
			if value != 0 {
				return protocolError(codeProtocolError, "server sets ENABLE_PUSH to %d", value)
			}
		case settingMaxConcurrentStreams:
			p.maxStreams = value
		case settingInitialWindowSize:
			if value > maxWindow {
				return protocolError(codeFlowControlError, "INITIAL_WINDOW_SIZE of %d", value)
			}
			p.initialWindow = int64(value)
		case settingMaxFrameSize:
			if value < defaultMaxFrameSize || value > maxMaxFrameSize {
				return protocolError(codeProtocolError, "MAX_FRAME_SIZE of %d", value)
			}
			p.maxFrameSize = int(value)
		case settingMaxHeaderListSize:
			p.maxHeaderListSize = value
		}
	}
	return nil
}

type setting struct {
	id    uint16
	value uint32
}

func appendSettings(b []byte, settings ...setting) []byte {
	b = appendFrameHeader(b, 6*len(settings), frameSettings, 0, 0)
	for _, s := range settings {
		b = binary.BigEndian.AppendUint16(b, s.id)
		b = binary.BigEndian.AppendUint32(b, s.value)
	}
	return b
}
