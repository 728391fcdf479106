// Package wire holds the protobuf primitives for the generated codec of package
// etcd. They append and read varints and length-delimited fields, skip unknown
// fields, count repeated ones, and allocate many small elements in few slabs.
//
// The reading functions take the input and an offset into it, which must not be
// negative, and return the offset after the value. A negative result is a failure,
// which [Error] converts to one of the sentinels below; nothing here panics on bad
// input. Returned bytes and strings point into the input. Their capacity is
// clipped, so that an append to one of them can't overwrite its neighbor.
//
// No function keeps state; all may be called concurrently.
package wire

import "errors"

// Wire types of protobuf.
const (
	TypeVarint     = 0
	TypeFixed64    = 1
	TypeBytes      = 2
	TypeStartGroup = 3
	TypeEndGroup   = 4
	TypeFixed32    = 5
)

// MaxFieldNumber is the largest field number that protobuf allows.
const MaxFieldNumber = 1<<29 - 1

// MaxDepth bounds how deep recursive messages (transactions in transactions) and
// unknown groups may nest in the input. A decoder returns [ErrDepth] beyond it.
const MaxDepth = 500

// The errors of decoding.
var (
	// ErrTruncated says that the input ends inside a field.
	ErrTruncated = errors.New("wire: truncated message")
	// ErrOverflow says that a varint has more than 64 bits.
	ErrOverflow = errors.New("wire: varint overflows 64 bits")
	// ErrFieldNumber says that a field number is zero or above
	// [MaxFieldNumber].
	ErrFieldNumber = errors.New("wire: invalid field number")
	// ErrWireType says that a tag has one of the two wire types that
	// protobuf doesn't define.
	ErrWireType = errors.New("wire: invalid wire type")
	// ErrGroup says that an end tag does not match the last group begun, or that
	// there is no such group.
	ErrGroup = errors.New("wire: mismatched end of group")
	// ErrDepth says that messages or groups nest deeper than [MaxDepth].
	ErrDepth = errors.New("wire: nested too deep")
)

// The negative offsets with which the reading functions report errors.
const (
	codeTruncated = -1 - iota
	codeOverflow
	codeFieldNumber
	codeWireType
	codeGroup
	codeDepth
)

// Error returns the error that a negative offset stands for.
func Error(i int) error {
	switch i {
	case codeOverflow:
		return ErrOverflow
	case codeFieldNumber:
		return ErrFieldNumber
	case codeWireType:
		return ErrWireType
	case codeGroup:
		return ErrGroup
	case codeDepth:
		return ErrDepth
	default:
		return ErrTruncated
	}
}
