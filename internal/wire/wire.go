// Package wire holds the protobuf primitives that the generated codec of
// package etcd is made of: appending and reading of varints and
// length-delimited fields, skipping of unknown fields, counting of repeated
// ones, and slabs that turn many small allocations into few.
//
// The reading functions take the input and an offset into it, which must not
// be negative, and return the offset of what follows. A negative one is a
// failure that [Error] turns into one of the sentinels below; nothing here
// panics on bad input. Bytes and strings that
// are returned point into the input, with their capacity clipped, so that an
// append to one of them can't reach its neighbour.
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

// MaxDepth bounds how deep messages that contain themselves (transactions in
// transactions) and unknown groups may nest in the input. A decoder returns
// [ErrDepth] beyond it.
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
	// ErrGroup says that a group ends that was not begun, or that another
	// group ends than the one that was begun last.
	ErrGroup = errors.New("wire: mismatched end of group")
	// ErrDepth says that messages or groups nest deeper than [MaxDepth].
	ErrDepth = errors.New("wire: nested too deep")
)

// The negative offsets by which the reading functions say what is wrong.
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
