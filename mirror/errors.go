package mirror

import (
	"errors"
	"fmt"

	"silly.store/etcd"
)

// Errors that errors.Is finds in what this package returns, in addition to those of
// package etcd.
var (
	// ErrSuperseded: another mirror with this name has started at the target.
	ErrSuperseded = errors.New("another mirror of this name has begun")
	// ErrLoop: source and target are one cluster and their ranges overlap, or the checkpoint is
	// in the source's range, or there is a mirror in the other direction.
	ErrLoop = errors.New("the mirror would copy what it has written")
	// ErrRunning: Run was called while it runs already.
	ErrRunning = errors.New("the mirror runs already")
	// ErrCopying: the target does not have all keys yet.
	ErrCopying = errors.New("the first copy is not complete")
)

var errNilContext = fmt.Errorf("mirror: the context is nil: %w", etcd.ErrInvalidRequest)

func invalid(format string, args ...any) error {
	return fmt.Errorf("mirror: "+format+": %w", append(args, etcd.ErrInvalidConfig)...)
}

// errMoved: the checkpoint is not what this mirror has put last, and nobody else's. The target
// was restored from a backup, or somebody has deleted the checkpoint.
var errMoved = errors.New("the checkpoint has changed")
