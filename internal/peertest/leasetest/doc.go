// Package leasetest provides a cluster for tests that implements leases, on the clock
// of a synctest bubble. Leases behave as in etcd: they expire on the server's clock
// and are deleted up to half a second later. A renewal that arrives in between waits
// for the deletion, and holds up the renewals after it on the stream.
//
// It handles Grant, Revoke and keep-alive streams, and answers every other call with
// an empty message.
package leasetest
