// Package rpc lists the methods of etcd's services that the client calls, each with
// the properties that the engine needs: whether it may be sent again, and which
// connection it uses.
package rpc

import "silly.store/etcd/internal/balance"

// Class says when a failed request may be sent again.
type Class uint8

const (
	// Read changes nothing. It may be sent again after any transient failure.
	Read Class = iota
	// Idempotent may be applied several times with the effect of one. It may be
	// sent again like a Read.
	Idempotent
	// Write may be sent again only if it was certainly not applied, unless the user
	// chose AtLeastOnce.
	Write
)

// Method is one method of etcd's services, as one operation of the client uses it.
// Methods never change.
type Method struct {
	Op    string // the operation, for errors
	Path  string // "/package.Service/Method"
	Class Class
	Lane  balance.Lane
	// Unbounded: Config.Timeout does not apply.
	Unbounded bool
	// Anonymous: requests carry no token.
	Anonymous bool
	// Linearizable: the revision of an answer is at least as large as any seen
	// before the request was sent, unless the history was reset.
	Linearizable bool
	// IgnoresReset: the caller does not care about the past, so the call does not
	// fail when the history was reset.
	IgnoresReset bool
	// Local: a member without a leader may answer too. All other requests ask such
	// a member to refuse.
	Local bool
	// Shared: one request carries several operations, which can also be sent one by
	// one.
	Shared bool
	// Smaller is the advice in the error of a request whose answer exceeded
	// Config.MaxResponseBytes. Empty: only a larger limit helps.
	Smaller string
}

// What Method.Smaller says.
const (
	smallerGet   = "read less with Limit or KeysOnly, use Range, or raise it"
	smallerRange = "a Range needs room for its first 32 pairs, and for pieces of about 1.5 MiB: raise it"
	smallerTxn   = "read less in the Txn, with Limit, KeysOnly or fewer operations; or raise it"
	smallerWrite = "leave PrevKV out, or raise it"
	smallerWatch = "a watch needs room for the largest value, and with PrevKV for two: raise it above the server's --max-request-bytes (1.5 MiB unless it is set)"
	smallerTTL   = "leave Keys out, or raise it"
)

// Writes reports whether the method changes something.
func (m *Method) Writes() bool { return m.Class != Read }
