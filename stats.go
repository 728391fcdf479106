package etcd

import (
	"silly.store/etcd/internal/balance"
)

// Stats is what a client has done since it was made, and what it holds now.
// Counts only grow.
type Stats struct {
	// Attempts are requests with a single answer that were handed to a
	// connection, Failures those of them that ended with an error, Retries how
	// often one was sent again after a pause, and Hedges how often a read went to
	// a second member because the first was late.
	Attempts, Failures, Retries, Hedges int64

	// Authentications is how often the server has issued a token for a user name
	// and a password.
	Authentications int64

	// Batches are requests that waiting calls have shared, BatchedCalls those
	// calls: see [Coalesce]. CallsWaiting are those that wait now.
	Batches, BatchedCalls int64
	CallsWaiting          int

	// Connects and Disconnects are connections that came up and that are over,
	// ConnectFailures those that could not be made.
	Connects, Disconnects, ConnectFailures int64

	// Watches are those that live, on WatchStreams streams, and WatchesWaiting
	// those of them that wait for a stream because their last one has ended.
	// WatchResumes is how often a watch went on on another stream.
	Watches, WatchStreams, WatchesWaiting int
	WatchResumes                          int64

	// Leases are those that live, with Renewals answered so far. LeasesLost are
	// those that were kept alive and ended otherwise than by this client's Revoke
	// or Close.
	Leases               int
	Renewals, LeasesLost int64

	// Endpoints are the members' endpoints, in the order in which they were given.
	Endpoints []EndpointStats
}

// EndpointStats is one endpoint.
type EndpointStats struct {
	Endpoint string
	// State is that of its connection for calls: "ready", "suspect" (it is
	// silent), "draining", "connecting", "down" (the last try failed), or "idle"
	// (none was needed yet).
	State string
	// Connections is how many there are, 0 to 3: see [Purpose].
	Connections int
	// LastError is why the last connection ended or could not be made; empty when
	// none has since one came up.
	LastError string
}

// Stats returns a snapshot. It is meant for metrics and for people: it takes
// the client's locks for a moment, so not for every request.
func (c *Client) Stats() Stats {
	o := &c.observer
	s := Stats{
		Attempts: o.attempts.Load(), Failures: o.failures.Load(), Retries: o.retries.Load(), Hedges: o.hedges.Load(),
		Batches: o.batches.Load(), BatchedCalls: o.batchedCalls.Load(),
		Connects: o.connects.Load(), Disconnects: o.disconnects.Load(), ConnectFailures: o.connectFailures.Load(),
		Authentications: o.authentications.Load(),
		WatchResumes:    o.watchesResumed.Load(), Renewals: o.renewals.Load(), LeasesLost: o.leasesLost.Load(),
	}
	s.Watches, s.WatchStreams, s.WatchesWaiting = c.watches.count()
	s.Leases = c.leases.count()
	s.CallsWaiting = c.coalescer.count()
	for _, e := range c.set.States() {
		s.Endpoints = append(s.Endpoints, endpointStats(e))
	}
	return s
}

func endpointStats(e balance.EndpointState) EndpointStats {
	s := EndpointStats{Endpoint: e.Name, State: e.State, Connections: e.Connections}
	if e.LastErr != nil {
		s.LastError = e.LastErr.Error()
	}
	return s
}
