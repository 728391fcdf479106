package queue

import (
	"errors"
	"fmt"

	"silly.store/etcd"
)

// Errors that errors.Is finds in what this package returns, in addition to those of
// packages concurrency and etcd. The texts name the queue and the item's ID, never its
// value.
var (
	// ErrClaimLost: the claim no longer holds the item: its lease ended, or its key was
	// deleted. Nothing was applied. Another worker gets the item.
	ErrClaimLost = errors.New("the claim was lost")
	// ErrSettled: an earlier Ack or Nack has settled the claim, or has left that to the
	// queue.
	ErrSettled = errors.New("the claim was settled before")
	// ErrExists: an item with this ID and a different value is in the queue.
	ErrExists = errors.New("another item has this ID")
	// ErrDead: an item with this ID is among the dead letters.
	ErrDead = errors.New("the item is among the dead letters")
	// ErrNotDead: no item with this ID is among the dead letters.
	ErrNotDead = errors.New("no such item is among the dead letters")
	// ErrClosed: the queue was closed.
	ErrClosed = errors.New("the queue is closed")
)

var errNilContext = invalid("the context is nil; use context.Background() if there is none")

// invalid is the error of an argument that cannot be meant.
func invalid(format string, args ...any) error {
	return fmt.Errorf("queue: "+format+": %w", append(args, etcd.ErrInvalidRequest)...)
}

// failed is an error of a method, with the queue's name and the item's ID, if there is one.
func (q *Queue) failed(method, id string, err error) error {
	if id == "" {
		return fmt.Errorf("queue %q: %s: %w", q.config.Name, method, err)
	}
	return fmt.Errorf("queue %q: %s of %q: %w", q.config.Name, method, id, err)
}
