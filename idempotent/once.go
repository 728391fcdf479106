package idempotent

import (
	"context"
	"errors"
	"fmt"

	"silly.store/etcd"
)

// The values of a marker. Its key goes from missing or voided to one of the others, and stays
// there until its lease ends.
const (
	markerThen   = "+"
	markerElse   = "-"
	markerVoided = "!"
)

// Ticket is the right to apply the write of one ID once. A program that stores it before the
// first attempt can repeat the write after a restart, with [Writer.OnceWith], and no copy of
// the first attempt is applied after Config.Keep.
type Ticket struct {
	// ID is the ID of the write.
	ID string
	// Lease is the lease of the ID's marker.
	Lease etcd.LeaseID
}

// Once applies a transaction that has an ID, unless a transaction with this ID was applied
// already by any process and any Writer with this Config.Name. Then it returns the result of
// that one, with Recovered set and without a Response. An ID is remembered for at least
// Config.Keep after its write.
//
// Use it for writes that are repeated after a restart: the ID comes from the task, like
// the number of an order. Calls with one ID must make the same request: only the first one
// that arrives is applied. Conditions that don't hold, so that Else is applied, count as
// well: such a result is final for the ID.
//
// A copy that reaches etcd more than Config.Keep after it was sent could be applied a second
// time if another attempt with another lease was made meanwhile. [Writer.Ticket] closes that
// gap.
//
// Errors: as [Writer.Txn]. After an error that etcd.MaybeApplied reports call Once again with
// the same ID, or Resolve. After other errors the ID is still free, unless it was used
// before.
//
// etcd: Lease/LeaseGrant and KV/Txn (since 3.3)
func (w *Writer) Once(ctx context.Context, id string, req etcd.TxnRequest) (*Result, error) {
	if err := w.checkOnce("Once", ctx, id, &req); err != nil {
		return nil, err
	}
	for {
		lease, err := w.leases.take(ctx, w)
		if err != nil {
			return nil, fmt.Errorf("idempotent: a lease for the ID: %w", err)
		}
		result, err := w.once(ctx, id, lease, &req)
		if errors.Is(err, etcd.ErrLeaseNotFound) && !etcd.MaybeApplied(err) {
			lost, askErr := w.isGone(ctx, lease)
			if askErr != nil {
				return nil, fmt.Errorf("idempotent: %w: %w", err, askErr)
			}
			if lost {
				w.leases.drop(lease)
				continue
			}
		}
		return result, err
	}
}

// Ticket grants a lease for one write. Store the ticket before the first
// [Writer.OnceWith]; it ends after Config.Keep.
//
// Errors: etcd.ErrInvalidRequest, ErrClosed, and those of etcd's Grant.
//
// etcd: Lease/LeaseGrant (since 3.0)
func (w *Writer) Ticket(ctx context.Context, id string) (Ticket, error) {
	if err := w.checkOnce("Ticket", ctx, id, &etcd.TxnRequest{}); err != nil {
		return Ticket{}, err
	}
	lease, err := w.client.Grant(ctx, etcd.GrantRequest{TTL: w.config.Keep, NoKeepAlive: true})
	if err != nil {
		return Ticket{}, fmt.Errorf("idempotent: Ticket: %w", err)
	}
	return Ticket{ID: id, Lease: lease.ID}, nil
}

// OnceWith is [Writer.Once] with a ticket: all attempts use one lease, so that none of them
// is applied after the lease has ended, however late it arrives.
//
// Errors: as [Writer.Once], and ErrTicketExpired.
//
// etcd: KV/Txn and Lease/LeaseTimeToLive (since 3.3)
func (w *Writer) OnceWith(ctx context.Context, t Ticket, req etcd.TxnRequest) (*Result, error) {
	if err := w.checkOnce("OnceWith", ctx, t.ID, &req); err != nil {
		return nil, err
	}
	if t.Lease == 0 {
		return nil, invalid("OnceWith", "Ticket.Lease is 0; take a ticket with Writer.Ticket")
	}
	result, err := w.once(ctx, t.ID, t.Lease, &req)
	if errors.Is(err, etcd.ErrLeaseNotFound) && !etcd.MaybeApplied(err) {
		lost, askErr := w.isGone(ctx, t.Lease)
		if askErr == nil && lost {
			return nil, fmt.Errorf("idempotent: %w: %w", ErrTicketExpired, err)
		}
	}
	return result, err
}

func (w *Writer) checkOnce(method string, ctx context.Context, id string, req *etcd.TxnRequest) error {
	if id == "" {
		return invalid(method, "the ID is empty")
	}
	if w.life.Err() != nil {
		return fmt.Errorf("idempotent: %w", ErrClosed)
	}
	return check(method, ctx, req)
}

// once makes the write of an ID with a lease.
func (w *Writer) once(ctx context.Context, id string, lease etcd.LeaseID, req *etcd.TxnRequest) (*Result, error) {
	at := int64(0)
	for {
		write := &write{
			client: w.client, req: req, key: w.config.Name + "/ids/" + id, at: at, lease: lease,
			then: markerThen, orElse: markerElse, void: markerVoided,
		}
		result, err := write.do(ctx)
		switch {
		case errors.Is(err, errMoved):
			at = write.at // that of the void by an attempt that was given up
			continue
		case etcd.MaybeApplied(err):
			own := *req
			write.req = &own
			return nil, w.unknown(write, err)
		}
		return result, err
	}
}

// isGone asks whether a lease has ended.
func (w *Writer) isGone(ctx context.Context, lease etcd.LeaseID) (bool, error) {
	_, err := w.client.TTL(ctx, etcd.TTLRequest{ID: lease})
	if errors.Is(err, etcd.ErrLeaseNotFound) {
		return true, nil
	}
	return false, err
}
