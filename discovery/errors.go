package discovery

import (
	"errors"
	"fmt"

	"silly.store/etcd"
)

// Errors that errors.Is finds in what this package returns, in addition to those of
// packages etcd and concurrency.
var (
	// ErrExists: the instance's key exists and is not this registration's, and
	// RegisterConfig.NoTakeover is set; or another Registration of the same Coordinator has
	// the key and is not closed.
	ErrExists = errors.New("an instance with this ID is registered")
	// ErrSuperseded: another instance has registered with the same service and ID.
	ErrSuperseded = errors.New("another instance has registered with this ID")
	// ErrClosed: the Registration or Watcher was closed.
	ErrClosed = errors.New("is closed")
)

var errNilContext = fmt.Errorf("discovery: the context is nil: %w", etcd.ErrInvalidRequest)

func invalid(format string, args ...any) error {
	return fmt.Errorf("discovery: "+format+": %w", append(args, etcd.ErrInvalidConfig)...)
}
