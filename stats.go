package etcd

import (
	"fmt"

	"silly.store/etcd/internal/balance"
)

// Stats counts the work of a client since it was made, and its connections, watches and
// leases now.
type Stats struct {
	// Attempts counts requests with a single answer that a connection has taken,
	// Failures those of them that ended with an error, Retries the pauses before another
	// attempt, of streams that are being opened too, and Hedges the reads that went to a
	// second member because the first one was late.
	Attempts, Failures, Retries, Hedges int64

	// Authentications counts the tokens that the server has issued for a user name
	// and a password.
	Authentications int64

	// Batches counts the requests that several calls have shared, BatchedCalls those
	// calls: see [Coalesce]. CallsWaiting is how many wait now.
	Batches, BatchedCalls int64
	CallsWaiting          int

	// Connects counts connections that came up, Disconnects those that have ended, and
	// ConnectFailures failed attempts to connect.
	Connects, Disconnects, ConnectFailures int64

	// Watches is how many watches live, on WatchStreams streams; WatchesWaiting of them
	// are served by no member: they are about to begin, or wait to be resumed.
	// WatchResumes counts how often a member has served a watch again.
	Watches, WatchStreams, WatchesWaiting int
	WatchResumes                          int64

	// Leases is how many leases live. Renewals counts answers to renewals of the client's
	// leases. LeasesLost counts leases that the client was renewing and that ended
	// otherwise than by its Revoke or Close.
	Leases               int
	Renewals, LeasesLost int64

	// HookPanics counts panics of [Hooks], and of the other functions and connections that
	// the client was given, which it has caught.
	HookPanics int64

	// Endpoints are the members' endpoints, in the order in which they were given.
	Endpoints []EndpointStats
}

// EndpointStats is one endpoint.
type EndpointStats struct {
	Endpoint string
	// State is that of the endpoint's connection for calls.
	State EndpointState
	// Address is where that connection goes, when Endpoint is a name: which of the
	// addresses that it stands for.
	Address string
	// Connections is how many there are: up to one for each [Purpose], and more where
	// the server allows fewer streams on a connection than are in use.
	Connections int
	// LastError is why the last connection ended or could not be made; empty when
	// nothing has failed since a connection came up.
	LastError string
}

// EndpointState is the state of an endpoint's connection for calls.
type EndpointState uint8

const (
	// EndpointIdle: no connection was needed yet.
	EndpointIdle EndpointState = iota
	// EndpointConnecting: one is being made.
	EndpointConnecting
	// EndpointReady: it is up.
	EndpointReady
	// EndpointSuspect: it is up, but the member is silent. It may recover.
	EndpointSuspect
	// EndpointDraining: it takes no new calls, and ends with those that it has.
	EndpointDraining
	// EndpointDown: the last one has ended, or could not be made.
	EndpointDown
)

// String returns the name in lower case, like "ready", or "EndpointState(7)" for a
// value that is none of the constants.
func (s EndpointState) String() string {
	if s > EndpointDown {
		return fmt.Sprintf("EndpointState(%d)", uint8(s))
	}
	return balance.State(s).String()
}

// Stats returns a snapshot, for metrics and for people. It takes the client's locks for a
// moment: do not call it per request.
func (c *Client) Stats() Stats {
	o := &c.observer
	s := Stats{
		Attempts: o.attempts.Load(), Failures: o.failures.Load(), Retries: o.retries.Load(), Hedges: o.hedges.Load(),
		Batches: o.batches.Load(), BatchedCalls: o.batchedCalls.Load(),
		Connects: o.connects.Load(), Disconnects: o.disconnects.Load(), ConnectFailures: o.connectFailures.Load(),
		Authentications: o.authentications.Load(),
		WatchResumes:    o.watchesResumed.Load(),
		HookPanics:      o.hookPanics.Load(),
	}
	leases := c.leases().Counts()
	s.Renewals, s.LeasesLost = leases.Renewals, leases.Lost
	s.Watches, s.WatchStreams, s.WatchesWaiting = c.watches.count()
	s.Leases = c.leases().Count()
	s.CallsWaiting = c.coalescer.Waiting()
	for _, e := range c.engine.Set.States() {
		s.Endpoints = append(s.Endpoints, endpointStats(e))
	}
	return s
}

func endpointStats(e balance.EndpointState) EndpointStats {
	s := EndpointStats{Endpoint: e.Name, State: EndpointState(e.State), Address: e.Address, Connections: e.Connections}
	if e.LastErr != nil {
		s.LastError = e.LastErr.Error()
	}
	return s
}
