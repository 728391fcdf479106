package idempotent

import (
	"errors"
	"fmt"

	"silly.store/etcd"
	"silly.store/etcd/internal/call"
)

// Errors that errors.Is finds in what this package returns, in addition to those of
// packages etcd and concurrency.
var (
	// ErrNotApplied is what [Writer.Resolve] returns for a write that was not applied and
	// never will be.
	ErrNotApplied = errors.New("the write was not applied, and will not be")
	// ErrTicketExpired: the lease of a [Ticket] has ended. The write will no longer be
	// applied by this ticket; whether an earlier attempt has applied it is not known if
	// that attempt said so.
	ErrTicketExpired = errors.New("the lease of the ticket has ended")
	// ErrClosed: the Writer was closed.
	ErrClosed = errors.New("the writer is closed")
)

// unknownError is the error of a write of which it is not known whether it was applied.
// Its first cause is that of the last copy of unknown outcome, so etcd.MaybeApplied holds.
type unknownError struct {
	causes []error
	await  *pending
}

func (e *unknownError) Error() string {
	return fmt.Sprintf("idempotent: %v", call.Join(e.causes...))
}

func (e *unknownError) Unwrap() []error { return e.causes }

func invalid(method, format string, args ...any) error {
	return fmt.Errorf("idempotent: %s: %w: %s", method, etcd.ErrInvalidRequest, fmt.Sprintf(format, args...))
}

// explain says in an error what the Writer adds to a request that is too large.
func explain(req *etcd.TxnRequest, err error) error {
	if errors.Is(err, etcd.ErrTooManyOps) {
		return fmt.Errorf("idempotent: %d compares, %d operations and %d in Else, and one of the writer: %w",
			len(req.If), len(req.Then), len(req.Else), err)
	}
	return err
}
