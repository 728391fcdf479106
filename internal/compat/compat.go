// Package compat is what v3compat needs of a client and the public interface does not
// offer, because only code written for another client has a use for it. Package etcd
// provides it; nothing else but v3compat may import this package.
package compat

import (
	"context"
	"time"

	"silly.store/etcd/internal/call"
)

// Of returns the inside of an *etcd.Client. Package etcd sets it.
var Of func(client any) Inside

// Inside is a client from the inside. Its methods may be called concurrently.
type Inside interface {
	// OnConnection calls f whenever a connection has come up, could not be made, or has
	// ended, until stop is called. f must not block.
	OnConnection(f func()) (stop func())
	// OnLeaderless calls f whenever renewals of leases find no leader, until stop is
	// called. It is called with no lock held.
	OnLeaderless(f func()) (stop func())
	// Call makes a unary call that the client does not offer as it is meant, and returns
	// the answer, which belongs to the caller. The error is an *etcd.Error.
	Call(ctx context.Context, r Request) (reply []byte, err error)
}

// Request is a request of [Inside.Call].
type Request struct {
	Op      string // for errors
	Path    string // "/package.Service/Method"
	Message []byte // encoded; not used after Call returns
	// Reads: it changes nothing, so it may be sent again after any transient failure. Any
	// other request is sent again only if it was certainly not applied.
	Reads bool
	// Local: a member without a leader may answer too.
	Local bool
	// Anonymous: it carries no token.
	Anonymous bool
}

// WithElectionLimit returns a context in which an attempt at a call waits for an election
// for at most d. If there is still no leader, only a read is attempted again. Calls with a
// limit of 0, and writes with any limit, share no request with others.
func WithElectionLimit(ctx context.Context, d time.Duration) context.Context {
	return call.WithElectionLimit(ctx, d)
}
